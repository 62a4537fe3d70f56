"""What differs from board to board: the folders in boards/, each with a board.toml and a manifest.py.

A new board is one folder and no code; a user's own folder of such folders comes on top. In a board.toml, with the
checks of toml_file.py:

    name                  MicroPython's, as in `sys.implementation._build`: BOARD or BOARD-VARIANT; the folder's, too
    title                 for people
    port                  the port of MicroPython
    platform              what releases call it: `sys.platform`, and "unix" on every system of the Unix port
    machines              beginnings of `sys.implementation._machine`, for a MicroPython that has no `_build`
    arch                  mpy-cross's -march for native code
    usb                   the USB ids, VENDOR:PRODUCT, of the serial ports at which it may be; others have them, too
    filesystem            "littlefs", or "fat", on which no update is safe
    flash_size            bytes of flash; filesystem_size: those of the file system
    network               "wifi", "ethernet", "system"
    verified              false, or on what it was verified
    supported, reason     false and why, where otalink does not run
    notes                 sentences for people
    [image]               MicroPython's image: kind "esptool" or "uf2", files (a pattern of its downloads' names),
                          offset in the flash (UF2: the address at which the flash begins); esptool: chip (its --chip),
                          chip_id (in the image's header); uf2: families (the first is the board's), board_id
    [heap]                free: an estimate, in bytes; stand_in: the heap of the Unix port that stands for it
    [watchdog]            min and max, milliseconds
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import otalink_boards
from otalink.board import platform as release_platform
from otalink_host.errors import UserError
from otalink_host.toml_file import REQUIRED, Check, TomlFile, list_of, number, one_of, text, truth

FILE = "board.toml"
MANIFEST = "manifest.py"
# mpy-cross's, for the processors of boards with a network.
ARCHITECTURES = (
    "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc",
    "rv64imc",
)  # fmt: skip
FILESYSTEMS = ("littlefs", "fat")
NETWORKS = ("wifi", "ethernet", "system")
_32_BITS = 0xFFFFFFFF
_MILLISECONDS_MAX = 0x7FFFFFFF


@dataclass(frozen=True)
class EspImage:
    """An image that esptool writes to `offset` in the flash of `chip`; `chip_id` is None where images name none."""

    files: str
    chip: str
    chip_id: int | None
    offset: int


@dataclass(frozen=True)
class Uf2Image:
    """A UF2 file for a drive whose INFO_UF2.TXT says `board_id`. It holds blocks of `families[0]`, and of no family but
    those; the flash begins at the address `offset`."""

    files: str
    families: tuple[int, ...]
    board_id: str
    offset: int


@dataclass(frozen=True)
class BoardType:
    """A kind of board; the module says what the fields mean. `folder` is where it was read.

    Sizes are bytes, `heap` is an estimate, `watchdog` its least and greatest timeout in milliseconds. `verified` and
    `reason`, why it is not supported, are None where there is nothing to say.
    """

    folder: Path
    name: str
    title: str
    port: str
    platform: str
    machines: tuple[str, ...]
    arch: str
    usb: tuple[tuple[int, int], ...]
    filesystem: str
    flash_size: int
    filesystem_size: int
    network: tuple[str, ...]
    heap: int
    heap_stand_in: str
    image: EspImage | Uf2Image | None = None
    watchdog: tuple[int, int] | None = None
    verified: str | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether otalink runs on it."""
        return self.reason is None

    @property
    def state(self) -> str:
        """Whether it runs there, and how that is known, in a few words."""
        if self.reason is not None:
            return f"not supported: see otalink boards {self.name}"
        return f"verified {self.verified}" if self.verified is not None else "not verified on hardware"

    @property
    def manifest(self) -> Path:
        """What freezes otalink into a build of MicroPython for it."""
        return self.folder / MANIFEST


def load_boards(folder: Path | None = None) -> dict[str, BoardType]:
    """The boards by name, sorted: otalink's own, and those of a user's `folder`, which win over otalink's.

    Raises UserError, one line, for the first mistake in a board.toml.
    """
    boards = _load(Path(otalink_boards.__file__).parent)
    if folder is not None:
        own = _load(folder)
        if not own:
            raise UserError(f"{folder} holds no board: make one as {folder / 'NAME' / FILE}")
        boards.update(own)
    return dict(sorted(boards.items()))


def usb_ids(boards: Mapping[str, BoardType]) -> frozenset[tuple[int, int]]:
    """The USB ids of the ports at which one of `boards` may be."""
    return frozenset(each for board in boards.values() for each in board.usb)


def board_named(boards: Mapping[str, BoardType], name: str) -> BoardType:
    """The board `name`, in whichever case. Raises UserError when there is none."""
    for known, board in boards.items():
        if known.lower() == name.lower():
            return board
    raise UserError(f"there is no board {name}: known are {', '.join(boards)} (more come with --boards DIR)")


def recognise(boards: Mapping[str, BoardType], platform: str, build: str | None, machine: str) -> BoardType | None:
    """The board that says this of itself: `sys.platform`, `sys.implementation._build` (None before MicroPython 1.25)
    and `sys.implementation._machine`. None when it is none of `boards`.

    A variant is the board unless it has a folder of its own. Without a build that is known it is the one with the
    longest beginning of `machine`.
    """
    candidates = {name: each for name, each in boards.items() if each.platform == release_platform(platform)}
    for name in (build, (build or "").partition("-")[0]):
        if name in candidates:
            return candidates[name]
    found = [(len(start), name) for name, each in candidates.items() for start in each.machines if _is(machine, start)]
    return candidates[max(found)[1]] if found else None


def _is(machine: str, start: str) -> bool:
    # "ESP32 module" is no beginning of "ESP32 modules", were there any.
    return machine.startswith(start) and not machine[len(start) : len(start) + 1].isalnum()


def _load(folder: Path) -> dict[str, BoardType]:
    try:
        paths = sorted(path for path in folder.iterdir() if (path / FILE).is_file())
    except OSError as error:
        raise UserError(f"{folder} is no folder of boards ({error.strerror})") from None
    return {path.name: _Reader(path / FILE, "each board has one").board() for path in paths}


class _Reader(TomlFile):
    """Takes a board.toml apart."""

    def board(self) -> BoardType:
        known = [key for key in BoardType.__dataclass_fields__ if key not in ("folder", "heap_stand_in")]
        self.check_keys(self.document, (*known, "supported"), "")

        def value(key: str, check: Check, default: Any = REQUIRED) -> Any:
            return self.value(self.document, key, "", default, check)

        heap = self.section("heap", ("free", "stand_in"))
        return BoardType(
            folder=self.path.parent,
            name=value("name", text(self._name)),
            title=value("title", text(_words)),
            port=value("port", text(_word)),
            platform=value("platform", text(_word)),
            machines=value("machines", list_of(text(_words))),
            arch=value("arch", text(one_of(ARCHITECTURES))),
            usb=value("usb", list_of(text(_usb), 0)),
            filesystem=value("filesystem", text(one_of(FILESYSTEMS))),
            flash_size=value("flash_size", number(1, _32_BITS)),
            filesystem_size=value("filesystem_size", number(1, _32_BITS)),
            network=value("network", list_of(text(one_of(NETWORKS)))),
            heap=self.value(heap, "free", "heap", REQUIRED, number(1, _32_BITS)),
            heap_stand_in=self.value(heap, "stand_in", "heap", REQUIRED, text(_heap_size)),
            image=self._image(),
            watchdog=self._watchdog(),
            verified=value("verified", _verified),
            reason=self._reason(),
            notes=value("notes", list_of(text(_words), 0), ()),
        )

    def _image(self) -> EspImage | Uf2Image | None:
        table = self.document.get("image", {})
        kind = table.get("kind") if isinstance(table, dict) else None
        more = {"esptool": ("chip", "chip_id"), "uf2": ("families", "board_id")}
        every = tuple(key for keys in more.values() for key in keys)
        table = self.section("image", ("kind", "files", "offset", *more.get(str(kind), every)))
        if "image" not in self.document:
            return None

        def value(key: str, check: Check, default: Any = REQUIRED) -> Any:
            return self.value(table, key, "image", default, check)

        kind = value("kind", text(one_of(more)))
        files, offset = value("files", text(_words)), value("offset", number(0, _32_BITS))
        if kind == "esptool":
            return EspImage(files, value("chip", text(_word)), value("chip_id", number(0, 0xFFFF), None), offset)
        return Uf2Image(files, value("families", list_of(number(0, _32_BITS))), value("board_id", text(_words)), offset)

    def _watchdog(self) -> tuple[int, int] | None:
        table = self.section("watchdog", ("min", "max"))
        if "watchdog" not in self.document:
            return None
        least = self.value(table, "min", "watchdog", REQUIRED, number(1, _MILLISECONDS_MAX))
        return least, self.value(table, "max", "watchdog", REQUIRED, number(least, _MILLISECONDS_MAX))

    def _reason(self) -> str | None:
        supported = self.value(self.document, "supported", "", True, truth)
        if supported and "reason" in self.document:
            raise self.wrong("reason", "", "is for a board with supported = false")
        reason: str | None = self.value(self.document, "reason", "", None if supported else REQUIRED, text(_words))
        return reason

    def _name(self, name: str) -> str:
        if name != self.path.parent.name or not re.fullmatch(r"[A-Za-z0-9_]+(-[A-Za-z0-9_]+)?", name):
            raise ValueError(
                f"the name of its folder, {self.path.parent.name!r}, of letters, digits, _ and one - at most"
            )
        return name


def _verified(value: Any) -> str | None:
    if value is False:
        return None
    if not isinstance(value, str):
        raise ValueError('false, or on what in quotes, such as "with MicroPython 1.26.1"')
    return _words(value)


def _word(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", value):
        raise ValueError("small letters, digits and _")
    return value


def _words(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("text of one line")
    return value


def _heap_size(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[km]", value):
        raise ValueError("a number with k or m behind it, as in 128k")
    return value


def _usb(value: str) -> tuple[int, int]:
    if not re.fullmatch(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}", value):
        raise ValueError("the ids of vendor and product in hexadecimal, such as 303a:1001")
    vendor, product = value.split(":")
    return int(vendor, 16), int(product, 16)
