"""The serial ports of this machine, and which of them has a board at its end."""

import errno
import time
from collections.abc import Collection
from dataclasses import dataclass

import serial
from serial.tools import list_ports

from otalink_host.errors import UserError

# Seconds in which a board that was written to is at its port again.
RESTARTED = 20.0
# A vendor's and a product's number, as USB devices tell them.
UsbId = tuple[int, int]


@dataclass(frozen=True)
class Port:
    """A serial port: `device` as mpremote and --port take it, and what its USB device says about itself."""

    device: str
    usb: UsbId
    description: str
    serial_number: str | None

    def __str__(self) -> str:
        return f"{self.device} ({self.description})" if self.description else self.device


def usb_ports() -> list[Port]:
    """The ports that are USB devices, in the order of their names: a board is one, a built-in port never is."""
    return [
        Port(each.device, (each.vid, each.pid), each.description or "", each.serial_number)
        for each in sorted(list_ports.comports(), key=lambda each: each.device)
        if each.vid is not None
    ]


def find_port(known: Collection[UsbId], found: list[Port] | None = None) -> str:
    """The port of the one board that is connected. `known` are the USB numbers of boards and of the chips on them;
    a port of another kind counts when there is no such one. Raises UserError when there is none, or more than one."""
    every = usb_ports() if found is None else found
    likely = [port for port in every if port.usb in known] or every
    if not likely:
        raise UserError(
            "no board is connected: plug one in, with a cable that carries data (many only charge), or name its port "
            "with --port"
        )
    if len(likely) > 1:
        names = ", ".join(str(port) for port in likely)
        raise UserError(f"there are {len(likely)} boards: {names}: say which with --port")
    return likely[0].device


def await_port(device: str | None, before: Collection[str], seconds: float = RESTARTED) -> str:
    """The port of a board that has just got another MicroPython: `device` once it can be opened, else the one port that
    was not there `before`. Another board, that is connected too, is never taken for it. Raises UserError when there is
    none after so many `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if device is not None and opening_error(device) is None:
            return device
        new = [port.device for port in usb_ports() if port.device not in before]
        if len(new) == 1:
            return new[0]
        if time.monotonic() > deadline:
            raise UserError(
                "MicroPython is written, but the board does not come back: unplug it, plug it in, and run the same "
                "command again without --image"
            )
        time.sleep(0.2)


def opening_error(device: str) -> str | None:
    """Why `device` cannot be opened, and what to do; None when it can be."""
    try:
        with _opened(device):
            return None
    except (OSError, ValueError) as error:
        return _why(error)


def listen(device: str, keys: bytes, seconds: float) -> str:
    """What comes from `device` within `seconds` of `keys` being typed into it. Raises UserError when it cannot be
    opened."""
    try:
        with _opened(device) as port:
            port.timeout = seconds
            port.write(keys)
            text: bytes = port.read(4096)
    except (OSError, ValueError) as error:
        raise UserError(f"{device}: {_why(error)}") from None
    return text.decode("utf-8", "replace")


def _opened(device: str) -> serial.Serial:
    return serial.serial_for_url(device, baudrate=115200, exclusive=True, write_timeout=5)


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFoundError" in text:
        return "there is no such port: is the board plugged in?"
    if number == errno.EACCES:
        return "you may not use it: sudo usermod -a -G dialout $USER, then log in again"
    if number in (errno.EAGAIN, errno.EBUSY) or "lock" in text or "PermissionError" in text:
        return "another program uses it: close that (a terminal, an editor), try again"
    if number == errno.EISDIR or "ioctl" in text:
        return "that is no serial port: name one with --port"
    return f"it cannot be opened ({getattr(error, 'strerror', None) or text})"
