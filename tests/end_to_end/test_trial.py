"""A virtual board tries releases out: what is good it keeps, and from what is not it goes back by itself."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flashed import PATIENCE, Flashed

from otalink_host.errors import UserError
from otalink_host.flash import flash
from otalink_host.repository import publish
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard

WENT_BACK = r"the board went back from thermostat 1\.0\.0\.2: not tried again until another is offered"
ROLLBACK = """
import asyncio, otalink, thermostat

async def main():
    updater = otalink.Updater()
    asyncio.create_task(updater.run())
    print("runs", thermostat.GREETING)
    while updater.on_trial():
        await asyncio.sleep(0.1)
    await updater.rollback()

asyncio.run(main())
"""


def test_a_release_that_raises_at_once_goes_back_and_is_not_tried_again(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two", main="raise ValueError('a fault')\n"), served)
    flashed.sees(r"1\.0\.0\.2 is committed; restarting")
    for _ in range(3):
        flashed.sees("ValueError: a fault")
    flashed.sees("runs one")
    flashed.sees(WENT_BACK)
    flashed.sees(WENT_BACK)
    publish(release("1.0.0.3", "three"), served)
    flashed.sees(r"thermostat 1\.0\.0\.3 is confirmed")
    assert "ota-new" not in flashed.listing()


@pytest.mark.parametrize(
    "main",
    ["print('runs two')\nwhile True:\n    pass\n", "import time\nprint('runs two')\nwhile True:\n    time.sleep(1)\n"],
    ids=["hangs", "never confirms"],
)
def test_a_release_that_does_not_confirm_goes_back_by_itself(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path], main: str
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"), trial_deadline=2)
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two", main=main), served)
    for _ in range(3):
        flashed.sees("runs two")
    flashed.sees("runs one")
    flashed.sees(WENT_BACK)
    log = board.mpremote("fs", "cat", ":.otalink/log")
    assert log.count("thermostat 1.0.0.2 was not confirmed in time") == 3
    assert "went back from thermostat 1.0.0.2" in log


def test_a_release_that_hangs_goes_back_at_the_fourth_power_on(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two", main="print('hangs')\nwhile True:\n    pass\n"), served)
    flashed.sees("hangs")
    for _ in range(2):
        board.kill()
        board.start()
        flashed.sees("hangs")
    board.kill()
    board.start()
    flashed.sees("runs one")
    flashed.sees(WENT_BACK)


def test_three_resets_by_the_watchdog_take_a_confirmed_release_back(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two"), served)
    flashed.sees(r"thermostat 1\.0\.0\.2 is confirmed")
    program = "import machine\nmachine.WDT(timeout=300)\nprint('hangs')\nwhile True:\n    pass\n"
    board.mpremote("exec", f"with open('/thermostat.py', 'w') as f: f.write({program!r})")
    board.reset()
    for _ in range(3):
        flashed.sees("hangs")
    flashed.sees("runs one")


def test_an_application_goes_back_from_a_confirmed_release_by_itself(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one", **{"old.txt": b"old"}))
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two", main=ROLLBACK), served)
    flashed.sees("runs two")
    flashed.sees(r"thermostat 1\.0\.0\.2 is confirmed")
    flashed.sees(r"going back from thermostat 1\.0\.0\.2; restarting")
    flashed.sees("runs one")
    flashed.sees(WENT_BACK)
    assert "old.txt" in flashed.listing()


def test_a_board_whose_power_fails_at_random_moments_of_updates_arrives_at_the_last_release(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    chance = random.Random(18)
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    for version in range(2, 5):
        name = f"{chance.randrange(1000)}.bin"
        start = board.mark()
        publish(release(f"1.0.0.{version}", f"number{version}", **{name: chance.randbytes(60_000)}), served)
        for _ in range(3):
            time.sleep(chance.uniform(0.3, 2.0))
            board.kill()
            board.start()
            flashed.sees("runs (one|number)")
        deadline = time.monotonic() + PATIENCE
        # Too many cuts in a trial may have sent it back: the next version comes all the same.
        end = rf"1\.0\.0\.{version} is confirmed|went back from thermostat 1\.0\.0\.{version}"
        while not re.search(end, board.output[start:]):
            assert time.monotonic() < deadline, board.output[-2000:]
            time.sleep(0.1)
    publish(release("1.0.0.9", "nine"), served)
    flashed.sees(r"thermostat 1\.0\.0\.9 is confirmed")
    assert "ota-new" not in flashed.listing()


def test_a_confirmed_release_that_starts_no_more_goes_back_after_three_crashes(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two"), served)
    flashed.sees(r"thermostat 1\.0\.0\.2 is confirmed")
    board.mpremote("fs", "rm", ":thermostat.py")
    board.reset()
    for _ in range(3):
        flashed.sees("ImportError: no module named 'thermostat'")
    flashed.sees("runs one")


def test_a_board_that_has_nothing_to_go_back_to_looks_for_a_release_until_one_comes(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one", main="raise ValueError('a fault')\n"))
    for _ in range(3):
        flashed.sees("ValueError: a fault")
    flashed.sees("the application does not start: looking for a release every 1 s; Ctrl-C ends this")
    flashed.sees("no release of thermostat")
    publish(release("1.0.0.2", "two"), served)
    flashed.sees("runs two")
    flashed.sees(r"thermostat 1\.0\.0\.2 is confirmed")


def put_boot(board: VirtualBoard, text: str) -> None:
    board.mpremote("exec", f"with open('/boot.py', 'w') as f: f.write({text!r})")


def test_a_boot_py_of_the_boards_own_runs_behind_the_guard(
    board: VirtualBoard, server: FtpServer, release: Callable[..., Path]
) -> None:
    put_boot(board, "answer = 42\nprint('own boot')\n")
    application = release("1.0.0.1", "one")
    for _ in range(2):  # flashed again, it is not taken for another one
        flashed = Flashed(board, server, application)
        flashed.sees("own boot")
        flashed.sees("runs one")
    assert "otaguard.boot()" in board.mpremote("fs", "cat", ":boot.py")
    # Its names are those of the REPL and of main.py, as ever.
    assert board.mpremote("exec", "print(answer)").endswith("42\n")
    # Another one that comes by itself has to be looked at.
    put_boot(board, "import network\n")
    with pytest.raises(
        UserError, match=r"has a /boot\.py and a /boot_own\.py, neither of them otalink's: .* --replace-boot"
    ):
        Flashed(board, server, application)
    assert "network" in board.mpremote("fs", "cat", ":boot.py")
    flash(
        board.pty,
        application,
        {"name": "thermostat", "host": "x"},
        replace_boot=True,
        check=False,
        say=lambda line: None,
    )
    assert "otaguard.boot()" in board.mpremote("fs", "cat", ":boot.py")


@pytest.mark.parametrize("text", ["# This file is executed on every boot\n#import esp\n\n"])
def test_a_boot_py_that_does_nothing_is_replaced(
    board: VirtualBoard, server: FtpServer, release: Callable[..., Path], text: str
) -> None:
    put_boot(board, text)
    Flashed(board, server, release("1.0.0.1", "one")).sees("runs one")
    assert "otaguard.boot()" in board.mpremote("fs", "cat", ":boot.py")


def test_a_boot_py_that_goes_on_behind_the_guard_stays_as_it_is(
    board: VirtualBoard, server: FtpServer, release: Callable[..., Path]
) -> None:
    application = release("1.0.0.1", "one")
    Flashed(board, server, application).sees("runs one")
    board.mpremote("exec", "with open('/boot.py', 'a') as f: f.write('print(\"own\", \"boot\")\\n')")
    flashed = Flashed(board, server, application)
    flashed.sees("own boot")
    flashed.sees("runs one")


def test_flashing_ends_the_update_that_was_on(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"), confirm_after=500)
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two"), served)
    flashed.sees("runs two")
    Flashed(board, server, release("1.0.0.3", "three")).sees("runs three")
    listing = flashed.listing()
    assert "ota-old" not in listing
    assert "trial" not in listing
