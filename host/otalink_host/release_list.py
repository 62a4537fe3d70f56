"""What a folder of releases offers, and what is passed over there, and why."""

from dataclasses import dataclass, field
from pathlib import Path

from otalink.errors import OtaError
from otalink.plain import SUMS, select
from otalink_host import release_file
from otalink_host.errors import UserError
from otalink_host.place import WITHDRAWN_PREFIX, Entry, Place
from otalink_host.release_rules import (
    Version,
    applications,
    check_return,
    check_there,
    errors_in_one_line,
    near_miss,
    parse_name,
    place_of,
    read_sums,
)


@dataclass(frozen=True)
class Release:
    """A release in a folder: `files` and `size` (bytes) count all of it, `when` is the versioned file's time.

    `versioned` is the versioned file of a plain folder, or the release file; `key` the id of the key that signed that.
    """

    place: Place
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

    @property
    def folder(self) -> Path | str:
        return self.place.where("")


@dataclass
class Listing:
    """What `list_releases` found. `notes` are lines for the user: what was passed over, and why."""

    releases: list[Release] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_releases(folder: Path | Place, keys: dict[str, str] | None = None) -> Listing:
    """The releases in `folder` and in the folders right in it, which hold one application each; the newest first.

    `keys` are the known ones, as in `/otalink.json`: a release file that one of them signed must be as it was then.
    """
    place = place_of(folder)
    keys = keys or {}
    listing = Listing()
    check_there(place)
    with errors_in_one_line():
        _list_folder(place, listing, keys)
        taken = {path.split("/")[0] for path in read_sums(place) or {}}
        for name in place.folders():
            if name not in taken:
                _list_folder(place.sub(name), listing, keys)
    listing.releases.sort(key=lambda release: release.version, reverse=True)
    listing.releases.sort(key=lambda release: (str(release.place), release.name))
    return listing


def _list_files(place: Place, present: dict[str, Entry], listing: Listing, keys: dict[str, str]) -> None:
    """The release files among those `present` in `place`, those that are withdrawn too."""
    for name, entry in present.items():
        filename = name.removeprefix(WITHDRAWN_PREFIX)
        if filename.startswith(".") or not filename.endswith(f".{release_file.EXTENSION}"):
            continue
        try:
            with place.open(name) as stream:
                release = release_file.read_header_stream(stream, keys, filename)
        except OtaError as error:
            listing.notes.append(f"passed over {place.where(name)}: {error}")
            continue
        if entry.size != release.length + release.stored:
            listing.notes.append(f"passed over {place.where(name)}: it has not the length that its header says")
            continue
        listing.releases.append(
            Release(
                place=place,
                name=release.name,
                version=release.version,
                versioned=filename,
                files=len(release.files),
                size=entry.size,
                when=entry.when,
                has_sums=True,
                is_file=True,
                key=release.key,
                withdrawn=name != filename,
            )
        )


def _list_withdrawn(place: Place, present: dict[str, Entry], listing: Listing) -> None:
    for name in present:
        filename = name.removeprefix(WITHDRAWN_PREFIX)
        parsed = parse_name(filename)
        if filename == name or parsed is None or parsed[2] == release_file.EXTENSION:
            continue
        try:
            check_return(place, filename)
            listing.notes.append(f"{place}: {filename} is withdrawn: `otalink release withdraw {filename} --undo`")
        except UserError as error:
            listing.notes.append(f"{place}: {filename} is withdrawn: {error}")


def _list_folder(place: Place, listing: Listing, keys: dict[str, str]) -> None:
    present = place.files()
    _list_files(place, present, listing, keys)
    _list_withdrawn(place, present, listing)
    names = list(present)
    near_misses = {name: wrong for name in names if name[0] != "." and (wrong := near_miss(name)) is not None}
    for application in sorted(applications(names)):
        try:
            versioned, version, notes = select(names, application)
        except OtaError as error:
            listing.notes.append(f"passed over {place}: {error}")
            break
        assert versioned is not None
        assert version is not None
        listing.notes += [f"{place}: {note}" for note in notes]
        # Told already.
        near_misses = {name: wrong for name, wrong in near_misses.items() if not name.startswith(f"{application}_")}
        listing.notes += [
            f"{place}: passed over {name}: {versioned} is newer"
            for name in names
            if name.startswith(f"{application}_") and name != versioned and not any(name in note for note in notes)
            if not name.endswith(".ota")
        ]
        _list_release(place, present, application, versioned, version, listing)
    listing.notes += [f"{place}: passed over {wrong}" for wrong in near_misses.values()]


def _list_release(
    place: Place, present: dict[str, Entry], application: str, versioned: str, version: Version, listing: Listing
) -> None:
    try:
        sums = read_sums(place, strict=True)
    except OtaError as error:
        listing.notes.append(f"passed over {place}: {error}: publish again")
        return
    if sums is None:
        paths = [
            name for name in present if not name.startswith((".", f"{application}_")) and not name.endswith(".ota")
        ]
        paths.append(versioned)
    else:
        paths = list(sums)
        if versioned not in sums:
            listing.notes.append(f"{place}: {SUMS} does not list {versioned}, so boards wait: publish again")
    entries = {path: entry for path in paths if (entry := place.entry(path)) is not None}
    missing = [path for path in paths if path not in entries]
    if missing:
        listing.notes.append(f"{place}: {missing[0]} is missing, so boards wait: publish again")
    listing.releases.append(
        Release(
            place=place,
            name=application,
            version=version,
            versioned=versioned,
            files=len(paths),
            size=sum(entry.size for entry in entries.values()),
            when=present[versioned].when,
            has_sums=sums is not None,
        )
    )
