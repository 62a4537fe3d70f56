"""What a publisher may change in a folder of releases through the server, whichever client it uses.

A release that is there is never replaced or removed, only withdrawn and put back. Each function here raises UserError
with the one line that the client is told, and changes nothing. Paths are relative to the account's folder.
"""

import posixpath
from collections.abc import Iterator, Mapping

from otalink.errors import OtaError
from otalink.paths import check_path
from otalink.plain import SUMS
from otalink.version import format_version
from otalink_host.errors import UserError
from otalink_host.keys import FOLDER_NAME, for_boards, load_all
from otalink_host.place import JOURNAL_NAME, PART_PREFIX, WITHDRAWN_PREFIX, Place
from otalink_host.place_local import LocalPlace
from otalink_host.release_file import EXTENSION, verify_stream
from otalink_host.release_rules import (
    ask_rule,
    check_return,
    digest_of,
    digest_stream,
    file_place,
    is_content,
    near_miss,
    parse_name,
    read_sums,
    refuse_other,
    refuse_withdrawn,
)
from otalink_host.settings import Settings
from otalink_host.startup import check_release_stream


def keys_of(settings: Settings) -> dict[str, str]:
    """The keys beside the settings, one of which must have signed what is uploaded."""
    folder = settings.path.parent / FOLDER_NAME if settings.path is not None else None
    return for_boards(load_all(folder)) if folder is not None and folder.is_dir() else {}


def takes_unsigned(settings: Settings) -> bool:
    """True when plain folders, and release files that nobody signed, may be uploaded."""
    return settings.unsigned or not keys_of(settings)


def is_release_file(path: str) -> bool:
    return path.endswith(f".{EXTENSION}") and not posixpath.basename(path).startswith(".")


def check_upload(place: Place, path: str, settings: Settings) -> None:
    """Refuses what may not be uploaded under the name `path`, before its content comes."""
    name = posixpath.basename(path)
    if name.startswith(PART_PREFIX):
        return
    if name.startswith("."):
        raise UserError(f"{name}: hidden names are the server's own: give it another")
    check_name(place, path, settings)


def check_name(place: Place, path: str, settings: Settings) -> None:
    """Refuses a `path` that no uploaded file may have, or not beside what is there."""
    ask_rule(check_path, path)
    folder, name = _split(place, path)
    parsed = parse_name(name)
    if is_release_file(path):
        if parsed is None:
            raise UserError(f"{name} is no release's name: it reads NAME_VERSION.ota, as in thermostat_1.0.0.3.ota")
    elif not takes_unsigned(settings):
        raise UserError(f"{name}: this server takes signed release files only, such as thermostat_1.0.0.3.ota")
    elif near_miss(name) is not None:
        raise UserError(f"{near_miss(name)}: rename it")
    elif parsed is not None and is_versioned(place, path):
        present = folder.files()
        refuse_other(folder, present, parsed[0])
        refuse_withdrawn([each for each in present if each != WITHDRAWN_PREFIX + name], parsed[0], parsed[1])


def check_release_file(place: LocalPlace, part: str, path: str, settings: Settings) -> bool:
    """Verifies the file `part`, which is to become the release file `path`. True when that is there already.

    It takes a while: it reads all of it, and compiles what starts a board.
    """
    # Where no key is known, boards alone can tell who signed it.
    keys = keys_of(settings) or None
    folder, name = _split(place, path)
    with place.open(part) as stream:
        try:
            release = verify_stream(stream, keys, name, unsigned=takes_unsigned(settings))
            size = stream.tell()
            stream.seek(0)
            check_release_stream(stream, release)
        except (OtaError, UserError) as error:
            raise UserError(f"{name}: {error}") from None
        stream.seek(0)
        digest = digest_stream(stream)
    found, is_there = file_place(folder, release.name, release.version, size, digest, allow_older=True)
    if is_there and found != name:
        raise UserError(f"{release.name} {format_version(release.version)} is published already, as {found}")
    return is_there


def check_replacement(place: Place, part: str, path: str) -> bool:
    """Refuses the file `part` in the place of `path`, when that is a plain release's versioned file with other content.

    True when the same is there already.
    """
    folder, name = _split(place, path)
    entry = place.entry(part)
    if entry is None or not is_versioned(place, path):
        return False
    digest = digest_of(place, part)
    if place.entry(path) is None:
        if _has(folder, WITHDRAWN_PREFIX + name) and not is_content(
            folder, WITHDRAWN_PREFIX + name, entry.size, digest
        ):
            name_, version, _ = parse_name(name) or ("", (), "")
            refuse_withdrawn([WITHDRAWN_PREFIX + name], name_, version)
        return False
    if not is_content(place, path, entry.size, digest):
        raise UserError(f"{name} is published already, with other content: give the new one a higher version")
    return True


def check_rename(place: Place, before: str, after: str, settings: Settings) -> None:
    """Refuses any renaming but of an upload to its name, and of a release that is withdrawn or put back."""
    name, new_name = posixpath.basename(before), posixpath.basename(after)
    if name.startswith(PART_PREFIX):
        if new_name == JOURNAL_NAME:
            return
        if new_name.startswith("."):
            raise UserError(f"{new_name}: hidden names are the server's own: give it another")
        check_name(place, after, settings)
        return
    in_one_folder = posixpath.dirname(before) == posixpath.dirname(after)
    folder, _ = _split(place, before)
    if in_one_folder and name == WITHDRAWN_PREFIX + new_name:
        check_return(folder, new_name)
    elif not in_one_folder or new_name != WITHDRAWN_PREFIX + name or parse_name(name) is None:
        raise UserError(f"{name} keeps its name: only a release is renamed, to {WITHDRAWN_PREFIX}NAME and back")
    elif _has(folder, new_name) and not _is_same(folder, name, new_name):
        raise UserError(f"{name} was withdrawn before, with other content: nothing was renamed")


def check_removal(place: Place, path: str, settings: Settings) -> None:
    """Refuses to remove what is a release, or a part of one."""
    folder, name = _split(place, path)
    if name.startswith(PART_PREFIX) or name == JOURNAL_NAME:
        return
    if name.startswith(WITHDRAWN_PREFIX):
        shown = name.removeprefix(WITHDRAWN_PREFIX)
        if not (_has(folder, shown) and _is_same(folder, name, shown)):
            raise UserError(f"{shown} is withdrawn, and stays: boards may have it")
        return
    lists = list(_sums_above(place, path))
    if is_release_file(path) or name == SUMS or not lists or any(path_in in sums for path_in, sums in lists):
        raise UserError(f"{name} is published: a release is withdrawn, never removed")
    # The one that takes its place stands before the old one goes.
    if is_versioned(place, path) and not any(_has(folder, other) and parse_name(other) for other in lists[0][1]):
        raise UserError(f"{name} is published, and no other release stands in its place: nothing was removed")


def is_versioned(place: Place, path: str) -> bool:
    """True for the versioned file of a plain folder; what looks like one deeper in a release is an ordinary file."""
    folder = posixpath.dirname(path)
    return (
        parse_name(posixpath.basename(path)) is not None
        and not is_release_file(path)
        and not any(
            path_in in sums for path_in, sums in _sums_above(place, path) if posixpath.dirname(path_in) and folder
        )
    )


def _sums_above(place: Place, path: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """(the path in it, its SHA256SUMS) for each folder that holds `path`, from its own upwards, that has one."""
    parts = path.split("/")
    for depth in range(len(parts) - 1, -1, -1):
        sums = read_sums(_folder(place, parts[:depth]))
        if sums is not None:
            yield "/".join(parts[depth:]), sums


def _folder(place: Place, parts: list[str]) -> Place:
    for part in parts:
        place = place.sub(part)
    return place


def _split(place: Place, path: str) -> tuple[Place, str]:
    parts = path.split("/")
    return _folder(place, parts[:-1]), parts[-1]


def _has(folder: Place, name: str) -> bool:
    return folder.entry(name) is not None


def _is_same(folder: Place, one: str, other: str) -> bool:
    entry = folder.entry(one)
    return entry is not None and is_content(folder, other, entry.size, digest_of(folder, one))
