"""The heap that an update needs, and what each module of the board takes of it and of the flash."""

import hashlib
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.board import BLOCKS, GUARD, GUARD_FILES, Board, BoardError, compiled_size, publish
from bench.children import child
from bench.ftp_server import PASSWORD, USER
from bench.report import Aim, Table

FILES = 8
FILE_SIZE = 25_000
AIM_KIB = 64
# Of everything that otalink puts on a board, as .mpy.
AIM_BYTES = 40_000
# How far up the smallest heap is looked for: so much suffices for anything here.
HEAP_MAX = 1024
# So many KiB above the smallest heap must suffice as well.
ABOVE = 8
# How often a heap must suffice before it counts.
TRIES = 3
NAME = "thermostat"
# What a board has frozen in and loads anyway: no module of ours is charged for it, unless by the last column.
_SHARED = ("asyncio", "asyncio.stream", "asyncio.event", "asyncio.lock", "asyncio.funcs")


class UpdateError(Exception):
    """An update that must work did not."""


def release(version: str, seeds: Sequence[int], size: int = FILE_SIZE) -> dict[str, bytes]:
    """A plain release of files of `size` bytes with random content, by name on the server; a file's seed decides what
    is in it."""
    names = [f"{NAME}_{version}.py", *(f"part-{number}.bin" for number in range(1, len(seeds)))]
    return {name: random.Random(seed).randbytes(size) for name, seed in zip(names, seeds, strict=True)}


def on_board(files: dict[str, bytes]) -> dict[str, str]:
    """The SHA-256 of each file of a release, by its name on the board."""
    return {
        (f"{NAME}.py" if name.startswith(f"{NAME}_") else name): hashlib.sha256(content).hexdigest()
        for name, content in files.items()
    }


def settings(port: int) -> dict[str, object]:
    """What /otalink.json holds."""
    return {
        "name": NAME,
        "host": "127.0.0.1",
        "port": port,
        "user": USER,
        "password": PASSWORD,
        "restart": "none",
        "start_delay": 0,
        "attempts": 1,
    }


def installed_board(
    board: Board, served: Path, port: int, image: Path, seeds: list[int], size: int = FILE_SIZE, blocks: int = BLOCKS
) -> None:
    """Makes a flash of `blocks` whose release of 1.0.0.1, files of `size` bytes, has been installed by an update."""
    files = release("1.0.0.1", seeds, size)
    publish(served, files)
    board.make_flash(image, settings(port), blocks)
    must_update(board, image, on_board(files))


def must_update(board: Board, image: Path, expected: Mapping[str, str]) -> None:
    """Runs an update and looks at the flash afterwards. Raises UpdateError unless it holds what is `expected`."""
    found = board.update(image)
    if not found["applied"] or board.flash_digests(image) != expected:
        raise UpdateError("an update failed: " + "; ".join(found["messages"]))


@dataclass(frozen=True)
class Needed:
    """What an update needs of the heap: whether it passes in each of some sizes, the smallest that suffices (KiB), and
    what was in use before it and after it (bytes), in a large heap."""

    passes: dict[int, bool]
    smallest: int
    before: int
    after: int

    def rows(self) -> list[Sequence[str]]:
        """As rows of a table."""
        return [
            *((f"with -X heapsize={kib}k", "passes" if met else "FAILS") for kib, met in self.passes.items()),
            ("the smallest with which it passes", f"{self.smallest} KiB"),
            ("in use before otalink is imported", f"{self.before / 1024:.1f} KiB"),
            ("in use after the update, with all that it imported", f"{self.after / 1024:.1f} KiB"),
        ]

    def data(self) -> dict[str, object]:
        """As the numbers behind a table."""
        return {
            "passes": self.passes,
            "smallest_kib": self.smallest,
            "before": self.before,
            "after": self.after,
        }


def passes(board: Board, image: Path, expected: Mapping[str, str], kib: int, tries: int = TRIES) -> bool:
    """Whether an update on the board `image`, which stays as it is, ends with what is `expected` on it: each of `tries`
    with a heap of `kib` KiB. Raises UpdateError when it says so and did not."""
    trial = image.with_suffix(".trial")
    for _ in range(tries):
        shutil.copyfile(image, trial)
        try:
            if not board.update(trial, f"{kib}k")["applied"]:
                return False
        except BoardError:
            return False
        if board.flash_digests(trial) != expected:
            raise UpdateError(f"with a heap of {kib} KiB an update said that it worked and did not")
    return True


def smallest(board: Board, image: Path, expected: Mapping[str, str], tries: int = TRIES) -> int:
    """The smallest heap, in KiB, in which `passes`, as it does in the next larger ones.

    Raises UpdateError when there is none.
    """
    low, high = 4, HEAP_MAX
    if not passes(board, image, expected, high, tries):
        raise UpdateError(f"an update does not pass in a heap of {high} KiB")
    while True:
        high = least(lambda kib: passes(board, image, expected, kib, tries), low, high)
        # Where a collection happens to come decides as well: just above a heap that suffices one may not.
        failed = [kib for kib in range(high + 2, high + ABOVE + 1, 2) if not passes(board, image, expected, kib, 1)]
        if not failed:
            return high
        low, high = failed[-1], failed[-1] + ABOVE
        while not passes(board, image, expected, high, tries):
            low, high = high, high + ABOVE


def least(met: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest heap in KiB that `met` takes, found by halving: it does not take `low`, and takes `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        if met(middle):
            high = middle
        else:
            low = middle
    return high


def search(board: Board, image: Path, expected: Mapping[str, str], sizes: Sequence[int]) -> Needed:
    """Tries an update in heaps of `sizes` KiB, and looks for the smallest that suffices."""
    met = {kib: passes(board, image, expected, kib) for kib in sizes}
    trial = image.with_suffix(".trial")
    shutil.copyfile(image, trial)
    found = board.update(trial)
    return Needed(met, smallest(board, image, expected), found["before"], found["after"])


def measure(work: Path) -> list[Table]:
    """Finds the smallest heap for a whole update, and weighs the modules."""
    board = Board(work / "modules")
    return [_update_table(board, work), _module_table(board, work)]


def _update_table(board: Board, work: Path) -> Table:
    served, image = work / "served", work / "flash.img"
    served.mkdir()
    with child("ftp_server", served, 0) as server:
        installed_board(board, served, server.port, image, list(range(FILES)))
        files = release("1.0.0.2", list(range(FILES, 2 * FILES)))
        publish(served, files)
        needed = search(board, image, on_board(files), (AIM_KIB,))
    return Table(
        f"Heap: a plain update of {FILES} files, {FILES * FILE_SIZE // 1000} KB in all",
        ("", "heap"),
        needed.rows(),
        [Aim(f"the update passes in {AIM_KIB} KiB", needed.passes[AIM_KIB])],
        [
            f"All {FILES} files are replaced and checked by SHA256SUMS; a heap counts when {TRIES} updates of {TRIES} "
            f"pass. The smallest was found by halving, in steps of 1 KiB; from there on up to {ABOVE} KiB more every "
            "other one was tried once, and passes. otalink is imported as .mpy from the littlefs "
            "(4096-byte blocks, 1 MiB) that it updates, whose blocks lie outside of the heap; asyncio is frozen in. "
            "The heap holds the whole program, the script that mounts the flash and calls the updater included.",
            "This MicroPython has pointers of 8 bytes, a microcontroller's has 4. By MicroPython's own rule (the "
            f"suffix w of -X heapsize doubles a heap where pointers have 8 bytes) {needed.smallest} KiB here stand for "
            f"{needed.smallest / 2:g} KiB there; that is a rule, not a measurement.",
        ],
        needed.data(),
    )


def _module_table(board: Board, work: Path) -> Table:
    sizes = board.sizes()
    table = Table(
        "Modules: what each takes of the flash and, once imported, of the heap",
        ("module", ".mpy bytes", "import, alone", "import, with all it imports"),
    )
    modules = {stem: "otalink" if stem == "__init__" else f"otalink.{stem}" for stem in sizes}
    for stem, module in modules.items():
        whole = board.run("import_cost", {"module": module, "first": []})
        others = [name for name in whole["others"] if name.startswith("otalink")]
        alone = board.run("import_cost", {"module": module, "first": [*_SHARED, "hashlib", "binascii", *others]})
        table.rows.append((module, f"{sizes[stem]:,}", f"{alone['bytes']:,}", f"{whole['bytes']:,}"))
        table.data[module] = {"mpy": sizes[stem], "alone": alone["bytes"], "whole": whole["bytes"]}
    shared = {"first": list(_SHARED), "module": "everything"}
    (board.folder / "everything.py").write_text("".join(f"import {module}\n" for module in modules.values()))
    everything = board.run("import_cost", {**shared, "first": []})["bytes"]
    beside = board.run("import_cost", shared)["bytes"]
    total = sum(sizes.values())
    table.rows.append(("all of them", f"{total:,}", f"{beside:,}", f"{everything:,}"))
    table.data["total"] = {"mpy": total, "alone": beside, "whole": everything}
    guard = {name: compiled_size(GUARD / name, work) for name in GUARD_FILES}
    table.rows += [(name, f"{size:,}", "", "") for name, size in guard.items()]
    whole_board = total + sum(guard.values())
    table.rows.append(("all that a board has", f"{whole_board:,}", "", ""))
    table.data["guard"] = guard
    table.aims.append(Aim(f"all of it under {AIM_BYTES:,} bytes as .mpy", whole_board < AIM_BYTES))
    table.notes = [
        "Bytes of heap after a collection, in a fresh process for each figure. Alone: the modules that it imports, "
        "asyncio's among them, were there before. With all: nothing was there before. What a function imports when it "
        "runs is not counted. MicroPython's table of names grows by blocks, which whoever comes next pays. Pointers "
        "have 8 bytes here, 4 on a microcontroller.",
        "The boot guard's three files stay .py on a board; what they take as .mpy is for comparison.",
    ]
    return table
