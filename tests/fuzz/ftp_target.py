"""Feeds sessions of the FTP server with what a fuzzer makes up, guided by which of its branches were taken.

    python ftp_target.py HOST [libFuzzer's options] [CORPUS]

What is made up is a recipe for a client: commands, mutated ones, any bytes, data connections, and where the network
cuts them. Whatever the client does, the server answers or closes; no fault of its own is logged; nothing that lies
outside of the folders that it serves comes back or changes; and a board is served afterwards.
"""

import contextlib
import logging
import re
import shutil
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

import atheris

sys.path[:0] = [sys.argv.pop(1), str(Path(__file__).parents[1] / "host")]

with atheris.instrument_imports(include=["otalink_host", "pyftpdlib"]):
    from otalink_host import server as ftp_server

from attacked import CONTENT, LEAKS, fill, fill_published, outside  # noqa: E402  # it must not be the first to import otalink_host

from otalink_host.passwords import hash_password  # noqa: E402
from otalink_host.settings import Account, LockoutSettings, Settings  # noqa: E402

PASSWORD = "correct-horse-battery"
COMMANDS = (
    *("USER", "PASS", "QUIT", "REIN", "NOOP", "SYST", "STAT", "HELP", "FEAT", "OPTS", "PWD", "CWD", "CDUP", "LIST"),
    *("NLST", "MLSD", "MLST", "SIZE", "MDTM", "PASV", "EPSV", "TYPE", "STRU", "MODE", "REST", "RETR", "ABOR", "STOR"),
    *("APPE", "STOU", "RNFR", "RNTO", "DELE", "MKD", "RMD", "SITE", "SITE LOCK", "SITE UNLOCK", "MFMT", "ALLO", "PORT"),
    *("EPRT", "AUTH", "PBSZ", "PROT", "ACCT", "LANG", "HASH"),
)
# The fuzzer finds its way by branches, and names have none: what matters comes more often.
ON_PATHS = ("RETR", "STAT", "LIST", "NLST", "MLSD", "MLST", "SIZE", "CWD", "STOR", "RNFR", "RNTO", "DELE", "MKD", "RMD")
LINKS = ("file-out", "folder-out", "absolute-out", "chain-1", "lib/private-out", "..", "folder-out/secret", "loop")
PIECES = (
    *("", "board", "publisher", PASSWORD, "lib", "sensor.py", "thermostat_1.0.0.2.py", "..", ".", "/", "//", "\\", "~"),
    *("secret", "file-out", "folder-out", "absolute-out", "chain-1", "loop", "dangling", "private-out", "new.py", "*"),
    *("I", "A", "S", "F", "0", "1", "7", "999999999999", "-1", "ALL", "TLS", "P", "C", "-la", "MLST type;size;"),
    *("127,0,0,1,4,1", "|1|127.0.0.1|1025|", "20200101000000", "%2e%2e", "\0", "\u00e9", "\u2028", "UTF8 ON"),
    *(".otalink-part-1", ".otalink-withdrawn-x", "SHA256SUMS", "report.json", "x" * 300, "\xff", "lib/sensor.py"),
)  # fmt: skip
# A turn of the server's loop waits no longer than that, in seconds, where there is nothing to do.
TURN = 0.001


class Faults(logging.Handler):
    """Keeps what the server says of its own faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        for name in ("otalink.server", "pyftpdlib", "asyncio"):
            logging.getLogger(name).addHandler(self)
            logging.getLogger(name).propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))


class Recipe:
    def __init__(self, made_up: bytes) -> None:
        self._rest = made_up

    def __bool__(self) -> bool:
        return bool(self._rest)

    def number(self, below: int) -> int:
        first, self._rest = (self._rest[0], self._rest[1:]) if self._rest else (0, b"")
        return first % below

    def bytes(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


class Served:
    """The server, in this thread, and what it serves."""

    def __init__(self) -> None:
        # In the folder of the run.
        self.folder = Path(tempfile.mkdtemp(prefix="served-", dir=Path.cwd()))
        self.releases, self.published = self.folder / "releases", self.folder / "published"
        self.releases.mkdir()
        fill(self.releases)
        self.before: dict[str, object] = {}
        self._is_due = False
        self.clear()
        accounts = (Account("board", self.releases), Account("publisher", self.published, role="publisher"))
        settings = Settings(
            accounts,
            addresses=("127.0.0.1",),
            port=0,
            passive_ports=None,
            lockout=LockoutSettings(failures=1_000_000),
            path=self.folder / "otalink.toml",
        )
        hashes = {account.name: hash_password(PASSWORD, cheap=True) for account in accounts}
        self.server = ftp_server.FtpServer(settings, hashes)
        self.faults = Faults()

    def clear(self) -> None:
        shutil.rmtree(self.published, ignore_errors=True)
        fill_published(self.published)
        self.before = outside(self.releases, ("published", "reports"))

    def turn(self, timeout: float = 0.0) -> None:
        # As the server's own loop: what is due soon is not waited for.
        soonest = self.server._loop.loop(timeout=0.0 if self._is_due else timeout, blocking=False)
        self._is_due = soonest is not None and soonest <= 0


class Client:
    """A connection; nothing here waits for the server, which runs in this thread."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.received = b""
        self.data: socket.socket | None = None
        self.ended = False
        self.sock = self._connect(served.server.port)

    def _connect(self, port: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        self.served.turn()
        return sock

    def send(self, data: bytes) -> None:
        while data and not self.ended:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self.step()
            except OSError:
                self.ended = True
        self.step()

    def step(self, timeout: float = 0.0) -> None:
        """Lets the server do something, and reads what came."""
        self.served.turn(timeout)
        for sock in (self.sock, self.data):
            if sock is None:
                continue
            try:
                while piece := sock.recv(65536):
                    self.received = self.received[-200_000:] + piece
                if sock is self.sock:
                    self.ended = True
            except BlockingIOError:
                pass
            except OSError:
                self.ended = self.ended or sock is self.sock
        leaks = [leak for leak in LEAKS if leak in self.received]
        assert not leaks, (leaks, self.received[-3000:])

    def until(self, pattern: bytes, start: int = 0) -> None:
        """Goes on until what came has the pattern, or the server has closed."""
        deadline = time.monotonic() + 5
        while not self.ended and not re.search(pattern, self.received[start:], re.MULTILINE):
            self.step(TURN)
            assert time.monotonic() < deadline, ("no answer", self.received[-3000:])

    def log_in(self, user: str) -> None:
        self.send(f"USER {user}\r\nPASS {PASSWORD}\r\n".encode())
        self.until(rb"^[45]\d\d |^230 ")

    def open_data(self) -> None:
        ports = [int(port) for port in re.findall(rb"\(\|\|\|(\d+)\|\)", self.received)]
        ports += [int(a) * 256 + int(b) for a, b in re.findall(rb"\(127,0,0,1,(\d+),(\d+)\)", self.received)]
        if ports and self.data is None:
            with contextlib.suppress(OSError):
                self.data = self._connect(ports[-1])

    def close_data(self, reset: bool = False) -> None:
        if self.data is not None:
            if reset:
                self.data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.data.close()
            self.data = None
            self.step()

    def close(self) -> None:
        self.close_data()
        self.sock.close()
        self.served.turn()
        self.served.turn()


def argument(recipe: Recipe) -> bytes:
    return b"/".join(
        PIECES[recipe.number(len(PIECES))].encode("latin-1" if recipe.number(8) == 7 else "utf-8", "replace")
        for _ in range(recipe.number(4))
    )


def command(recipe: Recipe) -> bytes:
    which = recipe.number(128)
    if which < len(ON_PATHS) * 5:
        line, what = ON_PATHS[which % len(ON_PATHS)].encode(), argument(recipe)
        if which < len(ON_PATHS) * 2:
            what = LINKS[recipe.number(len(LINKS))].encode()
    else:
        line, what = COMMANDS[recipe.number(len(COMMANDS))].encode(), argument(recipe)
    return line + (b" " + what if what else b"")


def act(client: Client, recipe: Recipe) -> None:
    kind = recipe.number(17)
    if kind < 8:
        client.send(command(recipe) + b"\r\n")
    elif kind == 8:
        # Several in one piece.
        first = b"QUIT\r\n" if recipe.number(8) == 7 else b""
        client.send(first + b"".join(command(recipe) + b"\r\n" for _ in range(recipe.number(6))))
    elif kind == 9:
        client.send(recipe.bytes(recipe.number(40)))
    elif kind == 10:
        line = bytearray(command(recipe) + b"\r\n")
        for _ in range(recipe.number(3) + 1):
            line[recipe.number(len(line)) :][:1] = recipe.bytes(recipe.number(4))
            at = recipe.number(len(line) or 1)
            line[at : at + 1] = recipe.bytes(recipe.number(4))
        client.send(bytes(line))
    elif kind == 11:
        client.send((b"EPSV", b"PASV")[recipe.number(2)] + b"\r\n")
        client.step(TURN)
        client.open_data()
    elif kind == 12:
        client.close_data(bool(recipe.number(2)))
    elif kind == 13:
        if client.data is not None:
            with contextlib.suppress(OSError):
                client.data.send(recipe.bytes(recipe.number(64)) or b'{"version": "1.0"}')
            client.step()
    elif kind == 15:
        user = ("board", "publisher", "nobody")[recipe.number(3)]
        password = ("wrong", PASSWORD)[recipe.number(2)]
        client.send(f"USER {user}\r\nPASS {password}\r\n".encode())
    elif kind == 14:
        # A command in two pieces.
        line = command(recipe) + b"\r\n"
        cut = recipe.number(len(line))
        client.send(line[:cut])
        client.send(line[cut:])
    else:
        with contextlib.suppress(OSError):
            if recipe.number(4) == 3:
                client.sock.shutdown(socket.SHUT_WR)
            else:
                client.sock.send(b"\xf2", socket.MSG_OOB)
        client.step()


served = Served()


def one_input(made_up: bytes) -> None:
    recipe = Recipe(made_up)
    client = Client(served)
    user = ("board", "publisher", "")[recipe.number(3)]
    if user:
        client.log_in(user)
    for _ in range(60):
        if not recipe or client.ended:
            break
        act(client, recipe)
    # It answers, or has closed, or is told that there is nothing more and closes.
    client.close_data()
    start = len(client.received)
    client.send(b"\r\nNOOP\r\nQUIT\r\n")
    with contextlib.suppress(OSError):
        client.sock.shutdown(socket.SHUT_WR)
    client.until(rb"^nothing is waited for but the end$", start)
    client.close()
    board = Client(served)
    board.log_in("board")
    board.send(b"TYPE I\r\nEPSV\r\n")
    board.until(rb"^229 ")
    board.open_data()
    board.send(b"RETR lib/sensor.py\r\n")
    board.until(rb"^226 ")
    assert CONTENT["lib/sensor.py"] in board.received, board.received
    board.close()
    assert not served.faults.found, served.faults.found
    assert outside(served.releases, ("published", "reports")) == served.before
    if len(list(served.published.iterdir())) > 30:
        served.clear()


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
