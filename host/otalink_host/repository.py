"""Folders of releases, on this machine or on an FTP server: publishing into one, and listing and withdrawing what is
there.

A reader never sees half a file: every file arrives by a rename, which is one step. The rules stand in release_rules.py,
the places in place_local.py and place_ftp.py, publishing a plain folder in plain_publish.py.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otalink.errors import OtaError
from otalink.version import format_version, parse_version
from otalink_host import release_file
from otalink_host.errors import UserError
from otalink_host.place import CHUNK, JOURNAL_NAME, LOCK_NAME, PART_PREFIX, WITHDRAWN_PREFIX, Place
from otalink_host.plain_publish import Published, check_arrived, clean_parts, publish, removed_on_failure
from otalink_host.release_file import Progress
from otalink_host.release_list import Listing, Release, list_releases
from otalink_host.release_rules import (
    Version,
    ask_rule,
    check_return,
    check_there,
    digest_stream,
    errors_in_one_line,
    file_place,
    parse_name,
    place_of,
    refuse_other,
    refuse_withdrawn,
)
from otalink_host.startup import check_release_stream

__all__ = [
    "JOURNAL_NAME",
    "LOCK_NAME",
    "PART_PREFIX",
    "WITHDRAWN_PREFIX",
    "Listing",
    "Published",
    "PublishedFile",
    "Release",
    "check_newer",
    "list_releases",
    "publish",
    "publish_file",
    "withdraw",
]


@dataclass(frozen=True)
class PublishedFile:
    """What `publish_file` did. `written` is False when the same release file was there already.

    `path` is what the user knows it as: a path of this machine, or text that begins with ftp: or ftps:.
    """

    release: release_file.ReleaseFile
    path: Path | str
    size: int
    written: bool


def publish_file(
    file: Path,
    folder: Path | Place,
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
    place = place_of(folder)
    place.is_there()
    with errors_in_one_line():
        with file.open("rb") as stream, _named_in(file.name):
            release_file.verify_stream(stream, keys, file.name, unsigned=unsigned, progress=progress)
        place.make()
        with place.locked():
            clean_parts(place)
            content = hashlib.sha256()
            part = place.stage(_chunks(file, content))
            with removed_on_failure(place, part):
                # The copy is what counts, as the place has it: `file` may have changed since.
                with place.open(part) as stream:
                    with _named_in(file.name):
                        release = release_file.verify_stream(stream, keys, file.name, unsigned=unsigned)
                    size = stream.tell()
                    stream.seek(0)
                    check_release_stream(stream, release)
                    stream.seek(0)
                    digest = digest_stream(stream)
                check_arrived(place, digest, content.hexdigest())
                name, is_there = file_place(place, release.name, release.version, size, digest, allow_older=allow_older)
                if is_there:
                    place.remove(part)
                else:
                    place.rename(part, name)
                    place.sync([name])
    return PublishedFile(release, place.where(name), size, not is_there)


def check_newer(folder: Path | Place, name: str, version: Version) -> None:
    """Raises UserError unless a release of `name` with `version` is newer than all that `folder` offers.

    A version that was withdrawn there does not do either, nor a folder of another application's. There may be none yet.
    """
    place = place_of(folder)
    with errors_in_one_line():
        present = place.files() if place.is_there() else {}
    refuse_other(place, present, name)
    refuse_withdrawn(present, name, version)
    text = f"{name} {format_version(version)}"
    for filename in present:
        parsed = parse_name(filename)
        if parsed is not None and parsed[0] == name and parsed[1] >= version:
            wrong = "published already" if parsed[1] == version else f"older than {format_version(parsed[1])}"
            raise UserError(f"{text} is {wrong}, as {place.where(filename)}: give the new one a higher version")


def withdraw(folder: Path | Place, name: str, version: str | None = None, *, undo: bool = False) -> tuple[str, str]:
    """Takes a release out of the boards' sight, or back into it when `undo`: one rename, the names (from, to).

    `name` is an application's, with its `version`, or the name of a release file or of a versioned file. Raises
    UserError when there is no such release, or when putting it back would mix it with another.
    """
    place = place_of(folder)
    check_there(place)
    with errors_in_one_line(), place.locked():
        prefix = WITHDRAWN_PREFIX if undo else ""
        present = [
            filename[len(prefix) :]
            for filename, entry in place.files().items()
            if not entry.is_link and filename.startswith(prefix)
        ]
        filename = _named(place, present, name, version, "withdrawn" if undo else "published")
        hidden = f"{WITHDRAWN_PREFIX}{filename}"
        before, after = (hidden, filename) if undo else (filename, hidden)
        if undo:
            check_return(place, filename)
        place.rename(before, after, replace=not undo)
        place.sync([after])
    return before, after


def _named(place: Place, present: list[str], name: str, version: str | None, state: str) -> str:
    """The one release among `present` that `name` and `version` mean."""
    if version is None:
        if parse_name(name) is None:
            raise UserError(f"{name} is no release's name: give NAME VERSION, or a name like thermostat_1.0.0.3.ota")
        found = [filename for filename in present if filename == name]
        text = name
    else:
        wanted = ask_rule(parse_version, version)
        found = [filename for filename in present if (parse_name(filename) or ())[:2] == (name, wanted)]
        text = f"{name} {format_version(wanted)}"
    if not found:
        raise UserError(f"{text} is not {state} in {place}: `otalink release list` shows what is")
    if len(found) > 1:
        raise UserError(f"{text} is {state} as {found[0]} and as {found[1]}: name one of them")
    return found[0]


def _chunks(file: Path, digest: "hashlib._Hash") -> Iterator[bytes]:
    """The content of `file`, which goes into `digest` as well."""
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            yield chunk


@contextlib.contextmanager
def _named_in(filename: str) -> Iterator[None]:
    """What the block finds wrong with a release file gets its name ahead."""
    try:
        yield
    except OtaError as error:
        raise UserError(f"{filename}: {error}") from None
