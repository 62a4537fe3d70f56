"""The space that an update needs on the flash."""

import os

from otalink.errors import InstallError
from otalink.journal import forget
from otalink.layout import parents
from otalink.staging import kind_of, on_flash

# Blocks that an update needs beside those of its files and new folders: the state folder, and room for littlefs to
# move in. A folder takes two.
_SPARE_BLOCKS = 4
# More than what stands in a record's line beside the path.
_LINE_BYTES = 100


def check_space(root, paths, files):
    """Raises InstallError unless `files`, a list of (path, size in bytes), fit beside what is there.

    `paths` are those of the whole release, for its record. True when the way back to the release before had to be given
    up for that.
    """
    block, free = space_of(root)
    folders = set()
    for path, _ in files:
        folders.update(folder for folder in parents(path) if kind_of(root, folder) is None)
    record = sum(len(path) + _LINE_BYTES for path in paths)
    # The record is there twice while it is written anew; then the plan stands beside it.
    needed = _SPARE_BLOCKS + 2 * len(folders) + 2 * (record // block + 1)
    for _, size in files:
        needed += (size + block - 1) // block
    forgotten = needed > free and forget(root)
    if forgotten:
        block, free = space_of(root)
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
