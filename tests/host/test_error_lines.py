"""docs/when-it-goes-wrong.md has an entry for each line that otalink prints of a failure, and none for what is gone.

error_lines.py finds the lines in the sources. A row of the page's tables is: lines with <br> between them, cause, cure.
"""

import functools
import re
from pathlib import Path

from error_lines import HOLE, Line, Sources

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "when-it-goes-wrong.md"
SOURCES = ("host/otalink_host", "firmware/otalink", "firmware/guard")
# The demonstration shows what it did not see in its table.
APART = ("host/otalink_host/demo.py",)
# What nobody sees, with the reason.
UNSEEN = {
    "125 Data connection already open. Transfer starting.": "no failure: what FTP answers",
    "150 File status okay. About to open data connection.": "as above",
    "200 It is free.": "as above",
    "200 It is yours until the session ends.": "as above",
    "this server keeps no reports": "otalink.toml always has a folder for them",
    "226 Transfer complete.": "as above",
    "226 Transfer complete: the same is there already.": "as above",
    "250 File removed.": "as above",
    "250 Renaming ok.": "as above",
    "250 Renaming ok: the same is there already.": "as above",
    "FTP server …:… gave no fitting answer to to go on: …": "that is said of the reply 421 only, which refuses",
    "a fact to prove must be one line": "link_setup.py has refused such a name and secret before",
    "a message of otalink's is not as deep as that": "the link counts it as ignored, the peer says it in its own words",
    "base64 without line breaks is wanted": "who decodes a key or a signature says it in words of its own",
    "no message of otalink's": "the link counts it, too",
    "not all of it is ASCII": "utf16.py tells itself, and takes its slower way",
    "policy …: it is newer or differs": "config.py has refused it before",
    "this is no event to record: …": "a mistake in what calls the log",
    "the server offers …, older than no release here": "a board without a release wants any",
}
# As a row's first cell may hold them.
CODE = re.compile(r"`` (?P<long>.*?) ``|`(?P<short>[^`]*)`")


def lines_of(sources: dict[str, str]) -> set[str]:
    return {line.text for line in Sources(sources).lines()}


@functools.cache
def lines_in_the_project() -> dict[str, Line]:
    paths = [path for folder in SOURCES for path in sorted((PROJECT / folder).glob("*.py"))]
    texts = {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return {line.text: line for line in Sources({p: t for p, t in texts.items() if p not in APART}).lines()}


def entries_of(page: str) -> list[tuple[int, str, list[str], list[str]]]:
    """(line number, section, lines, the other cells) of each row whose first cell has nothing but code."""
    found = []
    section = ""
    for number, row in enumerate(page.splitlines(), 1):
        section = row[3:] if row.startswith("## ") else section
        if not row.startswith("| `") or not section:
            continue
        first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        texts = [(match["long"] or match["short"]).replace(r"\|", "|") for match in CODE.finditer(first)]
        assert CODE.sub("", first).replace("<br>", "") == "", f"{PAGE.name}:{number}: only lines and <br> go there"
        found.append((number, section, texts, others))
    return found


def place_of(text: str) -> str:
    """By what the rows of a section are sorted: the first letters of their first line."""
    return re.sub(r"^[^A-Za-z]+", "", text).lower()


def row_for(text: str) -> str:
    code = text.replace("|", r"\|")
    return f"| {f'`` {code} ``' if '`' in code else f'`{code}`'} | CAUSE | WHAT TO DO |"


def entries() -> list[tuple[int, str, list[str], list[str]]]:
    return entries_of(PAGE.read_text(encoding="utf-8"))


def test_each_line_has_an_entry() -> None:
    there = {text for _, _, texts, _ in entries() for text in texts}
    missing = [line for text, line in lines_in_the_project().items() if text not in there and text not in UNSEEN]
    assert not missing, (
        f"\n{PAGE.name} lacks these. Put each row into its section, sorted, and fill it in:\n"
        + "\n".join(f"\n{line.place}\n{row_for(line.text)}" for line in missing)
    )


def test_each_entry_is_a_line() -> None:
    lines = lines_in_the_project()
    gone = [(number, text) for number, _, texts, _ in entries() for text in texts if text not in lines]
    assert not gone, f"\nNothing says these any more. Take them out of {PAGE.name}, or mend their words:\n" + "\n".join(
        f"{PAGE.name}:{number}: {text}" for number, text in gone
    )


def test_no_line_has_two_entries_and_none_that_nobody_sees_has_one() -> None:
    texts = [text for _, _, texts, _ in entries() for text in texts]
    assert sorted(texts) == sorted(set(texts))
    assert not UNSEEN.keys() & set(texts)
    assert UNSEEN.keys() <= lines_in_the_project().keys()


def test_entries_are_sorted_within_their_section() -> None:
    before = ("", "")
    for number, section, texts, _ in entries():
        assert texts == sorted(texts, key=place_of), f"{PAGE.name}:{number}: sort its lines"
        here = (section, place_of(texts[0]))
        assert here[0] != before[0] or here >= before, f"{PAGE.name}:{number} belongs higher up in its section"
        before = here


def test_each_entry_says_why_and_what_to_do() -> None:
    for number, section, _, others in entries():
        assert len(others) == 2, f"{PAGE.name}:{number} has {len(others) + 1} cells, not 3"
        assert others[0] not in ("", "CAUSE"), f"{PAGE.name}:{number} lacks the cause"
        assert (others[1] not in ("", "WHAT TO DO")) is (section != "What is no fault"), (
            f"{PAGE.name}:{number}: the cure"
        )


# How lines are found


MADE_UP = '''
"""A module that is made up."""
TEXTS = {"early": "it came {} s too early", "late": "it came too late"}
USUAL = "tuesdays"
LONG = "install the newest version of what is needed for that, by whichever means your system has"

class Reader:
    def wrong(self, key, what):
        return UserError(f"{self.path}: {key} {what}")

def check(value, name):
    if value < 1:
        raise ValueError("one or more")
    if value > 9:
        raise UserError(f"{name} is {value!r}: it must be "
                        f"below ten")
    if name not in ("a", "b"):
        raise UserError(f"{name} comes on {USUAL}; {LONG}")
    raise UserError(f"no {name}" + (", nor anything like it" if value else ""))

def _reason(error):
    if error.errno == 2:
        return "there is no such file"
    return error.strerror or "it failed in silence"

def read(path):
    try:
        open(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({_reason(error)})") from None
    text = "nothing is there" if path.empty else f"{path} is no text"
    if path.odd:
        raise UserError(text)
    raise ReleaseError(TEXTS["early"].format(5))

def _refuse(is_wrong, line):
    if is_wrong:
        raise UserError(line)

def run(options):
    _refuse(options.a and options.b, "it is either a or b")
    for wrong, why in ((options.c, "there is no c here"), (options.d, "leave d out")):
        if wrong:
            raise UserError(why)
    notes.append("that was not wanted")
    found.append("no note at all")
    raise KeyError("not a line of a user")
    raise ValueError("word")
'''
FOUND = {
    "one or more",
    "… is …: it must be below ten",
    "… comes on tuesdays; …",
    "install the newest version of what is needed for that, by whichever means your system has",
    "no …, nor anything like it",
    "there is no such file",
    "it failed in silence",
    "… cannot be read (…)",
    "nothing is there",
    "… is no text",
    "it came … s too early",
    "it came too late",
    "it is either a or b",
    "there is no c here",
    "leave d out",
    "that was not wanted",
}


def test_lines_are_found_by_what_becomes_of_texts() -> None:
    assert lines_of({"host/otalink_host/made_up.py": MADE_UP}) == FOUND


def test_what_a_board_says_is_found() -> None:
    board = (
        "def work(job):\n    print(f'otalink: {job} is odd')\n    job.say('it begins now', f'{job} is on')\n"
        "    raise call('words.failure', job)\n"
        "def told(job):\n    job.say(call('words.reason', job))\n"
    )
    words = "def reason(job):\n    return 'the reason is this' if job else f'{job} has no reason'\n"
    assert lines_of({"firmware/otalink/board_made_up.py": board, "firmware/otalink/words.py": words}) == {
        "otalink: … is odd", "it begins now", "… is on", "the reason is this", "… has no reason",
    }  # fmt: skip
    # A host prints much, and has errors for what goes wrong.
    assert lines_of({"host/otalink_host/made_up.py": "print('all is well here')"}) == set()


def test_a_script_for_a_board_is_looked_into() -> None:
    script = 'SCRIPT = """\ndef check():\n    return "the server is asleep"\nprint("and", repr(check()))\n"""\n'
    assert lines_of({"host/otalink_host/made_up.py": script}) == {"the server is asleep"}


def test_a_line_tells_where_it_comes_from() -> None:
    (line,) = Sources(
        {"host/otalink_host/made_up.py": "\n\nraise UserError(f'{name} is gone: take another')\n"}
    ).lines()
    assert (line.text, line.place) == (f"{HOLE} is gone: take another", "host/otalink_host/made_up.py:3")


def test_a_row_reads_back() -> None:
    for text in ("… is gone", "run `otalink flash` on …", "ask BOARD check|report"):
        assert entries_of(f"## Section\n{row_for(text)}\n") == [(2, "Section", [text], ["CAUSE", "WHAT TO DO"])]
