"""The files that start a board: boot.py, main.py and the boot guard. A release in which they cannot is refused.

A board looks at boot.py again before it installs a release; here it is told to whoever makes or publishes the release.
"""

import re
from collections.abc import Iterable, Mapping
from io import BufferedIOBase
from pathlib import Path

from otalink.boot_rule import calls_guard
from otalink_host.compiler import Compiler
from otalink_host.errors import UserError
from otalink_host.release_file import ReleaseFile, unpack_stream

# A new MicroPython, with another bytecode, must still load what starts the board: these are never compiled.
STARTERS = ("boot.py", "main.py", "otaguard.py", "otaswap.py")
# What a board needs of the guard's two files, each in a line of its own.
_GUARD_LINES = {"otaguard.py": (rb"^def boot\(",), "otaswap.py": (rb"^def work\(", rb"^FORMAT = [0-9]+\r?$")}


def check_files(files: Mapping[str, Path], compiler: Compiler | None = None) -> None:
    """Checks a release's `files`, by their path on the board. Raises UserError, one line, when one would stop a board.

    That is a starter that does not compile, a boot.py that does not begin by calling the boot guard, an otaguard.py
    or otaswap.py that is no boot guard, and a folder that MicroPython would import in the guard's place.
    """
    _check_paths(files)
    _check_starters({path: files[path].read_bytes() for path in STARTERS if path in files}, compiler)


def check_release(path: Path, release: ReleaseFile) -> None:
    """As `check_files`, for the release file `path`, which was verified and found to be `release`."""
    with path.open("rb") as stream:
        check_release_stream(stream, release)


def check_release_stream(stream: BufferedIOBase, release: ReleaseFile) -> None:
    """As `check_release`, for the release file that `stream` is at the beginning of."""
    _check_paths(file.path for file in release.files)
    _check_starters(dict(unpack_stream(stream, STARTERS)), None)


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        folder = path.split("/")[0]
        if folder in ("otaguard", "otaswap") and folder != path:
            raise UserError(f"{path}: the folder {folder} would hide the boot guard from MicroPython: rename it")


def _check_starters(contents: Mapping[str, bytes], compiler: Compiler | None) -> None:
    for path, content in contents.items():
        compiler = compiler or Compiler()
        compiler.compile(content, path)
        try:
            content.decode()
        except UnicodeError:
            # mpy-cross lets that pass; a board that reads the text does not.
            raise UserError(f"{path} is not UTF-8: save it as that") from None
    boot = contents.get("boot.py")
    if boot is not None and not calls_guard(boot.decode()):
        raise UserError(
            "boot.py does not begin by calling the boot guard, so that no board could go back from this release: "
            "its first lines must be `try:`, `import otaguard` and `otaguard.boot()`, as in otalink's own"
        )
    for path, patterns in _GUARD_LINES.items():
        guard = contents.get(path)
        if guard is not None and not all(re.search(pattern, guard, re.MULTILINE) for pattern in patterns):
            raise UserError(f"{path} is no boot guard, so that no board could go back from it: take otalink's own")
