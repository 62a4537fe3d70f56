"""Note 70's acceptance test: equal counts are seen to be equal, and a planted loss is found."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from otalink.frame import LENGTH_MAX, encode_frame
from otalink_host.connection import LinkOptions
from otalink_host.errors import UserError
from otalink_host.peer import Client, Handler, Peer
from otalink_host.peer_client import PeerClient
from otalink_host.soak import Plan, Soak, SoakHandler

LOOPBACK = "127.0.0.1"


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 60))


def peer_for(handler: Handler, **changes: Any) -> Peer:
    return Peer(handler, **{"address": LOOPBACK, "port": 0, **changes})


async def soak_with(peer: Peer, plan: Plan) -> Soak:
    """A soak as a client of `peer`."""
    soak = Soak(plan)
    async with PeerClient(LOOPBACK, peer.port, faults=True) as link:

        async def receive() -> None:
            async for item in link:
                if isinstance(item, tuple):
                    soak.fault(item[0])
                else:
                    soak.received(item)
            soak.lost(link.closed or "")

        receiving = asyncio.ensure_future(receive())
        await soak.run(link.connection)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return soak


class Echo(Handler):
    """Sends texts back; but for those of which `change` says that it did something else."""

    def __init__(self, change: "Callable[[Client, int, str], bool] | None" = None) -> None:
        self._change = change
        self._count = 0

    async def text(self, client: Client, text: str) -> None:
        self._count += 1
        if self._change is None or not self._change(client, self._count, text):
            await client.send_patiently(text)


def test_a_thousand_frames_each_way_are_equal() -> None:
    async def main() -> None:
        plan = Plan(1000, 1500, 0.0005)
        handler = SoakHandler(plan)
        async with peer_for(handler) as peer:
            mine = await soak_with(peer, plan)
            await handler.done.wait()
        (theirs,) = handler.soaks.values()
        for soak in (mine, theirs):
            assert soak.differences == []
            assert soak.result == "sent 1,000, received 1,000 good: equal"

    run(main)


def test_frames_that_are_sent_back_are_equal() -> None:
    async def main() -> None:
        async with peer_for(Echo()) as peer:
            soak = await soak_with(peer, Plan(1000, 1500))
            assert soak.differences == []

    run(main)


def test_answers_without_a_number_are_counted() -> None:
    class Answers(Handler):
        def text(self, client: Client, text: str) -> None:
            client.send("got it")

    async def main() -> None:
        async with peer_for(Answers()) as peer:
            soak = await soak_with(peer, Plan(100))
            assert (soak.differences, soak.good) == ([], 100)

    run(main)


def test_frames_without_a_number_among_those_with_one_make_it_differ() -> None:
    def adds(client: Client, count: int, text: str) -> bool:
        if count in (3, 4):
            client.send("and one more")
        return False

    async def main() -> None:
        async with peer_for(Echo(adds)) as peer:
            soak = await soak_with(peer, Plan(100))
            assert (soak.differences, soak.good) == (["2 without a number"], 100)

    run(main)


def test_who_only_counts_is_expected_to_send_nothing() -> None:
    async def main() -> None:
        async with peer_for(Handler()) as peer:
            soak = await soak_with(peer, Plan(100, expected=0))
            assert soak.differences == []
            assert peer.counters().frames_in == 100

    run(main)


Change = Callable[[Client, int, str], bool]
PLANTED: dict[str, tuple[Change, list[str]]] = {}


def planted(*expected: str) -> Callable[[Change], Change]:
    """Registers something that goes wrong on the way, and what is to be found."""

    def register(change: Change) -> Change:
        PLANTED[change.__name__] = change, list(expected)
        return change

    return register


@planted("1 missing")
def a_frame_is_lost(client: Client, count: int, text: str) -> bool:
    return count == 50


@planted("1 missing")
def the_last_frame_is_lost(client: Client, count: int, text: str) -> bool:
    return count == 100


@planted("2 twice")
def two_frames_come_twice(client: Client, count: int, text: str) -> bool:
    if count in (1, 100):
        client.send(text)
    return False


@planted("1 out of order")
def two_frames_change_places(client: Client, count: int, text: str) -> bool:
    if count == 50:
        client.data = text
    elif count == 51:
        client.send(text)
        client.send(client.data)
    return count in (50, 51)


@planted("1 missing", "1 wrong CRC")
def a_frame_is_damaged(client: Client, count: int, text: str) -> bool:
    if count == 50:
        frame = bytearray(encode_frame(text))
        frame[100] ^= 1
        client.send_frame(bytes(frame), text)
    return count == 50


@planted("1 missing", "1 no frame")
def a_frame_becomes_garbage(client: Client, count: int, text: str) -> bool:
    if count == 50:
        client.send_frame(b"garbage" * 20, text)
    return count == 50


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_on_the_way_is_found(name: str) -> None:
    change, expected = PLANTED[name]

    async def main() -> None:
        async with peer_for(Echo(change)) as peer:
            soak = await soak_with(peer, Plan(100, 200, patience=1.0))
            assert soak.differences == expected
            assert "DIFFERS" in soak.result

    run(main)


def test_a_connection_that_breaks_is_found() -> None:
    def breaks(client: Client, count: int, text: str) -> bool:
        if count == 50:
            client.abort()
        return False

    async def main() -> None:
        async with peer_for(Echo(breaks)) as peer:
            soak = await soak_with(peer, Plan(1000, 200, 0.001, patience=1.0))
            assert soak.missing >= 950
            assert soak.sent < 1000
            assert "the other end closed it" in soak.differences[-1] or "broke off" in soak.differences[-1]

    run(main)


def test_two_soaks_of_different_length_differ() -> None:
    async def main() -> None:
        handler = SoakHandler(Plan(50, 200, patience=1.0))
        async with peer_for(handler) as peer:
            mine = await soak_with(peer, Plan(100, 200, patience=1.0))
            await handler.done.wait()
        (theirs,) = handler.soaks.values()
        assert mine.differences[0] == "50 missing"
        assert theirs.differences[0] == "50 of another soak"

    run(main)


def test_a_slow_other_end_is_waited_for() -> None:
    class Slow(Handler):
        async def text(self, client: Client, text: str) -> None:
            await asyncio.sleep(0.001)
            await client.send_patiently(text)

    async def main() -> None:
        async with peer_for(Slow(), options=LinkOptions(send_limit=20_000)) as peer:
            soak = await soak_with(peer, Plan(500, 5000))
            assert soak.differences == []

    run(main)


@pytest.mark.parametrize(("count", "size"), [(0, 1500), (10_000_001, 1500), (1, 31), (1, LENGTH_MAX + 1)])
def test_a_plan_that_cannot_be_is_one_line(count: int, size: int) -> None:
    with pytest.raises(UserError, match="a soak"):
        Plan(count, size)


@pytest.mark.parametrize("size", [32, 33, 1500, LENGTH_MAX])
def test_a_soaks_frames_have_the_size_that_was_asked_for(size: int) -> None:
    soak = Soak(Plan(1000, size))
    for number in (1, 999):
        text = soak.text(number)
        assert len(text) == size
        assert not set("@;") & set(text)
