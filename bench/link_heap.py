"""The heap that a board's link to its host needs, beside an application's own.

Run as a program it is the host: an echo, which ends with its input.
"""

import contextlib
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from bench.board import Board, BoardError
from bench.children import child, end_with_parent
from bench.report import Aim, Table

LENGTH = 1500
COUNT = 200
# The stand-in for an ESP32 without TLS.
BOARD_KIB = 128
HEAP_MAX = 512
TRIES = 3
FORMS: Mapping[str, Mapping[str, object]] = {
    "utf-16-le": {},
    "utf-8": {"profile": "utf-8"},
    "utf-16-le, a file for what is kept": {"file": "outbox"},
}


def measure(work: Path) -> list[Table]:
    """Measures a link that sends and receives frames of 1,500 characters, and looks for the smallest heap for it."""
    board = Board(work / "modules")
    table = Table(
        f"Link: the heap that it takes with texts of up to {LENGTH:,} characters",
        ("profile", "import", "made", "running", "allocated per text sent and received", "smallest heap"),
    )
    with child("link_heap") as echo:
        for name, options in FORMS.items():
            wanted = {"port": echo.port, "length": LENGTH, "count": COUNT, "options": options, "paced": True}
            found = board.run("link_heap", wanted)
            smallest = _smallest(board, {**wanted, "paced": False})
            before = found["before"]
            taken = {key: found[key] - before for key in ("imported", "made", "running")}
            table.rows.append(
                (name, *(f"{value:,}" for value in taken.values()), f"{found['allocated']:,}", f"{smallest} KiB")
            )
            table.data[name] = {**taken, "allocated": found["allocated"], "smallest_kib": smallest, "before": before}
            table.aims.append(Aim(f"{name}: it passes in {BOARD_KIB} KiB", smallest <= BOARD_KIB))
    table.notes = [
        f"Bytes above what is in use before otalink is imported, after a collection: imported as .mpy with asyncio's "
        f"streams; made, its buffer of (LENGTH + 15) code units included; running, connected. The smallest heap holds "
        f"the whole program, and {COUNT} texts of {LENGTH:,} characters go to an echo and come back in it, "
        f"{TRIES} times out of {TRIES}. Pointers have 8 bytes here, 4 on a microcontroller.",
    ]
    return [table]


def _smallest(board: Board, wanted: Mapping[str, object]) -> int:
    low, high = 8, HEAP_MAX
    if not _passes(board, wanted, high):
        raise BoardError(f"a link does not work in a heap of {high} KiB")
    while high - low > 1:
        middle = (low + high) // 2
        if _passes(board, wanted, middle):
            high = middle
        else:
            low = middle
    return high


def _passes(board: Board, wanted: Mapping[str, object], kib: int) -> bool:
    for _ in range(TRIES):
        try:
            # It waits for ever where the memory does not suffice to go on.
            found = board.run("link_heap", wanted, f"{kib}k", timeout=8)
        except BoardError:
            return False
        if found["came"] != COUNT + 5:
            return False
    return True


def _echo() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=20) as listener:
        print(listener.getsockname()[1], flush=True)
        end_with_parent()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while piece := connection.recv(65536):
            connection.sendall(piece)


if __name__ == "__main__":
    _echo()
