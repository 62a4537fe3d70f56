"""What the boot guard costs with nothing to do: size, time, heap; and, when asked for, the cuts that it stands."""

import statistics
import subprocess
import sys
from pathlib import Path

from bench.board import GUARD, Board, BoardError, compiled_size
from bench.children import ROOT
from bench.report import Aim, Table

ROUNDS = 50
AIM_BYTES = 3500
# How far up the smallest heap is looked for, in KiB.
HEAP_MAX = 128


def measure(work: Path) -> list[Table]:
    """Boots a board with nothing to do, and looks for the smallest heaps in which that and a swap go."""
    board = Board(work / "modules")
    image = work / "flash.img"
    board.make_flash(image, {"name": "thermostat", "host": "127.0.0.1"})
    found = board.run("guard", {"image": str(image), "rounds": ROUNDS}, "128k")
    smallest = _smallest(board, image)
    sizes = {name: compiled_size(GUARD / f"{name}.py", work) for name in ("otaguard", "otaswap")}
    milliseconds = statistics.median(found["times"]) / 1000
    return [
        Table(
            "Boot guard: a boot with nothing to do",
            ("", "measured"),
            [
                *((f"{name}.py as .mpy", f"{size:,} bytes") for name, size in sizes.items()),
                (f"time, the median of {ROUNDS} boots", f"{milliseconds:.2f} ms"),
                ("heap that the first boot leaves in use", f"{found['first']:,} bytes"),
                (f"heap that {ROUNDS - 1} more leave in use", f"{found['later']:,} bytes"),
                ("the smallest heap in which it passes", f"{smallest} KiB"),
            ],
            [Aim(f"each part takes under {AIM_BYTES:,} bytes as .mpy", max(sizes.values()) < AIM_BYTES)],
            [
                "From boot.py to the point where the firmware opens main.py, on a littlefs, the guard compiled from "
                "source each time, as on a board. What it leaves are names, which MicroPython never forgets. "
                "otaswap.py is not loaded: nothing is to be done. Pointers have 8 bytes here, 4 on a microcontroller.",
            ],
            {"sizes": sizes, "milliseconds": milliseconds, "smallest_kib": smallest, **found},
        )
    ]


def measure_cuts(_work: Path) -> list[Table]:
    """Runs `make power-cut`, which takes minutes."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "power_cut")], stdout=subprocess.PIPE, text=True, check=False
    )
    line = done.stdout.splitlines()[-1]
    cuts, doubles, bad = (int(part.split()[0]) for part in line.split(", "))
    return [
        Table(
            "Power cuts: in every flash operation of updates, and in every one of the boots after",
            ("cuts", "double cuts", "bad"),
            [(f"{cuts:,}", f"{doubles:,}", str(bad))],
            [Aim("none is bad", bad == 0)],
            ["Each is followed until the board has come to its goal, with nothing left over and no block lost."],
            {"cuts": cuts, "doubles": doubles, "bad": bad},
        )
    ]


def _smallest(board: Board, image: Path) -> int:
    for kib in range(8, HEAP_MAX):
        try:
            board.run("guard", {"image": str(image), "rounds": 2}, f"{kib}k")
            return kib
        except BoardError:
            pass
    raise BoardError(f"the boot guard does not pass in {HEAP_MAX} KiB")
