"""A stand-in for an ESP chip in its boot ROM, on a pseudo-terminal: no machine here has the chip.

It speaks what esptool speaks (esptool's documentation, "Serial Protocol"): SLIP, the ROM's commands, and those of the
stub that esptool loads into it. Its flash is NOR: what is written only clears bits, and an erasure sets them; the MD5
is the MD5 of what it holds.
"""

import hashlib
import os
import pty
import select
import struct
import threading
import tty
import zlib
from collections.abc import Callable
from dataclasses import dataclass

SECTOR = 4096


@dataclass(frozen=True)
class Chip:
    """What esptool tells chips by: the register 0x40001000, or (C3 and later) the id in the security info."""

    spi: int  # the registers of its SPI controller, and in it USR2 and W0
    usr2: int
    w0: int
    magic: int = 0
    chip_id: int | None = None


CHIPS = {
    "esp32": Chip(0x3FF42000, 0x24, 0x80, magic=0x00F01D83),
    "esp32c3": Chip(0x60002000, 0x20, 0x58, chip_id=5),
}


class EspRom:
    """The chip. `port` is where it is; `flash` what its flash holds.

    `mute`: it answers nothing. `cut_at`: it is pulled out with that many bytes of image written. `bad_at`: a byte of
    its flash that stays 0.
    """

    def __init__(self, chip: str, size: int = 0x400000, mute: bool = False) -> None:
        self.chip = CHIPS[chip]
        # Not erased, as a board's flash is.
        self.flash = bytearray(b"\x5a" * size)
        self.mute = mute
        self.cut_at: int | None = None
        self.bad_at: int | None = None
        self.stub = False
        self.erased = False
        self._registers = {0x40001000: self.chip.magic}
        self._memory = bytearray()
        self._written = 0
        self._at = 0
        self._inflate: Callable[[bytes], bytes] | None = None
        self._block = 0
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name="esp-rom")

    def __enter__(self) -> "EspRom":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stopped, b"x")
        self._thread.join()
        for descriptor in (self._stop, self._stopped):
            os.close(descriptor)
        self._unplug()

    def _unplug(self) -> None:
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def _run(self) -> None:
        packet: bytearray | None = None
        while self._master >= 0:
            ready, _, _ = select.select([self._master, self._stop], [], [])
            if self._stop in ready:
                return
            for byte in os.read(self._master, 65536):
                if byte != 0xC0:
                    if packet is not None:
                        packet.append(byte)
                elif not packet:
                    packet = bytearray()
                else:
                    self._take(bytes(packet).replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))
                    packet = None
                    if self._master < 0:
                        return

    def _take(self, packet: bytes) -> None:
        direction, command, size, checksum = struct.unpack_from("<BBHI", packet)
        body = packet[8:]
        if self.mute or direction or len(body) != size:
            return
        if command in (0x03, 0x07, 0x11):  # data: with a checksum, and the length and the number of the block ahead
            length, number = struct.unpack_from("<II", body)
            data = body[16 : 16 + length]
            total = 0xEF
            for byte in data:
                total ^= byte
            if total != checksum:
                self._answer(command, status=b"\1\7")
                return
            self._data(command, number, data)
        else:
            self._control(command, body)

    def _data(self, command: int, number: int, data: bytes) -> None:
        if command == 0x07:
            self._memory += data
        elif command == 0x03:
            self._program(self._at + number * self._block, data)
        else:
            assert self._inflate is not None
            data = self._inflate(data)
            self._program(self._at, data)
            self._at += len(data)
        if self.cut_at is not None and self._written >= self.cut_at:
            self._unplug()
        else:
            self._answer(command)

    def _program(self, at: int, data: bytes) -> None:
        old = int.from_bytes(self.flash[at : at + len(data)], "little")
        self.flash[at : at + len(data)] = (old & int.from_bytes(data, "little")).to_bytes(len(data), "little")
        if self.bad_at is not None and at <= self.bad_at < at + len(data):
            self.flash[self.bad_at] = 0
        self._written += len(data)

    def _erase(self, at: int, size: int) -> None:
        first, last = at // SECTOR * SECTOR, -(-(at + size) // SECTOR) * SECTOR
        self.flash[first:last] = b"\xff" * (last - first)

    def _control(self, command: int, body: bytes) -> None:
        words = struct.unpack_from(f"<{len(body) // 4}I", body)
        if command == 0x08:  # SYNC; the stub says 0
            for _ in range(8):
                self._answer(command, 0 if self.stub else 0x20120707)
        elif command == 0x0A:  # READ_REG
            self._answer(command, self._registers.get(words[0], 0))
        elif command == 0x09:  # WRITE_REG
            self._write_register(words[0], words[1])
            self._answer(command)
        elif command == 0x14 and self.chip.chip_id is not None:  # GET_SECURITY_INFO
            self._answer(command, data=struct.pack("<I8xII", 0, self.chip.chip_id, 0))
        elif command in (0x0B, 0x0D, 0x0F) or command == 0x05:  # SPI_SET_PARAMS, SPI_ATTACH, CHANGE_BAUDRATE
            self._answer(command)
        elif command == 0x06:  # MEM_END: the stub runs
            self._answer(command)
            self.stub = bool(self._memory)
            self._send(b"OHAI")
        elif command in (0x02, 0x10):  # FLASH_BEGIN, FLASH_DEFL_BEGIN
            self._erase(words[3], words[0])
            self._at, self._block = words[3], words[2]
            self._inflate = zlib.decompressobj().decompress if command == 0x10 else None
            self._answer(command)
        elif command in (0x04, 0x12):  # FLASH_END, FLASH_DEFL_END
            self._answer(command)
        elif command == 0x13:  # SPI_FLASH_MD5
            md5 = hashlib.md5(self.flash[words[0] : words[0] + words[1]])
            self._answer(command, data=md5.digest() if self.stub else md5.hexdigest().encode())
        elif command == 0xD0 and self.stub:  # ERASE_FLASH
            self._erase(0, len(self.flash))
            self.erased = True
            self._answer(command)
        else:
            self._answer(command, status=b"\1\5")

    def _write_register(self, address: int, value: int) -> None:
        self._registers[address] = value
        if address == self.chip.spi and value & 1 << 18:  # a command for the flash chip
            usr2, w0 = self.chip.spi + self.chip.usr2, self.chip.spi + self.chip.w0
            size = len(self.flash).bit_length() - 1
            # Its manufacturer, type and size; and the word with which its table of parameters begins.
            answers = {0x9F: 0x0040EF | size << 16, 0x5A: int.from_bytes(b"SFDP", "little")}
            self._registers[w0] = answers.get(self._registers[usr2] & 0xFF, 0)
            self._registers[address] = 0

    def _answer(self, command: int, value: int = 0, data: bytes = b"", status: bytes = b"\0\0") -> None:
        body = data + status + (b"" if self.stub else b"\0\0")
        self._send(struct.pack("<BBHI", 1, command, len(body), value) + body)

    def _send(self, packet: bytes) -> None:
        packet = b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"
        while packet:
            packet = packet[os.write(self._master, packet) :]
