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


def mount(blocks):
    """Mounts the littlefs on a block device as the whole file system, as on a board."""
    flash.mount(blocks, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.modules["machine"] = _Machine()


def boot():
    """Runs /boot.py until it lets the application start."""
    while True:
        try:
            execfile("/boot.py", {})  # noqa: F821 - MicroPython has it
            return
        except ResetError:
            pass
