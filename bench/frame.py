"""The frame codec: speed beside its floor and its peers on both runtimes, and the heap that a frame allocates."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.board import SCRIPTS, Board, BoardError
from bench.children import ROOT
from bench.report import Aim, Table

# Characters: note 70's 1.5 KB, and a short message.
SIZES = (1500, 64)
# Of the floor's speed, at the size of note 70, with its profile.
AIM_ENCODE, AIM_DECODE = 0.9, 0.8
AIM_HEAP = 400
# For each round that the command line asks for.
TURNS = 5
TIMEOUT = 300
LABELS = {
    "floor utf-16-le": "floor, UTF-16LE",
    "otalink utf-16-le": "otalink, utf-16-le",
    "floor utf-8": "floor, UTF-8",
    "otalink utf-8": "otalink, utf-8",
    "struct": "length by struct, CRC-32",
    "cobs": "COBS, CRC-32",
    "lines": "JSON lines, no CRC",
}


def measure(work: Path, rounds: int) -> list[Table]:
    """Measures both sizes on both runtimes."""
    board = Board(work / "modules")
    tables = []
    heap = Table(
        "Frames: bytes of heap that MicroPython allocates for each",
        ("", "encoded", "received as a view", "text on top"),
    )
    for size in SIZES:
        arguments = {"text": _text(size), "rounds": TURNS * rounds, "order": list(LABELS)}
        for runtime in ("MicroPython", "CPython"):
            found = (
                board.run("frame", arguments, "32m", TIMEOUT) if runtime == "MicroPython" else _on_cpython(arguments)
            )
            tables.append(_speed_table(runtime, size, found))
            if runtime == "MicroPython":
                _add_heap(heap, size, found)
    heap.notes = [
        "At the least of five, the copy from the network's place not counted but for its slice. Pointers have 8 bytes "
        "here, 4 on a microcontroller.",
    ]
    return [*tables, heap]


def _text(size: int) -> str:
    # What a device says: printable ASCII, without the delimiters.
    allowed = [chr(code) for code in range(32, 127) if chr(code) not in '@;"\\']
    return "".join(allowed[index % len(allowed)] for index in range(size))


def _on_cpython(arguments: Mapping[str, object]) -> Any:
    completed = subprocess.run(
        [sys.executable, SCRIPTS / "frame.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "firmware")},
        input=json.dumps(arguments).encode() + b"\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )
    output = completed.stdout.decode(errors="replace").strip()
    if completed.returncode:
        raise BoardError(f"frame failed on CPython:\n{output}")
    return json.loads(output.splitlines()[-1])


def _speed_table(runtime: str, size: int, found: Mapping[str, Any]) -> Table:
    table = Table(
        f"Frames on {runtime}: {size:,} characters of text",
        ("", "bytes", "encode/s", "MB/s", "of floor", "decode/s", "MB/s", "of floor", "view/s"),
        data=dict(found),
    )
    for name, label in LABELS.items():
        one = found[name]
        profile = "utf-16-le" if name.endswith("utf-16-le") else "utf-8"
        unit = 2 if profile == "utf-16-le" else 1
        row = [label, f"{one['wire']:,}"]
        for index in (0, 1):
            microseconds = statistics.median(times[index] for times in one["times"])
            ratio = _ratio(found[f"floor {profile}"], one, index)
            row += [f"{1e6 / microseconds:,.0f}", f"{size * unit / microseconds:,.1f}", f"{ratio:.2f}"]
        view = [times[2] for times in one["times"] if len(times) > 2]
        row.append(f"{1e6 / statistics.median(view):,.0f}" if view else "")
        table.rows.append(row)
    if size == SIZES[0]:
        floor, own = found["floor utf-16-le"], found["otalink utf-16-le"]
        for index, verb, aim in ((0, "encoding", AIM_ENCODE), (1, "decoding", AIM_DECODE)):
            text = f"{verb} utf-16-le at least {aim} of the floor on {runtime}"
            table.aims.append(Aim(text, _ratio(floor, own, index) >= aim))
    table.notes = [
        "The floor is binascii.crc32 and the cheapest correct conversion of the same text, and nothing else: no frame. "
        "MB/s are of DATA, bytes are those of the frame on the wire; a ratio is the median of turns, each right beside "
        "its floor. Decoding begins with the copy into the decoder's buffer and ends with the text, or with a view.",
    ]
    return table


def _ratio(floor: Mapping[str, Any], one: Mapping[str, Any], index: int) -> float:
    pairs = zip(floor["times"], one["times"], strict=True)
    return float(statistics.median(low[index] / high[index] for low, high in pairs))


def _add_heap(table: Table, size: int, found: Mapping[str, Any]) -> None:
    for profile in ("utf-16-le", "utf-8"):
        encoded, text, view = found[f"otalink {profile}"]["heap"]
        label = f"{size:,} characters, {profile}"
        table.rows.append((label, f"{encoded:,}", f"{view:,}", f"{text - view:,}"))
        table.data[label] = {"encoded": encoded, "view": view, "text": text - view}
        table.aims.append(Aim(f"{label}: under {AIM_HEAP} bytes as a view", view < AIM_HEAP))
