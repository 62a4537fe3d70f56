"""What of a release file the flash does not have, and whether it came as it was meant. Needs no network.

The header lies on the flash, and is read from there file by file: the memory that this takes is the same for ten files
and for a thousand. A file that differs has a `PATH.ota-new`, at first an empty one; whatever is in it is worth nothing
until its SHA-256 has been seen.
"""

from otalink.begin import begin, check_board
from otalink.errors import FolderChangedError
from otalink.files import kind_of, recorded, remove_staged, rename, size_of
from otalink.flash import on_flash
from otalink.install import Installation
from otalink.journal import check_idle
from otalink.layout import INCOMING, NEW_SUFFIX


async def compare(job):
    """Begins to stage the release: leaves a `PATH.ota-new` for each file that differs, and for no other.

    Raises InstallError when the board cannot be updated at all, FolderChangedError when the header is not there any
    more, ReleaseError.
    """
    root = job.root + "/"
    check_board(root)
    check_idle(root)
    flash = Installation(job.buffer, job.root)
    new = INCOMING + NEW_SUFFIX
    if await flash.digest(new) != job.release.mark:
        raise FolderChangedError("what was checked is not there any more")
    begin(root, (found[0] for found in recorded(root, new, True)))
    rename(root, new, INCOMING)
    job.count = job.differ = 0
    for path, digest, *_ in recorded(root, INCOMING, True):
        job.count += 1
        if await flash.digest(path) == digest:
            remove_staged(root, path)
            continue
        job.differ += 1
        if kind_of(root, path + NEW_SUFFIX) is None:
            flash.make_folders(path)
            on_flash(path, "written", open, root + path + NEW_SUFFIX, "wb").close()


def check_space(job):
    """Raises InstallError unless what differs fits. `job.total` is what has to come at the most, in bytes."""
    from otalink.space import check_space

    root = job.root + "/"
    job.total = 0

    def files():
        for path, _, size, stored, _ in recorded(root, INCOMING, True):
            here = size_of(root, path + NEW_SUFFIX)
            if here is not None:
                job.total += stored
                yield path, max(0, size - here)

    if check_space(root, size_of(root, INCOMING), files()):
        job.say("the flash is short of space: the release before this one is not kept any more")


async def verify(job):
    """Raises InstallError unless the flash gives back all that was staged."""
    root = job.root + "/"
    flash = Installation(job.buffer, job.root)
    for path, digest, *_ in recorded(root, INCOMING, True):
        if kind_of(root, path + NEW_SUFFIX) is not None:
            await flash.verify(path, digest)
