"""What an update writes to the flash, over the bytes of the files that changed; and the erases and blocks it takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.board import BLOCK, GUARD, GUARD_FILES, Board, publish
from bench.children import child
from bench.heap import UpdateError, must_update, on_board, release, settings
from bench.release_files import Publisher, digests
from bench.report import Aim, Table

FILES = 8
SIZES = (25_000, 8_000, 1_600)
AIM = 1.15
# The aim is for files of so many bytes and more.
AIM_FROM = 8_000
SMALL = 100

# Publishes the files of a version and gives the digests that are to be on the board.
Publish = Callable[[str, dict[str, bytes]], dict[str, str]]


def measure(work: Path) -> list[Table]:
    """Updates boards by the plain form and by signed release files, and counts at the block device."""
    board, served, image = Board(work / "modules"), work / "served", work / "flash.img"
    served.mkdir()
    publisher = Publisher(work, served)

    def publish_plain(version: str, files: dict[str, bytes]) -> dict[str, str]:
        publish(served, files)
        return on_board(files)

    def publish_signed(version: str, files: dict[str, bytes]) -> dict[str, str]:
        return digests(publisher.publish(version, files, compiled=False))

    table = Table(
        f"Flash written: updates that replace {FILES} files, over the bytes of these files",
        ("", "written", "by the restart", "erases", "to blocks", "blocks more"),
    )
    with child("ftp_server", served, 0) as server:
        plain = settings(server.port)
        signed = {**plain, "keys": publisher.keys}
        for form, config, publish_form in (("plain", plain, publish_plain), ("signed", signed, publish_signed)):
            for size in SIZES:
                board.make_flash(image, config)
                _add(table, form, size, _third_update(board, image, FILES, size, publish_form))
        board.make_flash(image, signed)
        used = board.run("flash_used", {"image": str(image)})
        least = _third_update(board, image, 1, SMALL, publish_signed)
    table.notes = [
        "Counted at the block device of a littlefs (4096-byte blocks, 1 MiB): everything that an update writes, from "
        "power-on to the confirmed release, what littlefs and the journal keep for themselves included. It is the "
        "board's third update, so that it also removes what the second one kept. The files cannot be compressed; the "
        "signed form flushes them every 16 KiB, so that a power cut costs no more than that.",
        "By the restart: the part that the boot guard writes, which renames files and copies none but its own. To "
        "blocks: the erases over the blocks that the files fill. Blocks more: what the flash must have free; the old "
        "files, the new ones and those that are kept from before lie there at once.",
    ]
    return [table, _use_table(board, used, least["start"][2] - least["update"][2])]


def _use_table(board: Board, used: int, least: int) -> Table:
    modules = board.sizes()
    guard = {name: (GUARD / name).stat().st_size for name in GUARD_FILES}
    return Table(
        "Flash in use: a board before its first update",
        ("", "measured"),
        [
            (f"otalink, {len(modules)} modules as .mpy", f"{sum(modules.values()):,} bytes"),
            ("the boot guard, three files, as .py", f"{sum(guard.values()):,} bytes"),
            ("blocks in use, with the settings and what littlefs itself takes", f"{used:,}"),
            ("as bytes", f"{used * BLOCK:,}"),
            (f"blocks more that a signed update of one file of {SMALL} bytes needs", str(least)),
        ],
        [],
        [
            f"A file takes whole blocks of {BLOCK:,} bytes, but for the smallest, which lie in their folder's. The "
            "last row is what an update needs at the least: header and plan. The new files come on top, whole, beside "
            "the old ones.",
        ],
        {"modules": sum(modules.values()), "guard": guard, "blocks": used, "least": least},
    )


def _third_update(board: Board, image: Path, count: int, size: int, publish_form: Publish) -> dict[str, Any]:
    # Of as many files as `count` says, all of which differ from version to version.
    for version in (1, 2, 3):
        files = release(f"1.0.0.{version}", range(count * version, count * (version + 1)), size)
        expected = publish_form(f"1.0.0.{version}", files)
        if version < 3:
            must_update(board, image, expected)
    found: dict[str, Any] = board.run("flash_written", {"image": str(image)}, "4m")
    if not found["applied"] or board.flash_digests(image) != expected:
        raise UpdateError("an update failed: " + "; ".join(found["messages"]))
    return found


def _add(table: Table, form: str, size: int, found: dict[str, Any]) -> None:
    steps = [found[step] for step in ("start", "update", "restart")]
    total = FILES * size
    ratio = sum(written for written, _, _ in steps) / total
    erases = sum(erased for _, erased, _ in steps)
    filled = FILES * -(-size // BLOCK)
    blocks = found["start"][2] - found["update"][2]
    label = f"{form}, {size:,} bytes a file"
    table.rows.append(
        (
            label,
            f"{ratio:.3f}",
            f"{found['restart'][0] / total:.3f}",
            str(erases),
            f"{erases / filled:.2f}",
            str(blocks),
        )
    )
    table.data[f"{form} {size}"] = {"ratio": ratio, "erases": erases, "blocks": blocks, **found}
    if size >= AIM_FROM:
        table.aims.append(Aim(f"{label}: at most {AIM:.2f} of its bytes written", ratio <= AIM))
