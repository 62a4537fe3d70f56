"""What an update costs on the network when one file of eight has changed."""

import shutil
from pathlib import Path
from typing import Any

from bench.board import Board, publish
from bench.children import child
from bench.heap import FILE_SIZE, FILES, NAME, UpdateError, installed_board, must_update, on_board, release
from bench.report import Aim, Table

AIM = 1.05


def measure(work: Path) -> list[Table]:
    """Updates two equal boards from 1.0.0.1 to 1.0.0.2, with SHA256SUMS and without, and counts at the server."""
    board = Board(work / "modules")
    served, image, trial = work / "served", work / "flash.img", work / "trial.img"
    served.mkdir()
    seeds = list(range(FILES))
    # A release that changes one file changes the versioned one: it carries the program.
    files = release("1.0.0.2", [FILES, *seeds[1:]])
    with child("ftp_server", served, 0) as server:
        installed_board(board, served, server.port, image, seeds)
        found = []
        for sums in (True, False):
            publish(served, files, sums)
            shutil.copyfile(image, trial)
            server.ask()
            must_update(board, trial, on_board(files))
            found.append(_sorted(server.ask()))
    with_sums, without = found
    table = Table(
        f"One file of {FILES} changed: bytes that the client read, and as a ratio to the file's {FILE_SIZE:,}",
        ("", "with SHA256SUMS", "ratio", "without", "ratio"),
    )
    for key in with_sums:
        row = [key]
        for one in found:
            number = one.get(key, 0)
            row += [f"{number:,}", "" if "number of" in key else f"{number / FILE_SIZE:.3f}"]
        table.rows.append(row)
    table.data = {"file_size": FILE_SIZE, "with_sums": with_sums, "without_sums": without}
    ratio = with_sums["the release's files"] / FILE_SIZE
    table.aims.append(Aim(f"with SHA256SUMS the files' data at most {AIM:.2f} of the changed file", ratio <= AIM))
    table.notes = [
        f"{FILES} files of {FILE_SIZE:,} bytes each; the versioned one, {NAME}_1.0.0.2.py, differs. Counted at the "
        "server's sockets, TCP's own overhead left out; every transfer ended with 226, and the client reads to the end "
        "of the data, so that it read all that was sent.",
        "Listing and SHA256SUMS are read again before the commit, since the folder may have changed meanwhile. Without "
        "SHA256SUMS nothing says what changed, and all is fetched (note 18).",
    ]
    return [table]


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
    return {
        "the release's files": files,
        "SHA256SUMS": sums,
        "listings": listings,
        "all data connections": files + sums + listings,
        "control, read": control["sent"],
        "control, sent": control["received"],
        "number of data connections": len(transfers),
        "number of sessions": control["sessions"],
    }
