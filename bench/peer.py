"""The host's peer: frames a second and latency with many echoing clients, beside a bare asyncio echo; memory a client.

The clients are sockets of this process, each with one frame on its way: it sends the next when the last one is back.
"""

import selectors
import socket
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench.children import Child, child
from bench.report import Table
from otalink.frame import encode_frame
from otalink_host.listening import raise_descriptor_limit

COUNTS = (30, 300, 3000)
KINDS = ("bare", "codec", "otalink")
# Note 70's frames are of 1,500 bytes and more.
CHARACTERS = 750
ROUNDS = 2
WARM_UP = 0.3
SECONDS = 1.0
# One socket of each client is here, the other in the server's process.
DESCRIPTORS = max(COUNTS) + 200


class _Client:
    """A client, and when it sent what is on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.missing = 0
        self.sent = 0.0


class _Load:
    """The clients of a server."""

    def __init__(self, port: int, count: int, frame: bytes) -> None:
        self._frame = frame
        self._buffer = bytearray(len(frame))
        self._selector = selectors.DefaultSelector()
        self._clients = [_Client(port) for _ in range(count)]
        for client in self._clients:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            client.sent = time.perf_counter()
            client.missing = len(frame)
            client.socket.sendall(frame)

    def run(self, seconds: float) -> tuple[int, float, list[float]]:
        """Lets them echo: how many frames, in how many seconds, and how long each took."""
        frame, buffer, size = self._frame, self._buffer, len(self._frame)
        took: list[float] = []
        now = begun = time.perf_counter()
        while now - begun < seconds:
            ready = self._selector.select(1)
            for key, _ in ready:
                client = key.data
                client.missing -= client.socket.recv_into(buffer, client.missing)
                if not client.missing:
                    now = time.perf_counter()
                    took.append(now - client.sent)
                    client.sent = now
                    client.missing = size
                    client.socket.send(frame)
            now = time.perf_counter()
        return len(took), now - begun, took

    def close(self) -> None:
        """Closes them."""
        for client in self._clients:
            client.socket.close()
        self._selector.close()


def measure(work: Path) -> list[Table]:
    """Measures all; `work` is not needed."""
    raise_descriptor_limit(DESCRIPTORS)
    speed = Table(
        f"The host's peer, {CHARACTERS:,} characters a frame, each client with one on its way (median of {ROUNDS})",
        ("CLIENTS", "SERVER", "FRAMES/S", "OF BARE", "OF CODEC", "p50 ms", "p99 ms", "µs/FRAME", "OF BARE"),
    )
    memory: dict[str, float] = {}
    for profile in ("utf-16-le", "utf-8"):
        frame = encode_frame("21.5 " * (CHARACTERS // 5), profile)
        for count in COUNTS if profile == "utf-16-le" else COUNTS[1:2]:
            rounds: dict[str, list[tuple[float, float, float, float]]] = {kind: [] for kind in KINDS}
            for _ in range(ROUNDS):
                for kind in KINDS:
                    with child("peer_server", kind, profile) as server:
                        measured, bytes_each = _round(server, count, frame)
                    rounds[kind].append(measured)
                    memory[f"{kind} {count}"] = bytes_each
            found = {kind: [statistics.median(column) for column in zip(*rounds[kind], strict=True)] for kind in KINDS}
            for kind in KINDS:
                rate, middle, slow, cost = found[kind]
                speed.rows.append(
                    (
                        f"{count:,}, {profile}",
                        kind,
                        f"{rate:,.0f}",
                        "" if kind == "bare" else f"{rate / found['bare'][0]:.2f}",
                        f"{rate / found['codec'][0]:.2f}" if kind == "otalink" else "",
                        f"{middle * 1000:,.2f}",
                        f"{slow * 1000:,.2f}",
                        f"{cost * 1e6:,.1f}",
                        "" if kind == "bare" else f"{cost / found['bare'][3]:.2f}",
                    )
                )
                speed.data[f"{kind} {count} {profile}"] = rounds[kind]
    speed.notes += [
        "bare: an asyncio protocol that writes back the bytes it gets, and knows no frames. codec: one that decodes "
        "and encodes each frame, and does nothing else.",
        "FRAMES/S and the latencies are those of server and clients together, which share the machine. µs/FRAME is "
        "the server's processor time; a server that clients wait for wakes them with each frame, a part of that.",
    ]
    kept = Table(
        "Memory that a client costs its server, after an echo",
        ("CLIENTS", "bare", "otalink"),
        [
            (f"{count:,}", *(f"{memory[f'{kind} {count}'] / 1024:,.1f} KiB" for kind in ("bare", "otalink")))
            for count in COUNTS
            if count > 30
        ],
        notes=["Of the resident set, without the system's own buffers."],
        data=dict(memory),
    )
    return [speed, kept]


def _round(server: Child, count: int, frame: bytes) -> tuple[tuple[float, float, float, float], float]:
    before = server.ask()["resident"]
    load = _Load(server.port, count, frame)
    try:
        load.run(WARM_UP)
        begun = server.ask()
        frames, seconds, took = load.run(SECONDS)
        ended = server.ask()
    finally:
        load.close()
    took.sort()
    cost = (ended["cpu"] - begun["cpu"]) / frames
    return (frames / seconds, _at(took, 0.5), _at(took, 0.99), cost), (ended["resident"] - before) / count


def _at(sorted_values: Sequence[float], part: float) -> float:
    return sorted_values[min(int(len(sorted_values) * part), len(sorted_values) - 1)]
