"""One framed connection on asyncio, at either end: frames come out of its stream, and frames go into it by a queue.

It knows frames, not what they mean, and keeps these rules: a connection never waits for another one; what is to be sent
waits in a queue of bounded size, and what does not fit is not taken; a receive buffer is held only while a part of a
frame lies in it; half a frame is given up when nothing more of it comes for a while.
"""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from otalink.frame import OVERHEAD, PROFILES, FrameDecoder, encode_frame

PORT = 3377
# One read takes at most this much, in bytes, so that a client that floods is not served more often than the others.
READ_MAX = 64 * 1024
# What is given to the system at once, and what may then wait for it, in bytes.
WRITE_MAX = 64 * 1024
# Of what a fault dropped so many bytes are shown.
FAULT_SHOWN = 200
# Receive buffers that are kept for the next one who needs one.
SPARE_BUFFERS = 4
# Messages of otalink's own that wait at most, beside and ahead of what the application sends.
OWN_MAX = 64
# A frame has 200,030 bytes at most: more than some of them in a client's buffer is of no use.
RECEIVE_LIMIT_MAX = 64 * 1024 * 1024
# A connection on which nothing comes is probed after so many seconds, so often, and so many times: an end that was
# switched off is noticed in a minute.
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
# What became of a frame, as note 70 numbers it (otalink.frame).
RESULTS = ("good", "wrong length", "wrong CRC", "no frame")


@dataclass(frozen=True)
class LinkOptions:
    """How frames are read and sent. Sizes are bytes, times seconds.

    `profile` is "utf-16-le" (note 70) or "utf-8". `strict` refuses to send "@" and ";", which note 70's own receiver
    cannot take; `short_crc` also takes frames whose CRC lacks its leading zeros, as its sender writes them.
    `receive_limit` is the buffer of a client, and so bounds a frame. A frame of which nothing comes any more for
    `receive_timeout` is given up. Once `send_frames` frames or `send_limit` bytes wait for a client, no more are taken
    for it; one that takes nothing for `send_timeout` is disconnected. So is one that sends nothing for `idle_timeout`.
    Raises ValueError for what cannot be.
    """

    profile: str = "utf-16-le"
    strict: bool = False
    short_crc: bool = False
    receive_limit: int = 500_000
    receive_timeout: float = 3.0
    send_limit: int = 1_000_000
    send_frames: int = 1_000
    send_timeout: float = 30.0
    idle_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"there is no profile {self.profile}: choose from {', '.join(PROFILES)}")
        if self.receive_limit < (OVERHEAD + 1) * PROFILES[self.profile]:
            raise ValueError(f"a receive limit of {self.receive_limit} bytes has no room for a frame")
        if self.receive_limit > RECEIVE_LIMIT_MAX:
            raise ValueError(f"a receive limit may be {RECEIVE_LIMIT_MAX:,} bytes at most, not {self.receive_limit:,}")
        if min(self.receive_timeout, self.send_timeout, self.send_limit, self.send_frames) <= 0:
            raise ValueError("times and limits must be above 0")


@dataclass
class Counters:
    """What went over a connection: good frames and bytes `in` and out, and what did not.

    `faults` counts by result (LENGTH_ERROR, CRC_ERROR, ERROR of otalink.frame; its first field stays 0), `dropped` the
    bytes that belonged to no frame; `unsent` the frames that found the queue full or were in it at the end.
    """

    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0
    unsent: int = 0
    faults: list[int] = field(default_factory=lambda: [0, 0, 0, 0])

    def add(self, other: "Counters") -> None:
        """Adds what `other` has counted."""
        self.frames_in += other.frames_in
        self.frames_out += other.frames_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.dropped += other.dropped
        self.unsent += other.unsent
        self.faults = [mine + theirs for mine, theirs in zip(self.faults, other.faults, strict=True)]


class Owner(Protocol):
    """Who has connections, and is told what happens on them. None of it may raise, or take long."""

    def opened(self, connection: Any) -> bool:
        """It is connected. False refuses it: it is closed, and nothing else is told of it."""

    def frame(self, connection: Any, text: str) -> None:
        """A good frame came."""

    def fault(self, connection: Any, result: int, data: bytes) -> None:
        """Something that is no good frame came: its result, and the beginning of it."""

    def settled(self, connection: Any) -> None:
        """All that had come is told; or there is room again for what is to be sent."""

    def is_busy(self, connection: Any) -> bool:
        """True while what came is still being answered: it is closed by the owner, afterwards, where the input ends."""

    def lost(self, connection: Any, reason: str) -> None:
        """It is closed."""

    def ticked(self) -> None:
        """Some time has gone by: a quarter of a second, or less."""


class Tap(Protocol):
    """Who listens to all that goes over connections."""

    def received(self, connection: Any, text: str) -> None:
        """A good frame came."""

    def sent(self, connection: Any, text: str) -> None:
        """A frame was taken to be sent."""

    def delivered(self, text: str) -> None:
        """A text that came within one of otalink's messages is handed out."""

    def fault(self, connection: Any, result: int, data: bytes) -> None:
        """Something that is no good frame came."""


class Links:
    """What the connections of one owner have in common: options, receive buffers, and a clock that looks after them."""

    def __init__(self, owner: Owner, options: LinkOptions, tap: Tap | None = None) -> None:
        self.owner = owner
        self.options = options
        self.tap = tap
        self.open: set[Connection] = set()
        # Those that have a receive buffer, and those whose peer does not take what was sent.
        self.receiving: set[Connection] = set()
        self.stalled: set[Connection] = set()
        # Where the bytes go that come on a connection while it is being closed.
        self.waste = memoryview(bytearray(READ_MAX))
        self._spare: list[_Receiver] = []
        self._tick = min(0.25, options.receive_timeout / 4, options.send_timeout / 4, (options.idle_timeout or 1) / 4)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Lets the clock run."""
        self._timer = asyncio.get_running_loop().call_later(self._tick, self._sweep)

    def stop(self) -> None:
        """Stops the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def encode(self, data: "str | bytes") -> bytes:
        """The frame of a payload. Raises ValueError for one that no frame can carry."""
        return encode_frame(data, self.options.profile, self.options.strict)

    async def close(self, wait: float) -> None:
        """Closes every connection; what is to be sent may still be, for `wait` seconds."""
        for connection in list(self.open):
            connection.close("closed here")
        deadline = time.monotonic() + wait
        while self.open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.open):
            connection.abort("closed here")
        while self.open:
            await asyncio.sleep(0)
        self.stop()

    def take(self, connection: "Connection") -> "_Receiver":
        """A receive buffer for `connection`."""
        receiver = self._spare.pop() if self._spare else _Receiver(self.options)
        receiver.connection = connection
        return receiver

    def give_back(self, receiver: "_Receiver") -> None:
        """Takes a receive buffer back, in which nothing is left."""
        receiver.connection = None
        if len(self._spare) < SPARE_BUFFERS:
            self._spare.append(receiver)

    def _sweep(self) -> None:
        now = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._tick, self._sweep)
        for connection in list(self.receiving):
            connection.check_receiving(now)
        for connection in list(self.stalled):
            connection.check_sending(now)
        if self.options.idle_timeout is not None:
            for connection in list(self.open):
                connection.check_idle(now)
        self.owner.ticked()


class _Receiver:
    """A decoder with its buffer, and who has it at present."""

    def __init__(self, options: LinkOptions) -> None:
        self.connection: Connection | None = None
        self.decoder = FrameDecoder(
            options.receive_limit, options.profile, short_crc=options.short_crc, fault=self._fault
        )
        # Of the decoder's count of dropped bytes, what was taken note of.
        self.dropped = 0

    def _fault(self, result: int, view: memoryview) -> None:
        if self.connection is not None:
            self.connection.take_fault(result, bytes(view[:FAULT_SHOWN]))


class Connection(asyncio.BufferedProtocol):
    """A connection: `send` to it, and look at its `counters`. The rest of it is called by asyncio and by its owner.

    `address` is the other end's, "IP:PORT"; `connected` and `last_seen` are seconds since 1970.
    """

    def __init__(self, links: Links) -> None:
        self.links = links
        self.counters = Counters()
        self.address = "?"
        self.host = "?"
        self.connected = self.last_seen = time.time()
        self.is_closing = False
        # The other end has said that it sends no more.
        self.is_ended = False
        self._transport: asyncio.Transport | None = None
        self._receiver: _Receiver | None = None
        self._received = time.monotonic()
        self._is_reading = False
        self._is_paused = False
        # A fault came, and no good frame since then.
        self._is_lost = False
        self._reason = ""
        self._queue: deque[bytes] = deque()
        self._queued = 0
        # What goes ahead of it.
        self._own: deque[bytes] = deque()
        # The other end does not take what was sent: how much then waited in the system's hands, and since when.
        self._is_stalled = False
        self._stalled = (0, 0.0)
        self._drained: list[asyncio.Future[None]] = []

    # --- for everybody

    @property
    def waiting(self) -> int:
        """The bytes that wait to be sent."""
        return (
            self._queued
            + sum(map(len, self._own))
            + (0 if self._transport is None else self._transport.get_write_buffer_size())
        )

    @property
    def has_room(self) -> bool:
        """False while so much waits that `send` would take nothing."""
        options = self.links.options
        return len(self._queue) < options.send_frames and self._queued < options.send_limit

    def send(self, data: "str | bytes") -> bool:
        """Sends a frame, without waiting. False when it does not: too much waits already, or it is closed.

        `data` is text, or bytes that are text in the profile. Raises ValueError for what no frame can carry.
        """
        return self.send_frame(self.links.encode(data), data)

    def send_frame(self, frame: bytes, data: "str | bytes") -> bool:
        """Sends `frame`, which is that of `data`, as `send` does: what is for many is made into a frame once."""
        if self._transport is None or self.is_closing:
            return False
        if not self.has_room:
            self.counters.unsent += 1
            return False
        self._queue.append(frame)
        self._queued += len(frame)
        self._sent(data if isinstance(data, str) else data.decode(self.links.options.profile, "replace"))
        return True

    def send_own(self, text: str) -> bool:
        """Sends a message of otalink's own, ahead of all that waits. False when too many of them wait, or it is closed.

        It needs no room in the queue: what keeps a connection going does not wait behind what goes over it.
        """
        if self._transport is None or self.is_closing:
            return False
        if len(self._own) >= OWN_MAX:
            self._flush()
            if len(self._own) >= OWN_MAX:
                return False
        self._own.append(self.links.encode(text))
        self._sent(text)
        return True

    async def send_patiently(self, data: "str | bytes") -> bool:
        """Sends a frame, as soon as there is room for it. False when the connection is closed before."""
        frame = self.links.encode(data)
        while not self.is_closing and not self.has_room:
            await self.drain()
        return self.send_frame(frame, data)

    async def drain(self) -> None:
        """Waits until all that was sent has left the queue, so that there is room; or until it is closed."""
        if self._transport is None or not (self._queue or self._own or self._is_stalled):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._drained.append(waiter)
        await waiter

    def close(self, reason: str = "closed here") -> None:
        """Closes the connection when what waits has been sent, which the send timeout bounds."""
        if self.is_closing:
            return
        self._reason = self._reason or reason
        self._flush()
        self.is_closing = True
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._watch_stall()
        if not self._queue and not self._own:
            self._transport.close()

    def abort(self, reason: str = "closed here") -> None:
        """Closes the connection at once."""
        self._reason = self._reason or reason
        self.is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Reads no more for now, so that the other end has to wait."""
        if not self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._received = time.monotonic()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def silence(self, now: float) -> float:
        """For how many seconds nothing has come by the time `now`, of time.monotonic; 0 while it is not read from."""
        return 0.0 if self._is_paused else now - self._received

    # --- for Links

    def check_receiving(self, now: float) -> None:
        """Gives up half a frame that does not go on."""
        if not self._is_paused and now - self._received >= self.links.options.receive_timeout:
            self._end_input()

    def check_sending(self, now: float) -> None:
        """Disconnects who takes nothing."""
        waiting, since = self._stalled
        if self._transport is None:
            self.links.stalled.discard(self)
        elif (size := self._transport.get_write_buffer_size()) != waiting:
            self._stalled = (size, now)
        elif now - since >= self.links.options.send_timeout:
            self.abort("it took nothing that was sent")

    def check_idle(self, now: float) -> None:
        """Disconnects who says nothing."""
        idle = self.links.options.idle_timeout
        if idle is not None and self.silence(now) >= idle:
            self.close("it said nothing for too long")

    def take_fault(self, result: int, data: bytes) -> None:
        """Takes note of a fault that the decoder found."""
        self.counters.faults[result] += 1
        self._is_lost = True
        if self.links.tap is not None:
            self.links.tap.fault(self, result, data)
        self.links.owner.fault(self, result, data)

    # --- for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        self.host, self.address = host_and_address(transport.get_extra_info("peername"))
        self.connected = self.last_seen = time.time()
        self._received = time.monotonic()
        if not self.links.owner.opened(self):
            self._transport = None
            transport.abort()
            return
        self.links.open.add(self)
        transport.set_write_buffer_limits(WRITE_MAX)
        plain = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                # Each system has its own of these.
                if hasattr(socket, name):
                    plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self.is_closing:
            # Nobody looks at it any more.
            return self.links.waste
        receiver = self._receiver
        if receiver is None:
            receiver = self._receiver = self.links.take(self)
            # TLS may ask for a buffer and then have nothing to put there.
            self.links.receiving.add(self)
        return receiver.decoder.space()[:READ_MAX]

    def buffer_updated(self, nbytes: int) -> None:
        if self._receiver is None or self.is_closing:
            return
        self.counters.bytes_in += nbytes
        self.last_seen = time.time()
        self._received = time.monotonic()
        self._receiver.decoder.received(nbytes)
        self._read()

    def eof_received(self) -> bool:
        self._end_input()
        self.is_ended = True
        self._reason = self._reason or "the other end closed it"
        if not self.links.owner.is_busy(self):
            self.close()
        # What is to be sent still is, where the other end only said that it sends no more. TLS has no such thing.
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if self not in self.links.open:
            return
        self._end_input()
        if self._receiver is not None:
            self.links.receiving.discard(self)
            self._receiver.connection = None
            self._receiver = None
        self.links.open.discard(self)
        self.links.stalled.discard(self)
        self.is_closing = True
        if self._transport is not None:
            # TLS wants to be told, although it is over.
            self._transport.close()
            self._transport = None
        self.counters.unsent += len(self._queue)
        self._own.clear()
        self._queue.clear()
        self._queued = 0
        self._wake()
        if exc is not None and not self._reason:
            self._reason = f"it broke off ({getattr(exc, 'strerror', None) or exc})"
        self.links.owner.lost(self, self._reason or "the other end closed it")

    def pause_writing(self) -> None:
        self._is_stalled = True
        self._watch_stall()

    def resume_writing(self) -> None:
        # Not at once: a transport that is closed from within this call tells twice that it is.
        asyncio.get_running_loop().call_soon(self._resumed)

    # --- its own

    def _resumed(self) -> None:
        self._is_stalled = False
        if self._transport is None:
            return
        if not self.is_closing:
            self.links.stalled.discard(self)
        self._flush()
        if self.is_closing and not self._queue and not self._own:
            self._transport.close()
        elif not self.is_closing:
            self.links.owner.settled(self)

    def _read(self, is_ended: bool = False) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        owner, tap = self.links.owner, self.links.tap
        decoder = receiver.decoder
        if is_ended:
            decoder.end()
        # What is answered to all that came together is also sent together.
        self._is_reading = True
        try:
            while not self.is_closing and (text := decoder.next_text()) is not None:
                self.counters.frames_in += 1
                self._is_lost = False
                if tap is not None:
                    tap.received(self, text)
                owner.frame(self, text)
            owner.settled(self)
        finally:
            self._is_reading = False
        if self._queue or self._own:
            self._flush()
        self.counters.dropped += decoder.dropped - receiver.dropped
        receiver.dropped = decoder.dropped
        if is_ended:
            self._is_lost = False
        if not self.is_closing and not self._is_lost and not decoder.is_waiting():
            self._receiver = None
            self.links.receiving.discard(self)
            self.links.give_back(receiver)

    def _end_input(self) -> None:
        # What is in the buffer is all that there is. It is not looked at where the connection is closed on purpose.
        if not self.is_closing:
            self._read(is_ended=True)

    def _flush(self) -> None:
        transport = self._transport
        own, queue = self._own, self._queue
        while (own or queue) and not self._is_stalled and transport is not None and not transport.is_closing():
            frames = list(own)
            own.clear()
            size = own_size = sum(map(len, frames))
            while queue and size < WRITE_MAX:
                size += len(queue[0])
                frames.append(queue.popleft())
            self._queued -= size - own_size
            self.counters.frames_out += len(frames)
            self.counters.bytes_out += size
            transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if self._drained and not own and not queue and not self._is_stalled:
            self._wake()

    def _sent(self, text: str) -> None:
        if self.links.tap is not None:
            self.links.tap.sent(self, text)
        if not self._is_reading:
            self._flush()

    def _watch_stall(self) -> None:
        if self._transport is not None:
            self._stalled = (self._transport.get_write_buffer_size(), time.monotonic())
            self.links.stalled.add(self)

    def _wake(self) -> None:
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_result(None)
        self._drained.clear()


def send_to_all(connections: "Iterable[Connection]", data: "str | bytes", links: Links) -> int:
    """Sends a frame to each of `connections`; how many took it. Raises ValueError for what no frame can carry."""
    frame = links.encode(data)
    return sum(connection.send_frame(frame, data) for connection in connections)


def printable(text: str, limit: int = 200) -> str:
    """`text` from elsewhere, fit for one line on a terminal, and cut where it is too long."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:limit])
    return shown if len(text) <= limit else shown + f"… ({len(text):,} characters)"


def host_and_address(name: Any) -> tuple[str, str]:
    """The IP address, and "IP:PORT", of a socket's name."""
    if not isinstance(name, tuple):
        return "?", "?"
    host = str(name[0]).removeprefix("::ffff:")
    return host, f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"
