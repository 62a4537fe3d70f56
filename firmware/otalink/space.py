"""The space that an update needs on the flash, and what gives way to it: the release before (docs/update.md)."""

import os

from micropython import const

from otalink.errors import InstallError
from otalink.files import kind_of, prune, remove
from otalink.flash import on_flash
from otalink.journal import become, state
from otalink.layout import OLD_SUFFIX, STATE_FOLDER, parents

# Blocks that an update needs beside those of its files and new folders: the state folder, and room for littlefs to
# move in. A folder takes two.
_SPARE_BLOCKS = const(4)
# More than what stands in a record's line beside the path.
_LINE_BYTES = const(100)


def check(job):
    """Raises InstallError unless what is wanted fits, as far as its sizes are known. `job.total` is the bytes to come.

    The way back to the release before is given up for that, if need be, and that is said.
    """
    job.total = sum(file[3] or file[5] or 0 for file in job.wanted)
    record = sum(len(file[0]) + _LINE_BYTES for file in job.release.files)
    if check_space(job.root + "/", record, [(file[0], file[3] or 0) for file in job.wanted]):
        job.say("the flash is short of space: the release before this one is not kept any more")


def check_space(root, record, files):
    """Raises InstallError unless `files` fit beside what is there.

    `files` yields (path, size in bytes), sorted by path; `record` is the size of the whole release's record, in bytes,
    or more. True when the way back to the release before had to be given up for that.
    """
    block, free = space_of(root)
    # The record is there twice while it is written anew; then the plan stands beside it.
    needed = _SPARE_BLOCKS + 2 * (record // block + 1)
    last = ""
    for path, size in files:
        needed += (size + block - 1) // block
        for folder in parents(path):
            # Paths that lie in one folder stand side by side.
            if not last.startswith(folder + "/") and kind_of(root, folder) is None:
                needed += 2
        last = path
    forgotten = False
    if needed > free:
        forgotten = forget(root)
        free = space_of(root)[1]
    if needed > free:
        raise InstallError(
            f"the flash is too full: the update needs {needed * block} bytes, {free * block} are free; "
            "remove files that the application does not need"
        )
    return forgotten


def space_of(root):
    """The bytes of a block, and how many blocks are free."""
    status = on_flash("", "asked for its space", os.statvfs, root)
    free = status[4]
    if free > status[2]:  # what littlefs says when it is full
        free = 0
    return status[1] or status[0], free


def forget(root="/"):
    """Gives up the way back to the release before the confirmed one: removes what is kept of it.

    True when there was something. Raises InstallError.
    """
    found = state(root)
    if found == "confirmed":
        become(root, "confirmed", "forgetting")
    elif found != "forgetting":
        return False
    path = STATE_FOLDER + "/forgetting"
    with on_flash(path, "read", open, root + path) as file:
        for line in file:
            action, _, target = line[:-1].partition(" ")
            if action in ("replace", "add", "delete", "copy"):
                remove(root, target + OLD_SUFFIX)
                prune(root, target)
    remove(root, path)
    return True
