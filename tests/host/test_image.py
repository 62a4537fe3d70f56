"""MicroPython's image on a board: what is refused before anything is written, and what the flash holds afterwards.

esptool is the real one; the chip is esp_rom.py's. The boot ROM of an RP2 is a folder, which a thread empties once a
whole UF2 file is there.
"""

import hashlib
import random
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from esp_rom import EspRom

from otalink_host import image as image_module
from otalink_host.boards import BoardType, EspImage, load_boards
from otalink_host.errors import UserError
from otalink_host.image import check_image, find_drives, write_image
from otalink_host.vboard import VirtualBoard

BOARDS = load_boards()
ESP32, C3, ESP8266 = (BOARDS[name] for name in ("ESP32_GENERIC", "ESP32_GENERIC_C3", "ESP8266_GENERIC"))
PICO, PICO2 = BOARDS["RPI_PICO_W"], BOARDS["RPI_PICO2_W"]
MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
# The images' addresses in the flash.
PARTITIONS, APPLICATION = 0x8000, 0x10000


def esp_part(chip_id: int, size: int, seed: int) -> bytes:
    """A bootloader or an application, as Espressif's "Firmware Image Format" has it: one segment, checksum, SHA-256."""
    head = struct.pack("<4BI", 0xE9, 1, 2, 0x20, 0x40080000) + struct.pack("<4xH9xB", chip_id, 1)
    content = head + struct.pack("<II", 0x3F400000, size) + random.Random(seed).randbytes(size)
    content += bytes(15 - len(content) % 16) + b"\xef"
    return content + hashlib.sha256(content).digest()


def partitions(application: int) -> bytes:
    """A partition table: one for data, then the application's, each of type, subtype, offset, size, label, flags."""
    entries = ((1, 2, 0x9000, 0x6000, b"nvs", 0), (0, 0, application, 0x1F0000, b"factory", 0))
    return b"".join(struct.pack("<2s2BII16sI", b"\xaa\x50", *entry) for entry in entries)


def esp_image(board: BoardType, size: int = 200_000, application: int = APPLICATION) -> bytes:
    """As MicroPython's builds put it together: bootloader, partition table, application."""
    assert isinstance(board.image, EspImage)
    assert board.image.chip_id is not None
    start = board.image.offset
    content = esp_part(board.image.chip_id, 20_000, 1).ljust(PARTITIONS - start, b"\xff")
    content += partitions(application)
    return content.ljust(application - start, b"\xff") + esp_part(board.image.chip_id, size, 2)


# It has no further header, and no SHA-256.
ESP8266_IMAGE = struct.pack("<4BIII", 0xE9, 1, 0, 0, 0x40100000, 0x40100000, 1000) + bytes(1000 + 8)


def uf2(family: int, blocks: int = 40, first: int = 0x10000000, absolute: bool = False) -> bytes:
    def block(address: int, number: int, count: int, family: int, payload: bytes) -> bytes:
        head = struct.pack("<8I", *MAGIC[:2], 0x2000, address, 256, number, count, family)
        return head + payload.ljust(476, b"\0") + struct.pack("<I", MAGIC[2])

    content = block(0x10FFFF00, 0, 2, 0xE48BFF57, b"\xef" * 256) if absolute else b""
    payloads = [random.Random(number).randbytes(256) for number in range(blocks)]
    return content + b"".join(
        block(first + 256 * number, number, blocks, family, payload) for number, payload in enumerate(payloads)
    )


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes, str], Path]:
    def make(content: bytes, name: str = "image.bin") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


def refusal(path: Path, board: BoardType) -> str:
    with pytest.raises(UserError) as refused:
        check_image(path, board)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# What check_image refuses


def test_it_gives_the_sha256_of_an_image_that_the_board_takes(file: Callable[..., Path]) -> None:
    for board in (ESP32, C3, BOARDS["ESP32_GENERIC_S3"]):
        content = esp_image(board)
        assert check_image(file(content), board) == hashlib.sha256(content).hexdigest()
    check_image(file(ESP8266_IMAGE), ESP8266)
    check_image(file(esp_image(C3, application=0x20000)), C3)
    for board, family in ((PICO, 0xE48BFF56), (PICO2, 0xE48BFF59)):
        content = uf2(family)
        assert check_image(file(content), board) == hashlib.sha256(content).hexdigest()


def test_a_pico_2_image_may_begin_with_the_block_against_its_erratum(file: Callable[..., Path]) -> None:
    check_image(file(uf2(0xE48BFF59, absolute=True)), PICO2)
    assert "family is 0xe48bff57" in refusal(file(uf2(0xE48BFF56, absolute=True)), PICO)


def test_esptools_own_combined_image_is_taken(tmp_path: Path) -> None:
    parts = {"0x1000": esp_part(0, 20_000, 1), "0x8000": partitions(APPLICATION), "0x10000": esp_part(0, 9_000, 2)}
    arguments = []
    for offset, content in parts.items():
        (tmp_path / offset).write_bytes(content)
        arguments += [offset, str(tmp_path / offset)]
    made = tmp_path / "made.bin"
    merge = ["--chip", "esp32", "merge-bin", "--output", str(made), "--target-offset", "0x1000", *arguments]
    subprocess.run([sys.executable, "-m", "esptool", *merge], check=True, capture_output=True)
    check_image(made, ESP32)


@pytest.mark.parametrize(
    ("board", "change", "said"),
    [
        (ESP32, lambda content: b"", "no image of an ESP chip"),
        (ESP32, lambda content: b"<html>" + content, "no image of an ESP chip"),
        (ESP32, lambda content: uf2(0xE48BFF56), "is a UF2 file"),
        (ESP32, lambda content: esp_image(C3), "the chip id 5, and esp32 is 0"),
        (C3, lambda content: esp_image(ESP32), "the chip id 0, and esp32c3 is 5"),
        (ESP32, lambda content: esp_part(0, 200_000, 3), "not a whole image"),
        (ESP32, lambda content: content[: len(content) // 2], "ends early"),
        (ESP32, lambda content: content[:-1], "ends early"),
        (ESP32, lambda content: content[: APPLICATION - 0x1000], "ends early"),
        (ESP32, lambda content: content.replace(b"\xaa\x50\x00", b"\xaa\x50\x01"), "not a whole image"),
        (ESP32, lambda content: content.ljust(0x400000 - 0xFFF, b"\xff"), "is too large"),
        (ESP8266, lambda content: ESP8266_IMAGE[:-1], "ends early"),
    ],
)
def test_an_esp_image_that_is_wrong(
    board: BoardType, change: Callable[[bytes], bytes], said: str, file: Callable[..., Path]
) -> None:
    line = refusal(file(change(b"" if board is ESP8266 else esp_image(board))), board)
    assert said in line
    assert line.endswith(f"take MicroPython's {board.name}-*.bin")


@pytest.mark.parametrize(
    ("board", "content", "said"),
    [
        (PICO, b"", "is no UF2 file"),
        (PICO, esp_image(ESP32), "is no UF2 file"),
        (PICO, uf2(0xE48BFF56)[:-100], "ends early"),
        (PICO, uf2(0xE48BFF56)[:-512], "ends early: it has 39 of 40 blocks"),
        (PICO, uf2(0xE48BFF56) + bytes(512), "block 40 lacks its magic numbers"),
        (PICO, uf2(0xE48BFF59), "for another chip: its family is 0xe48bff59"),
        (PICO2, uf2(0xE48BFF56), "for another chip: its family is 0xe48bff56"),
        (PICO2, uf2(0xE48BFF57), "for another chip: it has no block of the family 0xe48bff59"),
        (PICO, uf2(0xE48BFF56, first=0x10200000 - 256), "is too large: a block goes to 0x10200000"),
        (PICO, uf2(0xE48BFF56, first=0x20000000), "is too large"),
    ],
)
def test_a_uf2_image_that_is_wrong(board: BoardType, content: bytes, said: str, file: Callable[..., Path]) -> None:
    line = refusal(file(content), board)
    assert said in line
    assert line.endswith(f"take MicroPython's {board.name}-*.uf2")


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.bin", ESP32).startswith(f"there is no {tmp_path / 'x.bin'}: ")
    assert "cannot be read" in refusal(tmp_path, ESP32)
    assert refusal(tmp_path / "x.bin", BOARDS["UNIX"]) == "UNIX takes no image: leave --image out"


# To an ESP chip


def write_fails(*arguments: object, **options: object) -> str:
    with pytest.raises(UserError) as failed:
        write_image(*arguments, say=lambda line: None, **options)  # type: ignore[arg-type]
    assert "\n" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize(("chip", "board"), [("esp32", ESP32), ("esp32c3", C3)])
@pytest.mark.parametrize("erase", [False, True])
def test_esptool_puts_the_image_into_the_flash(
    chip: str, board: BoardType, erase: bool, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which would hide what is read of esptool's output
    content = esp_image(board)
    assert isinstance(board.image, EspImage)
    start, end = board.image.offset, board.image.offset + len(content)
    said: list[str] = []
    told: list[tuple[int, int]] = []
    with EspRom(chip) as rom:
        write_image(
            file(content), board, rom.port, erase=erase, say=said.append, progress=lambda *now: told.append(now)
        )
        assert rom.flash[start:end] == content
        assert rom.erased == erase
        # Further on nothing is touched, but for the rest of a sector, unless all was to be erased.
        assert set(rom.flash[end + 4096 :]) == {0xFF if erase else 0x5A}
    assert said[0] == (
        f"image.bin for {board.name}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}"
    )
    assert told == sorted(told)
    assert told[-1] == (len(content), len(content))
    assert len(told) > 2


@pytest.mark.parametrize(("chip", "board", "found"), [("esp32c3", ESP32, "ESP32-C3"), ("esp32", C3, "ESP32")])
def test_another_chip_than_the_boards(chip: str, board: BoardType, found: str, file: Callable[..., Path]) -> None:
    with EspRom(chip) as rom:
        before = bytes(rom.flash)
        line = write_fails(file(esp_image(board)), board, rom.port)
        assert line.startswith(f"{rom.port}: the chip is an {found}, and {board.name} has an ")
        assert rom.flash == before


def test_a_chip_that_does_not_answer(file: Callable[..., Path]) -> None:
    with EspRom("esp32", mute=True) as rom:
        line = write_fails(file(esp_image(ESP32)), ESP32, rom.port)
        assert line.startswith(f"{rom.port}: no esp32 answers: hold its BOOT button")


def test_a_port_that_is_pulled_in_mid_write(file: Callable[..., Path]) -> None:
    with EspRom("esp32c3") as rom:
        rom.cut_at = 50_000
        line = write_fails(file(esp_image(C3)), C3, rom.port)
        assert line.startswith(f"{rom.port}: the image is not on it (")
        assert line.endswith("see to the cable, then write it again")


def test_a_flash_that_does_not_hold_what_was_written(file: Callable[..., Path]) -> None:
    with EspRom("esp32") as rom:
        rom.bad_at = 0x1000 + 100
        line = write_fails(file(esp_image(ESP32)), ESP32, rom.port)
        assert "MD5 of file does not match data in flash" in line


def test_a_port_that_is_not_there(file: Callable[..., Path]) -> None:
    line = write_fails(file(esp_image(ESP32)), ESP32, "/dev/no-such-port")
    assert line.startswith("/dev/no-such-port cannot be opened: is the board plugged in")


def test_what_an_esp_board_cannot_do(file: Callable[..., Path], tmp_path: Path) -> None:
    path = file(esp_image(ESP32))
    assert write_fails(path, ESP32, None) == "ESP32_GENERIC is written over its port: name it"
    assert write_fails(path, ESP32, "x", drive=tmp_path) == "ESP32_GENERIC has no drive: name its port"


def test_without_esptool_it_says_how_to_get_it(file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert write_fails(file(esp_image(ESP32)), ESP32, "x").endswith("pip install 'otalink[esp]'")


# To the drive of an RP2


class BootRom:
    """The bootloader of an RP2 as its drive shows it: it takes a whole UF2 file, puts it into its flash, restarts."""

    def __init__(self, drive: Path, board_id: str) -> None:
        self.drive = drive
        self.board_id = board_id
        self.flash: dict[int, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="boot-rom")

    def plug_in(self) -> None:
        self.drive.mkdir(parents=True, exist_ok=True)
        text = f"UF2 Bootloader v3.0\r\nModel: Raspberry Pi\r\nBoard-ID: {self.board_id}\r\n"
        (self.drive / "INFO_UF2.TXT").write_bytes(text.encode())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for path in self.drive.glob("*.uf2"):
                content = path.read_bytes()
                blocks = [content[at : at + 512] for at in range(0, len(content), 512)]
                if blocks and len(blocks[-1]) == 512 and len(blocks) == struct.unpack_from("<I", blocks[-1], 24)[0]:
                    for block in blocks:
                        address, size = struct.unpack_from("<II", block, 12)
                        self.flash[address] = block[32 : 32 + size]
                    (self.drive / "INFO_UF2.TXT").unlink()
                    return


@pytest.fixture
def boot_rom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BootRom]:
    monkeypatch.setattr(image_module, "PLACES", (str(tmp_path / "media" / "*"), str(tmp_path / "run" / "*" / "*")))
    rom = BootRom(tmp_path / "media" / "RPI-RP2", "RPI-RP2")
    rom.start()
    yield rom
    rom.stop()


# MicroPython on Unix has no bootloader; the board's boot.py says that it was called.
BOOT = """
with open('/boot.py', 'w') as file:
    file.write("import machine\\nmachine.bootloader = lambda: print('the bootloader is', 'called')\\n")
"""
CONTENT = uf2(0xE48BFF56)
FLASH = {0x10000000 + 256 * n: CONTENT[512 * n + 32 : 512 * n + 288] for n in range(40)}


def test_the_drive_is_found_and_the_board_takes_the_image(boot_rom: BootRom, file: Callable[..., Path]) -> None:
    boot_rom.plug_in()
    said: list[str] = []
    told: list[tuple[int, int]] = []
    path = file(CONTENT, "RPI_PICO_W.uf2")
    write_image(path, PICO, None, say=said.append, progress=lambda *now: told.append(now))
    assert boot_rom.flash == FLASH
    assert said == [
        f"RPI_PICO_W.uf2 for RPI_PICO_W: 20,480 bytes, SHA-256 {hashlib.sha256(CONTENT).hexdigest()}",
        f"writing to {boot_rom.drive}",
        "the board has taken it and restarted",
    ]
    assert told[-1] == (20_480, 20_480)


def test_a_drive_that_appears_later_is_waited_for(boot_rom: BootRom, file: Callable[..., Path]) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("hold BOOTSEL while you plug the board in"):
            boot_rom.plug_in()

    write_image(file(CONTENT, "x.uf2"), PICO, None, say=say)
    assert boot_rom.flash == FLASH
    assert said[1] == "hold BOOTSEL while you plug the board in: waiting for its drive RPI-RP2"


def test_a_running_micropython_is_sent_to_its_bootloader(
    boot_rom: BootRom, tmp_path: Path, file: Callable[..., Path]
) -> None:
    # Another board's drive is there already: it is not the one.
    other = BootRom(tmp_path / "run" / "me" / "RPI-RP2", "RPI-RP2")
    other.plug_in()
    with VirtualBoard(tmp_path / "board") as board:
        board.mpremote("exec", BOOT)
        board.reset()

        def plug_in_when_called() -> None:
            board.wait_for("the bootloader is called", 60)
            boot_rom.plug_in()

        thread = threading.Thread(target=plug_in_when_called)
        thread.start()
        write_image(file(CONTENT, "x.uf2"), PICO, board.pty, say=lambda line: None)
        thread.join()
    assert boot_rom.flash == FLASH
    assert [path.name for path in other.drive.iterdir()] == ["INFO_UF2.TXT"]


def test_a_drive_can_be_named(boot_rom: BootRom, tmp_path: Path, file: Callable[..., Path]) -> None:
    boot_rom.drive = tmp_path / "elsewhere"
    boot_rom.plug_in()
    write_image(file(CONTENT, "x.uf2"), PICO, None, drive=boot_rom.drive, say=lambda line: None)
    assert boot_rom.flash == FLASH


def test_only_the_drive_of_such_a_board_is_written_to(
    boot_rom: BootRom, tmp_path: Path, file: Callable[..., Path]
) -> None:
    boot_rom.plug_in()
    path = file(uf2(0xE48BFF59), "x.uf2")
    assert write_fails(path, PICO2, None, drive=boot_rom.drive) == (
        f"{boot_rom.drive} is no RPI_PICO2_W in its bootloader: there is no INFO_UF2.TXT of an RP2350"
    )
    assert "is no RPI_PICO2_W in its bootloader" in write_fails(path, PICO2, None, drive=tmp_path)
    assert find_drives("RP2350") == []
    assert find_drives("RPI-RP2") == [boot_rom.drive]
    assert not list(boot_rom.drive.glob("*.uf2"))


def test_two_drives_are_not_chosen_between(boot_rom: BootRom, tmp_path: Path, file: Callable[..., Path]) -> None:
    boot_rom.plug_in()
    other = BootRom(tmp_path / "run" / "me" / "RPI-RP2", "RPI-RP2")
    other.plug_in()
    line = write_fails(file(CONTENT, "x.uf2"), PICO, None)
    assert line == f"several boards are in their bootloader: name the drive ({boot_rom.drive}, {other.drive})"


def test_patience_ends(boot_rom: BootRom, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "BY_HAND", 0.1)
    monkeypatch.setattr(image_module, "TAKEN", 0.1)
    path = file(CONTENT, "x.uf2")
    assert re.match("no drive RPI-RP2 has appeared in 0.1 s: hold BOOTSEL", write_fails(path, PICO, None))
    boot_rom.stop()
    boot_rom.plug_in()
    assert "the board has not taken the image" in write_fails(path, PICO, None)


def test_a_drive_that_is_full(boot_rom: BootRom, file: Callable[..., Path]) -> None:
    boot_rom.stop()
    boot_rom.plug_in()
    (boot_rom.drive / "x.uf2").symlink_to("/dev/full")
    line = write_fails(file(CONTENT, "x.uf2"), PICO, None)
    assert line == f"{boot_rom.drive}: the image is not on it (No space left on device): write it again"


def test_a_uf2_board_is_not_erased(boot_rom: BootRom, file: Callable[..., Path]) -> None:
    assert "cannot be erased" in write_fails(file(CONTENT, "x.uf2"), PICO, None, erase=True)
    bad = replace(PICO, image=None)
    assert write_fails(file(CONTENT, "x.uf2"), bad, None) == "RPI_PICO_W takes no image: leave --image out"
