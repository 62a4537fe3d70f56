"""The updater's steps on the flash ahead of the commit, each a phase: compare, record, verify."""

from otalink.errors import InstallError
from otalink.install import Installation
from otalink.layout import NEW_SUFFIX

_UNKNOWN = "0" * 64


def installed(job):
    """The version of the application that is installed; None when none is recorded, or another one's is."""
    try:
        found = Installation(job.buffer, job.root).installed()
    except InstallError as error:
        job.say(str(error))
        return None
    return found[1] if found is not None and found[0] == job.config.name else None


async def compare(job):
    """Compares the release with the flash, once its staging has begun. `job.wanted` are the files to be fetched.

    They get two more elements each: the SHA-256 of what the flash has, where nothing but the fetched file can tell
    whether it is equal, else None; and the size of that, or None. What is staged already is put into the empty
    `job.staged`.
    """
    flash = _open(job)
    wanted = []
    for file in job.release.files:
        path, _, digest, size = file[:4]
        here = None
        size_here = flash.size(path)
        if digest is not None or size in (None, size_here):
            here = await flash.digest(path)
        if digest is not None and here == digest:
            flash.unstage(path)
        elif not await flash.take_staged(path, digest):
            file[4:] = here if digest is None else None, size_here
            wanted.append(file)
    job.wanted = wanted


def record(job):
    """Writes down what is going to be staged, and makes the folders that it needs."""
    flash = _open(job)
    _record(flash, job.release)
    for file in job.wanted:
        flash.make_folders(file[0])
    job.suffix = NEW_SUFFIX


async def finish(job):
    """Verifies what has been fetched and records it, now that all is known of it."""
    flash = _open(job)
    for file in job.wanted:
        if file[0] in job.staged:
            await flash.verify(file[0], file[2])
    for file in job.release.files:
        file[3] = flash.staged_size(file[0])
    _record(flash, job.release)


def tidy(job):
    """Removes what a download has left half done."""
    _open(job).tidy()


def _open(job):
    paths = job.release and job.release.files and [file[0] for file in job.release.files]
    return Installation(job.buffer, job.root, paths, job.staged)


def _record(flash, release):
    flash.record(
        release.name,
        release.version,
        [(file[0], file[2] or _UNKNOWN, file[3] or 0) for file in release.files],
    )
