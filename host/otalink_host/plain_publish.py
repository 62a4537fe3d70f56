"""Publishing a plain folder: ordinary files first, SHA256SUMS next, the versioned file last.

A reader never sees half a file, and never a mixture that it could take for a release: every file arrives by a rename,
the versioned one last, and SHA256SUMS says which contents belong together. A publish that was killed is completed by
running it again.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from otalink.errors import OtaError
from otalink.paths import check_path
from otalink.plain import SUMS, format_sums_line, parse_release_name, select, target_path
from otalink.plan import hidden_by
from otalink.version import format_version
from otalink_host.errors import UserError
from otalink_host.place import CHUNK, JOURNAL_NAME, PART_PREFIX, WITHDRAWN_PREFIX, Place
from otalink_host.place_local import LocalPlace
from otalink_host.release_file import EXTENSION, Progress
from otalink_host.release_rules import (
    Version,
    digest_of,
    digest_stream,
    errors_in_one_line,
    is_content,
    parse_name,
    place_of,
    read,
    read_sums,
    refuse_other,
    refuse_withdrawn,
)
from otalink_host.source_folder import application_in, check_targets, collect
from otalink_host.startup import check_files


@dataclass
class Published:
    """What `publish` did: paths in the folder, with `/` between their parts. All empty lists: there was nothing to do.

    `skipped` and `notes` are lines for the user. `size` counts the bytes of the whole release, `written_size` those
    that were written.
    """

    name: str
    version: Version
    place: Place
    versioned: str
    size: int = 0
    written_size: int = 0
    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def publish(
    source: Path,
    folder: Path | Place,
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
    if not source.is_dir():
        raise UserError(f"there is no folder {source}: name the one that holds the release's files")
    if isinstance(folder, Path):
        _check_apart(source, folder)
    place = place_of(folder)
    with errors_in_one_line():
        collected = collect(source)
        name, versioned, number, files = application_in(source, collected.files, name, version)
        targets = {path: target_path(path, versioned) for path in files}
        check_targets(targets)
        check_files({targets[path]: file for path, file in files.items()})
        total = sum(file.stat().st_size for file in files.values())
        meter = _Meter(progress, total)
        digests = {path: _digest(file, meter) for path, file in files.items()}
        place.make()
        with place.locked():
            published = Published(name, number, place, versioned, total, skipped=collected.skipped)
            _Publisher(published, files, digests, meter).run(allow_older)
    published.notes += [
        f"{hidden_by(path)} hides {path} on the board: MicroPython imports the .py of two"
        for path in sorted(targets.values())
        if hidden_by(path) in targets.values()
    ]
    return published


def clean_parts(place: Place) -> None:
    """Removes what a publish that was killed has left half written; to be called while `place` is locked."""
    for name in place.files():
        if name.startswith(PART_PREFIX):
            place.remove(name)


def check_arrived(place: Place, found: str, sent: str) -> None:
    """Raises UserError unless the SHA-256 of what the place has, `found`, is that of what was `sent` to it."""
    if found != sent:
        raise UserError(f"{place} gives back something else than it was sent: publish again")


@contextlib.contextmanager
def removed_on_failure(place: Place, part: str) -> Iterator[None]:
    """Removes the file `part` when the block fails."""
    try:
        yield
    except BaseException:
        # What fails now says less than what failed first.
        with contextlib.suppress(UserError, OSError):
            place.remove(part)
        raise


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
        self._place = published.place
        self._files = files
        self._digests = digests
        self._meter = meter
        self._present = [name for name, entry in self._place.files().items() if not entry.is_link]
        self._has_journal = JOURNAL_NAME in self._present
        self._old_sums = read_sums(self._place)

    def run(self, allow_older: bool) -> None:
        self._check_version(allow_older)
        self._check_ways()
        clean_parts(self._place)
        removals = self._removals()
        ordinary = [path for path in sorted(self._files) if path != self._result.versioned]
        self._write_journal(removals + [path for path in self._files if self._place.entry(path) is None])
        for path in ordinary:
            self._put(path)
        self._place.sync(ordinary)
        sums = b"".join(format_sums_line(path, self._digests[path]) for path in sorted(self._files))
        if read(self._place, SUMS) != sums:
            self._write(SUMS, sums)
            self._result.written.append(SUMS)
        self._put(self._result.versioned)
        self._place.sync([self._result.versioned])
        hidden = f"{WITHDRAWN_PREFIX}{self._result.versioned}"
        if hidden in self._present:
            self._place.remove(hidden)
        for path in removals:
            self._place.remove(path)
            self._result.removed.append(path)
        if self._has_journal:
            self._place.remove(JOURNAL_NAME)
        strays = [
            name
            for name in self._present
            if name[0] != "." and name != SUMS and name not in self._files and name not in removals
            if not name.endswith(".ota")
        ]
        self._result.notes += [f"{name} is in the folder, but not part of this release" for name in sorted(strays)]

    def _check_version(self, allow_older: bool) -> None:
        name, version, place = self._result.name, self._result.version, self._place
        standing, standing_version = self._standing()
        refuse_withdrawn([each for each in self._present if not self._comes_back(each)], name, version)
        for filename in self._present:
            parsed = parse_name(filename)
            if parsed is not None and parsed[1] > version and parsed[2] == EXTENSION and not allow_older:
                raise UserError(
                    f"{name} {format_version(version)} is older than {filename}, which {place} offers: give it a "
                    f"higher version, or publish it with --allow-older and withdraw the release file"
                )
        if standing is None or standing_version is None:
            return
        text = f"{name} {format_version(version)}"
        if version < standing_version and not allow_older:
            raise UserError(
                f"{text} is older than {format_version(standing_version)}, which {place} offers: give it a higher "
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
        if hidden != WITHDRAWN_PREFIX + versioned or digest_of(self._place, hidden) != self._digests[versioned]:
            return False
        return versioned not in (self._old_sums or {}) or self._old_sums == self._digests

    def _standing(self) -> tuple[str | None, Version | None]:
        """The versioned file that the folder offers now: the one that SHA256SUMS lists, else the newest."""
        refuse_other(self._place, self._present, self._result.name)
        try:
            newest, newest_version, _ = select(self._present, self._result.name)
        except OtaError as error:
            raise UserError(f"{self._place}: {error}") from None
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
        for path in self._files:
            if self._place.is_folder(path):
                raise UserError(f"{path} is a file in the release and a folder in {self._place}: move that away")
        for folder in sorted({str(parent) for path in self._files for parent in [*PurePosixPath(path).parents][:-1]}):
            if not self._place.is_folder(folder) and self._place.entry(folder) is not None:
                raise UserError(f"{folder} is a folder in the release and a file in {self._place}: move that away")
            self._place.check_way(folder)

    def _removals(self) -> list[str]:
        """What goes once the new release stands, of this publish and of one that was cut off."""
        old = set(self._old_sums or {}) | set(self._read_journal())
        old |= {name for name in self._present if self._is_versioned(name)}
        return sorted(path for path in old - set(self._files) if self._place.entry(path) is not None)

    def _is_versioned(self, path: str) -> bool:
        try:
            name, _, extension = parse_release_name(path)
        except ValueError:
            return False
        return bool(name == self._result.name and extension != EXTENSION)

    def _put(self, path: str) -> None:
        if self._digest_of(path) == self._digests[path]:
            self._result.unchanged.append(path)
            return
        size = self._files[path].stat().st_size
        self._meter.add_total(size)
        part = self._place.stage(self._content(path))
        with removed_on_failure(self._place, part):
            if self._place.reads_back:
                check_arrived(self._place, digest_of(self._place, part), self._digests[path])
            self._place.rename(part, path, replace=True)
        self._result.written.append(path)
        self._result.written_size += size

    def _content(self, path: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with self._files[path].open("rb") as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                yield chunk
                self._meter.add(len(chunk))
        if digest.hexdigest() != self._digests[path]:
            raise UserError(f"{self._files[path]} changed while it was published: publish again")

    def _write(self, path: str, content: bytes) -> None:
        part = self._place.stage([content])
        with removed_on_failure(self._place, part):
            if self._place.reads_back:
                check_arrived(self._place, digest_of(self._place, part), hashlib.sha256(content).hexdigest())
            self._place.rename(part, path, replace=True)
        self._place.sync([path])

    def _write_journal(self, paths: list[str]) -> None:
        self._has_journal = self._has_journal or bool(paths)
        if paths:
            self._write(JOURNAL_NAME, "".join(f"{path}\n" for path in paths).encode())

    def _read_journal(self) -> list[str]:
        paths = []
        for line in (read(self._place, JOURNAL_NAME) or b"").decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                check_path(line)
                paths.append(line)
        return paths

    def _digest_of(self, path: str) -> str | None:
        """The SHA-256 of the file `path` in the place; None when there is none. A link is replaced, like none."""
        found = self._place.entry(path)
        if found is None or found.is_link:
            return None
        same = is_content(self._place, path, self._files[path].stat().st_size, self._digests[path])
        return self._digests[path] if same else "differs"


def _check_apart(source: Path, folder: Path) -> None:
    LocalPlace(folder).is_there()
    inner, outer = source.resolve(), folder.resolve()
    if inner == outer:
        raise UserError(f"{source} is the folder that is published to: keep the sources in another")
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UserError(f"one of {source} and {folder} lies inside of the other: keep them apart")


def _digest(file: Path, meter: _Meter) -> str:
    with file.open("rb") as stream:
        return digest_stream(stream, meter.add)
