"""The space that an update needs on the flash."""

import os

from micropython import const

from otalink.errors import InstallError
from otalink.paths import parents
from otalink.staging import on_flash

# Blocks that an update needs beside those of its files and new folders: the state folder, and room for littlefs to
# move in. A folder takes two.
_SPARE_BLOCKS = const(4)
# More than what stands in a record's line beside the path.
_LINE_BYTES = const(100)


def check(job):
    """Raises InstallError unless what is wanted fits, as far as its sizes are known."""
    check_space(
        job.root + "/", [file[0] for file in job.release.files], [(file[0], file[3] or 0) for file in job.wanted]
    )


def check_space(root, paths, files):
    """Raises InstallError unless `files`, a list of (path, size in bytes), fit beside what is there.

    `paths` are those of the whole release, for its record.
    """
    status = on_flash("", "asked for its space", os.statvfs, root)
    block = status[1] or status[0]
    free = status[4]
    if free > status[2]:  # what littlefs says when it is full
        free = 0
    folders = set()
    for path, _ in files:
        folders.update(folder for folder in parents(path) if not _exists(root + folder))
    record = sum(len(path) + _LINE_BYTES for path in paths)
    # The record is there twice while it is written anew.
    needed = _SPARE_BLOCKS + 2 * len(folders) + 2 * (record // block + 1)
    for _, size in files:
        needed += (size + block - 1) // block
    if needed > free:
        raise InstallError(
            f"the flash is too full: the update needs {needed * block} bytes, {free * block} are free; "
            "remove files that the application does not need"
        )


def _exists(path):
    try:
        return bool(os.stat(path))
    except OSError:
        return False
