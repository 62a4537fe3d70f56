"""How fast a file comes to a file, as a ratio to the bare loop of the same runtime in the same round."""

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ftplib import FTP
from pathlib import Path
from typing import NamedTuple

from bench.board import Board
from bench.children import ROOT, child
from bench.ftp_server import PASSWORD, USER
from bench.report import Aim, Table, spread

SIZE = 32 * 1024 * 1024
BUFFERS = (4096, 16384)
AIM = 0.9
NAME = "payload.bin"
PEER = "micropython-ftplib"


class DownloadError(Exception):
    """A client brought another file than the one that was served."""


class Taken(NamedTuple):
    """What one download took, in seconds: by the clock, and of the client's processor. Or a ratio of two of them."""

    clock: float
    cpu: float


@dataclass
class Contender:
    """One client; `run` fetches the file. `buffer` is the bare loop's that it is compared to, in `ratios`."""

    label: str
    buffer: int
    run: Callable[[], Taken]
    seconds: list[float] = field(default_factory=list)
    ratios: list[Taken] = field(default_factory=list)


def measure(work: Path, rounds: int, peer: Path | None, where: str) -> list[Table]:
    """Runs every client `rounds` times, each right beside its bare loop."""
    served = work / "served"
    served.mkdir()
    content = random.Random(1).randbytes(SIZE)
    (served / NAME).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    board = Board(work / "modules", () if peer is None else (peer,))
    with child("raw_sender", served / NAME) as raw, child("ftp_server", served, 0) as server:
        clients = _Clients(board, raw.port, server.port, work / "fetched", digest)
        contenders = clients.contenders(None if peer is None else peer.stem)
        bare = {size: Contender("bare loop", size, clients.bare(size)) for size in BUFFERS}
        for contender in [*bare.values(), *contenders]:
            contender.run()
        for number in range(rounds):
            for contender in contenders:
                _pair(bare[contender.buffer], contender, swapped=number % 2 == 1)
        senders = {
            "raw": [_drain_raw(raw.port) for _ in range(rounds)],
            "pyftpdlib": [_drain_ftp(server.port) for _ in range(rounds)],
        }
    return [_table(bare, contenders, senders, rounds, peer is not None, where)]


def _pair(bare: Contender, contender: Contender, swapped: bool) -> None:
    # Whoever runs first may find another machine than whoever runs second: they take turns.
    if swapped:
        taken = contender.run()
        floor = bare.run()
    else:
        floor = bare.run()
        taken = contender.run()
    bare.seconds.append(floor.clock)
    contender.seconds.append(taken.clock)
    contender.ratios.append(Taken(floor.clock / taken.clock, floor.cpu / taken.cpu))


class _Clients:
    def __init__(self, board: Board, raw_port: int, port: int, target: Path, digest: str) -> None:
        self._board = board
        self._raw_port = raw_port
        self._port = port
        self._target = target
        self._digest = digest

    def contenders(self, peer: str | None) -> list[Contender]:
        found = []
        for size in BUFFERS:
            found.append(Contender("otalink", size, self._script("otalink_client", size)))
            if peer is not None:
                found.append(Contender(PEER, size, self._script("peer_client", size, module=peer)))
        found.append(Contender("CPython's ftplib", BUFFERS[-1], self._cpython))
        if shutil.which("curl") and shutil.which("sha256sum"):
            found.append(Contender("curl, then sha256sum", BUFFERS[-1], self._curl))
        return found

    def bare(self, size: int) -> Callable[[], Taken]:
        return self._script("bare_loop", size, port=self._raw_port)

    def _script(self, script: str, size: int, **more: object) -> Callable[[], Taken]:
        arguments = {
            "port": self._port,
            "user": USER,
            "password": PASSWORD,
            "name": NAME,
            "buffer": size,
            "target": str(self._target),
            **more,
        }

        def run() -> Taken:
            self._forget()
            found = self._board.run(script, arguments)
            return self._checked(script, Taken(found["seconds"], found["cpu"]), found["sha256"])

        return run

    def _cpython(self) -> Taken:
        self._forget()
        arguments = [self._port, USER, PASSWORD, NAME, self._target, BUFFERS[-1]]
        done = subprocess.run(
            [sys.executable, "-m", "bench.cpython_client", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        found = json.loads(done.stdout)
        return self._checked("ftplib", Taken(found["seconds"], found["cpu"]), found["sha256"])

    def _curl(self) -> Taken:
        self._forget()
        url = f"ftp://{USER}:{PASSWORD}@127.0.0.1:{self._port}/{NAME}"
        started, cpu = time.perf_counter(), _cpu_of_children()
        subprocess.run(["curl", "-q", "-s", "-S", "--noproxy", "*", "-o", self._target, url], check=True, timeout=60)
        done = subprocess.run(["sha256sum", self._target], stdout=subprocess.PIPE, check=True, timeout=60)
        taken = Taken(time.perf_counter() - started, _cpu_of_children() - cpu)
        return self._checked("curl", taken, done.stdout.split()[0].decode())

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._target)

    def _checked(self, what: str, taken: Taken, digest: str) -> Taken:
        if digest != self._digest or self._target.stat().st_size != SIZE:
            raise DownloadError(f"{what} brought another file than the one that was served")
        return taken


def _cpu_of_children() -> float:
    # Of those that have ended; the servers go on.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _drain_raw(port: int) -> float:
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        _drain(sock)
    return time.perf_counter() - started


def _drain_ftp(port: int) -> float:
    with FTP() as client:
        client.connect("127.0.0.1", port)
        client.login(USER, PASSWORD)
        client.voidcmd("TYPE I")
        started = time.perf_counter()
        with client.transfercmd(f"RETR {NAME}") as sock:
            _drain(sock)
        taken = time.perf_counter() - started
        client.voidresp()
    return taken


def _drain(sock: socket.socket) -> None:
    buffer = bytearray(65536)
    got = 0
    while n := sock.recv_into(buffer):
        got += n
    if got != SIZE:
        raise DownloadError(f"{got} bytes came of {SIZE}")


def _table(
    bare: dict[int, Contender],
    contenders: list[Contender],
    senders: dict[str, list[float]],
    rounds: int,
    has_peer: bool,
    where: str,
) -> Table:
    table = Table(
        f"Download: {SIZE // 1048576} MiB over loopback, SHA-256, to a file on {where}",
        ("client", "buffer", "MB/s", "of the bare loop's speed", "by CPU time"),
    )
    for size in BUFFERS:
        rows = [bare[size], *(contender for contender in contenders if contender.buffer == size)]
        for contender in rows:
            speeds = [SIZE / 1e6 / seconds for seconds in contender.seconds]
            ratios = [ratio.clock for ratio in contender.ratios]
            cpu = [ratio.cpu for ratio in contender.ratios]
            theirs = "its own" if contender.label.startswith("curl") else f"{size // 1024} KiB"
            by_clock, by_cpu = (spread(ratios, 2), spread(cpu, 2)) if ratios else ("1", "1")
            table.rows.append((contender.label, theirs, spread(speeds, 0), by_clock, by_cpu))
            table.data[f"{contender.label}, {size}"] = {
                "seconds": contender.seconds,
                "ratios": ratios,
                "cpu_ratios": cpu,
            }
            if contender.label == "otalink":
                text = f"otalink at least {AIM:.2f} of the bare loop with {size // 1024} KiB"
                table.aims.append(Aim(text, statistics.median(ratios) >= AIM))
    if not any(contender.label.startswith("curl") for contender in contenders):
        table.rows.append(("curl, then sha256sum", "", "not on this machine", "", ""))
    if not has_peer:
        table.rows.append((PEER, "", "not run: --micropython-ftplib PATH", "", ""))
    table.data["senders"] = senders
    table.notes = [
        f"Median (lowest to highest) of {rounds} rounds. The bare loop is readinto, hash, write on the same "
        "MicroPython, from a plain TCP connection. Each client runs right beside a bare loop of its own, in turns "
        "first and second; a ratio is of such a pair. CPython's ftplib and curl hash by other code than MicroPython's: "
        "their ratio, to the 16 KiB loop, is what a computer's client does, no aim.",
        "By CPU time: the bare loop's over the client's own, which other work on the machine disturbs less. "
        "The clock runs from the first command of the transfer, logged in, to the closed file; curl's over its whole "
        "process and sha256sum's after it.",
        "The senders alone, into nothing: sendfile to the bare loop {} MB/s, pyftpdlib {} MB/s.".format(
            *(spread([SIZE / 1e6 / seconds for seconds in senders[name]], 0) for name in ("raw", "pyftpdlib"))
        ),
    ]
    return table
