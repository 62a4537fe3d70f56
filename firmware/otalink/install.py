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

from micropython import const

from otalink.errors import InstallError, ReleaseError
from otalink.paths import INCOMING, INSTALLED, NEW_SUFFIX, STATE_FOLDER, parents
from otalink.release import Header
from otalink.staging import StagedFile, on_flash

_FOLDER_BIT = const(0x4000)
# Reading files back must let the application run: at the least this often.
_YIELD_MS = const(10)


class Installation:
    """The releases on one flash: the installed one and the one that is being staged.

    `root` stands before every path, "" for a board's own root. `buffer` is the bytearray that files are read through.
    Every method raises InstallError when the flash fails.
    """

    def __init__(self, buffer, root="", paths=None, staged=None):
        """`paths` and `staged` continue what another Installation began: the paths of the release that is being
        staged, and the list of those that are staged and whole, which grows."""
        self._buffer = buffer
        self._root = root + "/"
        self._paths = paths
        self._staged = staged

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
        # Yields the files of a record, as Header.files does, as far as it can be read.
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
        with on_flash(path, "read", open, self._root + path, "rb") as file:
            while True:
                n = on_flash(path, "read", file.readinto, self._buffer)
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
        for path, *_ in self._recorded(INCOMING):
            if path not in paths:
                self._remove_staged(path)
        self._paths = paths
        if self._staged is None:
            self._staged = []

    def record(self, name, version, files):
        """Writes down what is being staged, before the first file, and again when all digests are known.

        `files` is a list of (path, digest, size).
        """
        from otalink.record import format_header

        self._make_folder(STATE_FOLDER)
        new = INCOMING + NEW_SUFFIX
        with on_flash(INCOMING, "written", open, self._root + new, "wb") as file:
            for line in format_header(name, version, files):
                on_flash(INCOMING, "written", file.write, line)
            # Closed twice is closed once; here, an error has a name.
            on_flash(INCOMING, "written", file.close)
        self._rename(new, INCOMING)

    def check_space(self, files):
        """Raises InstallError unless `files`, a list of (path, size in bytes), fit beside what is there."""
        from otalink.space import check_space

        check_space(self._root, self._paths, files)

    def stage(self, path):
        """A StagedFile for `path`, empty; the folders that it needs are made."""
        self.make_folders(path)
        return StagedFile(path, self._root + path + NEW_SUFFIX, self._staged)

    def make_folders(self, path):
        """Makes the folders that `path` lies in."""
        for folder in parents(path):
            self._make_folder(folder)

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

    async def verify(self, path, digest):
        """Raises InstallError unless the flash gives back what was staged of `path`."""
        if await self.digest(path + NEW_SUFFIX) != digest:
            raise InstallError(f"{path}: the flash does not give back what was written to it")

    def tidy(self):
        """Removes what is staged of files that are not whole."""
        for path in self._paths:
            if path not in self._staged:
                self._remove_staged(path)

    def staged_size(self, path):
        """The bytes that `path` will have after the commit."""
        return self.size(path + NEW_SUFFIX if path in self._staged else path)

    def discard(self):
        """Removes everything that is staged."""
        for path in self._paths or ():
            self._remove_staged(path)
        for path, *_ in self._recorded(INCOMING):
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
        from otalink.plan import REMOVE, steps

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
            on_flash(path, "made", os.mkdir, self._root + path)

    def _rename(self, path, target):
        on_flash(target, "put in place", os.rename, self._root + path, self._root + target)

    def _remove(self, path):
        if self._kind(path) == "file":
            on_flash(path, "removed", os.remove, self._root + path)

    def _remove_staged(self, path):
        self._remove(path + NEW_SUFFIX)
        self._prune(path)

    def _prune(self, path):
        # Removes the folders of `path` that have nothing in them any more.
        for folder in reversed(parents(path)):
            if self._kind(folder) == "folder":
                if on_flash(folder, "read", os.listdir, self._root + folder):
                    return
                on_flash(folder, "removed", os.rmdir, self._root + folder)
