"""What a board does between its power-on and its application: the boot guard. A model of `machine` is all it needs."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import os
import sys

import flash


class ResetError(BaseException):
    """The board restarts."""


class _Machine:
    PWRON_RESET = 1
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5

    def reset(self):
        raise ResetError

    def reset_cause(self):
        return self.PWRON_RESET


def mount(image, device=flash.FileBlocks):
    """Mounts the image as the whole file system, as on a board. Gives the block device."""
    blocks = flash.mount(image, "/", device)
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.modules["machine"] = _Machine()
    return blocks


def boot():
    """Runs /boot.py until it lets the application start."""
    while True:
        try:
            execfile("/boot.py", {})  # noqa: F821 - MicroPython has it
            return
        except ResetError:
            pass
