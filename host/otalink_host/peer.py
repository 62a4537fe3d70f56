"""The peer: the server that boards, and a vendor's devices, exchange frames with. For programs, and for `otalink peer`.

It prints nothing and reads no settings; what there is to say of it goes to the logger `otalink.peer`. It keeps these
rules: no client holds up another; nothing that a client sends ends the peer, or lets it hold more than its limits; what
a board says of itself counts for as much as it has proven (docs/link.md), and no secret is ever shown or logged.
"""

import asyncio
import contextlib
import inspect
import logging
import re
import secrets as random_secrets
import socket
import ssl as tls
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from otalink.message import format_message, is_message, parse_message
from otalink.secret import is_proven, prove_ask
from otalink_host.board_secrets import is_board_name
from otalink_host.connection import (
    PORT,
    RESULTS,
    Connection,
    Counters,
    LinkOptions,
    Links,
    Tap,
    host_and_address,
    printable,
    send_to_all,
)
from otalink_host.errors import UserError
from otalink_host.fleet import Fleet, FleetError
from otalink_host.listening import listen, raise_descriptor_limit

logger = logging.getLogger("otalink.peer")

# Note 70's.
CLIENTS = 30
# Frames that wait for a handler to come to them; beyond that their sender has to.
INBOX_MAX = 64
# Numberings that are remembered without a database: so many of verified boards, and of all others.
SEQUENCES_MAX = 10_000
# Numberings that await an acknowledgement on one connection whose other end takes nothing.
ACKS_MAX = 64
# Of clients that are gone, so many are remembered.
PAST_MAX = 1_000
# Reports, and what is kept, that wait until their sender has proven who it is, for at most so many seconds.
HELD_MAX = 64
VERIFY_TIMEOUT = 10.0
ASK_TIMEOUT = 30.0
HANDSHAKE_TIMEOUT = 10.0
# TLS handshakes under way at once are as many as there may be clients, and so many more; the oldest gives way to the
# next.
HANDSHAKES_MORE = 64
# Where there are as many clients as may be, the one that was silent the longest gives way, if for so many seconds.
SILENT_MAX = 60.0
# Who is sent away while so many of them are still being told to the program is counted only.
REFUSALS_MAX = 64
# The same complaint is not made again for so many seconds.
COMPLAINT_INTERVAL = 60.0
COMPLAINTS_MAX = 100
# A database that failed is left alone for so many seconds: nobody is served while another program's lock is awaited.
FLEET_REST = 5.0
# After a connection could not be accepted, the next is tried in so many seconds.
ACCEPT_REST = 0.5
# How often the database learns who was heard, in seconds.
SEEN_INTERVAL = 5.0

Handled = Awaitable[None] | None


class AskError(UserError):
    """A board could not be asked, or did not answer."""


@dataclass(frozen=True)
class Hello:
    """What a board says that it is (docs/link.md). None is what it did not say.

    `failed` is the release that it went back from, and `reason` why, where its `state` is "reverted".
    """

    board: str
    challenge: str
    application: str | None = None
    version: str | None = None
    state: str | None = None
    platform: str | None = None
    otalink: str | None = None
    failed: str | None = None
    reason: str | None = None

    @property
    def condition(self) -> str | None:
        """Its state in a few words."""
        if self.failed is None:
            return self.state
        return f"{self.state} from {self.failed}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True)
class Report:
    """What a board reports of an update (docs/link.md). `verified` tells whether it has proven to be that board."""

    event: str
    version: str | None = None
    percent: float | None = None
    reason: str | None = None
    verified: bool = False


@dataclass(frozen=True)
class Answer:
    """What a board answered: whether it does what it was asked for, and if not, why."""

    done: bool
    text: str


@dataclass
class Past:
    """What is left of clients that are gone: by board, or by IP address."""

    name: str
    connections: int = 0
    last_seen: float = 0
    reason: str = ""
    counters: Counters = field(default_factory=Counters)


class Client(Connection):
    """A client of the peer. `send` sends to it; see Connection.

    `hello` is what it says of itself, None when it said nothing. `is_verified` is True when it has proven it,
    `is_admitted` when it is taken for that board: verified, or in a peer that has no secrets at all.
    `data` is the application's own.
    """

    def __init__(self, links: Links, is_undecided: bool) -> None:
        super().__init__(links)
        self.hello: Hello | None = None
        self.is_verified = False
        self.is_admitted = False
        # Messages that look like otalink's own and are not.
        self.odd = 0
        self.data: Any = None
        # Who it is may still be proven.
        self._is_undecided = is_undecided
        self._challenge: str | None = None
        self._held: list[Call] = []
        self._held_since = 0.0
        self._task: asyncio.Task[None] | None = None
        self._inbox: deque[Call] = deque()
        # Held messages' characters; acknowledgements that are due, or have found no room yet.
        self._held_size = 0
        self._acks: dict[str, int] = {}
        self._has_failed = False
        self._is_doubted = False
        self._asked = 0
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._seen = 0.0

    @property
    def board(self) -> str | None:
        """The board that it is taken for."""
        return self.hello.board if self.hello is not None and self.is_admitted else None

    def __str__(self) -> str:
        return f"{self.board} at {self.address}" if self.board else self.address


Call = tuple[Callable[..., Handled], tuple[Any, ...]]
# Whose it is, "" for all who have not proven who they are; and its sequence (docs/link.md).
Numbering = tuple[str, str]
T = TypeVar("T")


class Handler:
    """What a program does with what comes. Override what you need, with `def` or with `async def`.

    What a client sends is handed over in its order: while an `async def` is at it, that client's next waits, and no
    other's. An exception is logged, and the connection goes on; but a message that was sent with keep=True is then not
    acknowledged: the connection is closed, so that the board sends it again.
    """

    def connected(self, client: Client) -> Handled:
        """A client has connected."""

    def text(self, client: Client, text: str) -> Handled:
        """A client sent a text, which its link has brought once."""

    def identified(self, client: Client) -> Handled:
        """It said who it is: `client.hello`; and whether that is proven: `client.is_verified`."""

    def report(self, client: Client, report: Report) -> Handled:
        """A board reports an update's progress or outcome."""

    def fault(self, client: Client, result: int, data: bytes) -> Handled:
        """Something came that is no good frame; `data` is the beginning of it, as far as it is known."""

    def disconnected(self, client: Client, reason: str) -> Handled:
        """A client has gone."""

    def refused(self, address: str) -> Handled:
        """Somebody was sent away, as there are as many clients as may be."""


class Peer:
    """The server. `async with Peer(handler) as peer:` listens; leaving the block closes every connection.

    `clients` is how many there may be at once, `address` where it listens ("0.0.0.0": everywhere), `port` 0 a free one.
    `secrets` has each board's secret: with it, only boards that have proven who they are come into the fleet. `fleet`
    keeps what boards say, and what was delivered, beyond the end of the process. `tap` is told of each frame.
    Raises UserError when it cannot listen there.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        address: str = "0.0.0.0",
        port: int = PORT,
        clients: int = CLIENTS,
        options: LinkOptions | None = None,
        ssl: tls.SSLContext | None = None,
        secrets: Mapping[str, str] | None = None,
        fleet: Fleet | None = None,
        tap: Tap | None = None,
        verify_timeout: float = VERIFY_TIMEOUT,
    ) -> None:
        self.address = address
        self.port = port
        self.limit = clients
        self.secrets = secrets
        # Connections that were sent away, and messages that were delivered once and came again.
        self.refused = 0
        self.repeated = 0
        self._handler = handler
        self._ssl = ssl
        self._fleet = fleet
        self._verify_timeout = verify_timeout
        self._links = Links(self, options or LinkOptions(), tap)
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: OrderedDict[asyncio.Task[None], None] = OrderedDict()
        self._refusals: set[asyncio.Task[None]] = set()
        self._clients: set[Client] = set()
        self._boards: dict[str, Client] = {}
        self._holding: set[Client] = set()
        # What was delivered, by numbering: of verified boards, and of all others, which so cannot push those out.
        self._sequences: tuple[OrderedDict[Numbering, int], OrderedDict[Numbering, int]] = OrderedDict(), OrderedDict()
        # Numberings of which a message is being handled, and what tells when it is done.
        self._busy: dict[Numbering, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = Counters()
        self._past: OrderedDict[str, Past] = OrderedDict()
        self._complaints: dict[str, float] = {}
        self._fleet_failure = ""
        self._fleet_rests = 0.0
        self._noted = 0.0
        self._pong = format_message("pong")

    async def start(self) -> None:
        """Listens. Raises UserError when it cannot."""
        needed = self.limit + 64 + (0 if self._ssl is None else self.limit + HANDSHAKES_MORE)
        possible = raise_descriptor_limit(needed)
        if possible < needed:
            logger.warning(
                "%d clients need %d open files and this account may have %d: raise the limit (ulimit -n)",
                self.limit,
                needed,
                possible,
            )
        listener = listen(self.address, self.port, PORT)
        self.address, self.port = listener.getsockname()[:2]
        listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))
        # One turn, so that it has begun: what never began could not be cancelled in good order.
        await asyncio.sleep(0)
        self._links.start()

    async def close(self, wait: float = 1.0) -> None:
        """Listens no more, and closes the connections; what waits may still be sent, for `wait` seconds."""
        if self._accepting is not None:
            accepting, self._accepting = self._accepting, None
            await self._cancel([accepting])
            await self._cancel(self._handshakes)
        await self._links.close(wait)
        await self._cancel([*self._tasks, *self._refusals])
        self._commit()

    async def _cancel(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        await asyncio.sleep(0)
        tasks = list(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "Peer":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def serve_forever(self) -> None:
        """Waits until it is cancelled."""
        await asyncio.get_running_loop().create_future()

    # --- who is there

    @property
    def clients(self) -> list[Client]:
        """The clients, the longest connected first."""
        return sorted(self._clients, key=lambda client: client.connected)

    @property
    def past(self) -> list[Past]:
        """What is left of the clients that went last."""
        return list(self._past.values())

    def counters(self) -> Counters:
        """What went over all connections, those that are closed included."""
        total = Counters()
        total.add(self._gone)
        for client in self._clients:
            total.add(client.counters)
        return total

    def find(self, who: str) -> list[Client]:
        """The clients that `who` means: "IP:PORT", "IP" (note 70) for all that have it, or a board's name."""
        # In this order: a board that calls itself by another's address gets nothing that is meant for that one.
        found = [client for client in self._clients if who in (client.address, client.host)]
        if not found and who in self._boards:
            return [self._boards[who]]
        return sorted(found, key=lambda client: client.connected)

    # --- sending

    def send(self, who: str, data: "str | bytes") -> int:
        """Sends a frame to `who`, see `find`. How many took it: 0 when nobody of that name is there, or has room.

        Raises ValueError for what no frame can carry.
        """
        return self.send_to(self.find(who), data)

    def send_to(self, clients: Iterable[Client], data: "str | bytes") -> int:
        """Sends a frame to some clients. How many took it."""
        return send_to_all(clients, data, self._links)

    def broadcast(self, data: "str | bytes") -> int:
        """Sends a frame to all clients. How many took it."""
        return send_to_all(list(self._clients), data, self._links)

    async def ask(self, board: "str | Client", what: str, *, timeout: float = ASK_TIMEOUT) -> Answer:
        """Asks a board to "check", "report" or "restart" (docs/link.md), and waits for its answer.

        Raises AskError when it is not there, has not proven who it is, or does not answer within `timeout` seconds.
        Not to be awaited in a handler of the same client, whose answer might wait behind it.
        """
        client = board if isinstance(board, Client) else self._boards.get(board)
        if client is None or client.is_closing:
            raise AskError(f"{board} is not connected")
        hello = client.hello
        secret = None if hello is None or self.secrets is None else self.secrets.get(hello.board)
        if hello is None or secret is None:
            raise AskError(f"{client}: no secret of it is known here, and without one it does nothing that it is asked")
        if not client.is_verified:
            raise AskError(f"{client} has not proven who it is")
        client._asked += 1
        number = client._asked
        mac = prove_ask(secret, hello.board, hello.challenge, number, what)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        client._answers[number] = answer
        try:
            if not client.send_own(format_message("ask", id=number, what=what, mac=mac)):
                raise AskError(f"{client} takes nothing at present")
            return await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            raise AskError(f"{client} gave no answer in {timeout:g} s") from None
        finally:
            client._answers.pop(number, None)

    # --- who may come

    async def _accept(self, listener: socket.socket) -> None:
        # By itself, not by asyncio's server: that one begins a TLS handshake with whoever comes, however many.
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    accepted, name = await loop.sock_accept(listener)
                except OSError as error:
                    self._complain(f"a connection could not be accepted ({error.strerror or error})")
                    await asyncio.sleep(ACCEPT_REST)
                    continue
                if self._has_place():
                    self._begin(accepted)
                else:
                    accepted.close()
                    self._refuse(host_and_address(name)[1])
                # Where many wait to be accepted, who is connected has a turn in between.
                await asyncio.sleep(0)

    def _begin(self, accepted: socket.socket) -> None:
        if len(self._handshakes) >= self.limit + HANDSHAKES_MORE:
            self._handshakes.popitem(last=False)[0].cancel()
        task = asyncio.get_running_loop().create_task(self._connect(accepted))
        self._handshakes[task] = None
        task.add_done_callback(lambda done: self._handshakes.pop(done, None))

    async def _connect(self, accepted: socket.socket) -> None:
        handshake = HANDSHAKE_TIMEOUT if self._ssl is not None else None
        # An OSError: it speaks no TLS, not in time, or is gone again.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._client, accepted, ssl=self._ssl, ssl_handshake_timeout=handshake
            )

    def _has_place(self) -> bool:
        return len(self._clients) < self.limit or self._most_silent() is not None

    def _most_silent(self) -> Client | None:
        """Who gives way to a newcomer; None when nobody does."""
        now = time.monotonic()
        client = max(self._clients, key=lambda client: client.silence(now), default=None)
        return client if client is not None and client.silence(now) >= SILENT_MAX else None

    def _refuse(self, address: str) -> None:
        self.refused += 1
        self._complain(f"connections are refused: {self.limit} clients are connected, and no more may be", address)
        if len(self._refusals) >= REFUSALS_MAX:
            return
        try:
            handled = self._handler.refused(address)
        except Exception:
            logger.exception("%s: the program failed at its being refused", address)
            return
        if handled is not None and inspect.isawaitable(handled):
            task = asyncio.get_running_loop().create_task(self._refuse_later(handled, address))
            self._refusals.add(task)
            task.add_done_callback(self._refusals.discard)

    async def _refuse_later(self, handled: Awaitable[None], address: str) -> None:
        try:
            await handled
        except Exception:
            logger.exception("%s: the program failed at its being refused", address)

    # --- what the connections tell (connection.Owner)

    def opened(self, client: Client) -> bool:
        """For Links."""
        if self._accepting is None:
            return False
        if len(self._clients) >= self.limit:
            silent = self._most_silent()
            if silent is None:
                # At once, whatever the program does about it.
                client.abort()
                self._refuse(client.address)
                return False
            silent.abort("it was silent, and its place was needed")
            self._clients.discard(silent)
        self._clients.add(client)
        self._do(client, self._handler.connected, client)
        return True

    def frame(self, client: Client, text: str) -> None:
        """For Links."""
        if is_message(text):
            self._message(client, text)
        else:
            self._do(client, self._handler.text, client, text)

    def fault(self, client: Client, result: int, data: bytes) -> None:
        """For Links."""
        self._do(client, self._handler.fault, client, result, data)

    def settled(self, client: Client) -> None:
        """For Links: acknowledges all that was delivered at once."""
        acks = client._acks
        if not acks:
            return
        if not self._commit():
            acks.clear()
            client.close("the fleet's database failed")
            return
        for sequence, number in list(acks.items()):
            if not client.send_own(format_message("ack", sequence=sequence, id=number)):
                break
            del acks[sequence]
        if len(acks) > ACKS_MAX:
            client.close("it takes no acknowledgements")

    def is_busy(self, client: Client) -> bool:
        """For Links."""
        return client._task is not None

    def lost(self, client: Client, reason: str) -> None:
        """For Links."""
        self._clients.discard(client)
        self._remember(client, reason)
        self._holding.discard(client)
        if self._leave(client):
            self._note_seen([client])
        for answer in client._answers.values():
            if not answer.done():
                answer.set_exception(AskError(f"{client} went away before it answered"))
        self._do(client, self._handler.disconnected, client, reason)

    def ticked(self) -> None:
        """For Links."""
        now = time.monotonic()
        for client in list(self._holding):
            if now - client._held_since >= self._verify_timeout:
                self._decide(client)
        if self._fleet is not None and now - self._noted >= SEEN_INTERVAL:
            self._noted = now
            self._note_seen(self._boards.values())

    def _client(self) -> Client:
        return Client(self._links, self.secrets is not None)

    # --- handing over, in each client's order

    def _do(self, client: Client, function: Callable[..., Handled], *arguments: Any) -> None:
        if client._task is not None:
            client._inbox.append((function, arguments))
            if len(client._inbox) >= INBOX_MAX:
                client.pause()
            return
        handled = self._call(client, function, arguments)
        if handled is not None:
            client._task = task = asyncio.get_running_loop().create_task(self._go_on(client, handled))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _call(
        self, client: Client, function: Callable[..., Handled], arguments: tuple[Any, ...]
    ) -> Awaitable[None] | None:
        try:
            handled = function(*arguments)
        except Exception:
            logger.exception("%s: the program failed at what it sent", client)
            return None
        return handled if handled is not None and inspect.isawaitable(handled) else None

    async def _go_on(self, client: Client, handled: Awaitable[None]) -> None:
        try:
            following: Awaitable[None] | None = handled
            while following is not None:
                try:
                    await following
                except Exception:
                    logger.exception("%s: the program failed at what it sent", client)
                following = None
                while client._inbox and following is None:
                    function, arguments = client._inbox.popleft()
                    following = self._call(client, function, arguments)
                self.settled(client)
                if len(client._inbox) < INBOX_MAX // 2:
                    client.resume()
        finally:
            client._task = None
        if client.is_ended:
            client.close()

    # --- otalink's own messages

    def _message(self, client: Client, text: str) -> None:
        try:
            kind, fields = parse_message(text)
            if kind == "ping":
                client.send_own(self._pong)
            elif kind == "keep":
                self._take_keep(client, fields)
            elif kind == "report":
                self._hold_or_do(client, self._do_report, _report(fields))
            elif kind == "hello":
                self._hello(client, _hello(fields))
            elif kind == "proof":
                self._proof(client, fields.get("mac"))
            elif kind == "answer":
                self._answer(client, fields)
        except (ValueError, RecursionError):
            client.odd += 1
            if client.odd == 1:
                logger.warning("%s sent a message that is none of otalink's: %s", client, printable(text))

    def _take_keep(self, client: Client, fields: dict[str, object]) -> None:
        sequence, number, data = fields.get("sequence"), fields.get("id"), fields.get("data")
        if not isinstance(sequence, str) or not re.fullmatch("[0-9a-fA-F]{16}", sequence):
            raise ValueError("sequence")
        if type(number) is not int or not 1 <= number < 1 << 63:
            raise ValueError("id")
        if not isinstance(data, str):
            raise ValueError("data")
        client._held_size += len(data) if client._is_undecided else 0
        self._hold_or_do(client, self._do_keep, sequence.lower(), number, _whole(data))

    def _hold_or_do(self, client: Client, do: Callable[..., None], *arguments: Any) -> None:
        """A report, or what is kept, waits until its sender has proven who it is: whose it is counts for both."""
        if not client._is_undecided:
            do(client, *arguments)
            return
        if not client._held:
            client._held_since = time.monotonic()
            self._holding.add(client)
        client._held.append((do, (client, *arguments)))
        if len(client._held) >= HELD_MAX or client._held_size > self._links.options.receive_limit:
            self._decide(client)

    def _do_report(self, client: Client, report: Report) -> None:
        self._do(client, self._report, client, report)

    def _do_keep(self, client: Client, sequence: str, number: int, data: str) -> None:
        # Whose it is is settled now, and not when its turn comes.
        owner = client.board if client.is_verified else None
        self._do(client, self._keep, client, (owner or "", sequence), number, data)

    def _decide(self, client: Client) -> None:
        """It has proven who it is, or does not."""
        client._is_undecided = False
        self._holding.discard(client)
        held, client._held = client._held, []
        client._held_size = 0
        for do, arguments in held:
            do(*arguments)
        if client._task is None:
            self.settled(client)

    def _keep(self, client: Client, numbering: Numbering, number: int, data: str) -> Handled:
        if client._has_failed:
            # One before it was not handled: this one comes again, behind that one.
            return None
        if numbering in self._busy:
            return self._keep_after(self._busy[numbering], client, numbering, number, data)
        try:
            last = self._last(numbering)
            if number <= last:
                self.repeated += 1
                client._acks[numbering[1]] = last
                return None
            handled = self._hand_out(client, data)
            if handled is not None and inspect.isawaitable(handled):
                # From now on, and not only from when it begins: the same may come on another connection before.
                done = self._busy[numbering] = asyncio.get_running_loop().create_future()
                return self._keep_later(handled, done, client, numbering, number)
            self._delivered(client, numbering, number)
        except Exception as error:
            self._keep_failed(client, error)
        return None

    async def _keep_later(
        self,
        handled: Awaitable[None],
        done: "asyncio.Future[None]",
        client: Client,
        numbering: Numbering,
        number: int,
    ) -> None:
        try:
            await handled
            self._delivered(client, numbering, number)
        except Exception as error:
            self._keep_failed(client, error)
        finally:
            del self._busy[numbering]
            done.set_result(None)

    async def _keep_after(
        self, other: "asyncio.Future[None]", client: Client, numbering: Numbering, number: int, data: str
    ) -> None:
        # The same numbering on a connection that broke, of which a message is still being handled.
        await asyncio.shield(other)
        handled = self._keep(client, numbering, number, data)
        if handled is not None:
            await handled

    def _keep_failed(self, client: Client, error: Exception) -> None:
        client._has_failed = True
        if isinstance(error, FleetError):
            self._complain(str(error))
            # Those before it may be lost to the database too.
            client._acks.clear()
        else:
            logger.error("%s: the program failed at what it sent", client, exc_info=error)
            # Those before it were handled.
            self.settled(client)
        client.close("what it sent could not be handled: it has to send it again")

    def _hand_out(self, client: Client, data: str) -> Handled:
        if not is_message(data):
            handled = self._handler.text(client, data)
            if self._links.tap is not None:
                self._links.tap.delivered(data)
            return handled
        try:
            kind, fields = parse_message(data)
            report = _report(fields) if kind == "report" else None
        except (ValueError, RecursionError):
            client.odd += 1
            return None
        return self._report(client, report) if report is not None else None

    def _last(self, numbering: Numbering) -> int:
        """The highest id that was delivered, which is also in the database, if there is one."""
        last = self._sequences[not numbering[0]].get(numbering, 0)
        if self._fleet is None:
            return last
        recorded = self._with_fleet(lambda fleet: fleet.last(*numbering))
        if last > recorded:
            # It could not be recorded when it was delivered.
            self._with_fleet(lambda fleet: fleet.delivered(*numbering, last))
        return max(last, recorded)

    def _delivered(self, client: Client, numbering: Numbering, number: int) -> None:
        known = self._sequences[not numbering[0]]
        known[numbering] = number
        known.move_to_end(numbering)
        if len(known) > SEQUENCES_MAX:
            known.popitem(last=False)
        if self._fleet is not None:
            self._with_fleet(lambda fleet: fleet.delivered(*numbering, number))
        client._acks[numbering[1]] = number

    def _report(self, client: Client, report: Report) -> Handled:
        report = Report(report.event, report.version, report.percent, report.reason, client.is_verified)
        name = client.board
        if name is not None:
            self._note(
                lambda fleet: fleet.report(
                    name, report.event, version=report.version, percent=report.percent, reason=report.reason
                )
            )
            self._commit()
        return self._handler.report(client, report)

    def _hello(self, client: Client, hello: Hello) -> None:
        before = client.hello
        is_same = before is not None and (before.board, before.challenge) == (hello.board, hello.challenge)
        if client.board is not None and not is_same:
            self._expel(client)
        client.hello = hello
        if client._challenge is None or not is_same:
            client._challenge = random_secrets.token_hex(16)
        client.send_own(format_message("welcome", challenge=client._challenge))
        if self.secrets is None or client.is_verified:
            self._admit(client)
        elif hello.board not in self.secrets:
            self._decide(client)
            self._doubt(client, "%s says that it is %s, of which no secret is known here")
        else:
            # It is told when the proof is there.
            client._is_undecided = True
            return
        self._do(client, self._handler.identified, client)

    def _proof(self, client: Client, mac: object) -> None:
        hello, challenge = client.hello, client._challenge
        secret = None if hello is None or self.secrets is None else self.secrets.get(hello.board)
        if hello is None or challenge is None or secret is None or client.is_verified:
            return
        # There is one attempt for each challenge.
        client._challenge = None
        client.is_verified = is_proven(mac, secret, "otalink board", hello.board, challenge, hello.challenge)
        if client.is_verified:
            self._admit(client)
        else:
            self._doubt(client, "%s says that it is %s, and cannot prove it")
        self._do(client, self._handler.identified, client)
        self._decide(client)

    def _doubt(self, client: Client, line: str) -> None:
        if not client._is_doubted and client.hello is not None:
            client._is_doubted = True
            logger.warning(line, client.address, client.hello.board)

    def _admit(self, client: Client) -> None:
        hello = client.hello
        assert hello is not None
        client.is_admitted = True
        client._is_undecided = False
        other = self._boards.get(hello.board)
        self._boards[hello.board] = client
        if other is not None and other is not client and client.is_verified:
            other.close("the same board has connected anew")
        self._note(
            lambda fleet: fleet.hello(
                hello.board,
                application=hello.application,
                version=hello.version,
                state=hello.condition,
                platform=hello.platform,
                otalink=hello.otalink,
                address=client.address,
                verified=client.is_verified,
            )
        )
        self._commit()

    def _leave(self, client: Client) -> bool:
        """It is no longer the one that its board's name means. False when it was not."""
        name = client.board
        if name is None or self._boards.get(name) is not client:
            return False
        # Another that is taken for the same board, as can be where nobody has to prove anything.
        others = [one for one in self._clients if one is not client and one.board == name and not one.is_closing]
        if others:
            self._boards[name] = max(others, key=lambda one: one.connected)
        else:
            del self._boards[name]
        return True

    def _expel(self, client: Client) -> None:
        self._leave(client)
        client.is_verified = client.is_admitted = False

    def _answer(self, client: Client, fields: dict[str, object]) -> None:
        number = fields.get("id")
        answer = client._answers.get(number) if type(number) is int else None
        if answer is not None and not answer.done():
            answer.set_result(Answer(fields.get("done") is True, _text(fields, "text") or ""))

    # --- what is remembered

    def _remember(self, client: Client, reason: str) -> None:
        self._gone.add(client.counters)
        name = client.board or client.host
        past = self._past.setdefault(name, Past(name))
        self._past.move_to_end(name)
        past.connections += 1
        past.last_seen = max(past.last_seen, client.last_seen)
        past.reason = reason
        past.counters.add(client.counters)
        if len(self._past) > PAST_MAX:
            self._past.popitem(last=False)

    def _note_seen(self, clients: Iterable[Client]) -> None:
        news = [client for client in clients if client.board is not None and client.last_seen > client._seen]
        if not news:
            return
        for client in news:
            client._seen = client.last_seen
        self._note(lambda fleet: fleet.seen((client.board or "", client.last_seen) for client in news))
        self._commit()

    def _commit(self) -> bool:
        return self._note(lambda fleet: fleet.commit())

    def _note(self, write: Callable[[Fleet], None]) -> bool:
        """Writes to the database, if there is one; a failure is said, and the peer goes on."""
        if self._fleet is None:
            return True
        try:
            self._with_fleet(write)
        except UserError as error:
            self._complain(str(error))
            return False
        return True

    def _with_fleet(self, do: Callable[[Fleet], T]) -> T:
        """Does something with the database. Raises FleetError, also for some time after it has failed."""
        assert self._fleet is not None
        if time.monotonic() < self._fleet_rests:
            raise FleetError(self._fleet_failure)
        try:
            return do(self._fleet)
        except FleetError as error:
            self._fleet_failure = str(error)
            self._fleet_rests = time.monotonic() + FLEET_REST
            raise

    def _complain(self, line: str, who: str = "") -> None:
        """Says what is wrong, of `who` for one; but not again and again while it lasts."""
        now = time.monotonic()
        if now - self._complaints.get(line, -COMPLAINT_INTERVAL) < COMPLAINT_INTERVAL:
            return
        if len(self._complaints) >= COMPLAINTS_MAX:
            self._complaints.clear()
        self._complaints[line] = now
        logger.error("%s", f"{who}: {line}" if who else line)


def faults_line(counters: Counters) -> str:
    """The faults by kind, as "2 wrong CRC, 1 no frame"; empty when there are none."""
    return ", ".join(f"{count} {kind}" for kind, count in zip(RESULTS, counters.faults, strict=True) if count)


def _hello(fields: dict[str, object]) -> Hello:
    board, challenge = fields.get("board"), fields.get("challenge")
    if not isinstance(board, str) or not is_board_name(board):
        raise ValueError("board")
    if not isinstance(challenge, str) or not re.fullmatch("[0-9a-fA-F]{32}", challenge):
        raise ValueError("challenge")
    known = [
        _text(fields, key) for key in ("name", "version", "state", "platform", "otalink_version", "failed", "reason")
    ]
    return Hello(board, challenge, *known)


def _report(fields: dict[str, object]) -> Report:
    event, percent = _text(fields, "event"), fields.get("percent")
    if not event:
        raise ValueError("event")
    is_percent = type(percent) in (int, float) and 0 <= percent <= 100  # type: ignore[operator]
    return Report(
        event,
        _text(fields, "version"),
        float(percent) if is_percent else None,  # type: ignore[arg-type]
        _text(fields, "reason"),
    )


def _text(fields: dict[str, object], key: str) -> str | None:
    value = fields.get(key)
    return printable(value) if isinstance(value, str) else None


def _whole(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can say and nothing can carry further."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
