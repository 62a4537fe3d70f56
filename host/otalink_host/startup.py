"""The files that start a board: boot.py, main.py and otaguard.py. A release in which they cannot is refused.

A board checks boot.py again before it installs a release; here it is told to whoever makes the release.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from otalink.boot_rule import calls_guard
from otalink_host.compiler import Compiler
from otalink_host.errors import UserError
from otalink_host.release_file import unpack

# A new MicroPython, with another bytecode, must still load what starts the board: these are never compiled.
STARTERS = ("boot.py", "main.py", "otaguard.py")


def check_files(files: Mapping[str, Path], compiler: Callable[[], Compiler]) -> None:
    """Checks the starters among `files`, by their path on the board. `compiler` is called when there is one.

    Raises UserError, one line, for one that does not compile, a boot.py that does not begin by calling the boot guard,
    and an otaguard.py that is none.
    """
    check_contents({path: files[path].read_bytes() for path in STARTERS if path in files}, compiler)


def check_release(path: Path) -> None:
    """As `check_files`, for the release file `path`, which has been verified."""
    check_contents(dict(unpack(path, STARTERS)), Compiler)


def check_contents(contents: Mapping[str, bytes], compiler: Callable[[], Compiler]) -> None:
    """As `check_files`, for the contents of the starters by their path."""
    for path, content in contents.items():
        compiler().compile(content, path)
        try:
            content.decode()
        except UnicodeError:
            # mpy-cross lets that pass; a board that reads the text does not.
            raise UserError(f"{path} is not UTF-8: save it as that") from None
    boot, guard = contents.get("boot.py"), contents.get("otaguard.py")
    if boot is not None and not calls_guard(boot.decode()):
        raise UserError(
            "boot.py does not begin by calling the boot guard, so that no board could go back from this release: "
            "its first lines must be `try:`, `import otaguard` and `otaguard.boot()`, as in otalink's own"
        )
    if guard is not None and not (
        re.search(rb"^FORMAT = [0-9]+\r?$", guard, re.MULTILINE) and re.search(rb"^def boot\(", guard, re.MULTILINE)
    ):
        raise UserError(
            "otaguard.py is no boot guard, so that no board could go back from this release: take otalink's"
        )
