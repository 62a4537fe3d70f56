"""Puts a release on the flash: stages its files beside their targets and verifies them; and what is installed there.

`begin.py` comes before it. Nothing is written in place: a file is staged as `PATH.ota-new`, closed, and read back. Once
all are there, `commit.py` commits them by one rename; from there on the boot guard swaps, forward or back, when the
board restarts. It knows no network and no policy; docs/update.md is its specification.
"""

import asyncio
import hashlib
from binascii import hexlify
from time import ticks_diff, ticks_ms

from micropython import const

from otalink.errors import InstallError, ReleaseError
from otalink.files import kind_of, make_folder, remove_staged, rename, size_of
from otalink.flash import on_flash
from otalink.layout import INCOMING, INSTALLED, NEW_SUFFIX, STATE_FOLDER, parents

# Reading files back must let the application run: at the least this often.
_YIELD_MS = const(10)


class Installation:
    """The releases on one flash: the installed one and the one that is being staged.

    `root` stands before every path, "" for a board's own root. `buffer` is the bytearray that files are read through.
    Every method raises InstallError when the flash fails.
    """

    def __init__(self, buffer, root="", paths=None, staged=None):
        """`paths` and `staged` continue what another Installation began: the paths of the release that is being
        staged, and the list of those that are staged and whole, which grows. `tidy` alone needs the first."""
        self._buffer = buffer
        self._root = root + "/"
        self._paths = paths
        self._staged = [] if staged is None else staged

    # What there is

    def installed(self):
        """The installed release as (name, version), or None when no release is recorded.

        Raises InstallError when there is a record and it cannot be read.
        """
        from otalink.release import Header

        if kind_of(self._root, INSTALLED) is None:
            return None
        try:
            with open(self._root + INSTALLED, "rb") as file:
                header = Header(file)
                return header.name, header.version
        except (ReleaseError, OSError) as error:
            raise InstallError(f"/{INSTALLED} cannot be read ({error}): what is installed is not known")

    async def digest(self, path):
        """The SHA-256 of a file on the flash, as hexadecimal text; None when there is no such file."""
        if kind_of(self._root, path) != "file":
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

    def size(self, path):
        """The bytes of a file on the flash; None when there is no such file."""
        return size_of(self._root, path)

    # Staging

    def record(self, name, version, files):
        """Writes down what is being staged, before the first file, and again when all digests are known.

        `files` is a list of (path, digest, size).
        """
        from otalink.record import format_header

        make_folder(self._root, STATE_FOLDER)
        new = INCOMING + NEW_SUFFIX
        file = on_flash(INCOMING, "written", open, self._root + new, "wb")
        try:
            for line in format_header(name, version, files):
                on_flash(INCOMING, "written", file.write, line)
        finally:
            on_flash(INCOMING, "written", file.close)
        rename(self._root, new, INCOMING)

    def make_folders(self, path):
        """Makes the folders that `path` lies in."""
        for folder in parents(path):
            make_folder(self._root, folder)

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
        remove_staged(self._root, path)

    async def verify(self, path, digest):
        """Raises InstallError unless the flash gives back what was staged of `path`."""
        if await self.digest(path + NEW_SUFFIX) != digest:
            raise InstallError(f"{path}: the flash does not give back what was written to it")

    def tidy(self):
        """Removes what is staged of files that are not whole."""
        for path in self._paths:
            if path not in self._staged:
                remove_staged(self._root, path)

    def staged_size(self, path):
        """The bytes that `path` will have after the commit."""
        return self.size(path + NEW_SUFFIX if path in self._staged else path)


# The steps of an update from a plain folder, and what is installed


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
    job.differ, job.count = len(job.staged), len(job.release.files)


def tidy(job):
    """Removes what a download has left half done."""
    _open(job).tidy()


def _open(job):
    paths = job.release and job.release.files and [file[0] for file in job.release.files]
    return Installation(job.buffer, job.root, paths, job.staged)


def _record(flash, release):
    # What is not known yet has zeros.
    files = [(file[0], file[2] or "0" * 64, file[3] or 0) for file in release.files]
    flash.record(release.name, release.version, files)
