"""A board reports itself to its host over the link, and does what the host asks: all parts are real."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flashed import PATIENCE, Flashed

from otalink_host.fleet import Board, Fleet
from otalink_host.peer import AskError, Client, Handler, Report
from otalink_host.peer_thread import BackgroundPeer
from otalink_host.repository import publish
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard

SECRET = "a-secret-of-the-tests"
NAME = "shop-1"
MAIN = """
import asyncio, otalink, thermostat

async def main():
    updater = otalink.Updater()
    link = otalink.Link.from_config()
    otalink.Reporter(link, updater)
    asyncio.create_task(link.run())
    asyncio.create_task(updater.run())
    print("runs", thermostat.GREETING)
    number = 0
    while True:
        number += 1
        await link.send("reading %d" % number, keep=True)
        await asyncio.sleep_ms(50)

asyncio.run(main())
"""


class Told(Handler):
    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.texts: list[str] = []

    def report(self, client: Client, report: Report) -> None:
        self.reports.append(report)

    def text(self, client: Client, text: str) -> None:
        self.texts.append(text)

    def events(self) -> list[tuple[str, str | None]]:
        return [(report.event, report.version) for report in self.reports if report.event != "download"]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def peer(told: Told, fleet_file: Path) -> Iterator[BackgroundPeer]:
    with BackgroundPeer(told, fleet_file, secrets={NAME: SECRET}) as background:
        yield background


@pytest.fixture
def reporting(
    board: VirtualBoard, server: FtpServer, peer: BackgroundPeer, release: Callable[..., Path]
) -> Callable[..., Flashed]:
    """Flashes a board that reports itself, and checks only when it is asked to."""

    def flash(**link: object) -> Flashed:
        link = {"host": "127.0.0.1", "port": peer.port, "board": NAME, "secret": SECRET, "retry": [0.1, 0.5], **link}
        return Flashed(board, server, release("1.0.0.1", "one", MAIN), interval=3600, jitter=3600, link=link)

    return flash


def in_fleet(file: Path) -> Board | None:
    with Fleet(file, read_only=True) as fleet:
        return next((board for board in fleet.boards() if board.name == NAME), None)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def test_a_host_asks_a_board_to_check_and_sees_what_becomes_of_it(
    reporting: Callable[..., Flashed],
    peer: BackgroundPeer,
    told: Told,
    fleet_file: Path,
    release: Callable[..., Path],
    served: Path,
) -> None:
    flashed = reporting()
    flashed.sees("runs one")
    eventually(lambda: in_fleet(fleet_file))
    board = in_fleet(fleet_file)
    assert board is not None
    assert (board.application, board.version, board.state, board.platform) == (
        "thermostat",
        "1.0.0.1",
        "confirmed",
        "unix",
    )
    assert board.verified
    publish(release("1.0.0.2", "two", MAIN), served)
    answer = peer.ask(NAME, "check")
    assert answer.done
    flashed.sees("runs two")
    eventually(lambda: ("confirmed", "1.0.0.2") in told.events())
    assert told.events()[:2] == [("offered", "1.0.0.2"), ("applying", "1.0.0.2")]
    assert [report.percent for report in told.reports if report.event == "download"][-1] == 100
    eventually(lambda: getattr(in_fleet(fleet_file), "version", None) == "1.0.0.2")
    # One that does not start: the board goes back, and the fleet's list has why.
    publish(release("1.0.0.3", "three", "raise ValueError('a fault of this release')\n"), served)
    assert peer.ask(NAME, "check").done
    flashed.sees("runs two")
    eventually(lambda: "1.0.0.3" in (getattr(in_fleet(fleet_file), "state", None) or ""))
    board = in_fleet(fleet_file)
    assert board is not None
    assert board.version == "1.0.0.2"
    assert board.state == "reverted from 1.0.0.3: ValueError: a fault of this release"


def test_a_host_asks_a_board_to_restart(
    reporting: Callable[..., Flashed], peer: BackgroundPeer, fleet_file: Path
) -> None:
    flashed = reporting()
    flashed.sees("runs one")
    eventually(lambda: in_fleet(fleet_file))
    resets = flashed.board.hard_resets
    assert peer.ask(NAME, "restart").done
    flashed.sees("runs one")
    assert flashed.board.hard_resets == resets + 1
    eventually(lambda: peer.peer.find(NAME))


def test_a_board_with_another_secret_is_no_part_of_the_fleet(
    reporting: Callable[..., Flashed], peer: BackgroundPeer, told: Told, fleet_file: Path
) -> None:
    flashed = reporting(secret="somebody-else")
    flashed.sees("runs one")
    eventually(lambda: told.texts)
    assert in_fleet(fleet_file) is None
    with pytest.raises(AskError):
        peer.ask(NAME, "restart")


def test_what_a_board_keeps_arrives_once_and_in_order_although_it_is_killed(
    reporting: Callable[..., Flashed], told: Told
) -> None:
    flashed = reporting(file="/outbox")
    for _ in range(4):
        seen = len(told.texts)
        flashed.sees("runs one")
        eventually(lambda seen=seen: len(told.texts) > seen + 5)
        flashed.board.kill()
        flashed.board.start()
    numbers = [int(text.split()[1]) for text in told.texts]
    # Each start counts from one anew; within it none is lost, none twice, none out of order.
    starts = [index for index, number in enumerate(numbers) if number == 1]
    for begin, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
        assert numbers[begin:end] == list(range(1, end - begin + 1))
    assert len(starts) >= 4
