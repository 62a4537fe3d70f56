"""Puts a release on the flash: stages its files beside their targets, verifies them, swaps them in.

Nothing is written in place: a file is staged as `PATH.ota-new`, closed, read back, and renamed over its target. The
record of what is being staged, `/.otalink/incoming`, becomes the record of what is installed by the last rename of
all. It knows no network and no policy; docs/update.md is its specification.
"""

import asyncio
import hashlib
import os
from binascii import hexlify
from time import ticks_diff, ticks_ms

from otalink.errors import InstallError, ReleaseError
from otalink.plan import REMOVE, parents, steps
from otalink.release import INSTALLED, NEW_SUFFIX, STATE_FOLDER, Header, format_header

INCOMING = STATE_FOLDER + "/incoming"
_FOLDER_BIT = 0x4000
# littlefs numbers its errors by itself: this is no space, whatever the port.
_NO_SPACE = 28
# Blocks that an update needs beside those of its files and new folders: the state folder, and room for littlefs to
# move in. A folder takes two.
_SPARE_BLOCKS = 4
# More than what stands in a record's line beside the path.
_LINE_BYTES = 100
# Reading files back must let the application run: at the least this often.
_YIELD_MS = 10


class Installation:
    """The releases on one flash: the installed one and the one that is being staged.

    `root` stands before every path, "" for a board's own root. `buffer` is the bytearray that files are read through.
    Every method raises InstallError when the flash fails.
    """

    def __init__(self, buffer, root=""):
        self._buffer = buffer
        self._root = root + "/"
        # The paths of the release that is being staged, and those of them that are staged and whole.
        self._paths = None
        self._staged = None

    # What there is

    def installed(self):
        """The installed release as (name, version), or None when no release is recorded.

        Raises InstallError when there is a record and it cannot be read.
        """
        if self._kind(INSTALLED) is None:
            return None
        try:
            with open(self._root + INSTALLED, "rb") as file:
                header = Header(file)
                return header.name, header.version
        except (ReleaseError, OSError) as error:
            raise InstallError(f"/{INSTALLED} cannot be read ({error}): what is installed is not known")

    def _recorded(self, path):
        # Yields (path, digest, size) for each file of a record, as far as it can be read.
        if self._kind(path) != "file":
            return
        with open(self._root + path, "rb") as file:
            try:
                yield from Header(file).files()
            except (ReleaseError, OSError):
                return

    async def digest(self, path):
        """The SHA-256 of a file on the flash, as hexadecimal text; None when there is no such file."""
        if self._kind(path) != "file":
            return None
        sha256 = hashlib.sha256()
        view = memoryview(self._buffer)
        size = len(self._buffer)
        yielded = ticks_ms()
        with _on_flash(path, "read", open, self._root + path, "rb") as file:
            while True:
                n = _on_flash(path, "read", file.readinto, self._buffer)
                if not n:
                    break
                sha256.update(self._buffer if n == size else view[:n])
                if ticks_diff(ticks_ms(), yielded) >= _YIELD_MS:
                    await asyncio.sleep_ms(0)
                    yielded = ticks_ms()
        return hexlify(sha256.digest()).decode()

    def exists(self, path):
        """True when there is a file or folder `path` on the flash."""
        return self._kind(path) is not None

    def size(self, path):
        """The bytes of a file on the flash; None when there is no such file."""
        return os.stat(self._root + path)[6] if self._kind(path) == "file" else None

    # Staging

    def begin(self, paths):
        """Begins to stage the files `paths` (sorted): what an earlier try left beside them is removed.

        Raises ReleaseError when a file would take a folder's place or a folder a file's.
        """
        for path in paths:
            if self._kind(path) == "folder":
                raise ReleaseError(f"{path} is a folder on the board and a file of the release: remove one of them")
            for folder in parents(path):
                if self._kind(folder) == "file":
                    raise ReleaseError(f"{folder} is a file on the board and a folder of the release: remove one")
        for path, _, _ in self._recorded(INCOMING):
            if path not in paths:
                self._remove_staged(path)
        self._paths = paths
        self._staged = []

    def record(self, name, version, files):
        """Writes down what is being staged, before the first file, and again when all digests are known.

        `files` is a list of (path, digest, size).
        """
        self._make_folder(STATE_FOLDER)
        new = INCOMING + NEW_SUFFIX
        with _on_flash(INCOMING, "written", open, self._root + new, "wb") as file:
            for line in format_header(name, version, files):
                _on_flash(INCOMING, "written", file.write, line)
            # Closed twice is closed once; here, an error has a name.
            _on_flash(INCOMING, "written", file.close)
        self._rename(new, INCOMING)

    def check_space(self, files):
        """Raises InstallError unless `files`, a list of (path, size in bytes), fit beside what is there."""
        status = _on_flash("", "asked for its space", os.statvfs, self._root)
        block = status[1] or status[0]
        free = status[4]
        if free > status[2]:  # what littlefs says when it is full
            free = 0
        folders = set()
        for path, _ in files:
            folders.update(folder for folder in parents(path) if self._kind(folder) is None)
        record = sum(len(path) + _LINE_BYTES for path in self._paths)
        # The record is there twice while it is written anew.
        needed = _SPARE_BLOCKS + 2 * len(folders) + 2 * (record // block + 1)
        for _, size in files:
            needed += (size + block - 1) // block
        if needed > free:
            raise InstallError(
                f"the flash is too full: the update needs {needed * block} bytes, {free * block} are free; "
                "remove files that the application does not need"
            )

    def stage(self, path):
        """A StagedFile for `path`, empty; the folders that it needs are made."""
        for folder in parents(path):
            self._make_folder(folder)
        return StagedFile(self, path)

    async def take_staged(self, path, digest):
        """True when an earlier try has left `path` staged with this content; what else it has left is removed."""
        if digest is not None and await self.digest(path + NEW_SUFFIX) == digest:
            self._staged.append(path)
            return True
        self.unstage(path)
        return False

    def unstage(self, path):
        """Removes what is staged of `path`, if there is anything."""
        if path in self._staged:
            self._staged.remove(path)
        self._remove_staged(path)

    def staged_size(self, path):
        """The bytes that `path` will have after the commit."""
        return self.size(path + NEW_SUFFIX if path in self._staged else path)

    def discard(self):
        """Removes everything that is staged."""
        for path in self._paths or ():
            self._remove_staged(path)
        for path, _, _ in self._recorded(INCOMING):
            self._remove_staged(path)
        self._remove(INCOMING + NEW_SUFFIX)
        self._remove(INCOMING)
        self._paths = self._staged = None

    # Commit

    def commit(self):
        """Swaps the staged files in, removes those that the release no longer has, and records the release.

        Nothing else runs meanwhile, so that nothing can end it half way. Raises InstallError when the flash fails in
        the middle: the next update mends what is left. ValueError when nothing has been staged.
        """
        if self._staged is None:
            raise ValueError("nothing is staged: download a release first")
        offered = ((path, None, None) for path in self._paths)
        gone = [file[0] for step, file in steps(self._recorded(INSTALLED), offered) if step == REMOVE]
        for path in self._staged:
            self._rename(path + NEW_SUFFIX, path)
        for path in gone:
            if self._kind(path) == "file":
                self._remove(path)
                self._prune(path)
        self._rename(INCOMING, INSTALLED)
        self._paths = self._staged = None

    # The flash

    def _kind(self, path):
        try:
            return "folder" if os.stat(self._root + path)[0] & _FOLDER_BIT else "file"
        except OSError:
            return None

    def _make_folder(self, path):
        kind = self._kind(path)
        if kind == "file":
            raise InstallError(f"/{path} is a file where a folder must be: remove it")
        if kind is None:
            _on_flash(path, "made", os.mkdir, self._root + path)

    def _rename(self, path, target):
        _on_flash(target, "put in place", os.rename, self._root + path, self._root + target)

    def _remove(self, path):
        if self._kind(path) == "file":
            _on_flash(path, "removed", os.remove, self._root + path)

    def _remove_staged(self, path):
        self._remove(path + NEW_SUFFIX)
        self._prune(path)

    def _prune(self, path):
        # Removes the folders of `path` that have nothing in them any more.
        for folder in reversed(parents(path)):
            if self._kind(folder) == "folder":
                if _on_flash(folder, "read", os.listdir, self._root + folder):
                    return
                _on_flash(folder, "removed", os.rmdir, self._root + folder)


class StagedFile:
    """A file that is being staged. `written` counts its bytes; `write` is what FtpClient.retrieve takes as its sink."""

    def __init__(self, installation, path):
        self._installation = installation
        self._path = path
        self._file = None
        self._is_whole = False
        self.restart()

    def restart(self):
        """Begins the file over."""
        self._close_file()
        self._file = _on_flash(self._path, "written", open, self._installation._root + self._path + NEW_SUFFIX, "wb")
        self._sha256 = hashlib.sha256()
        self.written = 0

    def write(self, view):
        """Appends the bytes of `view`. Raises InstallError when the flash fails."""
        _on_flash(self._path, "written", self._file.write, view)
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
        if await self._installation.digest(self._path + NEW_SUFFIX) != received:
            raise InstallError(f"{self._path}: the flash does not give back what was written to it")
        self._installation._staged.append(self._path)
        self._is_whole = True
        return received

    def close(self):
        """Closes the file; unless it was finished, it is removed."""
        self._close_file()
        if not self._is_whole:
            self._installation.unstage(self._path)

    def _close_file(self):
        file, self._file = self._file, None
        if file is not None:
            _on_flash(self._path, "written", file.close)


def _on_flash(path, what, function, *arguments):
    # Calls `function`; its OSError becomes an InstallError which says that `path` cannot be `what`.
    try:
        return function(*arguments)
    except OSError as error:
        reason = "the flash is full" if error.errno == _NO_SPACE else f"the flash failed with error {error.errno}"
        raise InstallError(f"/{path} cannot be {what}: {reason}", error.errno)
