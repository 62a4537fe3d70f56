"""The updater's steps on the flash, each a phase: compare, record, commit, discard.

`release` is an offer.Release, `staged` the list of those of its paths that are staged and whole; `root` stands before
every path, and files are read through `buffer`.
"""

from otalink.board import RESTARTS
from otalink.board import restart as restart_board
from otalink.errors import InstallError
from otalink.install import Installation
from otalink.plan import hidden_by

_UNKNOWN = "0" * 64


def installed(name, buffer, root, say):
    """The version of the application `name` that is installed; None when none is recorded, or another one's is."""
    try:
        found = Installation(buffer, root).installed()
    except InstallError as error:
        say(str(error))
        return None
    return found[1] if found is not None and found[0] == name else None


async def prepare(release, staged, buffer, root):
    """Begins to stage the release. Gives the files to fetch; what is staged already is put into the empty `staged`."""
    flash = _open(release, staged, buffer, root)
    flash.begin([file[0] for file in release.files])
    wanted = []
    for file in release.files:
        path, _, digest, _ = file
        if digest is not None and await flash.digest(path) == digest:
            flash.unstage(path)
        elif not await flash.take_staged(path, digest):
            wanted.append(file)
    flash.check_space([(file[0], file[3] or 0) for file in wanted])
    _record(flash, release)
    return wanted


def finish(release, staged, buffer, root):
    """Records what has been staged, now that all is known of it."""
    flash = _open(release, staged, buffer, root)
    for file in release.files:
        file[3] = flash.staged_size(file[0])
    _record(flash, release)


def discard(release, buffer, root):
    """Removes everything that is staged, of `release` (None: of none) and of what the record names."""
    _open(release, None, buffer, root).discard()


def check_restart(restart):
    """Raises ValueError unless a board can be told to restart like that."""
    if restart not in RESTARTS:
        raise ValueError(f"restart must be reset, soft or none, not {restart!r}")


def commit(release, staged, restart, buffer, root, say):
    """Puts the release in place and restarts the board. All code that this takes is here before: the release may bring
    another otalink. True when it did, and the board still runs the old one."""
    flash = _open(release, staged, buffer, root)
    flash.commit()
    brought = False
    for path, _, _, _ in release.files:
        brought = brought or "/otalink/" in "/" + path
        source = hidden_by(path)
        if source is not None and flash.exists(source):
            say(f"{source} hides {path}: MicroPython imports the source; remove it")
    say(f"{release.label} is installed" + ("" if restart == "none" else "; restarting"))
    if restart != "none":
        try:
            restart_board(restart)
        except (AttributeError, ImportError):
            say(f"this board cannot restart by {restart}: restart it by hand")
    return brought


def _open(release, staged, buffer, root):
    return Installation(buffer, root, None if release is None else [file[0] for file in release.files], staged)


def _record(flash, release):
    flash.record(
        release.name,
        release.version,
        [(path, digest or _UNKNOWN, size or 0) for path, _, digest, size in release.files],
    )
