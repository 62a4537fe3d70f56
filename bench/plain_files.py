"""How many files a plain release may have, so that a virtual board of the default heap takes it."""

import re
import shutil
from pathlib import Path

from bench.board import publish
from bench.heap import NAME, UpdateError
from bench.report import Table
from otalink_host.flash import flash
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import DEFAULT_HEAP, DEFAULT_SIZE, VirtualBoard

PASSWORD = "only for this measurement"
# As an application is that does nothing else.
MAIN = """\
import asyncio
import otalink

asyncio.run(otalink.Updater().run())
"""
# More than that, SHA256SUMS is too long with names like these (docs/release-format.md).
MOST = 448
STEP = 4
# Seconds for an update, at the most.
PATIENCE = 120.0
_ENDS = re.compile(r"is confirmed|MemoryError|memory|.*: remove files|SHA256SUMS is over")


def measure(work: Path) -> list[Table]:
    """Flashes a board, and has it updated by releases of more and fewer files."""
    served = work / "served"
    served.mkdir()
    settings = Settings((Account("board", served),), passive_ports=None)
    with BackgroundServer(settings, {"board": PASSWORD}) as server:
        _flash(work / "flashed", work, server.port)
        low, high, why = 0, MOST, "not tried"
        while high - low > STEP:
            count = (low + high) // 2 // STEP * STEP
            ended = _update(work, served, count)
            if ended is None:
                low = count
            else:
                high, why = count, ended
    return [
        Table(
            f"Files: how many a plain release may have, on a virtual board with {DEFAULT_HEAP} of heap",
            ("", "files"),
            [("the most with which it passes", str(low)), ("the fewest that were tried and fail", str(high))],
            [],
            [
                f"Found by halving, in steps of {STEP}; a release passes when the board installs and confirms it. With "
                "SHA256SUMS; each file has 100 bytes, all of them are new, and a name such as part-001.bin. The "
                f"flash has {DEFAULT_SIZE // 2**20} MiB. The application is otalink alone: what another one holds in "
                "the heap is missing for files.",
                f"With {high} files the board says: {why}",
            ],
            {"passes": low, "fails": high, "why": why},
        )
    ]


def _flash(folder: Path, work: Path, port: int) -> None:
    """Flashes a virtual board in `folder` with 1.0.0.1."""
    application = work / "application"
    application.mkdir()
    (application / "main.py").write_text(MAIN)
    (application / f"{NAME}_1.0.0.1.py").write_text("")
    settings = {
        "name": NAME,
        "host": "127.0.0.1",
        "port": port,
        "user": "board",
        "password": PASSWORD,
        "interval": 1,
        "jitter": 0,
        "start_delay": 0,
        "confirm_after": 0,
        "attempts": 1,
    }
    with VirtualBoard(folder) as board:
        flash(board.pty, application, settings, check=False, say=lambda line: None)
        board.wait_for(f"no release of {NAME}", PATIENCE)


def _update(work: Path, served: Path, count: int) -> str | None:
    """Has the board updated by a release of `count` files: None when it is confirmed, or what the board said last."""
    names = ["main.py", f"{NAME}_1.0.0.2.py", *(f"part-{number:03}.bin" for number in range(count - 2))]
    files = {name: name.encode().ljust(100) for name in names}
    publish(served, {**files, "main.py": MAIN.encode()})
    folder = work / "trial"
    shutil.copytree(work / "flashed", folder)
    try:
        with VirtualBoard(folder) as board:
            try:
                ended = board.wait_for(_ENDS, PATIENCE)
            except TimeoutError as error:
                raise UpdateError(f"a board with {count} files came to no end: {error}") from None
            if ended.group() == "is confirmed":
                return None
            return board.output[board.output.rfind("\n", 0, ended.start()) + 1 :].splitlines()[0]
    finally:
        shutil.rmtree(folder)
