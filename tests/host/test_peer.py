"""The peer, as clients on real sockets see it."""

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import os
import resource
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otalink.frame import CRC_ERROR, ERROR, LENGTH_ERROR, FrameDecoder, encode_frame
from otalink_host.connection import LinkOptions
from otalink_host.errors import UserError
from otalink_host.peer import Client, Handler, Peer
from otalink_host.peer_client import PeerClient

LOOPBACK = "127.0.0.1"


class Raw:
    """A client that can send anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, profile: str) -> None:
        self.reader, self.writer, self.profile = reader, writer, profile
        self._decoder = FrameDecoder(1_000_000, profile)

    @property
    def address(self) -> str:
        host, port = self.writer.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    def send(self, text: str) -> None:
        self.writer.write(encode_frame(text, self.profile))

    async def text(self, timeout: float = 5) -> str:
        """The next text that comes."""
        while (text := self._decoder.next_text()) is None:
            data = await asyncio.wait_for(self.reader.read(65536), timeout)
            if not data:
                raise EOFError
            self._decoder.space()[: len(data)] = data
            self._decoder.received(len(data))
        return text

    async def is_closed(self, timeout: float = 5) -> bool:
        """True when the connection ends; what comes before is passed over."""
        try:
            while await asyncio.wait_for(self.reader.read(65536), timeout):
                pass
        except ConnectionError:
            pass
        return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(peer: Peer, profile: str = "utf-16-le", **more: Any) -> AsyncIterator[Raw]:
    raw = Raw(*await asyncio.open_connection(LOOPBACK, peer.port, **more), profile)
    try:
        yield raw
    finally:
        await raw.close()


class Echo(Handler):
    """Sends each text back, and notes what happens."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def connected(self, client: Client) -> None:
        self.events.append(("connected", client.address))

    def text(self, client: Client, text: str) -> None:
        client.send(text)

    def fault(self, client: Client, result: int, data: bytes) -> None:
        self.events.append(("fault", result))

    def disconnected(self, client: Client, reason: str) -> None:
        self.events.append(("disconnected", reason))

    def refused(self, address: str) -> None:
        self.events.append(("refused", address))


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 60))


def peer_for(handler: Handler | None = None, **changes: Any) -> Peer:
    return Peer(handler or Echo(), **{"address": LOOPBACK, "port": 0, **changes})


async def until(holds: Callable[[], bool], timeout: float = 5) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# --- texts, there and back


@pytest.mark.parametrize("profile", ["utf-16-le", "utf-8"])
def test_a_text_is_handed_over_and_its_answer_comes_back(profile: str) -> None:
    async def main() -> None:
        async with peer_for(options=LinkOptions(profile)) as peer, connected(peer, profile) as client:
            for text in ("21.5", "", "é😀@;", "x" * 99_999):
                client.send(text)
                assert await client.text() == text
            counters = peer.clients[0].counters
            assert (counters.frames_in, counters.frames_out, sum(counters.faults)) == (4, 4, 0)

    run(main)


def test_the_golden_frame_of_note_70_is_understood_and_sent() -> None:
    async def main() -> None:
        async with peer_for() as peer, connected(peer) as client:
            wire = "@00010A80D6516ABCDEFGHIJ;".encode("utf-16-le")
            client.writer.write(wire)
            assert await client.reader.readexactly(len(wire)) == wire

    run(main)


def test_frames_arrive_whole_in_whatever_pieces_they_come() -> None:
    async def main() -> None:
        async with peer_for() as peer, connected(peer) as client:
            client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in encode_frame("one") + encode_frame("zwei é"):
                client.writer.write(bytes((byte,)))
                await asyncio.sleep(0.001)
            assert [await client.text(), await client.text()] == ["one", "zwei é"]
            client.writer.write(encode_frame("a") * 500)
            assert [await client.text() for _ in range(500)] == ["a"] * 500

    run(main)


def test_bytes_are_sent_as_they_are() -> None:
    async def main() -> None:
        async with peer_for() as peer, connected(peer) as client:
            await until(lambda: len(peer.clients) == 1)
            assert peer.broadcast("é".encode("utf-16-le")) == 1
            assert await client.text() == "é"

    run(main)


def test_who_only_says_that_it_sends_no_more_gets_all_its_answers() -> None:
    class Slow(Handler):
        async def text(self, client: Client, text: str) -> None:
            await asyncio.sleep(0.05)
            client.send(text * 10_000)

    async def main() -> None:
        async with peer_for(Slow()) as peer, connected(peer) as client:
            for number in range(9):
                client.send(str(number))
            client.writer.write_eof()
            assert [await client.text() for _ in range(9)] == [str(number) * 10_000 for number in range(9)]
            assert await client.is_closed()

    run(main)


# --- sending to one, to some, to all


def test_one_some_or_all_are_sent_to() -> None:
    async def main() -> None:
        async with peer_for() as peer, connected(peer) as one, connected(peer) as two, connected(peer) as three:
            await until(lambda: len(peer.clients) == 3)
            assert peer.send(one.address, "for one") == 1
            assert peer.send_to(peer.find(one.address) + peer.find(two.address), "for two") == 2
            assert peer.send(LOOPBACK, "for the machine") == 3
            assert peer.broadcast("for all") == 3
            assert peer.send("192.0.2.1", "for nobody") == 0
            assert [await one.text() for _ in range(4)] == ["for one", "for two", "for the machine", "for all"]
            assert [await two.text() for _ in range(3)] == ["for two", "for the machine", "for all"]
            assert [await three.text() for _ in range(2)] == ["for the machine", "for all"]

    run(main)


def test_what_no_frame_can_carry_is_refused_and_harms_nobody() -> None:
    async def main() -> None:
        async with peer_for(options=LinkOptions(strict=True)) as peer, connected(peer) as client:
            await until(lambda: len(peer.clients) == 1)
            with pytest.raises(ValueError, match="100000 characters, a frame carries at most 99999"):
                peer.broadcast("x" * 100_000)
            with pytest.raises(ValueError, match="@ or ;"):
                peer.clients[0].send("a;b")
            peer.broadcast("good")
            assert await client.text() == "good"

    run(main)


# --- many clients


def test_there_are_thirty_clients_and_the_next_is_refused_and_counted() -> None:
    async def main() -> None:
        handler = Echo()
        async with peer_for(handler) as peer:
            clients = [Raw(*await asyncio.open_connection(LOOPBACK, peer.port), "utf-16-le") for _ in range(30)]
            await until(lambda: len(peer.clients) == 30)
            async with connected(peer) as refused:
                assert await refused.is_closed()
            assert peer.refused == 1
            assert [event for event in handler.events if event[0] == "refused"] == [("refused", refused.address)]
            await clients.pop().close()
            await until(lambda: len(peer.clients) == 29)
            async with connected(peer) as another:
                another.send("let in")
                assert await another.text() == "let in"
            for client in clients:
                client.send("still here")
                assert await client.text() == "still here"
                await client.close()

    run(main)


def test_where_it_is_full_the_one_that_was_silent_the_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otalink_host.peer.SILENT_MAX", 0.3)

    async def main() -> None:
        handler = Echo()
        async with peer_for(handler, clients=2) as peer, connected(peer) as silent, connected(peer) as active:
            await until(lambda: len(peer.clients) == 2)
            await asyncio.sleep(0.2)
            active.send("here")
            await active.text()
            async with connected(peer) as refused:
                assert await refused.is_closed()
            await asyncio.sleep(0.2)
            async with connected(peer) as new:
                new.send("let in")
                assert await new.text() == "let in"
                assert await silent.is_closed()
                assert len(peer.clients) == 2
                active.send("still here")
                assert await active.text() == "still here"
            await until(lambda: len(peer.clients) == 1)
            assert ("disconnected", "it was silent, and its place was needed") in handler.events
            assert (peer.refused, peer.counters().frames_in) == (1, 3)

    run(main)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system has other options")
def test_an_end_that_was_switched_off_is_noticed_in_a_minute() -> None:
    async def main() -> None:
        async with peer_for() as peer, connected(peer):
            await until(lambda: len(peer.clients) == 1)
            transport = peer.clients[0]._transport
            assert transport is not None
            plain = transport.get_extra_info("socket")
            assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            assert [plain.getsockopt(socket.IPPROTO_TCP, name) for name in names] == [30, 10, 3]

    run(main)


@pytest.mark.parametrize("kind", ["later", "failing", "failing later"])
def test_who_is_refused_stays_out_whatever_the_program_does_about_it(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(Echo):
        def refused(self, address: str) -> Any:
            if kind == "failing":
                raise RuntimeError("a fault of the program")
            return self._later(address)

        async def _later(self, address: str) -> None:
            self.events.append(("refused", address))
            if kind != "later":
                raise RuntimeError("a fault of the program")

    async def main() -> None:
        handler = Refusing()
        async with peer_for(handler, clients=1) as peer, connected(peer):
            await until(lambda: len(peer.clients) == 1)
            for _ in range(2):
                async with connected(peer) as refused:
                    refused.writer.write(encode_frame("over the limit"))
                    assert await refused.is_closed()
            await until(lambda: peer.refused == 2)
            if kind != "failing":
                await until(lambda: len(handler.events) == 3)
            assert peer.counters().frames_in == 0

    run(main)
    assert caplog.text.count("connections are refused") == 1
    assert ("a fault of the program" in caplog.text) == (kind != "later")


def test_a_moment_without_descriptors_is_said_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with peer_for() as peer, connected(peer) as before:
            before.send("here")
            await before.text()
            with socket.socket() as client:
                client.setblocking(False)
                resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
                try:
                    await asyncio.get_running_loop().sock_connect(client, (LOOPBACK, peer.port))
                    await asyncio.sleep(1.2)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await until(lambda: len(peer.clients) == 2)
            before.send("still here")
            assert await before.text() == "still here"

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    run(main)
    assert caplog.text.count("a connection could not be accepted") == 1


def test_a_flood_is_read_in_pieces_and_one_buffer_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    class Counted(FrameDecoder):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            nonlocal made
            made += 1
            super().__init__(*arguments, **more)

    monkeypatch.setattr("otalink_host.connection.FrameDecoder", Counted)

    async def main() -> None:
        async with peer_for() as peer:
            for _ in range(5):
                async with connected(peer) as client:
                    for text in ("one", "two"):
                        client.send(text)
                        assert await client.text() == text
                    (connection,) = peer.clients
                    assert len(connection.get_buffer(-1)) == 64 * 1024
                    connection.buffer_updated(0)
                await until(lambda: not peer.clients)
        assert made == 1

    run(main)


def test_what_comes_on_a_connection_that_is_being_closed_is_passed_over() -> None:
    async def main() -> None:
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        handler = Echo()
        async with peer_for(handler) as peer, connected(peer, limit=1024) as client:
            await until(lambda: len(peer.clients) == 1)
            while peer.broadcast("x" * 2000):
                pass
            closing = peer.clients[0]
            closing.close()
            flood = encode_frame("y" * 1000)
            for _ in range(2_000):
                client.writer.write(flood)
                await client.writer.drain()
            # More than a receive buffer holds, and none of it counts.
            assert closing.counters.bytes_in == 0
            assert await client.is_closed()
        assert failures == []

    run(main)


def test_five_hundred_clients_at_once() -> None:
    async def one(peer: Peer, number: int) -> None:
        async with connected(peer) as client:
            for turn in range(4):
                client.send(f"{number} {turn} {'x' * 200}")
                assert await client.text(30) == f"{number} {turn} {'x' * 200}"
            arrived.append(number)
            await all_there.wait()

    async def main() -> None:
        async with peer_for(clients=500) as peer:
            tasks = [asyncio.create_task(one(peer, number)) for number in range(500)]
            await until(lambda: len(arrived) == 500, 40)
            assert len(peer.clients) == 500
            # Nobody keeps a receive buffer who has nothing in it.
            assert not peer._links.receiving
            all_there.set()
            await asyncio.gather(*tasks)
            await until(lambda: not peer.clients)
            counters = peer.counters()
            assert (counters.frames_in, counters.frames_out, counters.unsent) == (2000, 2000, 0)

    arrived: list[int] = []
    all_there = asyncio.Event()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 1200), hard), hard))
    try:
        run(main)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_that_stops_reading_holds_up_nobody_and_keeps_little() -> None:
    async def main() -> None:
        handler = Echo()
        options = LinkOptions(send_limit=200_000, send_timeout=0.6)
        async with peer_for(handler, options=options) as peer, connected(peer) as deaf, connected(peer) as other:
            deaf.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.writer.transport.pause_reading()
            await until(lambda: len(peer.clients) == 2)
            (victim,) = peer.find(deaf.address)
            text = "x" * 10_000
            taken = 0
            while victim.send(text):
                taken += 1
                assert taken < 2_000
            assert victim.counters.unsent == 1
            # The queue, the last frame in it, and what may wait beside it.
            assert victim.waiting <= 200_000 + 20_030 + 2 * 64 * 1024
            for _ in range(50):
                other.send("quick")
                assert await other.text() == "quick"
            await until(lambda: ("disconnected", "it took nothing that was sent") in handler.events)
            assert victim.counters.unsent > 1
            other.send("still quick")
            assert await other.text() == "still quick"

    run(main)


def test_a_client_whose_handler_is_slow_waits_alone_and_is_bounded() -> None:
    class Slow(Handler):
        def __init__(self) -> None:
            self.free = asyncio.Event()
            self.order: list[str] = []

        async def text(self, client: Client, text: str) -> None:
            if text.startswith("slow"):
                await self.free.wait()
                self.order.append(text)
            await client.send_patiently(text)

    async def main() -> None:
        handler = Slow()
        async with peer_for(handler) as peer, connected(peer) as slow, connected(peer) as quick:
            frames = b"".join(encode_frame(f"slow {number} {'x' * 5000}") for number in range(3000))
            slow.writer.write(frames)
            quick.send("quick")
            assert await quick.text() == "quick"
            await asyncio.sleep(0.2)
            (client,) = peer.find(slow.address)
            # It is not read from any more, of all that it has sent.
            assert client.counters.bytes_in < len(frames) / 10
            handler.free.set()
            for number in range(3000):
                assert (await slow.text()).startswith(f"slow {number} ")
            assert [text.split()[1] for text in handler.order] == [str(number) for number in range(3000)]

    run(main)


def test_a_handler_that_fails_costs_one_text(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def text(self, client: Client, text: str) -> None:
            assert text != "bad"
            client.send(text)

    async def main() -> None:
        async with peer_for(Failing()) as peer, connected(peer) as client:
            for text in ("good", "bad", "good again"):
                client.send(text)
            assert [await client.text(), await client.text()] == ["good", "good again"]

    run(main)
    assert "the program failed at what it sent" in caplog.text


# --- bad input


def wire(text: str) -> bytes:
    return text.encode("utf-16-le")


NO_TEXT = struct.pack("<HH", 0xD800, 0x41)
BAD = {
    "garbage": (wire("no frame at all"), ERROR),
    "one odd byte": (b"\x40", ERROR),
    "a wrong length": (wire("@00003A80D6516ABCDEFGHIJ;"), LENGTH_ERROR),
    "a wrong CRC": (wire("@00010A80D6517ABCDEFGHIJ;"), CRC_ERROR),
    "an oversize header": (wire("@99999A80D6516"), LENGTH_ERROR),
    "half a header": (wire("@00010A80"), ERROR),
    "half a frame": (wire("@00010A80D6516ABC"), LENGTH_ERROR),
    "bytes that are no UTF-16": (encode_frame(NO_TEXT), ERROR),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_counted_under_its_kind_and_the_connection_goes_on(kind: str) -> None:
    data, result = BAD[kind]

    async def main() -> None:
        handler = Echo()
        # No header may promise more than a thousand characters.
        options = LinkOptions(receive_limit=2_030, receive_timeout=0.3)
        async with peer_for(handler, options=options) as peer, connected(peer) as client:
            client.writer.write(data)
            client.send("good")
            assert await client.text() == "good"
            await until(lambda: not peer._links.receiving)
            client.send("good again")
            assert await client.text() == "good again"
            counters = peer.clients[0].counters
            expected = [0, 0, 0, 0]
            expected[result] = 1
            assert counters.faults == expected
            assert [event for event in handler.events if event[0] == "fault"] == [("fault", result)]
            assert counters.frames_in == 2

    run(main)


def test_a_header_of_99999_and_then_nothing_is_given_up_and_nobody_else_notices() -> None:
    async def main() -> None:
        handler = Echo()
        options = LinkOptions(receive_timeout=1.0)
        async with peer_for(handler, options=options) as peer, connected(peer) as bad, connected(peer) as good:
            bad.writer.write(wire("@9999912345678") + encode_frame("hidden behind it"))
            begun = time.monotonic()
            while time.monotonic() - begun < 0.3:
                good.send("good")
                assert await good.text() == "good"
                assert ("fault", LENGTH_ERROR) not in handler.events
            # The frame that was in it comes out, and those behind it are taken.
            assert await bad.text() == "hidden behind it"
            assert time.monotonic() - begun > 0.9
            bad.send("and on")
            assert await bad.text() == "and on"
            (client,) = peer.find(bad.address)
            assert sum(client.counters.faults) == 1

    run(main)


def test_half_a_frame_at_the_end_is_a_fault() -> None:
    async def main() -> None:
        handler = Echo()
        async with peer_for(handler) as peer:
            async with connected(peer) as client:
                client.writer.write(encode_frame("cut off")[:-6])
            await until(lambda: not peer.clients and len(handler.events) == 3)
            assert handler.events[1:] == [("fault", LENGTH_ERROR), ("disconnected", "the other end closed it")]
            assert peer.counters().faults == [0, 1, 0, 0]
            assert peer.past[0].counters.faults == [0, 1, 0, 0]

    run(main)


def test_a_crc_without_its_leading_zeros_is_taken_on_request() -> None:
    number = next(n for n in range(1000) if encode_frame(str(n), "utf-8")[6:7] == b"0")
    frame = encode_frame(str(number), "utf-8")
    short = frame[:6] + frame[6:14].lstrip(b"0") + frame[14:]

    async def main(short_crc: bool) -> list[int]:
        options = LinkOptions("utf-8", short_crc=short_crc)
        async with peer_for(options=options) as peer, connected(peer, "utf-8") as client:
            client.writer.write(short)
            client.send("next")
            texts = [await client.text()]
            if short_crc:
                texts.append(await client.text())
            assert texts == ([str(number), "next"] if short_crc else ["next"])
            return peer.clients[0].counters.faults

    assert asyncio.run(main(True)) == [0, 0, 0, 0]
    assert sum(asyncio.run(main(False))) == 1


def test_garbage_without_end_is_one_fault_and_takes_no_memory() -> None:
    async def main() -> None:
        async with peer_for(options=LinkOptions(receive_limit=10_000)) as peer, connected(peer) as client:
            for _ in range(300):
                client.writer.write(b"garbage!" * 1000)
                await client.writer.drain()
            client.send("good")
            assert await client.text() == "good"
            counters = peer.clients[0].counters
            assert counters.faults == [0, 0, 0, 1]
            assert counters.dropped == 300 * 8000

    run(main)


def test_who_says_nothing_is_disconnected_where_that_is_asked_for() -> None:
    async def main() -> None:
        handler = Echo()
        options = LinkOptions(idle_timeout=1.0)
        async with peer_for(handler, options=options) as peer, connected(peer) as idle, connected(peer) as active:
            for _ in range(15):
                active.send("here")
                assert await active.text() == "here"
                await asyncio.sleep(0.1)
            assert await idle.is_closed()
            assert [client.address for client in peer.clients] == [active.address]
            assert ("disconnected", "it said nothing for too long") in handler.events

    run(main)


# --- beginning and ending


def test_a_second_server_on_the_port_and_an_address_that_is_not_here_are_one_line() -> None:
    async def main() -> None:
        async with peer_for() as peer:
            with pytest.raises(UserError, match=f"port {peer.port} is in use"):
                await peer_for(port=peer.port).start()
        with pytest.raises(UserError, match=r"192\.0\.2\.1 is no address of this machine"):
            await peer_for(address="192.0.2.1").start()

    run(main)


def test_nobody_there_is_one_line() -> None:
    async def main() -> None:
        async with peer_for() as peer:
            port = peer.port
        with pytest.raises(UserError, match=f"{LOOPBACK} port {port} refuses the connection"):
            await PeerClient(LOOPBACK, port).connect()
        with pytest.raises(UserError, match=r"there is no host no-such-host\.invalid"):
            await PeerClient("no-such-host.invalid").connect()

    run(main)


def test_closing_ends_connections_and_what_is_being_handled() -> None:
    class Endless(Handler):
        async def text(self, client: Client, text: str) -> None:
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with peer_for(Endless()) as peer, connected(peer) as one, connected(peer) as two:
            one.send("never done")
            two.send("never done")
            await until(lambda: len(peer._tasks) == 2)
            peer.broadcast("last words")
            await peer.close()
            assert await one.text() == await two.text() == "last words"
            assert await one.is_closed()
            assert not peer.clients

    run(main)


@pytest.mark.parametrize(
    "wrong",
    [
        {"profile": "utf-7"},
        {"receive_limit": 16},
        {"receive_limit": 99_999_999_999},
        {"receive_timeout": 0},
        {"send_limit": -1},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        LinkOptions(**wrong)


# --- the client form


def test_the_client_form_sends_receives_and_sees_the_end() -> None:
    async def main() -> None:
        async with peer_for() as peer, PeerClient(LOOPBACK, peer.port, faults=True) as link:
            link.send("21.5")
            assert await anext(link) == "21.5"
            peer._links.open.copy().pop()._transport.write(b"garbage")  # type: ignore[union-attr]
            peer.broadcast("behind it")
            assert await anext(link) == (ERROR, b"garbage"[:7])
            assert await anext(link) == "behind it"
            peer.clients[0].close()
            assert [text async for text in link] == []
            assert link.closed == "the other end closed it"

    run(main)


def test_a_client_that_does_not_take_what_comes_lets_the_other_end_wait() -> None:
    async def main() -> None:
        async with peer_for() as peer, PeerClient(LOOPBACK, peer.port) as link:
            await until(lambda: len(peer.clients) == 1)
            for number in range(2_000):
                while not peer.clients[0].send(f"{number} {'x' * 5000}"):
                    break
            await asyncio.sleep(0.1)
            assert len(link._inbox) < 200
            sent = peer.clients[0].counters.frames_out + len(peer.clients[0]._queue)
            for number in range(sent):
                assert (await anext(link)).startswith(f"{number} ")

    run(main)


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_carries_the_same_frames(certificate: tuple[Path, Path]) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*certificate)
    client_side = ssl.create_default_context(cafile=certificate[0])

    async def main() -> None:
        options = LinkOptions(receive_timeout=0.3)
        async with peer_for(ssl=server_side, options=options) as peer:
            async with PeerClient(LOOPBACK, peer.port, ssl=client_side) as link:
                for text in ("21.5", "x" * 90_000):
                    link.send(text)
                    assert await anext(link) == text
                # A buffer that TLS took without need is given back.
                await until(lambda: not peer._links.receiving)
            await until(lambda: not peer.clients)

    run(main)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_connections_without_a_handshake_take_no_clients_place(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otalink_host.peer.HANDSHAKES_MORE", 8)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*certificate)
    client_side = ssl.create_default_context(cafile=certificate[0])

    async def main() -> None:
        async with peer_for(ssl=server_side, clients=2) as peer, contextlib.AsyncExitStack() as stack:
            for _ in range(50):
                await stack.enter_async_context(connected(peer))
            await until(lambda: len(peer._handshakes) == 10)
            async with PeerClient(LOOPBACK, peer.port, ssl=client_side) as link:
                link.send("21.5")
                assert await anext(link) == "21.5"
                # Where it is full, nobody's handshake is even begun.
                async with PeerClient(LOOPBACK, peer.port, ssl=client_side):
                    await until(lambda: len(peer.clients) == 2)
                    before = set(peer._handshakes)
                    async with connected(peer) as refused:
                        assert await refused.is_closed()
                    assert set(peer._handshakes) <= before
            assert len(peer._handshakes) <= 10

    run(main)
    gc.collect()


# Python 3.10 leaves the transport of a handshake that failed to its garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_a_server_that_is_not_trusted_is_one_line(certificate: tuple[Path, Path]) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*certificate)

    async def main() -> None:
        async with peer_for(ssl=server_side) as peer:
            with pytest.raises(UserError, match="certificate is not trusted"):
                await PeerClient(LOOPBACK, peer.port, ssl=ssl.create_default_context()).connect()
            assert not peer.clients

    run(main)
    gc.collect()


# --- bounds


def test_clients_that_are_gone_are_remembered_in_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otalink_host.peer.PAST_MAX", 3)

    async def main() -> None:
        async with peer_for(address="0.0.0.0") as peer:
            for last in range(1, 6):
                reader, writer = await asyncio.open_connection(LOOPBACK, peer.port, local_addr=(f"127.0.0.{last}", 0))
                client = Raw(reader, writer, "utf-16-le")
                client.send("x")
                await client.text()
                await client.close()
                await until(lambda: not peer.clients)
            assert [past.name for past in peer.past] == ["127.0.0.3", "127.0.0.4", "127.0.0.5"]
            assert peer.counters().frames_in == 5

    run(main)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux tells it so")
def test_an_idle_client_costs_no_receive_buffer() -> None:
    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    async def main() -> None:
        async with peer_for(clients=200) as peer:
            clients = [Raw(*await asyncio.open_connection(LOOPBACK, peer.port), "utf-8") for _ in range(200)]
            for client in clients:
                client.writer.write(encode_frame("here"))
            before = resident()
            await until(lambda: peer.counters().frames_in == 200)
            # 200 buffers of 500,000 bytes would be 100 MB.
            assert resident() - before < 20_000_000
            for client in clients:
                await client.close()

    run(main)
