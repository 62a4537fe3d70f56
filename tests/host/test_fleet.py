"""The fleet's database: what it keeps, that it outlives a kill, and what it says of a file that is none."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from otalink_host.errors import UserError
from otalink_host.fleet import Board, Fleet


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


def names(fleet: Fleet) -> list[str]:
    return [board.name for board in fleet.boards()]


def test_what_boards_say_is_there_after_a_restart(path: Path) -> None:
    with Fleet(path) as fleet:
        fleet.hello("board-2", now=10)
        fleet.hello(
            "board-1",
            application="thermostat",
            version="1.0.0.2",
            state="trial",
            platform="esp32",
            otalink="0.1.0",
            address="192.168.0.55:50112",
            verified=True,
            now=20,
        )
        fleet.report("board-1", "download", percent=40, now=30)
    with Fleet(path) as fleet:
        assert names(fleet) == ["board-1", "board-2"]
        assert fleet.boards()[0] == Board(
            name="board-1",
            application="thermostat",
            version="1.0.0.2",
            state="trial",
            platform="esp32",
            otalink="0.1.0",
            event="download",
            event_version=None,
            percent=40,
            reason=None,
            event_time=30,
            first_seen=20,
            last_seen=30,
            address="192.168.0.55:50112",
            verified=True,
        )


def test_a_new_hello_replaces_the_old_and_keeps_when_the_board_was_first_seen(path: Path) -> None:
    with Fleet(path) as fleet:
        fleet.hello("board-1", version="1.0.0.2", now=10)
        fleet.report("board-1", "rolled back", version="1.0.0.3", reason="it was slow", now=15)
        fleet.hello("board-1", version="1.0.0.4", now=20)
        fleet.seen([("board-1", 19), ("nobody", 30)])
        (board,) = fleet.boards()
        assert (board.version, board.first_seen, board.last_seen) == ("1.0.0.4", 10, 20)
        assert (board.event, board.event_version, board.reason) == ("rolled back", "1.0.0.3", "it was slow")


def test_a_release_on_trial_is_confirmed(path: Path) -> None:
    with Fleet(path) as fleet:
        fleet.hello("board-1", version="1.0.0.3", state="trial")
        fleet.report("board-1", "confirmed", version="1.0.0.3")
        (board,) = fleet.boards()
        assert (board.version, board.state) == ("1.0.0.3", "confirmed")


@pytest.mark.parametrize(
    ("version", "state"), [("1.0.0.4", "trial"), ("1.0.0.3", "reverted from 1.0.0.4"), (None, None)]
)
def test_a_confirmation_that_comes_late_changes_nothing(path: Path, version: str | None, state: str | None) -> None:
    with Fleet(path) as fleet:
        fleet.hello("board-1", version=version, state=state)
        fleet.report("board-1", "confirmed", version="1.0.0.3")
        (board,) = fleet.boards()
        assert (board.version, board.state, board.event_version) == (version, state, "1.0.0.3")


def test_a_board_that_never_said_hello_is_not_made_by_its_reports(path: Path) -> None:
    with Fleet(path) as fleet:
        fleet.report("board-1", "failed", reason="no server")
        assert fleet.boards() == []


def test_a_board_can_be_forgotten(path: Path) -> None:
    with Fleet(path) as fleet:
        fleet.hello("board-1")
        assert fleet.forget("board-1")
        assert not fleet.forget("board-1")
        assert fleet.boards() == []


def test_the_highest_id_of_a_numbering_counts(path: Path) -> None:
    with Fleet(path) as fleet:
        assert fleet.last("", "a" * 16) == 0
        for number in (1, 3, 2):
            fleet.delivered("", "a" * 16, number)
        assert fleet.last("", "a" * 16) == 3
        fleet.delivered("", "b" * 16, (1 << 63) - 1)
        fleet.delivered("board-1", "a" * 16, 1)
    with Fleet(path) as fleet:
        assert (fleet.last("", "a" * 16), fleet.last("", "b" * 16)) == (3, (1 << 63) - 1)
        assert (fleet.last("board-1", "a" * 16), fleet.last("board-2", "a" * 16)) == (1, 0)


def test_numberings_are_forgotten_the_oldest_first(path: Path) -> None:
    with Fleet(path) as fleet:
        for number in range(10):
            fleet.delivered("", f"{number:016}", 1)
            fleet.delivered("board-1", f"{number:016}", 1)
        fleet.prune(3)
        assert [fleet.last("", f"{number:016}") for number in range(10)] == [0] * 7 + [1] * 3
        # Those of nobody in particular push out none of a board's.
        for number in range(10, 20):
            fleet.delivered("", f"{number:016}", 1)
        fleet.prune(3)
        assert [fleet.last("board-1", f"{number:016}") for number in range(10)] == [0] * 7 + [1] * 3


def test_there_is_an_end_to_what_strangers_can_fill_it_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otalink_host.fleet.BOARDS_MAX", 3)
    monkeypatch.setattr("otalink_host.fleet.PRUNE_EVERY", 5)
    monkeypatch.setattr(Fleet.prune, "__defaults__", (3,))
    with Fleet(path) as fleet:
        for number in range(3):
            fleet.hello(f"board-{number}")
        with pytest.raises(UserError, match="knows 3 boards, and takes no more"):
            fleet.hello("board-3")
        fleet.hello("board-1", version="1.0.0.3")
        assert names(fleet) == ["board-0", "board-1", "board-2"]
        for number in range(10):
            fleet.delivered("", f"{number:016}", 1)
        assert sum(fleet.last("", f"{number:016}") for number in range(10)) == 3


def test_what_is_committed_outlives_a_kill(path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from otalink_host.fleet import Fleet\n"
        "fleet = Fleet(Path(sys.argv[1]))\n"
        "fleet.hello('board-1', version='1.0.0.2')\n"
        "for number in range(1, 1001):\n"
        "    fleet.delivered('', 'a' * 16, number)\n"
        "    fleet.commit()\n"
        "fleet.hello('board-2')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        # While it writes, it can be read.
        with Fleet(path, read_only=True) as fleet:
            assert names(fleet) == ["board-1"]
        child.send_signal(signal.SIGKILL)
    with Fleet(path) as fleet:
        assert fleet.last("", "a" * 16) == 1000
        assert names(fleet) == ["board-1"]


# --- a file that cannot be used: one line each


def said(path: Path, read_only: bool = False) -> str:
    with pytest.raises(UserError) as refusal:
        Fleet(path, read_only=read_only, lock_timeout=0.05)
    line = str(refusal.value)
    assert line.startswith((str(path), f"there is no {path}"))
    assert "\n" not in line
    return line


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database_is_said_and_left_alone(path: Path, read_only: bool) -> None:
    path.write_text("not a database, though it is a rather long line of text\n" * 100)
    content = path.read_bytes()
    assert "is no fleet's database, or a damaged one: move it away" in said(path, read_only)
    assert path.read_bytes() == content


@pytest.mark.parametrize("read_only", [False, True])
def test_another_programs_database_is_said_and_left_alone(path: Path, read_only: bool) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE board (name TEXT)")
    database.close()
    content = path.read_bytes()
    assert "is another program's database" in said(path, read_only)
    assert path.read_bytes() == content


def test_a_newer_form_is_said(path: Path) -> None:
    Fleet(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    assert "was made by another version of otalink (form 2): update otalink" in said(path)


def test_a_damaged_database_is_said(path: Path) -> None:
    with Fleet(path) as fleet:
        for number in range(2000):
            fleet.hello(f"board-{number}", state="x" * 50)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for offset in range(4096, size, 4096):
            file.seek(offset)
            file.write(os.urandom(2000))
    assert "damaged" in said(path)


def test_a_locked_database_is_said(path: Path) -> None:
    with Fleet(path) as fleet:
        fleet.hello("board-1")
        with pytest.raises(UserError, match="is locked by another program: end that one, and try again"):
            Fleet(path, lock_timeout=0.05)


def test_a_folder_that_is_not_there_or_not_ours_is_said(path: Path) -> None:
    assert "cannot be opened: its folder must exist" in said(path.parent / "no" / "fleet.db")
    assert "cannot be opened" in said(path.parent)
    assert "otalink peer --fleet" in said(path, read_only=True)
