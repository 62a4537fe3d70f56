"""Commit, confirm and rollback on MicroPython with real littlefs: what is written, and what is refused."""

from pathlib import Path

import pytest

POWER_CUT = Path(__file__).parents[1] / "power_cut"
SOURCES = Path(__file__).parents[2] / "firmware" / "guard"

PRELUDE = f"""
sys.path.insert(0, {str(POWER_CUT)!r})
import os, vfs
import board as boards
from board import BUFFER, Board, Release, tree
from scenarios import put
from otalink.errors import *
from otalink import journal, update_plan
from otalink.install import Installation

BOOT = open({str(SOURCES / "boot.py")!r}).read().encode()
GUARD = open({str(SOURCES / "otaguard.py")!r}).read().encode()
sys.path[:] = ["", ".frozen", "/lib"]

def make(blocks=60):
    board = Board(bytearray(4096 * blocks))
    board.format()
    board.mount()
    put({{"boot.py": BOOT, "otaguard.py": GUARD}})
    board.off()
    board.mount()
    boards._load_guard()
    return board

def stage(release):
    installation = Installation(BUFFER)
    installation.begin([file[0] for file in release.listing])
    installation.record("app", release.version, release.listing)
    for path, digest, size in release.listing:
        staged = installation.stage(path)
        staged.write(release.files[path])
        boards.run(staged.finish(size, digest))
    return installation

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
stage(FIRST).commit(deadline=30)
print(open("/.otalink/committed").read())
board.boot()
journal.confirm()
stage(SECOND).commit()
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
        "'otaguard.py.ota-new']",
    ]


def test_the_boot_files_are_never_deleted(board):
    lines = board(
        """
stage(Release(1, {"boot.py": BOOT + b"# 1", "otaguard.py": GUARD + b"# 1", "a.py": b"1"})).commit()
board.boot()
journal.confirm()
stage(Release(2, {"a.py": b"2"})).commit()
print(open("/.otalink/committed").read())
"""
    )
    assert lines[4:] == ["replace .otalink/installed", "replace a.py", "end", ""]


def test_the_states_as_the_application_sees_them(board):
    lines = board(
        """
def seen():
    installation = Installation(BUFFER)
    print(journal.state(), installation.installed(), journal.failed())

seen()
stage(FIRST).commit(); seen()
board.boot(); seen()
print(journal.confirm(), journal.confirm()); seen()
stage(SECOND).commit()
board.boot(); journal.confirm()
journal.rollback(); seen()
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
        "reverted ('app', (1, 0, 0, 0)) ('app', (2, 0, 0, 0))",
    ]


def test_nothing_else_begins_while_an_update_is_on(board):
    lines = board(
        """
staged = stage(FIRST)
staged.commit()
before = names()
attempt(stage, SECOND)
Installation(BUFFER).discard()
print(names() == before)
board.boot()
attempt(stage, SECOND)
attempt(journal.rollback)
attempt(Installation(BUFFER).commit)
"""
    )
    assert lines == [
        "InstallError: an update waits for a restart: restart the board",
        "True",
        "InstallError: a release is on trial: confirm it, or let it go back, before the next one",
        "InstallError: there is no release to go back to",
        "ValueError: nothing is staged: download a release first",
    ]


@pytest.mark.parametrize(
    "case",
    [
        "os.remove('/otaguard.py'); sys.modules.pop('otaguard')",
        "put({'boot.py': b'import network'})",
        "os.remove('/boot.py')",
    ],
)
def test_a_board_without_a_guard_is_told_what_to_do(board, case):
    lines = board(f"{case}\nstaged = stage(FIRST)\nattempt(staged.commit)\nprint(journal.state())")
    assert lines == [
        "InstallError: /boot.py does not start the boot guard: run `otalink flash` once over the cable",
        "None",
    ]


def test_a_guard_too_old_for_the_plan_is_told(board):
    lines = board("sys.modules['otaguard'] = type('Guard', (), {'FORMAT': 0})\nattempt(stage(FIRST).commit)")
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
    lines = board(f"attempt(stage, Release(1, {{'boot.py': {content}}}))\nprint(names())")
    assert lines[0] == f"ReleaseError: boot.py: {reason}"


def test_a_boot_py_with_more_behind_the_guard_is_taken(board):
    assert board("attempt(stage(Release(1, {'boot.py': BOOT + b'print(1)'})).commit)") == ["None"]


def test_fat_is_refused(board):
    lines = board("board.off()\nBoard.kind = vfs.VfsFat\nboard = make()\nattempt(stage(FIRST).commit)")
    assert lines == ["InstallError: the flash is FAT, where a power cut breaks an update: format it as littlefs"]


def test_kept_files_are_given_up_when_space_is_short(board):
    lines = board(
        """
stage(Release(1, {"a.py": b"1" * 9000})).commit()
board.boot(); journal.confirm()
stage(Release(2, {"a.py": b"2" * 9000})).commit()
board.boot(); journal.confirm()
installation = Installation(BUFFER)
installation.begin(["a.py"])
free = os.statvfs("/")[3]
print(installation.check_space([("a.py", 4096 * (free - 6))]), journal.state())
print(installation.check_space([("a.py", 4096 * (free - 4))]), journal.state(), [n for n in names() if "ota-" in n])
attempt(installation.check_space, [("a.py", 4096 * free)])
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
Installation(BUFFER).begin(["a.py"])
print(names())
Installation(BUFFER).discard()
print(names())
"""
    )
    assert lines == [
        "['.otalink/incoming', '.otalink/plan.ota-new', 'a.py.ota-new', 'boot.py', 'otaguard.py']",
        "['boot.py', 'otaguard.py']",
    ]


def test_evidence_of_failed_starts_goes_when_the_updater_starts(board):
    lines = board(
        "put({'.otalink/x': b'', '.otalink/crash-2': b''})\njournal.started()\nprint(os.listdir('/.otalink'))"
    )
    assert lines == ["['x']"]
