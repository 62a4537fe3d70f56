"""Lays out in a folder what is to lie on a board: otalink, the boot guard, an application, settings."""

import functools
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import otalink
from otalink.boot_rule import calls_guard, statements
from otalink.config import PATH
from otalink.layout import GUARD, INSTALLED
from otalink.plain import SUMS, parse_sums_line, target_path
from otalink.record import format_header
from otalink.version import format_version
from otalink_host import release_file, repository, source_folder
from otalink_host.board_tls import CA_PATH
from otalink_host.compiler import Bytecode, Compiler, bytecode_of, compiler_options
from otalink_host.errors import UserError
from otalink_host.startup import check_release

OTALINK = "lib/otalink"
_compiling = threading.Lock()


@dataclass(frozen=True)
class Application:
    """An application that was laid out: its `name`, `version` and the `paths` of its files; `notes` are lines."""

    name: str
    version: release_file.Version
    paths: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        listed = ", ".join(self.paths) if len(self.paths) < 9 else count_of(self.paths)
        return f"{self.name} {format_version(self.version)} ({listed})"


def count_of(paths: "tuple[str, ...] | list[str]") -> str:
    """How many files these are, in words."""
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'}"


def lay_out_otalink(root: Path, bytecode: Bytecode) -> int:
    """Compiles otalink's modules for boards that load `bytecode`; gives their number. Raises UserError."""
    folder = root / OTALINK
    if folder.exists():
        raise UserError("the application holds lib/otalink, which flash puts on the board itself: remove it")
    folder.mkdir(parents=True)
    with _compiling:
        modules = _compiled(bytecode)
    for name, content in modules.items():
        (folder / name).write_bytes(content)
    return len(modules)


@functools.cache
def _compiled(bytecode: Bytecode) -> dict[str, bytes]:
    compiler = Compiler(bytecode)
    return {
        f"{source.stem}.mpy": compiler.compile(source.read_bytes(), source.name, compiler_options(source))
        for source in sorted(Path(otalink.__file__).parent.glob("*.py"))
    }


def lay_out_guard(root: Path) -> None:
    """Lays the boot guard out, unless the application brings its own. Raises UserError."""
    for name in GUARD:
        own = files("otalink_guard").joinpath(name).read_bytes()
        if not (root / name).exists():
            (root / name).write_bytes(own)
    if not calls_guard((root / "boot.py").read_text(encoding="utf-8", errors="replace")):
        raise UserError("the application's boot.py must begin by calling the boot guard, as otalink's own does")


def keeps_boot(root: Path, found: str | None) -> bool:
    """True when a board's own boot.py, `found`, does what the one in `root` does not: it is to be kept."""
    if found is None or not statements(found):
        return False
    return statements(found) != statements((root / "boot.py").read_text(encoding="utf-8", errors="replace"))


def lay_out_settings(root: Path, settings: dict[str, Any]) -> None:
    """Writes `settings` as the board's /otalink.json."""
    (root / PATH.lstrip("/")).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8", newline="\n")


def lay_out_ca(root: Path, ca: bytes) -> None:
    """Puts the certificate `ca`, in DER, where a board looks for it. Raises UserError when a file is in its way."""
    path = root / CA_PATH.lstrip("/")
    if path.exists() and path.read_bytes() != ca:
        raise UserError(f"the application has a {CA_PATH} of its own, where the server's CA is to lie: rename it")
    path.write_bytes(ca)


def name_of(source: Path) -> str:
    """The name of the application in `source`, a folder with a versioned file, or a release file. Raises UserError."""
    if is_release_file(source):
        return release_file.read_header(source, {}).name
    if not source.is_dir():
        raise UserError(f"{source} is no folder: name that of the application, or a release file")
    return source_folder.find_name(source, [path for path in source_folder.collect(source).files if "/" not in path])


def is_release_file(source: Path) -> bool:
    """True when `source` is named as a release file is."""
    return source.suffix == ".ota" and not source.is_dir()


def lay_out_application(
    source: Path, root: Path, work: Path, name: str | None, version: str | None, keys: dict[str, str], unsigned: bool
) -> Application:
    """Lays the application out as it will lie on the board, its record of what is installed included.

    `source` is a folder, as `repository.publish` takes it, or a release file, which one of `keys` must have signed
    unless `unsigned`. `work` is an empty folder. Raises UserError or OtaError.
    """
    contents: dict[str, bytes] = {}
    notes: list[str] = []
    if is_release_file(source):
        if version is not None:
            raise UserError(f"{source} has its version already: leave --version out")
        release = release_file.verify(source, keys, unsigned=unsigned)
        check_release(source, release)
        contents.update(release_file.unpack(source))
        found, number = release.name, release.version
    else:
        published = repository.publish(source, work, name=name if version else None, version=version)
        contents.update(
            (target_path(filename, published.versioned), (work / filename).read_bytes()) for filename in _sums(work)
        )
        found, number, notes = published.name, published.version, published.skipped + published.notes
    if name is not None and found != name:
        raise UserError(f"{source} holds {found}, and the board's settings name {name}: make them the same")
    listed = []
    for path, content in contents.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        listed.append((path, hashlib.sha256(content).hexdigest(), len(content)))
    record = root / INSTALLED
    record.parent.mkdir()
    record.write_bytes(b"".join(format_header(found, number, listed)))
    return Application(found, number, tuple(contents), tuple(notes))


def check_bytecode(root: Path, application: Application, bytecode: Bytecode, architecture: int) -> None:
    """Raises UserError when a compiled module of the application is one that the board does not load."""
    for path in application.paths:
        if not path.endswith(".mpy"):
            continue
        content = (root / path).read_bytes()
        try:
            major, minor = bytecode_of(content)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        native = content[2] >> 2 & 0xF
        if major != bytecode[0] or (native and (minor != bytecode[1] or native != architecture)):
            wanted = f"{bytecode[0]}.{bytecode[1]}"
            raise UserError(f"{path} is compiled for another board: this one loads bytecode {wanted}; compile it anew")


def _sums(release: Path) -> Iterator[str]:
    for line in (release / SUMS).read_bytes().splitlines():
        entry = parse_sums_line(line)
        if entry is not None:
            yield entry[0]
