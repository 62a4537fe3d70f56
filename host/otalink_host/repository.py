"""A folder of releases: publishing a plain folder or a release file into it, listing and withdrawing what is there.

A reader never sees half a file, and never a mixture that it could take for a release: every file arrives by a rename,
the versioned one last, and SHA256SUMS says which contents belong together. A publish that was killed is completed by
running it again. The rules for names and paths are the board's (otalink.plain and its like); none is written here anew.
"""

import contextlib
import filecmp
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from otalink.errors import OtaError
from otalink.paths import check_path
from otalink.plain import (
    SUMS,
    application_of,
    format_release_name,
    format_sums_line,
    other_application,
    parse_release_name,
    parse_sums_line,
    select,
    target_path,
)
from otalink.plan import check_folders, hidden_by
from otalink.version import check_name, format_version, parse_version
from otalink_host import release_file
from otalink_host.errors import UserError
from otalink_host.file_lock import lock
from otalink_host.startup import check_files, check_release

# Our own names in a release folder: hidden, so that no client takes them for files of a release.
PART_PREFIX = ".otalink-part-"
LOCK_NAME = ".otalink-lock"
# The files that a publish removes once the new release stands, and those that it adds: should it be killed, the next
# one removes what then belongs to no release. SHA256SUMS cannot say that, for it is replaced in the middle.
JOURNAL_NAME = ".otalink-journal"
# What is withdrawn keeps its name behind this, out of the boards' sight, and can be put back.
WITHDRAWN_PREFIX = ".withdrawn-"
CHUNK = 1 << 20

Progress = Callable[[int, int], None]
Version = tuple[int, ...]


@dataclass
class Published:
    """What `publish` did: paths in the folder, with `/` between their parts. All empty lists: there was nothing to do.

    `skipped` and `notes` are lines for the user. `size` counts the bytes of the whole release, `written_size` those
    that were written.
    """

    name: str
    version: Version
    folder: Path
    versioned: str
    size: int = 0
    written_size: int = 0
    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PublishedFile:
    """What `publish_file` did. `written` is False when the same release file was there already."""

    release: release_file.ReleaseFile
    path: Path
    size: int
    written: bool


@dataclass(frozen=True)
class Release:
    """A release in a folder: `files` and `size` (bytes) count all of it, `when` is the versioned file's time.

    `versioned` is the versioned file of a plain folder, or the release file; `key` the id of the key that signed that.
    """

    folder: Path
    name: str
    version: Version
    versioned: str
    files: int
    size: int
    when: float
    has_sums: bool
    is_file: bool = False
    key: str | None = None
    withdrawn: bool = False


@dataclass
class Listing:
    """What `list_releases` found. `notes` are lines for the user: what was passed over, and why."""

    releases: list[Release] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Collected:
    """The files in a folder, by their path in it; `empty` folders; `skipped`, lines about what is left out."""

    files: dict[str, Path] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def publish(
    source: Path,
    folder: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    allow_older: bool = False,
    progress: Progress | None = None,
) -> Published:
    """Publishes the files in `source` into `folder` as a plain folder.

    `source` holds a versioned file, such as thermostat_1.0.0.2.py; or thermostat.py, and `name` and `version` say the
    rest. `allow_older` lets a lower version than the published one in. `progress` is called with the bytes done and the
    bytes there are. Raises UserError, one line, for what cannot be published; nothing is written then.
    """
    _check_places(source, folder)
    with _errors_in_one_line():
        collected = collect(source)
        name, versioned, number, files = _application(source, collected.files, name, version)
        targets = {path: target_path(path, versioned) for path in files}
        _check_targets(targets)
        check_files({targets[path]: file for path, file in files.items()})
        total = sum(file.stat().st_size for file in files.values())
        meter = _Meter(progress, total)
        digests = {path: _digest(file, meter) for path, file in files.items()}
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            published = Published(name, number, folder, versioned, total, skipped=collected.skipped)
            _Publisher(published, files, digests, meter).run(allow_older)
    published.notes += [
        f"{hidden_by(path)} hides {path} on the board: MicroPython imports the .py of two"
        for path in sorted(targets.values())
        if hidden_by(path) in targets.values()
    ]
    return published


def publish_file(
    file: Path,
    folder: Path,
    keys: dict[str, str],
    *,
    unsigned: bool = False,
    allow_older: bool = False,
    progress: Progress | None = None,
) -> PublishedFile:
    """Publishes the release file `file` into `folder`, once it is verified as `release_file.verify` does.

    Raises UserError when it is not whole and signed by one of `keys`, when the folder has that version already with
    other content, and when it has a newer one, unless `allow_older`.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one that releases are published to")
    with _errors_in_one_line():
        _verify(file, keys, file.name, unsigned, progress)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _clean_parts(folder)
            part = folder / f"{PART_PREFIX}{secrets.token_hex(8)}"
            try:
                with file.open("rb") as source, part.open("xb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
                    target.flush()
                    os.fsync(target.fileno())
                # The copy is what counts: `file` may have changed since.
                release = _verify(part, keys, file.name, unsigned)
                check_release(part, release)
                place, is_there = _place(folder, release, part, allow_older)
                if not is_there:
                    _replace(part, place)
                    _sync_folders({folder})
            finally:
                part.unlink(missing_ok=True)
    return PublishedFile(release, place, place.stat().st_size, not is_there)


def check_newer(folder: Path, name: str, version: Version) -> None:
    """Raises UserError unless a release of `name` with `version` is newer than all that `folder` offers.

    A version that was withdrawn there does not do either, nor a folder of another application's. There may be none yet.
    """
    if not folder.is_dir():
        return
    present = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    _refuse_other(folder, present, name)
    _refuse_withdrawn(present, name, version)
    text = f"{name} {format_version(version)}"
    for filename in present:
        parsed = _parse(filename)
        if parsed is not None and parsed[0] == name and parsed[1] >= version:
            wrong = "published already" if parsed[1] == version else f"older than {format_version(parsed[1])}"
            raise UserError(f"{text} is {wrong}, as {folder / filename}: give the new one a higher version")


def withdraw(folder: Path, name: str, version: str | None = None, *, undo: bool = False) -> tuple[Path, Path]:
    """Takes a release out of the boards' sight, or back into it when `undo`: one rename, (from, to).

    `name` is an application's, with its `version`, or the name of a release file or of a versioned file. Raises
    UserError when there is no such release, or when putting it back would mix it with another.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name the one that releases are published to")
    with _errors_in_one_line(), _locked(folder):
        prefix = WITHDRAWN_PREFIX if undo else ""
        present = sorted(
            entry.name[len(prefix) :]
            for entry in os.scandir(folder)
            if entry.is_file(follow_symlinks=False) and entry.name.startswith(prefix)
        )
        filename = _named(folder, present, name, version, "withdrawn" if undo else "published")
        shown, hidden = folder / filename, folder / f"{WITHDRAWN_PREFIX}{filename}"
        before, after = (hidden, shown) if undo else (shown, hidden)
        if undo:
            _check_return(folder, filename, hidden)
        _replace(before, after)
        _sync_folders({folder})
    return before, after


def list_releases(folder: Path, keys: dict[str, str] | None = None) -> Listing:
    """The releases in `folder` and in the folders right in it, which hold one application each; the newest first.

    `keys` are the known ones, as in `/otalink.json`: a release file that one of them signed must be as it was then.
    """
    keys = keys or {}
    listing = Listing()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name the one that releases are published to")
    with _errors_in_one_line():
        _list_folder(folder, listing, keys)
        taken = {path.split("/")[0] for path in _read_sums(folder) or {}}
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.name.startswith(".") and entry.name not in taken:
                _list_folder(entry, listing, keys)
    listing.releases.sort(key=lambda release: release.version, reverse=True)
    listing.releases.sort(key=lambda release: (release.folder, release.name))
    return listing


class _Meter:
    """Counts the bytes that were read, and reports them. Each file is read once to hash it, and once to copy it."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._done = 0
        self._total = total

    def add_total(self, size: int) -> None:
        self._total += size

    def add(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)


class _Publisher:
    """One publish, from the look at the folder to the removal of what is old."""

    def __init__(self, published: Published, files: dict[str, Path], digests: dict[str, str], meter: _Meter) -> None:
        self._result = published
        self._folder = published.folder
        self._files = files
        self._digests = digests
        self._meter = meter
        self._present = [entry.name for entry in os.scandir(self._folder) if entry.is_file(follow_symlinks=False)]
        self._old_sums = _read_sums(self._folder)

    def run(self, allow_older: bool) -> None:
        self._check_version(allow_older)
        self._check_ways()
        _clean_parts(self._folder)
        removals = self._removals()
        ordinary = [path for path in sorted(self._files) if path != self._result.versioned]
        self._write_journal(removals + [path for path in self._files if not (self._folder / path).exists()])
        for path in ordinary:
            self._put(path)
        _sync_folders({(self._folder / path).parent for path in ordinary})
        sums = b"".join(format_sums_line(path, self._digests[path]) for path in sorted(self._files))
        if self._read(SUMS) != sums:
            with self._part(SUMS) as part:
                part.write(sums)
            self._result.written.append(SUMS)
            _sync_folders({self._folder})
        self._put(self._result.versioned)
        _sync_folders({self._folder})
        (self._folder / f"{WITHDRAWN_PREFIX}{self._result.versioned}").unlink(missing_ok=True)
        for path in removals:
            self._remove(path)
        (self._folder / JOURNAL_NAME).unlink(missing_ok=True)
        strays = [
            name
            for name in self._present
            if name[0] != "." and name != SUMS and name not in self._files and name not in removals
            if not name.endswith(".ota")
        ]
        self._result.notes += [f"{name} is in the folder, but not part of this release" for name in sorted(strays)]

    def _check_version(self, allow_older: bool) -> None:
        name, version, folder = self._result.name, self._result.version, self._folder
        standing, standing_version = self._standing()
        _refuse_withdrawn([each for each in self._present if not self._comes_back(each)], name, version)
        for filename in self._present:
            parsed = _parse(filename)
            if parsed is not None and parsed[1] > version and parsed[2] == release_file.EXTENSION and not allow_older:
                raise UserError(
                    f"{name} {format_version(version)} is older than {filename}, which {folder} offers: give it a "
                    f"higher version, or publish it with --allow-older and withdraw the release file"
                )
        if standing is None or standing_version is None:
            return
        text = f"{name} {format_version(version)}"
        if version < standing_version and not allow_older:
            raise UserError(
                f"{text} is older than {format_version(standing_version)}, which {folder} offers: give it a higher "
                f"version, or take the fleet back with --allow-older"
            )
        if version == standing_version and standing != self._result.versioned:
            raise UserError(
                f"{text} is published already, as {standing}: name the file so, or give it a higher version"
            )
        if version == standing_version and not self._is_same(standing):
            raise UserError(
                f"{text} is published already, with other content: give the new one a higher version "
                f"(boards that have {format_version(version)} would never fetch it)"
            )

    def _comes_back(self, hidden: str) -> bool:
        """True when the file `hidden` is the versioned file, withdrawn, and what is published is the release it was."""
        versioned = self._result.versioned
        if hidden != WITHDRAWN_PREFIX + versioned or _digest(self._folder / hidden) != self._digests[versioned]:
            return False
        return versioned not in (self._old_sums or {}) or self._old_sums == self._digests

    def _standing(self) -> tuple[str | None, Version | None]:
        """The versioned file that the folder offers now: the one that SHA256SUMS lists, else the newest."""
        _refuse_other(self._folder, self._present, self._result.name)
        try:
            newest, newest_version, _ = select(self._present, self._result.name)
        except OtaError as error:
            raise UserError(f"{self._folder}: {error}") from None
        for path in self._old_sums or {}:
            if path in self._present and self._is_versioned(path):
                return path, parse_release_name(path)[1]
        return newest, newest_version

    def _is_same(self, standing: str) -> bool:
        """True when the release of the same version, whose file is `standing`, has the content that is published."""
        if self._old_sums is not None and standing in self._old_sums:
            return self._old_sums == self._digests
        if self._old_sums is not None:
            # A publish of another version was cut off: the other files may be that one's.
            return self._digest_of(standing) == self._digests[standing]
        return all(self._digest_of(path) in (None, digest) for path, digest in self._digests.items())

    def _check_ways(self) -> None:
        """Refuses where a file of the release meets a folder, a folder a file, or a link would lead out."""
        root = self._folder.resolve()
        for path in self._files:
            if (self._folder / path).is_dir():
                raise UserError(f"{path} is a file in the release and a folder in {self._folder}: move that away")
            for parent in [*Path(path).parents][:-1]:
                place = self._folder / parent
                if os.path.lexists(place) and not place.is_dir():
                    raise UserError(
                        f"{parent.as_posix()} is a folder in the release and a file in {self._folder}: move that away"
                    )
                if not place.resolve().is_relative_to(root):
                    raise UserError(f"{place} is a link that leads out of {self._folder}: move it away")

    def _removals(self) -> list[str]:
        """What goes once the new release stands, of this publish and of one that was cut off."""
        old = set(self._old_sums or {}) | set(self._read_journal())
        old |= {name for name in self._present if self._is_versioned(name)}
        return sorted(path for path in old - set(self._files) if (self._folder / path).is_file())

    def _is_versioned(self, path: str) -> bool:
        try:
            name, _, extension = parse_release_name(path)
        except ValueError:
            return False
        return bool(name == self._result.name and extension != "ota")

    def _put(self, path: str) -> None:
        if self._digest_of(path) == self._digests[path]:
            self._result.unchanged.append(path)
            return
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        size = self._files[path].stat().st_size
        self._meter.add_total(size)
        with self._files[path].open("rb") as source, self._part(path) as part:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                part.write(chunk)
                self._meter.add(len(chunk))
            if digest.hexdigest() != self._digests[path]:
                raise UserError(f"{self._files[path]} changed while it was published: publish again")
        self._result.written.append(path)
        self._result.written_size += size

    @contextlib.contextmanager
    def _part(self, path: str) -> Iterator[IO[bytes]]:
        """A file to write, which becomes `path` at the end of the block, whole and on the disk."""
        part = self._folder / f"{PART_PREFIX}{secrets.token_hex(8)}"
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _replace(part, self._folder / path)
        finally:
            part.unlink(missing_ok=True)

    def _remove(self, path: str) -> None:
        (self._folder / path).unlink(missing_ok=True)
        self._result.removed.append(path)
        for parent in [*Path(path).parents][:-1]:
            try:
                (self._folder / parent).rmdir()
            except OSError:  # something is still in it
                break

    def _write_journal(self, paths: list[str]) -> None:
        if paths:
            with self._part(JOURNAL_NAME) as part:
                part.write("".join(f"{path}\n" for path in paths).encode())
            _sync_folders({self._folder})

    def _read_journal(self) -> list[str]:
        paths = []
        for line in (self._read(JOURNAL_NAME) or b"").decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                check_path(line)
                paths.append(line)
        return paths

    def _read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None

    def _digest_of(self, path: str) -> str | None:
        file = self._folder / path
        # A link is replaced by a file, whatever it leads to.
        if file.is_symlink() or not file.is_file():
            return None
        # The size first: most files that differ differ in it.
        if file.stat().st_size != self._files[path].stat().st_size:
            return "differs"
        return _digest(file)


def _check_places(source: Path, folder: Path) -> None:
    if not source.is_dir():
        raise UserError(f"there is no folder {source}: name the one that holds the release's files")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one that releases are published to")
    inner, outer = source.resolve(), folder.resolve()
    if inner == outer:
        raise UserError(f"{source} is the folder that is published to: keep the sources in another")
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UserError(f"one of {source} and {folder} lies inside of the other: keep them apart")


def collect(source: Path, ignored: Callable[[str], bool] | None = None) -> Collected:
    """The files of a release in the folder `source`. `ignored` says of a path (a folder's ends in /) to leave it out.

    Raises UserError for links that lead out, and for what no release may name.
    """
    found = Collected()
    files, skipped = found.files, found.skipped
    root = source.resolve()
    for place, folders, names in os.walk(source, onerror=_raise):
        here = Path(place)
        if not folders and not names and here != source:
            found.empty.append(here.relative_to(source).as_posix())
        for name in sorted(folders):
            path = (here / name).relative_to(source).as_posix()
            if name == "__pycache__" or name.startswith("."):
                skipped.append(f"skipped {path}/")
                folders.remove(name)
            elif ignored is not None and ignored(f"{path}/"):
                skipped.append(f"skipped {path}/ (ignored)")
                folders.remove(name)
            elif (here / name).is_symlink():
                raise UserError(f"{here / name} is a link to a folder: put the folder itself there")
        folders.sort()
        for name in sorted(names):
            file = here / name
            path = file.relative_to(source).as_posix()
            why = _why_skipped(name, path)
            if why is not None:
                skipped.append(f"skipped {path}{why}")
                continue
            if ignored is not None and ignored(path):
                skipped.append(f"skipped {path} (ignored)")
                continue
            if not file.resolve().is_relative_to(root):
                raise UserError(f"{file} is a link that leads out of {source}: put the file itself there")
            if not file.exists() or not stat.S_ISREG(file.stat().st_mode):
                raise UserError(f"{file} is no regular file: move it away")
            try:
                check_path(path)
            except UnicodeError:
                raise UserError(f"{source}: {path!a}: its name is not UTF-8: rename it") from None
            except ValueError as error:
                raise UserError(f"{source}: no release may hold this: {error}") from None
            files[path] = file
    return found


def _why_skipped(name: str, path: str) -> str | None:
    if name.startswith(".") or name.endswith(("~", ".swp", ".bak", ".pyc")) or (name[0] == name[-1] == "#"):
        return ""
    if path == SUMS:
        return " (the published folder gets one of its own)"
    if path.endswith(".ota"):
        return " (release files do not belong to a plain folder)"
    return None


def _application(
    source: Path, files: dict[str, Path], name: str | None, version: str | None
) -> tuple[str, str, Version, dict[str, Path]]:
    """What is published: (name, versioned file, version, files). The main file has its version in the name then."""
    top = [path for path in files if "/" not in path]
    if version is not None and name is None:
        raise UserError("--version says nothing without --name: give both, or neither")
    if name is not None:
        _ask(check_name, name)
    wanted: Version | None = _ask(parse_version, version) if version is not None else None
    if name is None:
        name = find_name(source, top)
    other = other_application(top, name)
    if other is not None:
        raise UserError(f"{source} holds two applications, {name} and {other}: give each a folder of its own")
    versioned, number, notes = _ask(select, top, name, place=source)
    if notes:
        raise UserError(f"{source}: {notes[0].removeprefix('passed over ')}: rename it, or move it away")
    for path in top:
        _refuse_near_miss(source, path)
    if versioned is None:
        versioned, files = _with_version(source, files, name, wanted)
        number = wanted
    elif wanted not in (None, number):
        raise UserError(f"{source} holds {versioned}, and --version says {version}: leave --version out")
    rivals = [path for path in top if path != versioned and path.startswith(f"{name}_")]
    if rivals:
        raise UserError(f"{source} holds two versions, {rivals[0]} and {versioned}: leave one of them there")
    if application_of(versioned) is None:
        raise UserError(f"{source}: {versioned} is no application: its name ends in .py or .mpy")
    assert number is not None
    return name, versioned, number, files


def _ask(rule: Callable[..., Any], *arguments: object, place: Path | None = None) -> Any:
    """What one of the board's own rules answers; what it raises becomes a UserError, with `place` ahead of it."""
    try:
        return rule(*arguments)
    except (ValueError, OtaError) as error:
        raise UserError(f"{place}: {error}" if place is not None else str(error)) from None


def find_name(source: Path, top: list[str]) -> str:
    """The name of the one application among the files `top`."""
    names = _applications(top)
    if len(names) > 1:
        first, second = sorted(names.values())[:2]
        raise UserError(f"{source} holds two applications, {first} and {second}: give each a folder of its own")
    if names:
        return next(iter(names))
    for path in top:
        _refuse_near_miss(source, path)
    raise UserError(
        f"{source} holds no versioned file: rename the main one, as in thermostat_1.0.0.2.py, "
        f"or give --name thermostat --version 1.0.0.2"
    )


def _applications(filenames: Iterable[str]) -> dict[str, str]:
    """The applications among `filenames`: their names, with a file of each.

    thermostat_2.py alone is one; beside thermostat_1.0.py, which certainly is, font_8.py is an ordinary file.
    """
    found = [(application_of(filename), filename) for filename in sorted(filenames, reverse=True)]
    certain = any(application and application[1] for application, _ in found)
    return {
        application[0]: filename for application, filename in found if application and (application[1] or not certain)
    }


def _refuse_near_miss(source: Path, path: str) -> None:
    """Refuses a file that was meant to be versioned, by its looks, and that no board would take for it."""
    wrong = _near_miss(path)
    if wrong is not None:
        raise UserError(f"{source}: {wrong}: rename it")


def _near_miss(path: str) -> str | None:
    """What is wrong with a name that was meant to be versioned, by its looks; None for any other."""
    if re.search(r"_v?[0-9][^_]*\.[0-9][^_]*\.m?py$", path):
        try:
            parse_release_name(path)
        except ValueError as error:
            return str(error)
    return None


def _with_version(
    source: Path, files: dict[str, Path], name: str, version: Version | None
) -> tuple[str, dict[str, Path]]:
    """The files with the main one, `name`.py or .mpy, under its versioned name."""
    mains = [path for path in (f"{name}.py", f"{name}.mpy") if path in files]
    if version is None:
        raise UserError(f"{source} holds no {name}_VERSION.py: rename the main file so, or give --version as well")
    if not mains:
        raise UserError(f"{source} holds neither {name}.py nor {name}.mpy: --name names the main file")
    if len(mains) > 1:
        raise UserError(f"{source} holds {mains[0]} and {mains[1]}: leave the one that boards are to run")
    versioned = format_release_name(name, version, mains[0].rpartition(".")[2])
    return versioned, {versioned if path == mains[0] else path: file for path, file in files.items()}


def _check_targets(targets: dict[str, str]) -> None:
    """Refuses two files that become one on the board, and a file that becomes a folder there as well."""
    seen: dict[str, str] = {}
    for path, target in targets.items():
        if target in seen:
            raise UserError(f"{seen[target]} and {path} are both {target} on the board: leave one of them there")
        seen[target] = path
    # By name, so that looking one up does not go through all of them.
    check_folders(dict.fromkeys(sorted(seen)))


def _verify(
    path: Path, keys: dict[str, str], filename: str, unsigned: bool, progress: Progress | None = None
) -> release_file.ReleaseFile:
    try:
        return release_file.verify(path, keys, filename=filename, unsigned=unsigned, progress=progress)
    except OtaError as error:
        raise UserError(f"{filename}: {error}") from None


def _place(folder: Path, release: release_file.ReleaseFile, part: Path, allow_older: bool) -> tuple[Path, bool]:
    """Where the release file `part` goes in `folder`, and whether it is there already."""
    present = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    text = f"{release.name} {format_version(release.version)}"
    _refuse_other(folder, present, release.name)
    newest = release.version
    for filename in present:
        name, version, extension = _parse(filename) or (None, (), "")
        if name != release.name:
            continue
        newest = max(newest, version)
        if version == release.version and extension == release_file.EXTENSION:
            if filecmp.cmp(part, folder / filename, shallow=False):
                return folder / filename, True
            raise UserError(
                f"{text} is published already, with other content: give the new one a higher version "
                f"(boards that have {format_version(version)} would never fetch it)"
            )
    _refuse_withdrawn(present, release.name, release.version)
    if newest != release.version and not allow_older:
        raise UserError(
            f"{text} is older than {format_version(newest)}, which {folder} offers: boards take the newest; give it a "
            f"higher version, or publish it with --allow-older and withdraw the newer one"
        )
    return folder / str(format_release_name(release.name, release.version, release_file.EXTENSION)), False


def _refuse_other(folder: Path, present: list[str], name: str) -> None:
    """Refuses when `folder`, in which the files `present` are, holds another application than `name`."""
    other = other_application(present, name)
    for filename in present:
        parsed = _parse(filename)
        if parsed is not None and parsed[0] != name and parsed[2] == release_file.EXTENSION:
            other = parsed[0]
    if other is not None:
        raise UserError(f"{folder} holds another application, {other}: give each a folder of its own")


def _refuse_withdrawn(present: list[str], name: str, version: Version) -> None:
    """Refuses a version that was withdrawn: boards may have it, and would never fetch another of the same number."""
    for hidden in present:
        filename = hidden.removeprefix(WITHDRAWN_PREFIX)
        if filename != hidden and (_parse(filename) or ())[:2] == (name, version):
            raise UserError(
                f"{name} {format_version(version)} was withdrawn: put it back with `otalink release withdraw "
                f"{filename} --undo`, or give the new one a higher version"
            )


def _parse(filename: str) -> tuple[str, Version, str] | None:
    """A release's name taken apart: a release file, or the versioned file of a plain folder. None for other names."""
    try:
        name, version, extension = parse_release_name(filename)
    except ValueError:
        return None
    application = application_of(filename)
    is_release = extension == release_file.EXTENSION or (application is not None and application[1])
    return (name, version, extension) if is_release else None


def _named(folder: Path, present: list[str], name: str, version: str | None, state: str) -> str:
    """The one release among `present` that `name` and `version` mean."""
    if version is None:
        if _parse(name) is None:
            raise UserError(f"{name} is no release's name: give NAME VERSION, or a name like thermostat_1.0.0.3.ota")
        found = [filename for filename in present if filename == name]
        text = name
    else:
        wanted = _ask(parse_version, version)
        found = [filename for filename in present if (_parse(filename) or ())[:2] == (name, wanted)]
        text = f"{name} {format_version(wanted)}"
    if not found:
        raise UserError(f"{text} is not {state} in {folder}: `otalink release list` shows what is")
    if len(found) > 1:
        raise UserError(f"{text} is {state} as {found[0]} and as {found[1]}: name one of them")
    return found[0]


def _check_return(folder: Path, filename: str, hidden: Path) -> None:
    """Refuses to put a release back over another, or a versioned file among another release's files."""
    if os.path.lexists(folder / filename):
        raise UserError(f"{folder / filename} is there again: nothing was put back")
    if filename.endswith(f".{release_file.EXTENSION}"):
        return
    sums = _read_sums(folder)
    if sums is not None and sums.get(filename) != _digest(hidden):
        raise UserError(f"{folder} holds another release's files now: publish {filename} again instead")


def _list_files(folder: Path, listing: Listing, keys: dict[str, str]) -> None:
    """The release files in `folder`, those that are withdrawn too."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        filename = entry.name.removeprefix(WITHDRAWN_PREFIX)
        if not entry.is_file() or filename.startswith(".") or not filename.endswith(f".{release_file.EXTENSION}"):
            continue
        path = folder / entry.name
        try:
            release = release_file.read_header(path, keys, filename=filename)
        except OtaError as error:
            listing.notes.append(f"passed over {path}: {error}")
            continue
        if path.stat().st_size != release.length + release.stored:
            listing.notes.append(f"passed over {path}: it has not the length that its header says")
            continue
        listing.releases.append(
            Release(
                folder=folder,
                name=release.name,
                version=release.version,
                versioned=filename,
                files=len(release.files),
                size=path.stat().st_size,
                when=path.stat().st_mtime,
                has_sums=True,
                is_file=True,
                key=release.key,
                withdrawn=entry.name != filename,
            )
        )


def _list_withdrawn(folder: Path, listing: Listing) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        filename = entry.name.removeprefix(WITHDRAWN_PREFIX)
        parsed = _parse(filename)
        if filename == entry.name or parsed is None or parsed[2] == release_file.EXTENSION:
            continue
        try:
            _check_return(folder, filename, folder / entry.name)
            listing.notes.append(f"{folder}: {filename} is withdrawn: `otalink release withdraw {filename} --undo`")
        except UserError as error:
            listing.notes.append(f"{folder}: {filename} is withdrawn: {error}")


def _list_folder(folder: Path, listing: Listing, keys: dict[str, str]) -> None:
    _list_files(folder, listing, keys)
    _list_withdrawn(folder, listing)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    near_misses = {name: wrong for name in names if name[0] != "." and (wrong := _near_miss(name)) is not None}
    for application in sorted(_applications(names)):
        try:
            versioned, version, notes = select(names, application)
        except OtaError as error:
            listing.notes.append(f"passed over {folder}: {error}")
            break
        assert versioned is not None
        assert version is not None
        listing.notes += [f"{folder}: {note}" for note in notes]
        # Told already.
        near_misses = {name: wrong for name, wrong in near_misses.items() if not name.startswith(f"{application}_")}
        listing.notes += [
            f"{folder}: passed over {name}: {versioned} is newer"
            for name in names
            if name.startswith(f"{application}_") and name != versioned and not any(name in note for note in notes)
            if not name.endswith(".ota")
        ]
        _list_release(folder, names, application, versioned, version, listing)
    listing.notes += [f"{folder}: passed over {wrong}" for wrong in near_misses.values()]


def _list_release(
    folder: Path, names: list[str], application: str, versioned: str, version: Version, listing: Listing
) -> None:
    try:
        sums = _read_sums(folder, strict=True)
    except OtaError as error:
        listing.notes.append(f"passed over {folder}: {error}: publish again")
        return
    if sums is None:
        paths = [name for name in names if not name.startswith((".", f"{application}_")) and not name.endswith(".ota")]
        paths.append(versioned)
    else:
        paths = list(sums)
        if versioned not in sums:
            listing.notes.append(f"{folder}: {SUMS} does not list {versioned}, so boards wait: publish again")
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        listing.notes.append(f"{folder}: {missing[0]} is missing, so boards wait: publish again")
    listing.releases.append(
        Release(
            folder=folder,
            name=application,
            version=version,
            versioned=versioned,
            files=len(paths),
            size=sum((folder / path).stat().st_size for path in paths if path not in missing),
            when=(folder / versioned).stat().st_mtime,
            has_sums=sums is not None,
        )
    )


def _read_sums(folder: Path, strict: bool = False) -> dict[str, str] | None:
    """The digests that the folder's SHA256SUMS lists, by path; None when there is none.

    One that is broken counts as none, and raises ReleaseError when `strict`.
    """
    try:
        lines = (folder / SUMS).read_bytes().splitlines()
        entries = [parse_sums_line(line) for line in lines]
    except FileNotFoundError:
        return None
    except OtaError:
        if strict:
            raise
        return None
    return dict(entry for entry in entries if entry is not None)


def _digest(file: Path, meter: _Meter | None = None) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            if meter is not None:
                meter.add(len(chunk))
    return digest.hexdigest()


def _clean_parts(folder: Path) -> None:
    """Removes what a publish that was killed has left half written; to be called while `folder` is locked."""
    for entry in os.scandir(folder):
        if entry.name.startswith(PART_PREFIX):
            Path(entry).unlink(missing_ok=True)


def _replace(part: Path, path: Path) -> None:
    """Renames over `path`. Windows refuses while a reader has it open: a server does, for moments at a time."""
    for _ in range(100 if os.name == "nt" else 0):
        try:
            os.replace(part, path)
            return
        except PermissionError:
            time.sleep(0.1)
    os.replace(part, path)


def _sync_folders(folders: Iterable[Path]) -> None:
    """Puts the renames on the disk, in the order in which they were made. Windows has no such call for a folder."""
    if os.name != "posix":
        return
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a second publish out of `folder`. The system gives the lock back when this process is killed."""
    path = folder / LOCK_NAME
    with path.open("ab") as file:
        if not lock(file):
            raise UserError(f"another publish into {folder} is under way: wait for it, then publish again")
        try:
            # The one before may have removed the file between our opening and our locking it.
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise UserError(f"another publish into {folder} has just ended: publish again")
            yield
        finally:
            # Windows does not remove an open file: there it stays, empty and hidden.
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except OtaError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{error.filename or 'the disk'}: {error.strerror or error}") from None


def _raise(error: OSError) -> None:
    raise error
