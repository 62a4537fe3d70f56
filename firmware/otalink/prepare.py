"""The updater's steps on the flash ahead of the commit, each a phase: compare, record, discard.

`release` is an offer.Release, `staged` the list of those of its paths that are staged and whole; `root` stands before
every path, and files are read through `buffer`.
"""

from otalink.errors import InstallError
from otalink.install import Installation

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
    """Begins to stage the release. Gives (file, here) for each of its files that has to be fetched.

    `here` is the SHA-256 of what the flash has, where nothing but the fetched file can tell whether it is equal; else
    None. What is staged already is put into the empty `staged`.
    """
    flash = _open(release, staged, buffer, root)
    flash.begin([file[0] for file in release.files])
    wanted = []
    for file in release.files:
        path, _, digest, size = file
        here = None
        if digest is not None or size in (None, flash.size(path)):
            here = await flash.digest(path)
        if digest is not None and here == digest:
            flash.unstage(path)
        elif not await flash.take_staged(path, digest):
            wanted.append((file, here if digest is None else None))
    flash.check_space([(file[0], file[3] or 0) for file, _ in wanted])
    _record(flash, release)
    return wanted


async def finish(release, wanted, staged, buffer, root):
    """Verifies what has been fetched and records it, now that all is known of it."""
    flash = _open(release, staged, buffer, root)
    for file, _ in wanted:
        if file[0] in staged:
            await flash.verify(file[0], file[2])
    for file in release.files:
        file[3] = flash.staged_size(file[0])
    _record(flash, release)


def tidy(release, staged, buffer, root):
    """Removes what a download has left half done."""
    _open(release, staged, buffer, root).tidy()


def discard(release, buffer, root):
    """Removes everything that is staged, of `release` (None: of none) and of what the record names."""
    _open(release, None, buffer, root).discard()


def _open(release, staged, buffer, root):
    return Installation(buffer, root, None if release is None else [file[0] for file in release.files], staged)


def _record(flash, release):
    flash.record(
        release.name,
        release.version,
        [(path, digest or _UNKNOWN, size or 0) for path, _, digest, size in release.files],
    )
