"""Files that are staged beside their targets: written, read back, hashed. A download needs no more of the flash.

Each path is relative to `root`, which ends in a slash. Every function raises InstallError when the flash fails.
"""

import asyncio
import hashlib
import os
from binascii import hexlify
from time import ticks_diff, ticks_ms

from otalink.errors import InstallError, ReleaseError
from otalink.layout import NEW_SUFFIX, parents

_FOLDER_BIT = 0x4000
# littlefs numbers its errors by itself: this is no space, whatever the port.
_NO_SPACE = 28
# Reading files back must let the application run: at the least this often.
_YIELD_MS = 10


class StagedFile:
    """A file that is being staged, empty at first; the folders that it needs are made.

    `written` counts its bytes; `write` is what FtpClient.retrieve takes as its sink. Once it is whole, its path is in
    the list `staged`.
    """

    def __init__(self, buffer, root, path, staged):
        self._buffer = buffer
        self._root = root
        self._path = path
        self._staged = staged
        self._file = None
        for folder in parents(path):
            make_folder(root, folder)
        self.restart()

    def restart(self):
        """Begins the file over."""
        self._close_file()
        self._file = on_flash(self._path, "written", open, self._root + self._path + NEW_SUFFIX, "wb")
        self._sha256 = hashlib.sha256()
        self.written = 0

    def write(self, view):
        """Appends the bytes of `view`. Raises InstallError when the flash fails."""
        on_flash(self._path, "written", self._file.write, view)
        self._sha256.update(view)
        self.written += len(view)

    async def finish(self, size, digest):
        """Closes the file and reads it back. Gives its SHA-256 as hexadecimal text.

        `size` (bytes) and `digest` are what it must have; None where that is not known. Raises ReleaseError when it is
        another file, InstallError when the flash does not give back what was written.
        """
        self._close_file()
        if size is not None and self.written != size:
            raise ReleaseError(f"{self._path}: {self.written} bytes came, it must have {size}")
        received = hexlify(self._sha256.digest()).decode()
        if digest is not None and received != digest:
            raise ReleaseError(f"{self._path}: its SHA-256 is not the promised one")
        if await digest_of(self._root, self._path + NEW_SUFFIX, self._buffer) != received:
            raise InstallError(f"{self._path}: the flash does not give back what was written to it")
        if self._path == "boot.py":
            from otalink.update_plan import check_boot

            check_boot(self._root + self._path + NEW_SUFFIX)
        self._staged.append(self._path)
        return received

    def close(self):
        """Closes the file; unless it was finished, it is removed."""
        self._close_file()
        if self._path not in self._staged:
            remove_staged(self._root, self._path)

    def _close_file(self):
        file, self._file = self._file, None
        if file is not None:
            on_flash(self._path, "written", file.close)


def kind_of(root, path):
    """What `path` is: "file", "folder" or None."""
    try:
        return "folder" if os.stat(root + path)[0] & _FOLDER_BIT else "file"
    except OSError:
        return None


def size_of(root, path):
    """The bytes of a file; None when there is no such file."""
    return os.stat(root + path)[6] if kind_of(root, path) == "file" else None


async def digest_of(root, path, buffer):
    """The SHA-256 of a file, read through `buffer`, as hexadecimal text; None when there is no such file."""
    if kind_of(root, path) != "file":
        return None
    sha256 = hashlib.sha256()
    view = memoryview(buffer)
    size = len(buffer)
    yielded = ticks_ms()
    with on_flash(path, "read", open, root + path, "rb") as file:
        while True:
            n = on_flash(path, "read", file.readinto, buffer)
            if not n:
                break
            sha256.update(buffer if n == size else view[:n])
            if ticks_diff(ticks_ms(), yielded) >= _YIELD_MS:
                await asyncio.sleep_ms(0)
                yielded = ticks_ms()
    return hexlify(sha256.digest()).decode()


def make_folder(root, path):
    """Makes a folder, unless it is there."""
    kind = kind_of(root, path)
    if kind == "file":
        raise InstallError(f"/{path} is a file where a folder must be: remove it")
    if kind is None:
        on_flash(path, "made", os.mkdir, root + path)


def remove(root, path):
    """Removes a file, if it is there."""
    if kind_of(root, path) == "file":
        on_flash(path, "removed", os.remove, root + path)


def remove_staged(root, path):
    """Removes what is staged of `path`, and the folders that this empties."""
    remove(root, path + NEW_SUFFIX)
    prune(root, path)


def prune(root, path):
    """Removes the folders of `path` that have nothing in them any more."""
    for folder in reversed(parents(path)):
        if kind_of(root, folder) == "folder":
            if on_flash(folder, "read", os.listdir, root + folder):
                return
            on_flash(folder, "removed", os.rmdir, root + folder)


def on_flash(path, what, function, *arguments):
    """Calls `function`; its OSError becomes an InstallError which says that `path` cannot be `what`."""
    try:
        return function(*arguments)
    except OSError as error:
        reason = "the flash is full" if error.errno == _NO_SPACE else f"the flash failed with error {error.errno}"
        raise InstallError(f"/{path} cannot be {what}: {reason}", error.errno)
