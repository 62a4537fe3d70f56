"""What of otalink fits into the heap of an ESP8266, at the stand-in that its board.toml names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import link_heap
from bench.board import Board, BoardError, publish
from bench.children import child
from bench.ftp_server import PASSWORD, USER
from bench.heap import FILE_SIZE, FILES, HEAP_MAX, TRIES, installed_board, least, on_board, passes, release, smallest
from bench.report import Table
from otalink_host.boards import load_boards

BOARD = "ESP8266_GENERIC"
# Small ones, in the profile that takes less: what a sensor says.
LENGTH, COUNT, PROFILE = 200, 50, "utf-8"
BUFFER = 1024


def measure(work: Path) -> list[Table]:
    """Tries an update, a link, the FTP client and the frame codec, and looks for the smallest heap of each."""
    kib = int(load_boards()[BOARD].heap_stand_in.removesuffix("k"))
    board = Board(work / "modules")
    found = {
        f"a plain update of {FILES} files": _update(board, work, kib),
        f"a Link, texts of {LENGTH} characters": _link(board, kib),
        f"the FTP client, a file by a buffer of {BUFFER:,} bytes": _client(board, work, kib),
        f"the frame codec, texts of {LENGTH} characters": _try(board, "codec", _texts(), COUNT, kib),
    }
    rows: list[Sequence[str]] = [
        (name, "passes" if met else "FAILS", f"{heap} KiB") for name, (met, heap) in found.items()
    ]
    return [
        Table(
            f"ESP8266: what passes in {kib} KiB of heap, the stand-in for its 38",
            ("", f"-X heapsize={kib}k", "smallest heap"),
            rows,
            [],
            [
                "otalink as .mpy, as `otalink flash` compiles it; each has the heap to itself, with asyncio frozen in, "
                f"and counts when {TRIES} of {TRIES} pass. The codec computes the CRC-32 in Python, as an ESP8266 "
                "must. An application's own memory, and that of the Wi-Fi, come on top.",
                "Memory is not all: that port has no execfile, which the boot guard calls, and no str.partition, which "
                "an update's modules call (its mpconfigport.h).",
            ],
            {name: {"passes": met, "smallest_kib": heap} for name, (met, heap) in found.items()},
        )
    ]


def _update(board: Board, work: Path, kib: int) -> tuple[bool, int]:
    served, image = work / "served", work / "flash.img"
    served.mkdir()
    with child("ftp_server", served, 0) as server:
        installed_board(board, served, server.port, image, list(range(FILES)))
        files = release("1.0.0.2", list(range(FILES, 2 * FILES)))
        publish(served, files)
        expected = on_board(files)
        return passes(board, image, expected, kib), smallest(board, image, expected)


def _link(board: Board, kib: int) -> tuple[bool, int]:
    with child("link_heap") as echo:
        wanted = {"port": echo.port, "options": {"profile": PROFILE}, "paced": False, **_texts()}
        return _try(board, "link_heap", wanted, COUNT + 5, kib)


def _client(board: Board, work: Path, kib: int) -> tuple[bool, int]:
    served = work / "client"
    publish(served, {"file": bytes(FILE_SIZE)}, sums=False)
    with child("ftp_server", served, 0) as server:
        account = {"port": server.port, "user": USER, "password": PASSWORD}
        wanted = {**account, "name": "file", "buffer": BUFFER, "target": str(work / "received")}
        return _try(board, "otalink_client", wanted, None, kib)


def _texts() -> dict[str, object]:
    return {"length": LENGTH, "count": COUNT, "profile": PROFILE}


def _try(board: Board, script: str, wanted: Mapping[str, object], came: int | None, kib: int) -> tuple[bool, int]:
    """Whether `script` passes in `kib` KiB, with as many texts as must have come, and in which heap at the least."""

    def once(heap: int) -> bool:
        try:
            # It waits for ever where the memory does not suffice to go on.
            found = board.run(script, wanted, f"{heap}k", timeout=link_heap.PATIENCE)
        except BoardError:
            return False
        return bool(found.get("came") == came)

    if not once(HEAP_MAX):
        raise BoardError(f"{script} does not pass in a heap of {HEAP_MAX} KiB")
    return _always(once, kib), least(lambda heap: _always(once, heap), 4, HEAP_MAX)


def _always(once: Callable[[int], bool], heap: int) -> bool:
    return all(once(heap) for _ in range(TRIES))
