"""Many FTP clients in one process, plain or over TLS: each logs in, fetches one file and leaves. Nothing is written.

Each client is a generator that yields what it waits for, so that 500 of them cost no thread each.
"""

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
# (socket, what is waited for)
Waits = Generator[tuple[socket.socket, int], None, T]

BUFFER = 1 << 16
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@dataclass
class Load:
    """What the clients found: `seconds` from the first connection to the last end, `took` those of each client that
    came through, `size` the bytes of data in all, `errors` what went wrong, a line for each client that did not."""

    seconds: float = 0.0
    size: int = 0
    took: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """What is fetched, and from where: `accounts` are used in turn, (user, password) each; `tls` or None for plain.

    The file must have `size` bytes.
    """

    port: int
    accounts: list[tuple[str, str]]
    path: str
    size: int
    tls: ssl.SSLContext | None = None


class ClientError(Exception):
    """A session did not go as it should."""


def fetch_at_once(target: Target, count: int, patience: float) -> Load:
    """Lets `count` clients fetch at the same time; who has not come through after `patience` seconds is an error."""
    load = Load()
    buffer = bytearray(BUFFER)
    begun = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        clients = {_client(target, *target.accounts[n % len(target.accounts)], buffer) for n in range(count)}

        def step(client: Waits[None]) -> None:
            try:
                sock, events = next(client)
            except StopIteration:
                load.took.append(time.perf_counter() - begun)
                load.size += target.size
            except (ClientError, OSError) as error:
                load.errors.append(str(error))
            else:
                selector.register(sock, events, client)
                return
            clients.discard(client)

        for client in list(clients):
            step(client)
        while clients and time.perf_counter() - begun < patience:
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)
                step(key.data)
        load.errors += [f"not through after {patience:g} s"] * len(clients)
        for client in clients:
            client.close()
    load.seconds = time.perf_counter() - begun
    load.took.sort()
    return load


def _client(target: Target, user: str, password: str, buffer: bytearray) -> Waits[None]:
    session = _Session((yield from _connected(target.port)))
    try:
        yield from session.reply(220)
        if target.tls is not None:
            yield from session.command("AUTH TLS", 234)
            session.sock = _wrapped(target.tls, session.sock)
        if (yield from session.command(f"USER {user}", 331, 230)) == 331:
            yield from session.command(f"PASS {password}", 230)
        if target.tls is not None:
            yield from session.command("PBSZ 0", 200)
            yield from session.command("PROT P", 200)
        yield from session.command("TYPE I", 200)
        yield from session.command("EPSV", 229)
        data = yield from _connected(int(session.text.split("|||")[1].split("|")[0]))
        try:
            yield from session.command(f"RETR {target.path}", 150, 125)
            if target.tls is not None:
                data = _wrapped(target.tls, data)
            size = 0
            while got := (yield from _ready(data, READ, lambda: data.recv_into(buffer))):
                size += got
        finally:
            data.close()
        yield from session.reply(226)
        if size != target.size:
            raise ClientError(f"{size} bytes came of {target.size}")
        yield from session.command("QUIT", 221)
    finally:
        session.sock.close()


class _Session:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.text = ""
        self._received = b""

    def command(self, line: str, *good: int) -> Waits[int]:
        data = line.encode() + b"\r\n"
        yield from _ready(self.sock, WRITE, lambda: self.sock.send(data))
        return (yield from self.reply(*good))

    def reply(self, *good: int) -> Waits[int]:
        while b"\n" not in self._received:
            piece = yield from _ready(self.sock, READ, lambda: self.sock.recv(4096))
            if not piece:
                raise ClientError("the server closed the session")
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        self.text = line.decode(errors="replace").strip()
        if self.text[:3] not in [str(code) for code in good]:
            raise ClientError(self.text)
        return int(self.text[:3])


def _connected(port: int) -> Waits[socket.socket]:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect_ex(("127.0.0.1", port))
        yield sock, WRITE
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "no connection")
        return sock
    except BaseException:
        sock.close()
        raise


def _wrapped(context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
    return context.wrap_socket(sock, server_hostname="127.0.0.1", do_handshake_on_connect=False)


def _ready(sock: socket.socket, events: int, act: Callable[[], T]) -> Waits[T]:
    """What `act` gives once it need not wait."""
    while True:
        try:
            return act()
        except (BlockingIOError, ssl.SSLWantReadError):
            yield sock, WRITE if events == WRITE and not isinstance(sock, ssl.SSLSocket) else READ
        except ssl.SSLWantWriteError:
            yield sock, WRITE
