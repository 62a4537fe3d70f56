"""A fleet that updates itself at once: boards that are MicroPython processes, each with a flash of its own."""

import shutil
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from bench.heap import NAME, UpdateError
from bench.release_files import Publisher, digests, mix
from bench.report import Aim, Table
from otalink_host.flash import flash
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

PASSWORD = "only for this measurement"
BOARDS = 100
FILES = 20
# Of the one alone.
ROUNDS = 3
# Two sessions each at the most: a board that is late logs in anew.
SESSIONS = 2 * BOARDS
# Seconds for all of them, at the most.
PATIENCE = 300.0
MAIN = """\
import asyncio
import otalink

asyncio.run(otalink.Updater().run())
"""


def measure(work: Path) -> list[Table]:
    """Flashes one board, copies it, and has first one and then all of them install a signed release."""
    served, application = work / "served", work / "application"
    served.mkdir()
    application.mkdir()
    (application / "main.py").write_text(MAIN)
    (application / f"{NAME}_1.0.0.1.py").write_text("")
    publisher = Publisher(work, served)
    settings = Settings((Account("board", served),), passive_ports=None, sessions=SESSIONS)
    with BackgroundServer(settings, {"board": PASSWORD}) as server:
        values = {
            "name": NAME,
            "host": "127.0.0.1",
            "port": server.port,
            "user": "board",
            "password": PASSWORD,
            "keys": publisher.keys,
            "interval": 30,
            "jitter": 0,
            "start_delay": 0,
            "confirm_after": 0,
        }
        with VirtualBoard(work / "first") as board:
            flash(board.pty, application, values, check=False, say=lambda line: None)
        built = publisher.publish("1.0.0.2", {**mix(FILES, 1), "main.py": MAIN.encode()})
        expected = digests(built)
        alone = statistics.median(_update(work, 1, expected)[0] for _ in range(ROUNDS))
        all_of_them, converged = _update(work, BOARDS, expected)
        sessions = len(server.transfers)
    return [
        Table(
            f"A fleet: {BOARDS} boards install a signed release of {len(built.files)} files at once",
            ("", "seconds", "of one alone"),
            [
                (f"one alone (median of {ROUNDS})", f"{alone:,.1f}", "1"),
                (f"all {BOARDS}", f"{all_of_them:,.1f}", f"{all_of_them / alone:,.1f}"),
            ],
            [Aim("all of them converge", converged == BOARDS)],
            [
                f"From power-on to the last board that has confirmed it: download, signature, restart, the guard's "
                f"swap, trial. {converged} of {BOARDS} have every file as it was published. The release file has "
                f"{built.size:,} bytes; the server, whose process is the measuring one, sent it in {sessions:,} "
                f"transfers. Each board is a MicroPython of its own, on the same two cores or however many there are.",
            ],
            {"alone": alone, "all": all_of_them, "converged": converged, "transfers": sessions},
        )
    ]


def _update(work: Path, count: int, expected: dict[str, str]) -> tuple[float, int]:
    """Has `count` copies of the first board update themselves: in how many seconds, and how many came to `expected`."""
    folders = [work / f"board-{count}-{number}" for number in range(count)]
    for folder in folders:
        shutil.copytree(work / "first", folder)
    with ExitStack() as stack:
        begun = time.monotonic()
        boards = [stack.enter_context(VirtualBoard(folder)) for folder in folders]
        for board in boards:
            try:
                board.wait_for("is confirmed", max(0.1, begun + PATIENCE - time.monotonic()))
            except TimeoutError as error:
                raise UpdateError(f"of {count} boards one came to no end: {error}") from None
        seconds = time.monotonic() - begun
    converged = sum(
        all(found.get(f"/{path}") == digest for path, digest in expected.items())
        for found in (VirtualBoard(folder).files() for folder in folders)
    )
    for folder in folders:
        shutil.rmtree(folder)
    return seconds, converged
