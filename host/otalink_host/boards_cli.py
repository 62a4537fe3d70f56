"""`otalink boards`: shows what is known of each kind of board, which boards.py reads."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from otalink_host.boards import BoardType, EspImage, Uf2Image, board_named, load_boards

Folder = Annotated[
    Path | None,
    typer.Option("--boards", metavar="DIR", help="A folder of your own boards, each DIR/NAME/board.toml."),
]
HELP = "Show the kinds of board that otalink knows, or all about one."
EXAMPLE = "Example: otalink boards ESP32_GENERIC"


def boards(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show all about this one.")] = None,
    folder: Folder = None,
) -> None:
    known = load_boards(folder)
    table = _all(known) if name is None else _one(board_named(known, name))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        # In a file or a pipe there is no width that a line must be cut to.
        console.width = 10_000
    console.print(table)


def _all(known: dict[str, BoardType]) -> Table:
    table = Table("NAME", "PLATFORM", "ARCH", "IMAGE", "NETWORK", "HEAP", "STATE", box=None, pad_edge=False)
    for each in known.values():
        image = {EspImage: "esptool", Uf2Image: "uf2"}.get(type(each.image), "none")
        heap = f"about {each.heap // 1024} KiB"
        table.add_row(each.name, each.platform, each.arch, image, ", ".join(each.network), heap, each.state)
    return table


def _one(board: BoardType) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    heap = f"about {board.heap:,} bytes free, an estimate (the Unix port's stand-in: {board.heap_stand_in})"
    rows = [
        ("name", board.name),
        ("title", board.title),
        ("state", "not supported" if board.reason is not None else board.state),
        *((("reason", board.reason),) if board.reason is not None else ()),
        ("MicroPython's port", board.port),
        ("platform", board.platform),
        ("machine", " … or ".join(board.machines) + " …"),
        ("native code", board.arch),
        *_image_rows(board.image),
        ("USB ids", ", ".join(f"{vendor:04x}:{product:04x}" for vendor, product in board.usb) or "none"),
        ("flash", f"{board.flash_size:,} bytes, of which {board.filesystem_size:,} are the file system"),
        ("file system", board.filesystem),
        ("heap", heap),
        ("network", ", ".join(board.network)),
        ("watchdog", _milliseconds(board.watchdog)),
        ("manifest", str(board.manifest) if board.manifest.is_file() else "none"),
        *(("note", note) for note in board.notes),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _milliseconds(watchdog: tuple[int, int] | None) -> str:
    if watchdog is None:
        return "none"
    least, most = watchdog
    return f"{least:,} ms" if least == most else f"{least:,} to {most:,} ms"


def _image_rows(image: EspImage | Uf2Image | None) -> list[tuple[str, str]]:
    if image is None:
        return [("image", "none")]
    if isinstance(image, EspImage):
        how = f"esptool --chip {image.chip}, to 0x{image.offset:x}"
    else:
        how = f"UF2, to the drive {image.board_id}; family {', '.join(f'0x{family:x}' for family in image.families)}"
    return [("image", how), ("image's file", image.files)]
