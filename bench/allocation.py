"""The heap that moving data allocates: what is not allocated need not be collected while the application works."""

import random
import statistics
from collections.abc import Mapping
from pathlib import Path

from bench.board import Board
from bench.children import child
from bench.ftp_server import PASSWORD, SEGMENT, USER
from bench.report import Aim, Table, spread

MIB = 1024 * 1024
BUFFERS = (4096, 16384)
# A short and a long download: what both allocate is the command's, the rest is the data's.
FULL = (8 * MIB, 40 * MIB)
PACED = (MIB // 2, 2 * MIB)
RATE = 1_000_000
AIM = 1024
# Nothing is collected meanwhile: it has to hold all that is allocated.
HEAP = "64m"


def measure(work: Path, rounds: int) -> list[Table]:
    """Measures at full speed and at a pace that makes the client wait for every segment."""
    board = Board(work / "modules")
    served = work / "served"
    served.mkdir()
    for size in (*FULL, *PACED):
        (served / str(size)).write_bytes(random.Random(size).randbytes(size))
    table = Table(
        "Allocation: bytes of heap allocated for each MiB that the client moves",
        ("server", "buffer", "bytes per MiB", "pieces per MiB"),
    )
    paced_rounds = max(1, rounds // 2)
    target = str(work / "fetched")
    for label, rate, sizes, times in (
        ("full speed", 0, FULL, rounds),
        (f"1 MB/s, {SEGMENT} bytes at a time", RATE, PACED, paced_rounds),
    ):
        with child("ftp_server", served, rate) as server:
            for size in BUFFERS:
                arguments = {
                    "port": server.port,
                    "user": USER,
                    "password": PASSWORD,
                    "names": [str(size) for size in sizes],
                    "buffer": size,
                    "target": target,
                }
                found = [_once(board, arguments, sizes) for _ in range(times)]
                heap, pieces = [one[0] for one in found], [one[1] for one in found]
                table.rows.append((label, f"{size // 1024} KiB", spread(heap, 0), spread(pieces, 0)))
                table.data[f"{label}, {size}"] = {"bytes_per_mib": heap, "pieces_per_mib": pieces}
                if rate == 0:
                    text = f"under {AIM:,} bytes per MiB at full speed with {size // 1024} KiB"
                    table.aims.append(Aim(text, statistics.median(heap) < AIM))
    table.notes = [
        f"Median (lowest to highest) of {rounds} runs, {paced_rounds} where paced, without garbage collection; the "
        "data is hashed and written to a file. Each is the difference between a short download and a long one "
        f"({FULL[0] // MIB} and {FULL[1] // MIB} MiB; paced {PACED[0] / MIB:g} and {PACED[1] // MIB} MiB), so that "
        "what the commands allocate drops out. A piece is one call of the sink: a full buffer, or what had come.",
        "Paced, the client waits for every segment, and asyncio allocates at each wait.",
    ]
    return [table]


def _once(board: Board, arguments: Mapping[str, object], sizes: tuple[int, int]) -> tuple[float, float]:
    (short, short_pieces), (long, long_pieces) = board.run("allocation", arguments, HEAP)
    moved = (sizes[1] - sizes[0]) / MIB
    return (long - short) / moved, (long_pieces - short_pieces) / moved
