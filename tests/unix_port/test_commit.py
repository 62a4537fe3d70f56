"""Commit, confirm and rollback on MicroPython with real littlefs: what is written, and what is refused."""

from pathlib import Path

import pytest

POWER_CUT = Path(__file__).parents[1] / "power_cut"
SOURCES = Path(__file__).parents[2] / "firmware" / "guard"

PRELUDE = f"""
sys.path.insert(0, {str(POWER_CUT)!r})
import os, vfs
import board as boards
from board import _Job, BUFFER, Board, Release, confirm, failed, rollback, tree
from scenarios import put
from otalink.errors import *
import otalink.release, otalink.version
from otalink import journal
from otalink.begin import begin, check, discard
from otalink.commit import commit
from otalink.install import Installation
from otalink.space import check_space

BOOT = open({str(SOURCES / "boot.py")!r}).read().encode()
GUARD = open({str(SOURCES / "otaguard.py")!r}).read().encode()
SWAP = open({str(SOURCES / "otaswap.py")!r}).read().encode()
sys.path[:] = ["", ".frozen", "/lib"]

def make(blocks=60):
    board = Board(bytearray(4096 * blocks))
    board.format()
    board.mount()
    put({{"boot.py": BOOT, "otaguard.py": GUARD, "otaswap.py": SWAP}})
    board.off()
    board.mount()
    return board

def stage(release):
    installation = Installation(BUFFER)
    begin("/", (file[0] for file in release.listing))
    installation.record("app", release.version, release.listing)
    for path, digest, size in release.listing:
        staged = boards.staged_file(installation, path)
        staged.write(release.files[path])
        boards.run(installation.verify(path, staged.finish(size, digest)))

def put_in(deadline=600):
    check("/")
    commit("/", deadline, print)

def attempt(function, *arguments):
    try:
        print(function(*arguments))
    except (OtaError, ValueError) as error:
        print(type(error).__name__ + ":", error)

def names():
    return sorted(path for path in tree() if not path.endswith("/"))

FIRST = Release(1, {{"a.py": b"1", "gone.py": b"g"}})
SECOND = Release(2, {{"a.py": b"2", "lib/new.py": b"n", "otaguard.py": GUARD + b"# 2"}})
board = make()
"""


@pytest.fixture
def board(on_board):
    def run(body):
        return on_board(PRELUDE + body, heap="2m").lines

    return run


def test_commit_writes_the_plan_that_the_specification_shows(board):
    lines = board(
        """
stage(FIRST)
put_in(30)
print(open("/.otalink/committed").read())
board.boot()
confirm()
stage(SECOND); put_in()
print(open("/.otalink/committed").read())
print(names())
"""
    )
    assert lines == [
        "otalink-plan 1",
        "name app",
        "version 1.0.0.0",
        "deadline 30",
        "add .otalink/installed",
        "add a.py",
        "add gone.py",
        "end",
        "",
        "otalink-plan 1",
        "name app",
        "version 2.0.0.0",
        "deadline 600",
        "replace .otalink/installed",
        "replace a.py",
        "delete gone.py",
        "add lib/new.py",
        "copy otaguard.py",
        "end",
        "",
        "['.otalink/committed', '.otalink/confirmed', '.otalink/installed', '.otalink/installed.ota-new', "
        "'.otalink/log', 'a.py', 'a.py.ota-new', 'boot.py', 'gone.py', 'lib/new.py.ota-new', 'otaguard.py', "
        "'otaguard.py.ota-new', 'otaswap.py']",
    ]


def test_a_version_that_is_written_short_is_known_by_all_of_its_fields(board):
    lines = board(
        """
stage(FIRST)
with open("/.otalink/incoming", "rb") as file:
    header = file.read()
short = header.replace(b"version 1.0.0.0", b"version 1")
short = short.replace(b"otalink 1 %d" % len(header), b"otalink 1 %d" % len(short))
with open("/.otalink/incoming", "wb") as file:
    file.write(short)
put_in()
print(open("/.otalink/committed").read())
"""
    )
    assert lines[:3] == ["otalink-plan 1", "name app", "version 1.0.0.0"]
    assert lines[-2:] == ["end", ""]


def test_the_boot_files_are_never_deleted(board):
    lines = board(
        """
stage(Release(1, {"boot.py": BOOT + b"# 1", "otaguard.py": GUARD + b"# 1", "a.py": b"1"})); put_in()
board.boot()
confirm()
stage(Release(2, {"a.py": b"2"})); put_in()
print(open("/.otalink/committed").read())
"""
    )
    assert lines[4:] == ["replace .otalink/installed", "replace a.py", "end", ""]


def test_the_states_as_the_application_sees_them(board):
    lines = board(
        """
def seen():
    installation = Installation(BUFFER)
    print(journal.state(), installation.installed(), failed())

seen()
stage(FIRST); put_in(); seen()
board.boot(); seen()
print(confirm(), confirm()); seen()
stage(SECOND); put_in()
board.boot(); confirm()
rollback(); seen()
board.boot(); seen()
"""
    )
    assert lines == [
        "None None None",
        "committed None None",
        "trial ('app', (1, 0, 0, 0)) None",
        "True False",
        "confirmed ('app', (1, 0, 0, 0)) None",
        "reverting ('app', (2, 0, 0, 0)) None",
        "reverted ('app', (1, 0, 0, 0)) 2.0.0.0",
    ]


def test_nothing_else_begins_while_an_update_is_on(board):
    lines = board(
        """
stage(FIRST)
put_in()
before = names()
attempt(stage, SECOND)
discard(_Job())
print(names() == before)
board.boot()
attempt(stage, SECOND)
attempt(rollback)
attempt(put_in)
confirm()
attempt(put_in)
"""
    )
    assert lines == [
        "InstallError: an update waits for a restart: restart the board",
        "True",
        "InstallError: a release is on trial: confirm it, or let it go back, before the next one",
        "InstallError: there is no release to go back to",
        "InstallError: a release is on trial: confirm it, or let it go back, before the next one",
        "ValueError: nothing is staged: download a release first",
    ]


@pytest.mark.parametrize(
    "case",
    [
        "os.remove('/otaswap.py')",
        "put({'boot.py': b'import network'})",
        "os.remove('/boot.py')",
    ],
)
def test_a_board_without_a_guard_is_told_what_to_do(board, case):
    lines = board(f"{case}\nstage(FIRST)\nattempt(put_in)\nprint(journal.state())")
    assert lines == [
        "InstallError: /boot.py does not start the boot guard: run `otalink flash` once over the cable",
        "None",
    ]


def test_a_guard_too_old_for_the_plan_is_told(board):
    lines = board("put({'otaswap.py': SWAP.replace(b'FORMAT = 1', b'FORMAT = 0')})\nstage(FIRST)\nattempt(put_in)")
    assert lines == ["InstallError: the boot guard is too old for this otalink: run `otalink flash` over the cable"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("b'try:\\n'", "it does not compile"),
        ("b'\\xff'", "it does not compile"),
        ("b'import network\\n' + BOOT", "it does not begin by calling the boot guard, as otalink's own does"),
        ("b'# nothing'", "it does not begin by calling the boot guard, as otalink's own does"),
    ],
)
def test_a_boot_py_that_would_not_start_the_guard_is_refused(board, content, reason):
    lines = board(f"stage(Release(1, {{'boot.py': {content}}}))\nattempt(put_in)")
    assert lines[0] == f"ReleaseError: boot.py: {reason}"


def test_a_boot_py_with_more_behind_the_guard_is_taken(board):
    assert board("stage(Release(1, {'boot.py': BOOT + b'print(1)'}))\nattempt(put_in)") == ["None"]


def test_fat_is_refused(board):
    lines = board("board.off()\nBoard.kind = vfs.VfsFat\nboard = make()\nstage(FIRST)\nattempt(put_in)")
    assert lines == ["InstallError: the flash is FAT, where a power cut breaks an update: format it as littlefs"]


def test_kept_files_are_given_up_when_space_is_short(board):
    lines = board(
        """
stage(Release(1, {"a.py": b"1" * 9000})); put_in()
board.boot(); confirm()
stage(Release(2, {"a.py": b"2" * 9000})); put_in()
board.boot(); confirm()
free = os.statvfs("/")[3]
print(check_space("/", 100, [("a.py", 4096 * (free - 6))]), journal.state())
print(check_space("/", 100, [("a.py", 4096 * (free - 4))]), journal.state(), [n for n in names() if "ota-" in n])
attempt(check_space, "/", 100, [("a.py", 4096 * free)])
"""
    )
    assert lines[:2] == ["False confirmed", "True None []"]
    assert lines[2].startswith("InstallError: the flash is too full")


def test_what_an_abandoned_download_left_goes_with_the_next(board):
    lines = board(
        """
stage(Release(1, {"ghost/deep/g.py": b"g", "a.py": b"1"}))
os.rename("/.otalink/incoming", "/.otalink/installed.ota-new")  # as a commit that was cut leaves it
put({".otalink/plan.ota-new": b"otalink-plan 1"})
begin("/", ["a.py"])
print(names())
discard(_Job())
print(names())
"""
    )
    assert lines == [
        "['.otalink/incoming', '.otalink/plan.ota-new', 'a.py.ota-new', 'boot.py', 'otaguard.py', 'otaswap.py']",
        "['boot.py', 'otaguard.py', 'otaswap.py']",
    ]


def test_a_source_that_hides_a_compiled_file_is_said_unless_it_goes(board):
    lines = board(
        """
stage(Release(1, {"gone.py": b"1", "stays.py": b"1"})); put_in()
board.boot(); confirm()
put({"own.py": b"own", "z.py": b"own"})
paths = ("gone.mpy", "own.mpy", "own.mpz", "stays.mpy", "stays.py", "z.mpy")
stage(Release(2, {path: b"2" for path in paths})); put_in()
"""
    )
    assert lines == [
        f"{name}.py hides {name}.mpy: MicroPython imports the source; remove it" for name in ("own", "stays", "z")
    ]


def test_a_commit_of_a_thousand_files_takes_no_more_memory_than_one_of_ten(board):
    lines = board(
        """
def make_record(path, count, seed):
    digest = f"{seed:064}"
    lines = [f"file {digest} 9 9 raw folder/{n:04}.bin\\n" for n in range(count)]
    length = sum(len(line) for line in lines) + len("otalink 1 \\nname app\\nversion 2\\n")
    with open(path, "w") as file:
        file.write(f"otalink 1 {length + len(str(length + 6))}\\nname app\\nversion 2\\n")
        for line in lines:
            file.write(line)

def peak(count):
    # The smallest heap beside what is in use already, in KiB. Where the pieces lie, and what looks like a pointer to
    # one, makes some of difference; a word for each of a thousand files would be eight, their paths thirty.
    make_record("/.otalink/installed", count, 1)
    make_record("/.otalink/incoming", count, 2)
    with open("/folder/0003.bin.ota-new", "wb") as file:
        file.write(b"x")
    for kib in range(4, 64):
        gc.collect()
        hog = []
        try:
            while gc.mem_free() > 1024 * kib:
                hog.append(bytearray(512))
        except MemoryError:
            pass
        try:
            put_in()
        except MemoryError:
            continue
        finally:
            hog = None
        os.rename("/.otalink/installed.ota-new", "/.otalink/incoming")
        os.remove("/.otalink/committed")
        return kib

import gc
put({".otalink/x": b"", "folder/x": b""})
few, many = peak(10), peak(1000)
print(many - few < 7, few < 20)
"""
    )
    assert lines == ["True True"]
