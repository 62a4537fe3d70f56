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
from otalink.plan import REMOVE, steps
from otalink.release import INSTALLED, NEW_SUFFIX, STATE_FOLDER, Header, format_header

INCOMING = STATE_FOLDER + "/incoming"
_FOLDER_BIT = 0x4000
# Blocks that an update needs beside those of its files: folders, records, and room for littlefs to move in.
_SPARE_BLOCKS = 6
# Reading files back must let the application run: at the least this often.
_YIELD_MS = 10


class Installation:
    """The releases on one flash: the installed one and the one that is being staged.

    `root` stands before every path, "" for a board's own root. `buffer` is the bytearray that files are read through.
    """

    def __init__(self, buffer, root=""):
        self._buffer = buffer
        self._root = root + "/"
        self._staged = None

    # What there is

    def installed(self):
        """The installed release as (name, version), or None when no release is recorded.

        Raises InstallError when there is a record and it cannot be read.
        """
        return self._read_record(INSTALLED)

    def _read_record(self, path):
        if self._kind(path) is None:
            return None
        try:
            with open(self._root + path, "rb") as file:
                header = Header(file)
                return header.name, header.version
        except (ReleaseError, OSError) as error:
            raise InstallError(f"/{path} cannot be read ({error}): what is installed is not known")

    def _files(self, path):
        # Yields (path, digest, size) for each file of a record; nothing when there is none or it is broken.
        if self._kind(path) is None:
            return
        with open(self._root + path, "rb") as file:
            try:
                yield from Header(file).files()
            except ReleaseError:
                return

    async def digest(self, path):
        """The SHA-256 of a file on the flash, as hexadecimal text; None when there is no such file."""
        if self._kind(path) != "file":
            return None
        sha256 = hashlib.sha256()
        view = memoryview(self._buffer)
        size = len(self._buffer)
        yielded = ticks_ms()
        with open(self._root + path, "rb") as file:
            while True:
                n = file.readinto(self._buffer)
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
        """Begins to stage the files `paths`: what an earlier try left and this one has no use for is removed.

        Raises ReleaseError when a file would take a folder's place or a folder a file's.
        """
        for path in paths:
            if self._kind(path) == "folder":
                raise ReleaseError(f"{path} is a folder on the board and a file of the release: remove it")
            slash = path.find("/")
            while slash >= 0:
                if self._kind(path[:slash]) == "file":
                    raise ReleaseError(f"{path[:slash]} is a file on the board and a folder of the release: remove it")
                slash = path.find("/", slash + 1)
        for path, *_ in self._files(INCOMING):
            if path not in paths:
                self._remove_staged(path)
        self._staged = []

    def record(self, name, version, files):
        """Writes down what is being staged, before the first file, and again when all digests are known.

        `files` is a list of (path, digest, size).
        """
        self._make_folder(STATE_FOLDER)
        try:
            with open(self._root + INCOMING + NEW_SUFFIX, "wb") as file:
                for line in format_header(name, version, files):
                    file.write(line)
            os.rename(self._root + INCOMING + NEW_SUFFIX, self._root + INCOMING)
        except OSError as error:
            raise InstallError(f"/{INCOMING} cannot be written: {_explain(error)}", error.errno)

    def check_space(self, sizes):
        """Raises InstallError unless files of these `sizes` (bytes, a list) fit beside what is there."""
        status = os.statvfs(self._root)
        block = status[1] or status[0]
        free = status[4]
        if free > status[2]:  # what littlefs says when it is full
            free = 0
        needed = _SPARE_BLOCKS
        for size in sizes:
            needed += (size + block - 1) // block
        if needed > free:
            raise InstallError(
                f"the flash is too full: the update needs {needed * block} bytes, {free * block} are free: "
                "remove files that the application does not need"
            )

    def stage(self, path):
        """A StagedFile for `path`, empty; the folders that it needs are made."""
        slash = path.find("/")
        while slash >= 0:
            self._make_folder(path[:slash])
            slash = path.find("/", slash + 1)
        return StagedFile(self, path, self._root + path + NEW_SUFFIX)

    async def is_staged(self, path, digest):
        """True when an earlier try has left `path` staged with this content; it then belongs to this release."""
        if await self.digest(path + NEW_SUFFIX) != digest:
            return False
        self._staged.append(path)
        return True

    def unstage(self, path):
        """Takes a staged file back."""
        self._staged.remove(path)
        self._remove_staged(path)

    def staged_size(self, path):
        """The bytes that `path` will have after the commit."""
        return self.size(path + NEW_SUFFIX if path in self._staged else path)

    def discard(self):
        """Removes everything that is staged."""
        for path, *_ in self._files(INCOMING):
            self._remove_staged(path)
        self._remove(INCOMING)
        self._remove(INCOMING + NEW_SUFFIX)
        self._staged = None

    # Commit

    def commit(self):
        """Swaps the staged files in, removes those that the release no longer has, and records the release.

        Raises InstallError when the flash fails in the middle: the next update mends what is left. ValueError when
        nothing has been staged.
        """
        if self._staged is None:
            raise ValueError("nothing is staged: download a release first")
        try:
            for path in self._staged:
                os.rename(self._root + path + NEW_SUFFIX, self._root + path)
            for action, (path, *_) in steps(self._files(INSTALLED), self._files(INCOMING)):
                if action == REMOVE:
                    self._remove(path)
                    self._prune(path)
            os.rename(self._root + INCOMING, self._root + INSTALLED)
        except OSError as error:
            raise InstallError(f"the release could not be put in place: {_explain(error)}", error.errno)
        self._staged = None

    # The flash

    def _kind(self, path):
        try:
            return "folder" if os.stat(self._root + path)[0] & _FOLDER_BIT else "file"
        except OSError:
            return None

    def _make_folder(self, path):
        if self._kind(path) is None:
            try:
                os.mkdir(self._root + path)
            except OSError as error:
                raise InstallError(f"the folder /{path} cannot be made: {_explain(error)}", error.errno)

    def _remove(self, path):
        if self._kind(path) == "file":
            os.remove(self._root + path)

    def _remove_staged(self, path):
        if self._kind(path + NEW_SUFFIX) is not None:
            self._remove(path + NEW_SUFFIX)
            self._prune(path)

    def _prune(self, path):
        # Folders that have nothing in them any more.
        slash = path.rfind("/")
        while slash >= 0:
            path = path[:slash]
            if self._kind(path) == "folder":
                if os.listdir(self._root + path):
                    return
                os.rmdir(self._root + path)
            slash = path.rfind("/")


class StagedFile:
    """A file that is being staged. `written` counts its bytes; `write` is what FtpClient.retrieve takes as its sink."""

    def __init__(self, installation, path, staged):
        self._installation = installation
        self._path = path
        self._staged = staged
        self._file = None
        self.restart()

    def restart(self):
        """Begins the file over."""
        self.close()
        self._file = self._guarded(open, self._staged, "wb")
        self._sha256 = hashlib.sha256()
        self.written = 0

    def write(self, view):
        """Appends the bytes of `view`. Raises InstallError when the flash fails."""
        self._guarded(self._file.write, view)
        self._sha256.update(view)
        self.written += len(view)

    async def finish(self, size, digest):
        """Closes the file and reads it back. Gives its SHA-256 as hexadecimal text.

        `size` (bytes) and `digest` are what it must have; None where that is not known. Raises ReleaseError when it is
        another file, InstallError when the flash does not give back what was written.
        """
        self.close()
        if size is not None and self.written != size:
            raise ReleaseError(f"{self._path}: {self.written} bytes came, it must have {size}")
        received = hexlify(self._sha256.digest()).decode()
        if digest is not None and received != digest:
            raise ReleaseError(f"{self._path}: its SHA-256 is not the promised one")
        if await self._installation.digest(self._path + NEW_SUFFIX) != received:
            raise InstallError(f"{self._path}: the flash does not give back what was written to it")
        self._installation._staged.append(self._path)
        return received

    def close(self):
        """Closes the file; what is staged stays."""
        if self._file is not None:
            self._guarded(self._file.close)
            self._file = None

    def _guarded(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError as error:
            raise InstallError(f"{self._path} cannot be written: {_explain(error)}", error.errno)


def _explain(error):
    # littlefs numbers its errors by itself: 28 is no space, whatever the port.
    return "the flash is full" if error.errno == 28 else f"the flash failed with error {error.errno}"
