"""What a plain folder offers to a board: the release, and where its files go. `plain.py` has the rules; no network."""

from otalink.errors import ReleaseError
from otalink.ftp_facts import parse_mlsd_line, parse_nlst_line
from otalink.plain import select, target_path
from otalink.plan import check_folders
from otalink.version import format_version, is_wanted


class Release:
    """What a folder offers: `name`, `version` (four ints), and `label`, which has both for people.

    `versioned` is the name of its versioned file. `files` is a list of [path, filename on the server, digest or None,
    size in bytes or None], sorted by path; `fingerprint` tells whether the folder has changed. It has no methods: see
    phase.py.
    """


def decide(config, installed, listing):
    """What a board that has the version `installed` makes of a listing: (a Release without files, messages about it).

    None in the Release's place when the folder offers none, or none that the board's policy wants. Raises ReleaseError
    when the folder does not say clearly what it offers.
    """
    command, rows = listing
    filenames = []
    for row in rows:
        if command == "NLST":
            filename = parse_nlst_line(row)
        else:
            entry = parse_mlsd_line(row)
            filename = None if entry is None or entry[1] in ("dir", "cdir", "pdir") else entry[0]
        if filename is not None:
            filenames.append(filename)
    versioned, version, messages = select(filenames, config.name)
    if versioned is None:
        if messages:
            raise ReleaseError(f"no release of {config.name} in the folder: {messages[0]}")
        return None, [f"no release of {config.name} on {config.host} in {config.folder}"]
    release = Release()
    release.name, release.version, release.versioned = config.name, version, versioned
    release.label = f"{config.name} {format_version(version)}"
    here = "no release" if installed is None else format_version(installed)
    if installed == version:
        messages.append(f"{release.label} is the latest version")
    elif not is_wanted(config.policy, installed, version):
        messages.append(f"the server offers {release.label}, older than {here} here")
    else:
        messages.append(f"{release.label} is offered, {here} is here")
        return release, messages
    return None, messages


def place(release, files):
    """Makes the files that `folder.read` gave those of the Release. Raises ReleaseError when they cannot all be."""
    by_path = {}
    release.files = []
    for filename, digest, size in files:
        path = target_path(filename, release.versioned)
        if path in by_path:
            raise ReleaseError(f"{by_path[path]} and {filename} would both be {path} on the board: remove one")
        by_path[path] = filename
        release.files.append([path, filename, digest, size])
    release.files.sort(key=lambda file: file[0])
    check_folders([file[0] for file in release.files])
