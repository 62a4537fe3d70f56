"""The boot guard on a board as tools see it: main.py runs under the guard's eyes, and mpremote does not notice."""

import re
from pathlib import Path

import pytest

from otalink_host.vboard import VirtualBoard

GUARD = Path(__file__).parents[2] / "firmware" / "guard"


@pytest.fixture
def guarded(board: VirtualBoard) -> VirtualBoard:
    board.mpremote("fs", "cp", str(GUARD / "boot.py"), str(GUARD / "otaguard.py"), str(GUARD / "otaswap.py"), ":")
    board.mpremote("fs", "mkdir", ":.otalink")
    return board


def put_main(board: VirtualBoard, text: str) -> None:
    board.mpremote("exec", f"with open('main.py', 'w') as f: f.write({text!r})")


def test_main_runs_once_and_its_names_are_the_repls(guarded: VirtualBoard) -> None:
    put_main(guarded, "print('main', 'runs')\nanswer = 42\n")
    mark = guarded.mark()
    guarded.reset()
    guarded.wait_for(re.compile("main runs(?s:.*)>>> "), since=mark)
    assert guarded.output[mark:].count("main runs") == 1
    assert guarded.mpremote("resume", "exec", "print(answer)").split() == ["42"]
    assert guarded.mpremote("exec", "print(open('main.py').read()[:5])").split() == ["print"]


def test_an_application_that_never_ends_leaves_the_board_to_mpremote(guarded: VirtualBoard) -> None:
    put_main(guarded, "import time\nprint('main runs')\nwhile True:\n    time.sleep(0.01)\n")
    mark = guarded.mark()
    guarded.reset()
    guarded.wait_for("main runs", since=mark)
    assert "otaguard.py" in guarded.mpremote("fs", "ls")


def test_crashes_are_counted_over_restarts(guarded: VirtualBoard) -> None:
    put_main(guarded, "raise ValueError('a fault')\n")
    mark = guarded.mark()
    guarded.reset()
    for _ in range(3):
        mark = guarded.wait_for("otalink: restarting in 2 s", since=mark).end()
    listing = guarded.mpremote("fs", "ls", ".otalink")
    assert "crash-2" in listing
    assert "crash-1" not in listing
