"""The rules of a folder of releases, wherever it is: which names are releases, and what may stand beside what.

They look at names, at SHA256SUMS and at what a file holds, by means of a place.Place, and change nothing. The rules for
names and paths are the board's (otalink.plain and its like); none is written here anew.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from otalink.errors import OtaError
from otalink.plain import (
    SUMS,
    application_of,
    format_release_name,
    other_application,
    parse_release_name,
    parse_sums_line,
)
from otalink.version import format_version
from otalink_host.errors import UserError
from otalink_host.place import CHUNK, WITHDRAWN_PREFIX, Place
from otalink_host.place_local import LocalPlace
from otalink_host.release_file import EXTENSION

Version = tuple[int, ...]


def place_of(folder: Path | Place) -> Place:
    return LocalPlace(folder) if isinstance(folder, Path) else folder


def check_there(place: Place) -> None:
    if not place.is_there():
        raise UserError(f"there is no folder {place}: name the one that releases are published to")


def parse_name(filename: str) -> tuple[str, Version, str] | None:
    """A release's name taken apart: a release file, or the versioned file of a plain folder. None for other names."""
    try:
        name, version, extension = parse_release_name(filename)
    except ValueError:
        return None
    application = application_of(filename)
    is_release = extension == EXTENSION or (application is not None and application[1])
    return (name, version, extension) if is_release else None


def applications(filenames: Iterable[str]) -> dict[str, str]:
    """The applications among `filenames`: their names, with a file of each.

    thermostat_2.py alone is one; beside thermostat_1.0.py, which certainly is, font_8.py is an ordinary file.
    """
    found = [(application_of(filename), filename) for filename in sorted(filenames, reverse=True)]
    certain = any(application and application[1] for application, _ in found)
    return {
        application[0]: filename for application, filename in found if application and (application[1] or not certain)
    }


def near_miss(path: str) -> str | None:
    """What is wrong with a name that was meant to be versioned, by its looks; None for any other."""
    if re.search(r"_v?[0-9][^_]*\.[0-9][^_]*\.m?py$", path):
        try:
            parse_release_name(path)
        except ValueError as error:
            return str(error)
    return None


def refuse_other(place: Place, present: Iterable[str], name: str) -> None:
    """Refuses when `place`, in which the files `present` are, holds another application than `name`."""
    other = other_application(list(present), name)
    for filename in present:
        parsed = parse_name(filename)
        if parsed is not None and parsed[0] != name and parsed[2] == EXTENSION:
            other = parsed[0]
    if other is not None:
        raise UserError(f"{place} holds another application, {other}: give each a folder of its own")


def refuse_withdrawn(present: Iterable[str], name: str, version: Version) -> None:
    """Refuses a version that was withdrawn: boards may have it, and would never fetch another of the same number."""
    for hidden in present:
        filename = hidden.removeprefix(WITHDRAWN_PREFIX)
        if filename != hidden and (parse_name(filename) or ())[:2] == (name, version):
            raise UserError(
                f"{name} {format_version(version)} was withdrawn: put it back with `otalink release withdraw "
                f"{filename} --undo`, or give the new one a higher version"
            )


def file_place(
    place: Place, name: str, version: Version, size: int, digest: str, *, allow_older: bool
) -> tuple[str, bool]:
    """What a release file of `name` with `version` is to be called in `place`, and whether it is there already.

    Its content has `size` bytes and the SHA-256 `digest`. Raises UserError when it may not stand there.
    """
    present = place.files()
    text = f"{name} {format_version(version)}"
    refuse_other(place, present, name)
    newest = version
    for filename in present:
        other, number, extension = parse_name(filename) or (None, (), "")
        if other != name:
            continue
        newest = max(newest, number)
        if number == version and extension == EXTENSION:
            if is_content(place, filename, size, digest):
                return filename, True
            raise UserError(
                f"{text} is published already, with other content: give the new one a higher version "
                f"(boards that have {format_version(version)} would never fetch it)"
            )
    refuse_withdrawn(present, name, version)
    if newest != version and not allow_older:
        raise UserError(
            f"{text} is older than {format_version(newest)}, which {place} offers: boards take the newest; give it a "
            f"higher version, or publish it with --allow-older and withdraw the newer one"
        )
    return str(format_release_name(name, version, EXTENSION)), False


def check_return(place: Place, filename: str) -> None:
    """Refuses to put what is withdrawn back over another, or a versioned file among another release's files."""
    if place.entry(filename) is not None:
        raise UserError(f"{place.where(filename)} is there again: nothing was put back")
    if filename.endswith(f".{EXTENSION}"):
        return
    sums = read_sums(place)
    if sums is not None and sums.get(filename) != digest_of(place, f"{WITHDRAWN_PREFIX}{filename}"):
        raise UserError(f"{place} holds another release's files now: publish {filename} again instead")


def read_sums(place: Place, strict: bool = False) -> dict[str, str] | None:
    """The digests that the place's SHA256SUMS lists, by path; None when there is none.

    One that is broken counts as none, and raises ReleaseError when `strict`.
    """
    content = read(place, SUMS)
    if content is None:
        return None
    try:
        entries = [parse_sums_line(line) for line in content.splitlines()]
    except OtaError:
        if strict:
            raise
        return None
    return dict(entry for entry in entries if entry is not None)


def read(place: Place, path: str) -> bytes | None:
    try:
        with place.open(path) as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def is_content(place: Place, path: str, size: int, digest: str) -> bool:
    """True when the file `path`, which is no link, has `size` bytes with the SHA-256 `digest`."""
    # The size first: most files that differ differ in it.
    found = place.entry(path)
    return found is not None and not found.is_link and found.size == size and digest_of(place, path) == digest


def digest_of(place: Place, path: str) -> str:
    """The SHA-256 of the file `path`, in hex."""
    with place.open(path) as stream:
        return digest_stream(stream)


def digest_stream(stream: BufferedIOBase, progress: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of what is left of `stream`, in hex. `progress` is called with the bytes of each piece."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        if progress is not None:
            progress(len(chunk))
    return digest.hexdigest()


def ask_rule(rule: Callable[..., Any], *arguments: object, place: Path | None = None) -> Any:
    """What one of the board's own rules answers; what it raises becomes a UserError, with `place` ahead of it."""
    try:
        return rule(*arguments)
    except (ValueError, OtaError) as error:
        raise UserError(f"{place}: {error}" if place is not None else str(error)) from None


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except OtaError as error:
        raise UserError(str(error)) from None
    except FileExistsError as error:
        if error.filename2 is None:
            raise UserError(f"{error.filename}: {error.strerror}") from None
        raise UserError(f"{error.filename2} has just been put there by somebody else: publish again") from None
    except OSError as error:
        raise UserError(f"{error.filename or 'the disk'}: {error.strerror or error}") from None
