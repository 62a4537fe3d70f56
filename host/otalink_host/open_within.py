"""Opens a file that links must not lead out of a folder, be they changed at that very moment."""

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from typing import BinaryIO

# Where it is there, it asks for no right to list a folder.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# A named pipe would otherwise be waited for, until somebody writes to it.
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_within(path: str, roots: Sequence[str]) -> BinaryIO:
    """The regular file `path`, for reading, if it lies in one of `roots` once every link was followed.

    `roots` are real paths, without links. Raises OSError: EACCES when it lies elsewhere, EISDIR when it is no regular
    file, ELOOP when a link was put in the way meanwhile.
    """
    resolved = os.path.realpath(path)
    root = next((root for root in roots if is_below(resolved, root)), None)
    if root is None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def opener(name: str, flags: int) -> int:
        descriptor = _open_by_steps(root, os.path.relpath(resolved, root).split(os.sep))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return descriptor

    return open(path, "rb", opener=opener)


def is_below(path: str, root: str) -> bool:
    """Whether `path` is `root` or in it, as the two are written: no link is followed."""
    try:
        return os.path.commonpath([root, path]) == root
    except ValueError:
        return False


def _open_by_steps(root: str, parts: list[str]) -> int:
    """Opens one folder after the other, none of which may be a link any more, and then the file."""
    if os.open not in os.supports_dir_fd:
        return os.open(os.path.join(root, *parts), _FILE)
    with contextlib.ExitStack() as stack:
        folder = os.open(root, _FOLDER)
        stack.callback(os.close, folder)
        for part in parts[:-1]:
            folder = os.open(part, _FOLDER, dir_fd=folder)
            stack.callback(os.close, folder)
        return os.open(parts[-1], _FILE, dir_fd=folder)
