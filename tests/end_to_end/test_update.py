"""A virtual board, flashed as a user would, updates itself from the real server; and what bad input gets there."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otalink_host.flash import flash
from otalink_host.repository import publish
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

PASSWORD = "a-password-of-the-tests"
PATIENCE = 30.0
MAIN = """
import asyncio, otalink, thermostat

async def main():
    updater = otalink.Updater()
    asyncio.create_task(updater.run())
    print("runs", thermostat.GREETING)
    while True:
        await asyncio.sleep(1)

asyncio.run(main())
"""


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def server(served: Path) -> Iterator[FtpServer]:
    settings = Settings(accounts=(Account("board", served, "/test"),), passive_ports=None)
    with BackgroundServer(settings, {"board": PASSWORD}, failed_login_delay=0.1) as running:
        yield running


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a release: `release("1.0.0.2", greeting="hello", **{"name.bin": content})`."""

    def make(version: str, greeting: str, **files: bytes) -> Path:
        folder = tmp_path / f"release-{version}-{greeting}"
        folder.mkdir()
        (folder / "main.py").write_text(MAIN)
        (folder / f"thermostat_{version}.py").write_text(f"GREETING = {greeting!r}\n")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return make


class Flashed:
    """One board, flashed with 1.0.0.1 and these settings; `sees` waits for what it prints."""

    def __init__(self, board: VirtualBoard, server: FtpServer, application: Path, **settings: object) -> None:
        self.board = board
        self.seen = board.mark()
        values = {
            "name": "thermostat",
            "host": "127.0.0.1",
            "port": server.port,
            "user": "board",
            "password": PASSWORD,
            "folder": "/test",
            "interval": 1,
            "jitter": 0,
            "start_delay": 0,
            "confirm_after": 1,
            "retry_delay": 0.1,
            "timeout": 5,
        }
        flash(board.pty, application, {**values, **settings}, say=lambda line: None)

    def sees(self, pattern: str) -> None:
        self.seen = self.board.wait_for(re.compile(pattern), PATIENCE, since=self.seen).end()

    def listing(self, folder: str = "/") -> str:
        return self.board.mpremote("fs", "ls", "-r", folder)


def test_a_board_goes_from_release_to_release(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one", **{"old.txt": b"old"}))
    flashed.sees("runs one")
    for number, greeting in ((2, "two"), (3, "three"), (10, "ten")):
        publish(release(f"1.0.0.{number}", greeting), served)
        flashed.sees(rf"thermostat 1\.0\.0\.{number} is committed; restarting")
        flashed.sees(f"runs {greeting}")
        flashed.sees(rf"thermostat 1\.0\.0\.{number} is confirmed")
    listing = flashed.listing()
    assert "old.txt" not in listing
    assert "ota-new" not in listing
    assert "thermostat_" not in listing
    assert "version 1.0.0.10" in board.mpremote("fs", "cat", ":.otalink/installed")


def test_with_differs_an_operator_takes_the_board_back(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.5", "five"), policy="differs", restart="soft")
    publish(release("1.0.0.4", "four"), served)
    flashed.sees(r"thermostat 1\.0\.0\.4 is offered, 1\.0\.0\.5 is here")
    flashed.sees("runs four")
    flashed.sees(r"thermostat 1\.0\.0\.4 is confirmed")


def test_a_board_killed_at_many_moments_of_an_update_arrives_at_the_release(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    publish(release("1.0.0.2", "two", **{"curves.bin": bytes(400_000)}), served)
    flashed.sees("is offered")
    for _ in range(5):
        board.kill()
        board.start()
        flashed.sees("runs (one|two)")
        board.wait_for(re.compile("is offered|latest version"), PATIENCE, since=flashed.seen)
    flashed.sees(r"thermostat 1\.0\.0\.2 is the latest version")
    assert "ota-new" not in flashed.listing()


def publish_by_hand(served: Path, *names: str) -> None:
    for name in names:
        (served / name).write_text("GREETING = 'never'\n")


@pytest.mark.parametrize(
    ("settings", "names", "line"),
    [
        ({"password": "wrong"}, (), r"refused the login of board .*check user and password"),
        ({"port": 1}, (), r"127\.0\.0\.1:1: .*is the server running"),
        ({}, ("thermostat_1.0.0.2.py", "heater_1.0.0.2.py"), "two applications, thermostat and heater"),
        ({}, ("thermostat_1_0.py",), r"thermostat_1_0\.py: a release name has exactly one underscore"),
        ({}, ("thermostat_1.0.x.py",), r"thermostat_1\.0\.x\.py: .*each field must be a number"),
        ({}, ("thermostat_1.0.0.65536.py",), r"thermostat_1\.0\.0\.65536\.py: .*a field is over 65535"),
        ({}, ("thermostat_1.0.0.2.py", "thermostat_1.0.0.2.mpy"), "are the same version: leave one of them"),
    ],
)
def test_bad_input_gets_one_line_and_the_board_runs_on(
    board: VirtualBoard,
    server: FtpServer,
    served: Path,
    release: Callable[..., Path],
    settings: dict[str, object],
    names: tuple[str, ...],
    line: str,
) -> None:
    publish_by_hand(served, *names)
    flashed = Flashed(board, server, release("1.0.0.1", "one"), **settings)
    flashed.sees("runs one")
    start = flashed.seen
    flashed.sees(line)
    flashed.sees(line)  # at the next check again: the board has not stopped looking
    printed = board.output[start:]
    assert "Traceback" not in printed
    assert PASSWORD not in printed
    assert "ota-new" not in flashed.listing()


def test_a_full_flash_gets_one_line_and_the_board_runs_on(
    board: VirtualBoard, server: FtpServer, served: Path, release: Callable[..., Path]
) -> None:
    publish(release("1.0.0.2", "two", **{"huge.bin": bytes(3_000_000)}), served)
    flashed = Flashed(board, server, release("1.0.0.1", "one"))
    flashed.sees("runs one")
    flashed.sees(r"the flash is too full: the update needs \d+ bytes, \d+ are free; remove files")
    flashed.sees(r"the flash is too full")
    assert "ota-new" not in flashed.listing()
