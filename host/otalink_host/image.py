"""Writes MicroPython's own image to a board: to ESP chips by esptool, to RP2 boards by their bootloader's drive.

What an image must be for a board the board's board.toml says (boards.py); the forms are Espressif's "Firmware Image
Format" and Microsoft's UF2. esptool is a program of its own, which runs unmodified, as mpremote does.
"""

import hashlib
import importlib.util
import os
import queue
import re
import struct
import sys
import time
from collections.abc import Callable
from glob import glob
from pathlib import Path

from otalink_host.boards import BoardType, EspImage, Uf2Image
from otalink_host.cable import Cable
from otalink_host.errors import UserError
from otalink_host.program import running

Say = Callable[[str], None]
# Called with how many bytes are written, and how many there are.
Progress = Callable[[int, int], None]

# Bits a second; boards' UART bridges and the chips' own USB all take it.
BAUD = 460800
# Seconds in which esptool must say something; it gives up an erasure by itself after 120.
SILENCE = 180.0
# Seconds in which the drive appears: after the bootloader was called, and when a hand must do it.
CALLED, BY_HAND = 30.0, 120.0
# Seconds in which the board takes the image and restarts.
TAKEN = 60.0
PAUSE = 0.2
# Bytes that are written to a drive at once.
_PIECE = 32 * 1024

# Where systems put drives.
PLACES = (
    tuple(f"{letter}:\\" for letter in "DEFGHIJKLMNOPQRSTUVWXYZ")
    if sys.platform == "win32"
    else ("/Volumes/*",)
    if sys.platform == "darwin"
    else ("/media/*", "/media/*/*", "/run/media/*/*")
)

_ESP_MAGIC = 0xE9
_ESP_HEADER = 24
# Where the partition table is in the flash; its entries, of 32 bytes, begin with a magic number and the type.
_PARTITIONS, _APPLICATION = 0x8000, b"\xaa\x50\0"
_UF2_BLOCK = 512
_UF2_MAGICS = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
_UF2_FAMILY = 0x2000
_INFO = "INFO_UF2.TXT"


def check_image(path: Path, board: BoardType) -> str:
    """The SHA-256, in hexadecimal, of the file `path`, when it can be MicroPython for `board`.

    Raises UserError, one line, when it is obviously something else, or ends early.
    """
    image = _image_of(board)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no {path}: MicroPython's downloads for {board.name} are {image.files}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    wrong = _wrong_esp(content, image, board) if isinstance(image, EspImage) else _wrong_uf2(content, image, board)
    if wrong is not None:
        raise UserError(f"{path} {wrong}: take MicroPython's {image.files}")
    return hashlib.sha256(content).hexdigest()


def write_image(
    path: Path,
    board: BoardType,
    port: str | None,
    *,
    drive: Path | None = None,
    erase: bool = False,
    say: Say = print,
    progress: Progress | None = None,
) -> None:
    """Checks the image in the file `path`, says its SHA-256, writes it to a `board`, and sees to it that it is there.

    The board is on the serial `port`; one that takes UF2 files need not be, and may be in its bootloader already, as
    `drive` if there are several. `erase` erases the whole flash first. Raises UserError, one line; it can be run again.
    """
    digest = check_image(path, board)
    say(f"{path.name} for {board.name}: {path.stat().st_size:,} bytes, SHA-256 {digest}")
    image = _image_of(board)
    if isinstance(image, EspImage):
        if drive is not None:
            raise UserError(f"{board.name} has no drive: name its port")
        if port is None:
            raise UserError(f"{board.name} is written over its port: name it")
        _write_by_esptool(path, board, image, port, erase, progress or _untold)
        say("the flash holds it: esptool has compared the hashes")
    else:
        if erase:
            raise UserError(f"{board.name} cannot be erased so: its bootloader erases just what the image takes")
        _write_to_drive(path, board, image, port, drive, say, progress or _untold)
        say("the board has taken it and restarted")


def find_drives(board_id: str) -> list[Path]:
    """The drives on this machine, at the usual places, whose INFO_UF2.TXT says that they are a `board_id`."""
    return [Path(name) for place in PLACES for name in sorted(glob(place)) if _board_id(Path(name)) == board_id]


def _image_of(board: BoardType) -> EspImage | Uf2Image:
    if board.image is None:
        raise UserError(f"{board.name} takes no image: leave --image out")
    return board.image


def _untold(done: int, total: int) -> None:
    pass


def _wrong_esp(content: bytes, image: EspImage, board: BoardType) -> str | None:
    """What is wrong with an image of an ESP chip; None when nothing is."""
    if len(content) < _ESP_HEADER or content[0] != _ESP_MAGIC:
        what = "is a UF2 file" if content[:4] == _UF2_MAGICS[0].to_bytes(4, "little") else "is no image of an ESP chip"
        return f"{what} (it does not begin with E9)"
    if image.offset + len(content) > board.flash_size:
        return f"is too large: with {len(content):,} bytes from 0x{image.offset:x} on it exceeds the flash"
    if image.chip_id is None:
        return None if _ends(content, 0, 8) else "ends early"
    chip_id = int.from_bytes(content[12:14], "little")
    if chip_id != image.chip_id:
        return f"is for another chip: its header has the chip id {chip_id}, and {image.chip} is {image.chip_id}"
    start = _application(content[_PARTITIONS - image.offset :][:0xC00])
    if start is None:
        return "is not a whole image, with bootloader and partitions"
    return None if _ends(content, start - image.offset, _ESP_HEADER) else "ends early"


def _application(table: bytes) -> int | None:
    """Where the first application is in the flash, by the partition table; None when it is none."""
    for entry in range(0, len(table), 32):
        if table[entry : entry + 2] != _APPLICATION[:2]:
            return None
        if table[entry : entry + 3] == _APPLICATION:
            return int.from_bytes(table[entry + 4 : entry + 8], "little")
    return None


def _ends(content: bytes, start: int, header: int) -> bool:
    """Whether the segments of the image that begins at `start` are all there, with the checksum behind them."""
    if len(content) < start + header or content[start] != _ESP_MAGIC:
        return False
    end = start + header
    for _ in range(content[start + 1]):
        if end + 8 > len(content):
            return False
        end += 8 + int.from_bytes(content[end + 4 : end + 8], "little")
    # Padded to 16 bytes, of which the last is the checksum; a SHA-256 may follow.
    return len(content) >= (end // 16 + 1) * 16 + (32 if header == _ESP_HEADER and content[start + 23] else 0)


def _wrong_uf2(content: bytes, image: Uf2Image, board: BoardType) -> str | None:
    """What is wrong with a UF2 file; None when nothing is."""
    if not content or len(content) % _UF2_BLOCK:
        return "is no UF2 file, or ends early: its size is no multiple of 512"
    blocks, promised = 0, 0
    for start in range(0, len(content), _UF2_BLOCK):
        first, second, flags, address, size, _, count, family = struct.unpack_from("<8I", content, start)
        if (first, second, *struct.unpack_from("<I", content, start + 508)) != _UF2_MAGICS:
            return f"is no UF2 file: block {start // _UF2_BLOCK} lacks its magic numbers"
        if not flags & _UF2_FAMILY or family not in image.families:
            return f"is for another chip: its family is 0x{family if flags & _UF2_FAMILY else 0:x}"
        if family == image.families[0]:
            blocks, promised = blocks + 1, count
            if not image.offset <= address <= image.offset + board.flash_size - size:
                return f"is too large: a block goes to 0x{address:x}, which exceeds the flash"
    if not blocks:
        return f"is for another chip: it has no block of the family 0x{image.families[0]:x}"
    return None if blocks == promised else f"ends early: it has {blocks} of {promised} blocks"


def _write_by_esptool(
    path: Path, board: BoardType, image: EspImage, port: str, erase: bool, progress: Progress
) -> None:
    if importlib.util.find_spec("esptool") is None:
        raise UserError("esptool, which writes to ESP chips, is not here: pip install 'otalink[esp]'")
    options = ["--chip", image.chip, "--port", port, "--baud", str(BAUD)]
    write = ["write-flash", *(["--erase-all"] if erase else []), hex(image.offset), str(path)]
    size = path.stat().st_size
    output = ""
    with running([sys.executable, "-m", "esptool", *options, *write]) as (process, pieces):
        while True:
            try:
                piece = pieces.get(timeout=SILENCE)
            except queue.Empty:
                raise UserError(
                    f"{port}: esptool said nothing for {SILENCE:g} s: unplug the board, try again"
                ) from None
            if not piece:
                break
            output += piece
            percent = re.search(r"^Writing at .* (\d+)(?:\.\d+)?%", piece)
            if percent:
                progress(size * int(percent[1]) // 100, size)
        status = process.wait()
    if status != 0:
        raise UserError(_esptool_failure(output, board, image, port))
    if "Hash of data verified" not in output:
        raise UserError(f"{port}: the image was written, but the chip does not let it be verified")


def _esptool_failure(output: str, board: BoardType, image: EspImage, port: str) -> str:
    """One line that says what went wrong, and what to do, from what esptool printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next((line for line in lines if "error occurred: " in line), lines[-1] if lines else "esptool failed")
    reason = reason.partition("error occurred: ")[2] or reason
    wrong = re.search(r"This chip is (\S+), not", reason)
    if wrong:
        return f"{port}: the chip is an {wrong[1]}, and {board.name} has an {image.chip}: name the board that it is"
    if "Writing at" in output or "Erasing flash" in output:
        return f"{port}: the image is not on it ({reason}): see to the cable, then write it again"
    if "could not open" in reason.lower():
        return f"{port} cannot be opened: is the board plugged in, and no other program at its port? ({reason})"
    if "Failed to connect" in reason:
        return f"{port}: no {image.chip} answers: hold its BOOT button, press reset (EN), then try again ({reason})"
    return f"{port}: nothing was written ({reason})"


def _write_to_drive(
    path: Path, board: BoardType, image: Uf2Image, port: str | None, drive: Path | None, say: Say, progress: Progress
) -> None:
    if drive is None:
        drive = _await_drive(board, image, port, say)
    elif _board_id(drive) != image.board_id:
        raise UserError(f"{drive} is no {board.name} in its bootloader: there is no {_INFO} of an {image.board_id}")
    say(f"writing to {drive}")
    content = path.read_bytes()
    written = 0
    try:
        with open(drive / path.name, "wb") as file:
            while written < len(content):
                written += file.write(content[written : written + _PIECE])
                file.flush()
                os.fsync(file.fileno())
                progress(written, len(content))
    except OSError as error:
        # With the last block the board restarts: what comes of the file then says nothing.
        if written < len(content):
            raise UserError(f"{drive}: the image is not on it ({error.strerror}): write it again") from None
    if not _awaited(lambda: _board_id(drive) is None, TAKEN):
        raise UserError(f"{drive}: the board has not taken the image: plug it in anew, holding BOOTSEL, and try again")


def _await_drive(board: BoardType, image: Uf2Image, port: str | None, say: Say) -> Path:
    """The one drive of a board in its bootloader; where there is none yet, the one that appears."""
    before = find_drives(image.board_id)
    if port is not None:
        Cable(port).enter_bootloader()
        others, patience = before, CALLED
    else:
        if not before:
            say(f"hold BOOTSEL while you plug the board in: waiting for its drive {image.board_id}")
        others, patience = [], BY_HAND
    found: list[Path] = []

    def appeared() -> bool:
        found[:] = [drive for drive in find_drives(image.board_id) if drive not in others]
        return bool(found)

    if not _awaited(appeared, patience):
        raise UserError(
            f"no drive {image.board_id} has appeared in {patience:g} s: hold BOOTSEL while you plug the board in, and "
            "name the drive if it is at an unusual place"
        )
    if len(found) > 1:
        raise UserError(f"several boards are in their bootloader: name the drive ({', '.join(map(str, found))})")
    return found[0]


def _awaited(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _board_id(drive: Path) -> str | None:
    """What the INFO_UF2.TXT of `drive` says of the board; None when there is none."""
    try:
        text = (drive / _INFO).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^Board-ID:\s*(\S+)\s*$", text, re.MULTILINE)
    return found[1] if found else None
