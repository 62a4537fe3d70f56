"""The heap that a whole update over TLS needs: a plain one, and a signed one with data over TLS and in the clear."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import certificate
from bench.board import BLOCKS, Board, publish
from bench.children import child
from bench.heap import FILE_SIZE, FILES, Needed, must_update, on_board, release, search, settings
from bench.release_files import Publisher, digests, mix
from bench.report import Aim, Table
from bench.signed_heap import BLOCKS as SIGNED_BLOCKS
from bench.signed_heap import FILES as SIGNED_FILES

# The stand-in for an ESP32 with TLS.
BOARD_KIB = 96
CA = "ca.der"


def measure(work: Path) -> list[Table]:
    """Finds the smallest heaps for whole updates from power-on, the boot guard's swap included."""
    served, pem = work / "served", work / "server.pem"
    served.mkdir()
    ca = certificate.make(pem)
    publisher = Publisher(work, served)
    board = Board(work / "modules")
    found: dict[str, Needed] = {}
    with child("ftp_server", served, 0, pem) as server:

        def make(name: str, data: str, blocks: int, **more: object) -> Path:
            image = work / f"{name}.img"
            tls = {"tls": {"ca": f"/{CA}", "data": data}, "ntp": None}
            board.make_flash(image, {**settings(server.port), **tls, **more}, blocks, {CA: ca})
            return image

        image = make("plain", "private", BLOCKS)
        old, new = (release(f"1.0.0.{n + 1}", range(n * FILES, (n + 1) * FILES)) for n in range(2))
        publish(served, old)
        must_update(board, image, on_board(old) | _ca(ca))
        publish(served, new)
        found["plain, data over TLS"] = search(board, image, on_board(new) | _ca(ca), (BOARD_KIB,))
        for name, data in (("signed, data over TLS", "private"), ("signed, data in the clear", "clear")):
            image = make(data, data, SIGNED_BLOCKS, keys=publisher.keys)
            must_update(board, image, digests(publisher.publish("1.0.0.1", mix(SIGNED_FILES, 1))) | _ca(ca))
            expected = digests(publisher.publish("1.0.0.2", mix(SIGNED_FILES, 2))) | _ca(ca)
            found[name] = search(board, image, expected, (BOARD_KIB,))
    return [_table(found)]


def _ca(content: bytes) -> dict[str, str]:
    return on_board({CA: content})


def _table(found: Mapping[str, Needed]) -> Table:
    rows: list[Sequence[str]] = [
        (name, "passes" if needed.passes[BOARD_KIB] else "FAILS", f"{needed.smallest} KiB", f"{needed.after:,}")
        for name, needed in found.items()
    ]
    return Table(
        "TLS: the heap of an update",
        ("update", f"-X heapsize={BOARD_KIB}k", "smallest heap", "in use after it, bytes"),
        rows,
        [Aim(f"{name}: it passes in {BOARD_KIB} KiB", needed.passes[BOARD_KIB]) for name, needed in found.items()],
        [
            f"The plain update is that of {FILES} files, {FILES * FILE_SIZE // 1000} KB in all (make bench ARGS=heap), "
            f"the signed one that of {SIGNED_FILES} files (ARGS=signed-heap), over explicit TLS 1.2, with an "
            "ECDSA certificate (P-256). mbedTLS's own memory lies outside of the heap here: on a board its buffers, "
            "some 20 KiB for each connection, and its handshake come on top, from the same RAM. Data over TLS makes "
            "it two connections at a time, data in the clear one.",
        ],
        {name: needed.data() for name, needed in found.items()},
    )
