"""A virtual board, flashed as a user would, updates itself from the real server; and what bad input gets there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flashed import PASSWORD, PATIENCE, Flashed

from otalink_host.repository import publish
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard


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
