"""What `otalink peer` shows, and does with what is typed: a live table on a terminal, plain lines elsewhere."""

import asyncio
import contextlib
import logging
import ssl as tls
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from otalink_host.board_secrets import load_board_secrets
from otalink_host.connection import RESULTS, Counters, LinkOptions, printable
from otalink_host.errors import UserError
from otalink_host.fleet import Board, Fleet
from otalink_host.keyboard import Keyboard, is_in_background
from otalink_host.peer import AskError, Client, Handled, Handler, Past, Peer, Report, faults_line, logger
from otalink_host.peer_client import PeerClient
from otalink_host.recorder import Recorder
from otalink_host.soak import Plan, Soak, SoakHandler

REFRESH = 0.25
# How often a soak says how far it is, in seconds.
PROGRESS = 2.0
# At most so many lines are printed in a second: a terminal is slower than a network.
LINES_MAX = 200
ASKS = ("check", "report", "restart")
COMMANDS = f"""\
send WHO TEXT     send to a board, an IP:PORT, or all that have an IP
broadcast TEXT    send to all
ask BOARD WHAT    ask a board whose secret is known: {", ".join(ASKS)}
clients           who is connected
fleet             the boards: what they run, and what they said last
reload            read the secrets again
quit              end"""

T = TypeVar("T")


@dataclass(frozen=True)
class Manner:
    """How the peer behaves: what it answers, and whether it prints each text."""

    echo: bool = False
    answer: str | None = None
    quiet: bool = False


@dataclass(frozen=True)
class Place:
    """Where and how to serve."""

    address: str
    port: int
    clients: int
    options: LinkOptions
    ssl: tls.SSLContext | None
    secrets: dict[str, str] | None
    secrets_path: Path | None
    recorder: Recorder | None


@dataclass(frozen=True)
class Target:
    """Where and how to connect to."""

    host: str
    port: int
    options: LinkOptions
    ssl: tls.SSLContext | None
    recorder: Recorder | None

    def client(self, faults: bool = False) -> PeerClient:
        """A client that is not connected yet."""
        return PeerClient(self.host, self.port, options=self.options, ssl=self.ssl, tap=self.recorder, faults=faults)


# --- the server


class _View(Handler):
    """Says what happens, and answers as it is told."""

    def __init__(self, screen: "_Screen", manner: Manner) -> None:
        self._screen = screen
        self._manner = manner

    def connected(self, client: Client) -> Handled:
        self._screen.event(f"{client.address} connected")
        return None

    def text(self, client: Client, text: str) -> Handled:
        if not self._manner.quiet:
            self._screen.event(f"{client} > {printable(text)}")
        reply = text if self._manner.echo else self._manner.answer
        if reply is not None:
            try:
                if not client.has_room:
                    # It does not take what it asks for: it is read from again when it has.
                    return self._answer_later(client, reply)
                client.send(reply)
            except ValueError as error:
                self._screen.event(f"{client} is not answered: {error}")
        return None

    async def _answer_later(self, client: Client, reply: str) -> None:
        try:
            await client.send_patiently(reply)
        except ValueError as error:
            self._screen.event(f"{client} is not answered: {error}")

    def identified(self, client: Client) -> Handled:
        hello = client.hello
        if hello is not None:
            proven = "verified" if client.is_verified else "not verified"
            runs = " ".join(part for part in (hello.application, hello.version) if part) or "nothing installed"
            state = f", {hello.condition}" if hello.condition else ""
            self._screen.event(f"{client.address} is {hello.board} ({proven}): {runs}{state}")
        return None

    def report(self, client: Client, report: Report) -> Handled:
        self._screen.event(
            f"{client} reports: {report_line(report.event, report.version, report.percent, report.reason)}"
        )
        return None

    def fault(self, client: Client, result: int, data: bytes) -> Handled:
        if not self._manner.quiet:
            self._screen.event(f"{client} sent a fault: {RESULTS[result]}")
        return None

    def disconnected(self, client: Client, reason: str) -> Handled:
        self._screen.event(f"{client} disconnected: {reason}; {counters_line(client.counters)}")
        return None


async def serve(stop: asyncio.Event, place: Place, manner: Manner, fleet: Fleet | None) -> bool:
    """Serves until `stop` is set, or "quit" is typed."""
    screen = _Screen()
    view = _View(screen, manner)
    peer = _peer(place, view, fleet)
    with _logged(screen):
        async with peer:
            _print_place(screen, peer, place)
            screen.say("Ctrl-C ends it; help lists what can be typed.")
            commands = _Commands(peer, screen, stop, fleet, place)
            with screen.live(peer, commands.keyboard):
                await _watched(stop, screen, place.recorder)
            counters, past = peer.counters(), _all_past(peer)
    screen.say("")
    if past:
        print_table(_past_table(past))
    refused = f"; {peer.refused:,} connections refused" if peer.refused else ""
    screen.say(f"Ended. {counters_line(counters)}{refused}.")
    return True


class _Commands:
    """What is typed while the server runs."""

    def __init__(self, peer: Peer, screen: "_Screen", stop: asyncio.Event, fleet: Fleet | None, place: Place) -> None:
        self._peer = peer
        self._screen = screen
        self._stop = stop
        self._fleet = fleet
        self._place = place
        self._asking: set[asyncio.Task[None]] = set()
        # At its end there is nobody to type any more; the clients are still there.
        self.keyboard = Keyboard(self.do, lambda: None)

    async def do(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        say = self._screen.say
        try:
            if name == "send":
                who, _, text = rest.partition(" ")
                self._check(bool(who and text), "give it as: send WHO TEXT")
                self._check(bool(self._peer.find(who)), f"nobody is connected as {who}: clients lists who is")
                say(f"Sent to {_clients(self._peer.send(who, text))}.")
            elif name == "broadcast":
                self._check(bool(rest), "give it as: broadcast TEXT")
                say(f"Sent to {_clients(self._peer.broadcast(rest))}.")
            elif name == "ask":
                board, _, what = rest.rpartition(" ")
                self._check(bool(board) and what in ASKS, f"give it as: ask BOARD {'|'.join(ASKS)}")
                await self._ask(board, what)
            elif name == "clients":
                self._screen.table(_clients_table(self._peer.clients))
            elif name == "fleet":
                self._list_fleet()
            elif name == "reload":
                self._reload()
            elif name == "quit":
                self._stop.set()
            elif name == "help":
                say(COMMANDS)
            elif name:
                raise UserError(f"there is no command {printable(name, 40)}: help lists them")
        except (UserError, ValueError) as error:
            say(f"otalink: {error}")

    def _check(self, is_right: bool, line: str) -> None:
        if not is_right:
            raise UserError(line)

    async def _ask(self, board: str, what: str) -> None:
        async def ask() -> None:
            try:
                answer = await self._peer.ask(board, what)
            except AskError as error:
                self._screen.say(f"otalink: {error}")
            else:
                done = "it does" if answer.done else "it does not"
                self._screen.say(f"{board} was asked to {what}: {done}{f' ({answer.text})' if answer.text else ''}")

        task = asyncio.get_running_loop().create_task(ask())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        if not self._screen.is_live:
            # A script goes on when the answer is there; who types may do something else meanwhile.
            stopped = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()

    def _list_fleet(self) -> None:
        if self._fleet is None:
            raise UserError("no fleet is kept: begin with --fleet FILE")
        boards = self._fleet.boards()
        if boards:
            self._screen.table(fleet_table(boards))
        else:
            self._screen.say("No board has said hello yet.")

    def _reload(self) -> None:
        if self._place.secrets_path is None:
            raise UserError("there are no secrets: begin with --secrets FILE")
        self._peer.secrets = load_board_secrets(self._place.secrets_path)
        self._screen.say(f"Secrets of {len(self._peer.secrets)} boards.")


# --- the client


async def talk(stop: asyncio.Event, target: Target, manner: Manner, wait: float | None) -> bool:
    """Sends what is typed, and prints what comes."""
    screen = _Screen()
    client = target.client(faults=True)
    if not await _until(stop, client.connect()):
        return True
    failure: list[str] = []
    heard = time.monotonic()
    ended = False

    async def send(line: str) -> None:
        nonlocal heard
        try:
            await client.connection.send_patiently(line)
        except ValueError as error:
            failure.append(str(error))
            stop.set()
        heard = time.monotonic()

    def end() -> None:
        nonlocal ended, heard
        ended = True
        heard = time.monotonic()

    async def receive() -> None:
        nonlocal heard
        async for item in client:
            heard = time.monotonic()
            if isinstance(item, tuple):
                screen.note(f"A fault came: {RESULTS[item[0]]}")
                continue
            if not manner.quiet:
                # As it is, so that it can be piped on; but for what a terminal must not get.
                print_line(printable(item, 100_000) if sys.stdout.isatty() else item)
            reply = item if manner.echo else manner.answer
            if reply is not None:
                await send(reply)

    try:
        screen.note(f"Connected to {client.connection.address}. Each line of the input is sent; Ctrl-C ends it.")
        Keyboard(send, end).read_lines()
        receiving = asyncio.ensure_future(receive())
        while not stop.is_set() and not receiving.done():
            if ended and wait is not None and time.monotonic() - heard >= wait and not client.connection.waiting:
                break
            await _pause(stop, 0.05, receiving)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        closed = client.closed
    finally:
        await client.close()
    if failure:
        raise UserError(failure[0])
    if closed is not None:
        screen.note(f"Disconnected: {closed}.")
    screen.note(f"Ended. {counters_line(client.connection.counters)}.")
    return True


# --- the soak


async def soak_as_client(stop: asyncio.Event, target: Target, plan: Plan) -> bool:
    """Soaks with the peer there. True when the counts are equal."""
    screen = _Screen()
    client = target.client(faults=True)
    if not await _until(stop, client.connect()):
        return True
    soak = Soak(plan)

    async def receive() -> None:
        async for item in client:
            if isinstance(item, tuple):
                soak.fault(item[0])
            else:
                soak.received(item)
        soak.lost(client.closed or "closed")

    address = client.connection.address
    receiving = asyncio.ensure_future(receive())
    running = asyncio.ensure_future(soak.run(client.connection))
    try:
        screen.say(f"Soaking with {address}: {_plan_line(plan)}.")
        while not stop.is_set() and not running.done():
            await _pause(stop, PROGRESS, running)
            if not running.done():
                screen.say(f"  {soak.progress}")
    finally:
        for task in (running, receiving):
            task.cancel()
        await asyncio.gather(running, receiving, return_exceptions=True)
        await client.close()
    screen.say(f"{address}: {soak.result}")
    return not soak.differences


async def soak_as_server(stop: asyncio.Event, place: Place, plan: Plan) -> bool:
    """Soaks with each client that connects, until all that did are done. True when their counts are equal."""
    screen = _Screen()
    handler = SoakHandler(plan)
    with _logged(screen):
        async with _peer(place, handler, None) as peer:
            _print_place(screen, peer, place)
            screen.say(f"A soak with each that connects: {_plan_line(plan)}. Ctrl-C ends it.")
            done = asyncio.ensure_future(handler.done.wait())
            while not stop.is_set() and not done.done():
                await _pause(stop, PROGRESS, done)
                if not done.done():
                    for address, soak in handler.soaks.items():
                        screen.say(f"  {address}: {soak.progress}")
            done.cancel()
            await handler.close()
    for address, soak in handler.soaks.items():
        screen.say(f"{address}: {soak.result}")
    if not handler.soaks:
        screen.say("Nobody connected: nothing was compared.")
    return bool(handler.soaks) and not any(soak.differences for soak in handler.soaks.values())


# --- tables and lines


def print_line(line: str) -> None:
    """Prints a line, as it is."""
    # Whoever reads a pipe waits for it.
    print(line, flush=True)


def print_table(table: Table) -> None:
    """Prints a table."""
    console = _console()
    if not console.is_terminal:
        # In a file or a pipe there is no width that a line must be cut to.
        console.width = 10_000
    console.print(table)
    sys.stdout.flush()


def fleet_table(boards: Sequence[Board]) -> Table:
    """The boards of a fleet."""
    table = _table("BOARD", "APPLICATION", "VERSION", "STATE", "LAST REPORT", "LAST SEEN", "ADDRESS", "VERIFIED")
    for board in boards:
        report = ""
        if board.event is not None:
            report = report_line(board.event, board.event_version, board.percent, board.reason)
            report += f", {_moment(board.event_time)}"
        table.add_row(
            board.name,
            board.application or "",
            board.version or "",
            board.state or "",
            report,
            _moment(board.last_seen),
            board.address or "",
            "yes" if board.verified else "no",
        )
    return table


def report_line(event: str, version: str | None, percent: float | None, reason: str | None) -> str:
    """A report in a few words."""
    line = event
    if version is not None:
        line += f" {version}"
    if percent is not None:
        line += f" {percent:g} %"
    return f"{line}: {reason}" if reason else line


def counters_line(counters: Counters) -> str:
    """What went over a connection, in a few words."""
    frames = "frame" if counters.frames_in == 1 else "frames"
    line = f"{counters.frames_in:,} {frames} in, {counters.frames_out:,} out"
    if any(counters.faults):
        line += f", {faults_line(counters)}"
    return f"{line}, {counters.unsent:,} not sent" if counters.unsent else line


def _clients_table(clients: Sequence[Client], limit: int | None = None) -> Table:
    table = _table("CLIENT", "BOARD", "VERSION", "IN", "OUT", "NOT SENT", "FAULTS", "LAST SEEN", right=(3, 4, 5))
    now = time.time()
    for client in clients[:limit]:
        hello = client.hello
        board = "" if hello is None else hello.board if client.is_verified else f"{hello.board} (not verified)"
        table.add_row(
            client.address,
            board,
            (hello.version if hello is not None else "") or "",
            f"{client.counters.frames_in:,}",
            f"{client.counters.frames_out:,}",
            f"{client.counters.unsent:,}",
            faults_line(client.counters),
            f"{now - client.last_seen:.0f} s ago",
        )
    return table


def _past_table(past: Sequence[Past]) -> Table:
    table = _table("CLIENT", "CONNECTIONS", "IN", "OUT", "NOT SENT", "FAULTS", "LAST SEEN", right=(1, 2, 3, 4))
    for one in past:
        table.add_row(
            one.name,
            f"{one.connections:,}",
            f"{one.counters.frames_in:,}",
            f"{one.counters.frames_out:,}",
            f"{one.counters.unsent:,}",
            faults_line(one.counters),
            _moment(one.last_seen),
        )
    return table


class _Screen:
    """Where it is shown: above a live table on a terminal, or line by line."""

    def __init__(self) -> None:
        self._console = _console()
        self._live: Live | None = None
        self._second = 0.0
        self._lines = 0
        self._passed_over = 0

    @property
    def is_terminal(self) -> bool:
        return self._console.is_terminal

    @property
    def is_live(self) -> bool:
        return self._live is not None

    def say(self, line: str) -> None:
        """Says a line."""
        if self._live is not None:
            self._live.console.print(line)
        else:
            print_line(line)

    def note(self, line: str) -> None:
        """Says a line that is not what a pipe is for."""
        if self.is_terminal:
            print_line(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def event(self, line: str) -> None:
        """Says what happened, and when; unless so much happens that nobody could read it."""
        self._new_second()
        if self._lines < LINES_MAX:
            self._lines += 1
            self.say(f"{time.strftime('%H:%M:%S')} {line}")
        else:
            self._passed_over += 1

    def tick(self) -> None:
        """Says how much was passed over."""
        self._new_second()
        if self._live is not None:
            self._live.refresh()

    def table(self, table: Table) -> None:
        """Shows a table."""
        if self._live is not None:
            self._live.console.print(table)
        else:
            print_table(table)

    @contextlib.contextmanager
    def live(self, peer: Peer, keyboard: Keyboard) -> Iterator[None]:
        """A table of the clients that changes as they do, and the line that is typed; where there is a terminal."""
        is_typed = sys.stdin is not None and sys.stdin.isatty() and not is_in_background()
        if not self.is_terminal:
            keyboard.read_lines()
            yield
            return

        def render() -> RenderableType:
            clients = peer.clients
            rows = max(self._console.size.height - 6, 3)
            parts: list[RenderableType] = [_clients_table(clients, rows)]
            if len(clients) > rows:
                parts.append(Text(f"and {len(clients) - rows} more"))
            refused = f", {peer.refused:,} refused" if peer.refused else ""
            parts.append(Text(f"{len(clients)} of {peer.limit} clients{refused}", style="bold"))
            if is_typed:
                parts.append(Text(f"> {keyboard.typed}"))
            return Group(*parts)

        with contextlib.ExitStack() as stack:
            if is_typed:
                stack.enter_context(keyboard.read_keys())
            else:
                keyboard.read_lines()
            # Refreshed from the event loop: a thread of its own would look at what is just being changed.
            live = Live(console=self._console, auto_refresh=False, get_renderable=render, transient=True)
            stack.enter_context(live)
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _new_second(self) -> None:
        now = time.monotonic()
        if now - self._second < 1:
            return
        self._second, self._lines = now, 0
        if self._passed_over:
            passed_over, self._passed_over = self._passed_over, 0
            self.event(f"({passed_over:,} lines passed over: --quiet prints no texts, --record keeps all)")


def _peer(place: Place, handler: Handler, fleet: Fleet | None) -> Peer:
    return Peer(
        handler,
        address=place.address,
        port=place.port,
        clients=place.clients,
        options=place.options,
        ssl=place.ssl,
        secrets=place.secrets,
        fleet=fleet,
        tap=place.recorder,
    )


def _print_place(screen: _Screen, peer: Peer, place: Place) -> None:
    every = place.address in ("0.0.0.0", "::")
    where = "every address of this machine" if every else place.address
    screen.say(
        f"Listening on {where}, port {peer.port}, for {_clients(place.clients)}{' by TLS' if place.ssl else ''}."
    )


@contextlib.contextmanager
def _logged(screen: _Screen) -> Iterator[None]:
    """What the peer, and asyncio, have to say becomes lines."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            screen.event(record.getMessage())

    def failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A client that speaks no TLS, or breaks off, is no fault of this end.
        if not isinstance(error, ConnectionError | tls.SSLError):
            screen.event(f"{context.get('message')}{f' ({error})' if error else ''}")

    lines = Lines()
    was = logger.propagate
    logger.addHandler(lines)
    logger.propagate = False
    asyncio.get_running_loop().set_exception_handler(failed)
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.propagate = was


async def _watched(stop: asyncio.Event, screen: _Screen, recorder: Recorder | None) -> None:
    is_said = False
    while not stop.is_set():
        await _pause(stop, REFRESH)
        screen.tick()
        if recorder is not None and recorder.failure is not None and not is_said:
            is_said = True
            screen.event(recorder.failure)


async def _pause(stop: asyncio.Event, seconds: float, *others: "asyncio.Future[Any]") -> None:
    """Waits for `seconds`, until `stop` is set, or one of the `others` is done."""
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopped, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()


async def _until(stop: asyncio.Event, doing: Coroutine[Any, Any, T]) -> bool:
    """Does it, unless `stop` is set first: then False."""
    task = asyncio.ensure_future(doing)
    while not task.done() and not stop.is_set():
        await _pause(stop, 10, task)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    await task
    return True


def _all_past(peer: Peer) -> list[Past]:
    """What all clients did, those that are still there included."""
    found = {
        one.name: Past(one.name, one.connections, one.last_seen, one.reason, _sum(one.counters)) for one in peer.past
    }
    for client in peer.clients:
        name = client.board or client.host
        one = found.setdefault(name, Past(name))
        one.connections += 1
        one.last_seen = max(one.last_seen, client.last_seen)
        one.counters.add(client.counters)
    return list(found.values())


def _sum(*counters: Counters) -> Counters:
    total = Counters()
    for one in counters:
        total.add(one)
    return total


def _plan_line(plan: Plan) -> str:
    pace = f"one each {plan.interval * 1000:g} ms" if plan.interval else "without a pause"
    back = "" if plan.expected is None else f", {plan.wanted:,} expected"
    return f"{plan.count:,} frames of {plan.size:,} characters, {pace}{back}"


def _clients(count: int) -> str:
    return f"{count:,} client{'' if count == 1 else 's'}"


def _moment(when: float | None) -> str:
    return "" if when is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _table(*columns: str, right: tuple[int, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left")
    return table


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
