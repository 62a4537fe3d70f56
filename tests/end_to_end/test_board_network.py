"""A virtual board whose settings have what only hardware has: it says so in a line, and does all the rest."""

from collections.abc import Callable
from pathlib import Path

from flashed import Flashed

from otalink_host.repository import publish
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard


def test_a_board_without_wifi_says_one_line_and_updates_itself(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"), wifi={"ssid": "shop", "password": "not-to-be-shown"})
    flashed.sees("runs one")
    flashed.sees("this board's port has no network of its own: it is taken to be in one already")
    publish(release("1.0.0.2", "two"), served)
    flashed.sees("runs two")
    flashed.sees(r"thermostat 1\.0\.0\.2 is confirmed")
    assert "not-to-be-shown" not in board.output


FED = """
import asyncio, otalink, thermostat

async def main():
    updater = otalink.Updater()
    asyncio.create_task(updater.run())
    print("runs", thermostat.GREETING)
    while True:
        updater.feed()
        await asyncio.sleep_ms(100)
        if thermostat.GREETING == "hangs":
            while True:
                pass

asyncio.run(main())
"""


def test_the_watchdog_of_the_settings_ends_a_release_that_hangs(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one", main=FED), watchdog=3)
    flashed.sees("runs one")
    publish(release("1.0.0.2", "hangs", main=FED), served)
    flashed.sees("runs hangs")
    flashed.sees("runs hangs")
    flashed.sees("runs hangs")
    flashed.sees("runs one")
