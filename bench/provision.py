"""A board from its first flashing: how long that takes, what is written to its flash, and what is left of its heap."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.board import Board, BoardError
from bench.children import child
from bench.heap import NAME, settings
from bench.report import Table
from otalink_host.board_tree import lay_out_guard, lay_out_otalink
from otalink_host.flash import flash
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

PASSWORD = "only for this measurement"
MANY = 10
ROUNDS = 3
# Bytes that the application has beside otalink.
LARGE = 50_000
MAIN = """\
import asyncio
import otalink

asyncio.run(otalink.Updater().run())
"""
# The stand-ins: an ESP32's without TLS and with it, and an ESP8266's.
HEAPS = ("128k", "96k", "48k")
STAGES = ("otalink imported", "an Updater made", "it runs, after a check", "a Link and a Reporter run beside it")


def measure(work: Path) -> list[Table]:
    """Flashes virtual boards, one and several at once, and asks one what its application has left of the heap."""
    return [_time_table(work), _heap_table(Board(work / "modules"))]


def _time_table(work: Path) -> Table:
    served, application = work / "served", work / "application"
    served.mkdir()
    application.mkdir()
    (application / "main.py").write_text(MAIN)
    (application / f"{NAME}_1.0.0.1.py").write_text("")
    (application / "large.bin").write_bytes(bytes(range(256)) * (LARGE // 256))
    tree = work / "tree"
    shutil.copytree(application, tree)
    lay_out_guard(tree)
    lay_out_otalink(tree, (6, 3))
    accounts = Settings((Account("board", served),), passive_ports=None)
    first, again, bare, ten, written = [], [], [], [], 0
    with BackgroundServer(accounts, {"board": PASSWORD}) as server:
        values = {"name": NAME, "host": "127.0.0.1", "port": server.port, "user": "board", "password": PASSWORD}

        def flashed(board: VirtualBoard) -> None:
            flash(board.pty, application, values, say=lambda line: None)

        def copied(board: VirtualBoard) -> None:
            # What somebody does who copies the same files by hand.
            board.mpremote("fs", "cp", "-r", *(str(path) for path in sorted(tree.iterdir())), ":/")

        # The modules are compiled once in a process's life; that is not what is measured.
        with VirtualBoard(work / "warm") as board:
            flashed(board)
        for number in range(ROUNDS):
            with VirtualBoard(work / f"first-{number}") as board:
                with _counted(board) as count:
                    first.append(_seconds(flashed, board))
                written = count()
                again.append(_seconds(flashed, board))
            with VirtualBoard(work / f"bare-{number}") as board:
                bare.append(_seconds(copied, board))
            with ExitStack() as stack:
                boards = [stack.enter_context(VirtualBoard(work / f"many-{number}-{each}")) for each in range(MANY)]
                began = time.monotonic()
                with ThreadPoolExecutor(MANY) as pool:
                    list(pool.map(flashed, boards))
                ten.append(time.monotonic() - began)
        with VirtualBoard(work / "warm") as board:
            size = sum(int(each) for each in board.mpremote("exec", _SIZES).split())
    seconds = min(first)
    rows: list[Sequence[str]] = [
        ("an empty board, to its first look on the server", f"{seconds:.1f} s", "1"),
        ("mpremote alone, copying the same files", f"{min(bare):.1f} s", f"{min(bare) / seconds:.2f}"),
        ("a second run, with nothing to do", f"{min(again):.1f} s", f"{min(again) / seconds:.2f}"),
        (f"{MANY} boards side by side", f"{min(ten):.1f} s", f"{min(ten) / seconds:.2f}"),
        ("written to the flash, of the files' bytes", f"{written:,} bytes", f"{written / size:.2f}"),
    ]
    return Table(
        "Flashing: a virtual board from nothing to its first look on the server",
        ("", "smallest", "of the first"),
        rows,
        [],
        [
            f"The smallest of {ROUNDS} rounds in one run. otalink, the boot guard and an application with a file of "
            f"{LARGE:,} bytes, over mpremote. A real board's serial port is slower (115,200 bits a second move 11 KB), "
            f"and each of several has its own. All boards share this machine's cores. Written is what MicroPython "
            f"writes, the console and the erasing of each block included; there are {size:,} bytes of files.",
        ],
        {"first": first, "again": again, "bare": bare, "many": ten, "written": written, "size": size},
    )


def _seconds(run: Callable[[VirtualBoard], None], board: VirtualBoard) -> float:
    began = time.monotonic()
    run(board)
    return time.monotonic() - began


@contextmanager
def _counted(board: VirtualBoard) -> Iterator[Callable[[], int]]:
    """Gives what tells how many bytes the board's processes have written since, a new one from each reset on."""
    written: dict[int, int] = {}
    ended = threading.Event()

    def look() -> None:
        pid = board.pid
        try:
            text = Path(f"/proc/{pid}/io").read_text()
        except OSError:
            return
        if pid is not None:
            written[pid] = int(text.split("wchar: ")[1].split()[0])

    def watch() -> None:
        while not ended.wait(0.002):
            look()

    look()
    before = sum(written.values())
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: sum(written.values()) - before
    finally:
        ended.set()
        watcher.join()


_SIZES = """
import os
def walk(folder):
    for name, kind, *_ in os.ilistdir(folder):
        if kind == 0x4000:
            walk(folder + name + "/")
        else:
            print(os.stat(folder + name)[6])
walk("/")
"""


def _heap_table(board: Board) -> Table:
    """What an application has of the heap beside otalink, at the stand-ins for boards."""
    work = board.folder.parent
    served, image = work / "none-served", work / "flash.img"
    served.mkdir()
    columns: list[list[str]] = []
    data: dict[str, object] = {}
    with child("ftp_server", served, 0) as server, child("link_heap") as host:
        link = {"host": "127.0.0.1", "port": host.port, "board": "a-board", "secret": "a-secret", "heartbeat": 30}
        board.make_flash(image, {**settings(server.port), "link": link})
        for heap in HEAPS:
            free: list[int] = []
            for stages in range(len(STAGES) + 1):
                # Each in a fresh MicroPython: what does not fit must not spoil what does.
                try:
                    free.append(board.run("free_heap", {"image": str(image), "stages": stages}, heap, timeout=15))
                except BoardError:
                    break
            missing = len(STAGES) + 1 - len(free)
            columns.append([*(f"{each / 1024:.1f} KiB" for each in free), *["does not fit"] * missing])
            data[heap] = free
    rows: list[Sequence[str]] = list(zip(("nothing imported", *STAGES), *columns, strict=True))
    return Table(
        "Flashing: what is free for the application, beside otalink, from a board's power-on",
        ("", *(f"-X heapsize={heap}" for heap in HEAPS)),
        rows,
        [],
        [
            "After a collection; asyncio is imported from the first line on. 128k stands for an ESP32 without TLS, 96k "
            "for one with it, 48k for an ESP8266. While an update is on less is free, see the heap of an update above. "
            "Pointers have 8 bytes here, 4 on a microcontroller.",
        ],
        data,
    )
