"""The server under load: many boards that log in and fetch a file at once, from `otalink serve` with everything on,
from bare pyftpdlib, and from vsftpd.
"""

import contextlib
import json
import os
import random
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.board import BoardError
from bench.children import Child
from bench.ftp_clients import Load, Target, fetch_at_once
from bench.ftp_server import PASSWORD, USER
from bench.report import Aim, Table
from otalink_host import certificates
from otalink_host.accounts import create_server_folder
from otalink_host.listening import raise_descriptor_limit
from otalink_host.secrets_file import read_secrets
from otalink_host.settings import Settings, load_settings
from tests.interop import servers

COUNTS = (10, 100, 500)
TLS_COUNTS = (100,)
SIZE = 1 << 20
FILE = "thermostat_1.0.0.2.bin"
ROUNDS = 3
# Seconds for all of the clients of a round, and for a server to start.
PATIENCE = 20.0
START = 20.0
# Of bare pyftpdlib's speed.
AIM = 0.9
SAMPLE = 0.05


@dataclass(frozen=True)
class _Served:
    """A server that runs: its port and its process, and who may log in."""

    port: int
    pid: int
    account: tuple[str, str] = (USER, PASSWORD)


@dataclass
class _Found:
    """Of one server and one number of clients: each round's bytes a second, the seconds of each client, the errors, the
    most memory (bytes), and each round's processor time of the server for a client that came through (seconds).
    """

    speeds: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: int = 0
    cpu: list[float] = field(default_factory=list)

    def add(self, load: Load, memory: int, cpu: float) -> None:
        if load.took:
            self.cpu.append(cpu / len(load.took))
        self.speeds.append(load.size / load.seconds)
        self.took += load.took
        self.errors += load.errors
        self.memory = max(self.memory, memory)


def measure(work: Path) -> list[Table]:
    """Measures plain FTP with each number of clients, and FTP over TLS."""
    raise_descriptor_limit(3 * max(COUNTS) + 200)
    settings = _make_server(work / "server")
    tls = settings.tls
    assert tls.certificate is not None
    assert tls.key is not None
    pem = work / "server.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(tls.key.read_bytes() + tls.certificate.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with servers.public_folder() as folder:
        for place in (folder, settings.accounts[0].folder):
            (place / FILE).write_bytes(random.Random(1).randbytes(SIZE))
            (place / FILE).chmod(0o644)
        found = _measure(_starters(settings, folder, None), COUNTS, None)
        secured = _measure(_starters(settings, folder, pem), TLS_COUNTS, context)
    return [
        _table(f"The server: boards that fetch {SIZE >> 20} MiB at once, by plain FTP", found),
        _table("The same over TLS", secured),
    ]


def _make_server(folder: Path) -> Settings:
    """A server as `otalink init` makes it, with room for all clients and every part on."""
    create_server_folder(folder)
    config = folder / "otalink.toml"
    certificates.create(load_settings(config), ["127.0.0.1"])
    lines = {
        'address = "0.0.0.0"': 'address = "127.0.0.1"',
        "sessions = 250": f"sessions = {max(COUNTS) + 10}\nsessions_per_address = {max(COUNTS) + 5}\n"
        f"sessions_per_account = {max(COUNTS) + 5}",
        "port = 2121": f"port = {servers.free_port()}",
        "passive_ports = [30000, 30099]": "passive_ports = [20000, 29999]",
    }
    text = config.read_text(encoding="utf-8")
    for before, after in lines.items():
        assert before in text
        text = text.replace(before, after, 1)
    config.write_text(text + f"\n[metrics]\nport = {servers.free_port()}\n", encoding="utf-8")
    return load_settings(config)


Starter = Callable[[], contextlib.AbstractContextManager[_Served]]


def _starters(settings: Settings, folder: Path, pem: Path | None) -> dict[str, Starter]:
    """The servers, by name: over TLS where there is a certificate with its key, `pem`."""
    starters: dict[str, Starter] = {
        "pyftpdlib": partial(_bare, folder, pem),
        "otalink": partial(_otalink, settings),
    }
    with contextlib.suppress(servers.MissingError), servers.vsftpd(folder):
        starters["vsftpd"] = partial(_vsftpd, folder, pem)
    return starters


@contextlib.contextmanager
def _bare(folder: Path, pem: Path | None) -> Iterator[_Served]:
    child = Child("ftp_peers", folder, pem or "-", max(COUNTS) + 10)
    try:
        yield _Served(child.port, child.pid)
    finally:
        child.close()


@contextlib.contextmanager
def _otalink(settings: Settings) -> Iterator[_Served]:
    assert settings.path is not None
    assert settings.secrets is not None
    password = str(read_secrets(settings.secrets, "password", "")["board"])
    command = [sys.executable, "-c", "import sys; from otalink_host.cli import main; sys.exit(main())"]
    with (settings.path.parent / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, "serve", "--config", str(settings.path)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", settings.port), 5) as probe:
                if probe.recv(4).startswith(b"220"):
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BoardError("otalink serve does not start: " + (settings.path.parent / "log").read_text("utf-8"))
            time.sleep(0.05)
        yield _Served(settings.port, process.pid, ("board", password))
    finally:
        process.terminate()
        try:
            process.wait(START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _vsftpd(folder: Path, pem: Path | None) -> Iterator[_Served]:
    with servers.vsftpd(folder, servers.Tls(pem) if pem is not None else None) as server:
        yield _Served(server.port, server.pid, (server.user, server.password))


def _measure(
    starters: dict[str, Starter], counts: tuple[int, ...], context: ssl.SSLContext | None
) -> dict[int, dict[str, _Found]]:
    found: dict[int, dict[str, _Found]] = {}
    for count in counts:
        found[count] = {name: _Found() for name in starters}
        for number in range(ROUNDS):
            # In turns first and last.
            for name in sorted(starters, reverse=bool(number % 2)):
                with starters[name]() as served:
                    target = Target(served.port, [served.account], FILE, SIZE, context)
                    # What happens once in a server's life: passwords are checked, the file is read, code is warmed up.
                    fetch_at_once(target, count, PATIENCE)
                    before = _cpu(served.pid)
                    with _watched(served.pid) as most:
                        load = fetch_at_once(target, count, PATIENCE)
                    found[count][name].add(load, most[0], _cpu(served.pid) - before)
    return found


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Gives a list whose one number grows to the most memory that the process and its children have, in bytes."""
    most = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE):
            most[0] = max(most[0], sum(_private(each) for each in (pid, *servers.descendants(pid))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()
        most[0] = most[0] or _private(pid)


def _cpu(pid: int) -> float:
    """The processor time of a process and of its children that have ended, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _private(pid: int) -> int:
    """What a process has of memory for itself alone, in bytes."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def _table(title: str, found: dict[int, dict[str, _Found]]) -> Table:
    table = Table(
        f"{title} (median of {ROUNDS})",
        ("BOARDS", "SERVER", "MB/S", "OF BARE", "p50 s", "p99 s", "CPU ms", "ERRORS", "MEMORY MiB"),
    )
    for count, by_name in found.items():
        speeds = {name: statistics.median(each.speeds) for name, each in by_name.items()}
        for name, each in by_name.items():
            took = sorted(each.took)
            table.rows.append(
                (
                    f"{count:,}",
                    name,
                    f"{speeds[name] / 1e6:,.0f}",
                    "1" if name == "pyftpdlib" else f"{speeds[name] / speeds['pyftpdlib']:.2f}",
                    *(f"{took[int(len(took) * part)]:.2f}" if took else "" for part in (0.5, 0.99)),
                    f"{statistics.median(each.cpu) * 1000:,.1f}" if each.cpu else "",
                    f"{len(each.errors):,}",
                    f"{each.memory / 2**20:,.0f}",
                )
            )
        ratio = speeds["otalink"] / speeds["pyftpdlib"]
        table.aims += [
            Aim(f"{count} boards: otalink at least {AIM:.2f} of bare pyftpdlib", ratio >= AIM),
            Aim(f"{count} boards: no error of otalink's", not by_name["otalink"].errors),
        ]
        if "vsftpd" in speeds:
            table.aims.append(Aim(f"{count} boards: ahead of vsftpd", speeds["otalink"] > speeds["vsftpd"]))
        table.data[str(count)] = {name: vars(each) for name, each in by_name.items()}
    errors = {name: each.errors for by_name in found.values() for name, each in by_name.items() if each.errors}
    table.notes += [
        "A board connects, logs in, asks for a data connection, fetches and leaves; all of them at once, from one "
        "process on the same machine, so that the speeds are those of server and clients together. CPU is the server's "
        "processor time for a board, errors are those of all rounds.",
        "otalink is `otalink serve` with hashed passwords, the audit log, limits, counters and the log to a file, in "
        "one process; its accounts have logged in once before. pyftpdlib is its plain server, one password in the "
        "clear, with room for the load. Memory is what the processes have for themselves. "
        "vsftpd is measured where tests/interop/setup has put it, by root.",
        *(f"{name} says, for example: {json.dumps(lines[0])}" for name, lines in sorted(errors.items())),
    ]
    return table
