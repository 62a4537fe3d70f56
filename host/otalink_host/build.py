"""Builds release files: what goes in, compiled and compressed, under a signed header. docs/release-format.md specifies.

The same input gives the same bytes: paths are sorted, and no time, owner, place or order of a folder goes in. What no
release may hold is refused before anything is written, with a UserError of one line.
"""

import hashlib
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pathspec

from otalink.errors import OtaError
from otalink.plain import format_release_name, other_application, parse_release_name
from otalink.record import format_header
from otalink.release import SIZE_MAX
from otalink.version import check_name, format_version, parse_version
from otalink_host import repository, source_folder
from otalink_host.compiler import Bytecode, Compiler, bytecode_of, common_bytecode, compiler_options
from otalink_host.errors import UserError
from otalink_host.keys import Signer, for_boards
from otalink_host.release_file import EXTENSION, Progress, StoredFile, Version, compress, verify
from otalink_host.startup import STARTERS, check_files

IGNORE_NAME = ".otaignore"


@dataclass(frozen=True)
class Built:
    """What `build` made. `source_size` counts the bytes of the files as they are in the source, `size` the release's.

    `compiled` counts modules; `skipped` are lines for the user.
    """

    path: Path
    name: str
    version: Version
    files: tuple[StoredFile, ...]
    bytecode: Bytecode | None
    key: str | None
    compiled: int
    source_size: int
    size: int
    skipped: list[str] = field(default_factory=list)


def build(
    source: Path,
    *,
    signer: Signer | None,
    name: str | None = None,
    version: str | None = None,
    boards: Sequence[str] = (),
    compiled: bool = True,
    bytecode: Bytecode | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Built:
    """Makes a release file of what is in the folder `source`; unsigned when `signer` is None.

    `name` and `version` may be left out where `source` holds a versioned file, such as thermostat_1.0.0.2.py, which
    loses its version. `boards` are the platforms that may install it; empty: all. `compiled` makes .mpy files of the
    modules, for `bytecode` or the newest. `output` is a file or a folder, by default the current one. `progress` is
    called with the bytes done and the bytes there are. Raises UserError; nothing is written then.
    """
    platforms = _platforms(boards)
    if not source.is_dir():
        raise UserError(f"there is no folder {source}: name the one that holds the release's files")
    try:
        collected = source_folder.collect(source, ignored(source))
        _refuse_emptiness(source, collected)
        name, number, targets = _application(source, collected.files, name, version)
        path = _output(output, name, number)
        modules = _modules(targets) if compiled else frozenset()
        _check_tree(targets, modules)
        compiler = Compiler(bytecode)
        check_files(targets, compiler)
        packer = _Packer(compiler, modules, progress, sum(file.stat().st_size for file in targets.values()))
        for target in sorted(targets):
            packer.add(target, targets[target])
        files = sorted(packer.files, key=lambda file: file.path)
        try:
            loads = common_bytecode(packer.versions)
            header = _header(name, number, files, platforms, loads, signer)
        except ValueError as error:
            raise UserError(f"{source}: {error}") from None
        _write(path, [header, *(packer.stored[file.path] for file in files)], signer)
    except OtaError as error:
        raise UserError(f"{source}: {error}") from None
    except OSError as error:
        raise UserError(f"{error.filename or 'the disk'}: {error.strerror or error}") from None
    return Built(
        path=path,
        name=name,
        version=number,
        files=tuple(files),
        bytecode=loads,
        key=signer.key.id if signer is not None else None,
        compiled=len(modules),
        source_size=packer.done,
        size=path.stat().st_size,
        skipped=collected.skipped,
    )


def ignored(source: Path) -> Callable[[str], bool] | None:
    """Tells of a path in `source` whether .otaignore leaves it out of a release; a folder's has a slash behind it.

    None when there is no .otaignore. Raises UserError when it is wrong.
    """
    try:
        lines = (source / IGNORE_NAME).read_text(encoding="utf-8").splitlines()
        return pathspec.GitIgnoreSpec.from_lines(lines).match_file
    except FileNotFoundError:
        return None
    except ValueError as error:  # not UTF-8, or no rule
        raise UserError(f"{source / IGNORE_NAME}: {str(error).splitlines()[0]}") from None


class _Packer:
    """Takes the files of a release in, one after the other: compiles, hashes and compresses them."""

    def __init__(self, compiler: Compiler, modules: frozenset[str], progress: Progress | None, total: int) -> None:
        self.files: list[StoredFile] = []
        self.stored: dict[str, bytes] = {}
        self.versions: dict[str, Bytecode] = {}
        self.done = 0
        self._compiler = compiler
        self._modules = modules
        self._progress = progress
        self._total = total

    def add(self, target: str, file: Path) -> None:
        content = file.read_bytes()
        self.done += len(content)
        if target in self._modules:
            content = self._compiler.compile(content, target, _options(target))
            target = _compiled_name(target)
        if target.endswith(".mpy"):
            try:
                self.versions[target] = bytecode_of(content)
            except ValueError as error:
                raise UserError(f"{target}: {error}") from None
        packed = compress(content)
        # Inflating costs a board time and memory, so it must be worth it.
        worth = len(packed) * 8 <= len(content) * 7 and content != b""
        stored = packed if worth else content
        digest = hashlib.sha256(content).hexdigest()
        self.files.append(StoredFile(target, digest, len(content), len(stored), "deflate" if worth else "raw"))
        self.stored[target] = stored
        if self._progress is not None:
            self._progress(self.done, self._total)


def _platforms(boards: Sequence[str]) -> tuple[str, ...]:
    for board in boards:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", board):
            raise UserError(f"board {board!r}: it must be what sys.platform is on the board, such as esp32 or rp2")
    platforms = tuple(sorted(set(boards)))
    if len(" ".join(platforms)) > 1000:
        raise UserError("too many boards: leave --board out, and every board takes the release")
    return platforms


def _refuse_emptiness(source: Path, collected: source_folder.Collected) -> None:
    if not collected.files:
        raise UserError(f"{source} holds no file for a release")
    if collected.empty:
        folder = collected.empty[0]
        raise UserError(
            f"{folder} is an empty folder, which no release can hold: remove it, or put it in {IGNORE_NAME}"
        )


def _application(
    source: Path, files: dict[str, Path], name: str | None, version: str | None
) -> tuple[str, Version, dict[str, Path]]:
    """What is built: (name, version, files by their path on the board, before any is compiled)."""
    top = [path for path in files if "/" not in path]
    versioned = {path: parsed for path in top if (parsed := _parse_versioned(path)) is not None}
    try:
        if name is not None:
            check_name(name)
        wanted: Version | None = parse_version(version) if version is not None else None
    except ValueError as error:
        raise UserError(str(error)) from None
    if name is None:
        names = sorted({parsed[0] for parsed in versioned.values()})
        if not names:
            raise UserError(f"{source} holds no versioned file such as thermostat_1.0.0.2.py: give --name")
        name = names[0]
    other = other_application(top, name)
    if other is not None:
        raise UserError(f"{source} holds two applications, {name} and {other}: give each a folder of its own")
    if len(versioned) > 1:
        first, second = sorted(versioned)[:2]
        raise UserError(f"{source} holds two versions, {first} and {second}: leave one of them there")
    targets = dict(files)
    for path, (_, number, extension) in versioned.items():
        if wanted not in (None, number):
            raise UserError(f"{source} holds {path}, and --version says {version}: make them the same")
        wanted = number
        target = f"{name}.{extension}"
        if target in targets:
            raise UserError(f"{path} and {target} are both {target} on the board: leave one of them there")
        targets[target] = targets.pop(path)
    if wanted is None:
        raise UserError(f"which version of {name} is this? give --version, as in --version 1.0.0.2")
    return name, wanted, targets


def _parse_versioned(path: str) -> tuple[str, Version, str] | None:
    """An application's main file with its version: font_8.py is none, as in otalink.version.other_application."""
    try:
        name, version, extension = parse_release_name(path)
    except ValueError:
        return None
    two_fields = path.count(".") - name.count(".") > 1
    return (name, version, extension) if extension in ("py", "mpy") and two_fields else None


def _output(output: Path | None, name: str, version: Version) -> Path:
    filename: str = format_release_name(name, version, EXTENSION)
    if output is None:
        return Path(filename)
    if output.is_dir():
        return output / filename
    try:
        named = parse_release_name(output.name)
    except ValueError as error:
        raise UserError(f"--output: {error}") from None
    if named != (name, version, EXTENSION):
        raise UserError(f"--output: {output.name} does not say {name} {format_version(version)}: call it {filename}")
    return output


def _modules(targets: Iterable[str]) -> frozenset[str]:
    return frozenset(path for path in targets if path.endswith(".py") and path not in STARTERS)


def _compiled_name(path: str) -> str:
    return path[: -len("py")] + "mpy"


def _options(path: str) -> tuple[str, ...] | None:
    """mpy-cross's options for the module `path`: otalink's own are to be just what `otalink flash` makes of them."""
    folder, _, _ = path.rpartition("/")
    return compiler_options(Path(path)) if folder in ("otalink", "lib/otalink") else None


def _check_tree(targets: dict[str, Path], modules: frozenset[str]) -> None:
    """Refuses files that would be one on the board, or that would hide each other from MicroPython's import."""
    folders = {parent.as_posix() for path in targets for parent in Path(path).parents}
    for path, file in targets.items():
        if file.stat().st_size > SIZE_MAX:
            raise UserError(f"{path} has {file.stat().st_size:,} bytes: a release holds files up to {SIZE_MAX:,}")
        final = _compiled_name(path) if path in modules else path
        if final in folders:
            raise UserError(f"{final} would be both a file and a folder of the release: rename one")
        stem, _, extension = path.rpartition(".")
        if extension == "mpy" and f"{stem}.py" in targets:
            raise UserError(f"{stem}.py and {path} are the same module: leave one of them there")
        if extension in ("py", "mpy") and stem in folders and path not in ("boot.py", "main.py"):
            raise UserError(f"the folder {stem} hides {path} on the board: MicroPython imports the folder; rename one")


def _header(
    name: str,
    version: Version,
    files: list[StoredFile],
    boards: tuple[str, ...],
    bytecode: Bytecode | None,
    signer: Signer | None,
) -> bytes:
    entries = [(file.path, file.digest, file.size, file.stored, file.encoding) for file in files]
    if signer is None:
        return b"".join(format_header(name, version, entries, boards, bytecode))
    # The header's length, which is signed, counts the line with the signature.
    room = len(_sign_line(signer.key.id, bytes(len(signer.key.modulus))))
    signed = b"".join(format_header(name, version, entries, boards, bytecode, room))
    return signed + _sign_line(signer.key.id, signer.sign(signed))


def _sign_line(key: str, signature: bytes) -> bytes:
    return f"sign {key} {b64encode(signature).decode()}\n".encode()


def _write(path: Path, parts: list[bytes], signer: Signer | None) -> None:
    """Writes the release file, and puts it in its place once all of it reads back as a board would read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f"{repository.PART_PREFIX}{secrets.token_hex(8)}"
    try:
        with part.open("xb") as file:
            for data in parts:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        verify(part, for_boards([signer.key]) if signer is not None else {}, filename=path.name)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
