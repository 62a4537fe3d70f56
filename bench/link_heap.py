"""The heap that a board's link to its host needs, beside an application's own, and that of an update beside a link.

Run as a program it is the host, which ends with its input: it sends back each text that comes, and answers a board that
reports itself.
"""

import contextlib
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from bench.board import Board, BoardError, publish
from bench.children import child, end_with_parent
from bench.heap import FILE_SIZE, FILES, TRIES, least, must_update, on_board, release, search, settings
from bench.report import Aim, Table
from otalink.frame import FrameDecoder, encode_frame
from otalink.message import format_message, is_message, parse_message

LENGTH = 1500
COUNT = 200
# The stand-in for an ESP32 without TLS.
BOARD_KIB = 128
HEAP_MAX = 512
# Seconds in which a link that has the memory is long done.
PATIENCE = 8
FORMS: Mapping[str, Mapping[str, object]] = {
    "utf-16-le": {},
    "utf-8": {"profile": "utf-8"},
    "utf-16-le, a file for what is kept": {"file": "outbox"},
}


def measure(work: Path) -> list[Table]:
    """Measures a link that sends and receives frames of 1,500 characters, and looks for the smallest heap for it."""
    return [_link_table(Board(work / "modules")), _update_table(_LinkedBoard(work / "linked"), work)]


class _LinkedBoard(Board):
    application = "update_linked"


def _update_table(board: Board, work: Path) -> Table:
    served, image = work / "served", work / "flash.img"
    served.mkdir()
    old, new = (release(f"1.0.0.{n + 1}", range(n * FILES, (n + 1) * FILES)) for n in range(2))
    with child("ftp_server", served, 0) as server, child("link_heap") as host:
        link = {"host": "127.0.0.1", "port": host.port, "board": "a-board", "secret": "a-secret", "heartbeat": 30}
        board.make_flash(image, {**settings(server.port), "link": link})
        publish(served, old)
        must_update(board, image, on_board(old))
        publish(served, new)
        needed = search(board, image, on_board(new), (BOARD_KIB,))
    return Table(
        f"Link: the heap of a plain update of {FILES} files, {FILES * FILE_SIZE // 1000} KB in all, beside a link",
        ("", "heap"),
        needed.rows(),
        [Aim(f"the update passes in {BOARD_KIB} KiB", needed.passes[BOARD_KIB])],
        [
            "As for the plain update above (make bench ARGS=heap), by an application that has an Updater, a Link and a "
            "Reporter, as firmware/examples/main_with_link.py. From before the update until after it texts of 100 "
            "characters go to the host and come back, over one connection, on which the board also proves who it is "
            "and reports the download.",
        ],
        needed.data(),
    )


def _link_table(board: Board) -> Table:
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
    return table


def _smallest(board: Board, wanted: Mapping[str, object]) -> int:
    if not _passes(board, wanted, HEAP_MAX):
        raise BoardError(f"a link does not work in a heap of {HEAP_MAX} KiB")
    return least(lambda kib: _passes(board, wanted, kib), 8, HEAP_MAX)


def _passes(board: Board, wanted: Mapping[str, object], kib: int) -> bool:
    for _ in range(TRIES):
        try:
            # It waits for ever where the memory does not suffice to go on.
            found = board.run("link_heap", wanted, f"{kib}k", timeout=PATIENCE)
        except BoardError:
            return False
        if found["came"] != COUNT + 5:
            return False
    return True


def _host() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=20) as listener:
        print(listener.getsockname()[1], flush=True)
        end_with_parent()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    decoder: FrameDecoder | None = None
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while piece := connection.recv(65536):
            if decoder is None:
                profile = "utf-16-le" if piece[1:2] == b"\0" else "utf-8"
                decoder = FrameDecoder(2**20, profile)
            decoder.space()[: len(piece)] = piece
            decoder.received(len(piece))
            while (text := decoder.next_text()) is not None:
                answer = _answer(text) if is_message(text) else text
                if answer is not None:
                    connection.sendall(encode_frame(answer, profile))


def _answer(text: str) -> str | None:
    kind, fields = parse_message(text)
    if kind == "hello":
        return format_message("welcome", challenge="0123456789abcdef0123456789abcdef")
    if kind == "keep":
        return format_message("ack", sequence=fields["sequence"], id=fields["id"])
    return format_message("pong") if kind == "ping" else None


if __name__ == "__main__":
    _host()
