"""What an update costs on the network when one file of eight has changed."""

from pathlib import Path
from typing import Any

from bench.board import Board, publish
from bench.children import Child, child
from bench.heap import FILES, NAME, UpdateError, installed_board, must_update, on_board, release
from bench.report import Aim, Table

# The requirement: all bytes that the client read, over the size of the file that changed.
AIM = 1.05
SIZES = (25_000, 100_000)
# Of 2 MiB: the larger files take most of one.
BLOCKS = 512


def measure(work: Path) -> list[Table]:
    """Updates boards from 1.0.0.1 to 1.0.0.2, with SHA256SUMS and, once, without, and counts at the server."""
    board = Board(work / "modules")
    served = work / "served"
    served.mkdir()
    table = Table(
        f"One file of {FILES} changed: bytes that the client read, and all of them over the file's",
        ("each file", "files", "SHA256SUMS", "listings", "all data", "control", "all", "ratio"),
    )
    with child("ftp_server", served, 0) as server:
        for size in SIZES:
            counted = _count(board, work, served, server, size, True)
            table.rows.append(_row(f"{size:,}", counted, size))
            table.data[str(size)] = counted
            ratio = counted["all"] / size
            table.aims.append(Aim(f"all that is read at most {AIM:.2f} of a file of {size:,} bytes", ratio <= AIM))
        size = SIZES[0]
        without = _count(board, work, served, server, size, False)
    table.rows.append(_row(f"{size:,}, without SHA256SUMS", without, size))
    table.data[f"{size} without SHA256SUMS"] = without
    sent = table.data[str(size)]["sent"]
    table.notes = [
        f"{FILES} files of that many bytes each; the versioned one, {NAME}_1.0.0.2.py, differs. Counted at the "
        "server's sockets, TCP's own overhead left out; every transfer ended with 226, and the client reads to the end "
        f"of the data, so that it read all that was sent. The client sends {sent:,} bytes for the first row, in "
        f"{table.data[str(size)]['sessions']} sessions with {table.data[str(size)]['transfers']} data connections.",
        "Listing and SHA256SUMS are read again before the commit, since the folder may have changed meanwhile. Without "
        "SHA256SUMS nothing says what changed, and all is fetched (note 18).",
    ]
    return [table]


def _count(board: Board, work: Path, served: Path, server: Child, size: int, sums: bool) -> dict[str, int]:
    """What an update of a board that has FILES files of `size` bytes moves, of which one changes."""
    image = work / f"flash-{size}-{sums}.img"
    seeds = list(range(FILES))
    installed_board(board, served, server.port, image, seeds, size, BLOCKS)
    # A release that changes one file changes the versioned one: it carries the program.
    files = release("1.0.0.2", [FILES, *seeds[1:]], size)
    publish(served, files, sums)
    server.ask()
    must_update(board, image, on_board(files))
    return _sorted(server.ask())


def _row(label: str, counted: dict[str, int], size: int) -> list[str]:
    keys = ("files", "SHA256SUMS", "listings", "all data", "control", "all")
    return [label, *(f"{counted[key]:,}" for key in keys), f"{counted['all'] / size:.3f}"]


def _sorted(counted: dict[str, Any]) -> dict[str, int]:
    transfers, control = counted["transfers"], counted["control"]
    if not all(transfer["complete"] for transfer in transfers):
        raise UpdateError("a transfer was broken off, so that what was sent is not what the client read")
    files = sums = listings = 0
    for transfer in transfers:
        if transfer["command"] != "RETR":
            listings += transfer["bytes"]
        elif transfer["path"].endswith("SHA256SUMS"):
            sums += transfer["bytes"]
        else:
            files += transfer["bytes"]
    data = files + sums + listings
    return {
        "files": files,
        "SHA256SUMS": sums,
        "listings": listings,
        "all data": data,
        "control": control["sent"],
        "all": data + control["sent"],
        "sent": control["received"],
        "transfers": len(transfers),
        "sessions": control["sessions"],
    }
