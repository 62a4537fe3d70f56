"""Brings the files of a release from the server to the flash, staged and verified; goes on where it was cut off."""

import asyncio
import hashlib
from binascii import hexlify

from otalink.errors import FolderChangedError, FtpError, InstallError, ReleaseError, ResumeError, TransferError

_UNKNOWN = "0" * 64
_RETRY_DELAY_MAX = 60


class Download:
    """One download of `release` through `client` to `flash` (an Installation).

    `config` has attempts and retry_delay; `progress(done, total)` is called, in bytes, at each new percent; `say(line)`
    takes what happens. `staged` counts the files that are staged in the end, `received` the bytes of files that came.
    """

    def __init__(self, release, client, flash, buffer, config, progress, say):
        self._release = release
        self._client = client
        self._flash = flash
        self._buffer = buffer
        self._config = config
        self._progress = progress
        self._say = say
        self._done = 0
        self._total = 0
        self._percent = -1
        self.staged = 0
        self.received = 0

    async def run(self):
        """Stages everything that the flash lacks. Raises FolderChangedError when the folder changed meanwhile.

        After a TransferError what is whole stays staged, and the next download uses it; after a ReleaseError or an
        InstallError nothing is left.
        """
        release, flash = self._release, self._flash
        try:
            await release.read_files(self._client, self._buffer)
            for line in release.messages:
                self._say(line)
            flash.begin([file[0] for file in release.files])
            wanted = await self._compare()
            if flash.check_space([(file[0], file[3] or 0) for file in wanted]):
                self._say("the flash is short: the way back to the release before this one is given up")
            self._record()
            for file in wanted:
                await self._bring(file)
            await self._refuse_change()
            for file in release.files:
                file[3] = flash.staged_size(file[0])
            self._record()
        except (ReleaseError, InstallError):
            flash.discard()
            raise
        if self._percent < 100:
            self._progress(self._total, self._total)

    async def _compare(self):
        # The files that have to be fetched, with their sizes where the server tells them.
        wanted = []
        for file in self._release.files:
            path, filename, digest, size = file
            if digest is not None and await self._flash.digest(path) == digest:
                self._flash.unstage(path)
                continue
            if await self._flash.take_staged(path, digest):
                self.staged += 1
                continue
            if size is None:
                file[3] = size = await self._size(filename)
            self._total += size or self._flash.size(path) or 0
            wanted.append(file)
        self._report(0)
        return wanted

    async def _size(self, filename):
        try:
            return await self._client.size(filename)
        except FtpError as error:
            if error.code != 550:
                raise
            raise TransferError(f"{filename} belongs to the release and is not on the server: publish it again")

    def _record(self):
        release = self._release
        self._flash.record(
            release.name,
            release.version,
            [(path, digest or _UNKNOWN, size or 0) for path, _, digest, size in release.files],
        )

    async def _bring(self, file):
        path, filename, digest, size = file
        if digest is None and await self._is_equal(file):
            self._say(f"{path}: unchanged")
            return
        staged = self._flash.stage(path)
        try:
            await self._fetch(filename, staged, size)
            file[2] = await staged.finish(size, digest)
        except ReleaseError as error:
            staged.close()
            await self._refuse_change()
            raise ReleaseError(f"{error}: publish {filename} again")
        finally:
            staged.close()
        self.staged += 1
        self._say(f"{path}: {staged.written} bytes")

    async def _is_equal(self, file):
        # Nothing says what the file must be: it is fetched to be compared, and not written if the flash has the same.
        # A file of another size need not be compared.
        path, filename, _, size = file
        here = await self._flash.digest(path)
        if here is None or size not in (None, self._flash.size(path)):
            return False
        came = _Digest()
        await self._fetch(filename, came, size)
        if came.hexdigest() == here:
            file[2] = here
            return True
        self._total += came.written
        return False

    async def _fetch(self, filename, target, size):
        # Moves one file into `target`; a broken connection goes on behind the bytes that it has.
        def sink(view):
            target.write(view)
            self.received += len(view)
            self._report(len(view))

        failures = 0
        broken = False
        while True:
            before = target.written
            try:
                if broken:
                    # What is here may be a part of a file that was replaced.
                    await self._refuse_change()
                await self._client.retrieve(filename, self._buffer, sink, before, size)
                return
            except FolderChangedError:
                raise
            except TransferError as error:
                if isinstance(error, FtpError) and error.code >= 500:
                    await self._refuse_change()
                    raise
                if isinstance(error, ResumeError):
                    self._report(-target.written)
                    target.restart()
                failures = 0 if target.written > before else failures + 1
                if failures >= self._config.attempts:
                    raise TransferError(f"{error}; given up until the next check", error.errno)
                delay = min(self._config.retry_delay * 2 ** max(0, failures - 1), _RETRY_DELAY_MAX)
                self._say(f"{error}; going on at byte {target.written} in {delay} s")
                broken = True
            await asyncio.sleep(delay)

    async def _refuse_change(self):
        if await self._release.changed(self._client, self._buffer):
            raise FolderChangedError("the folder on the server changed during the download")

    def _report(self, size):
        self._done += size
        percent = min(100, 100 * self._done // self._total) if self._total else -1
        if percent > self._percent:
            self._percent = percent
            self._progress(min(self._done, self._total), self._total)


class _Digest:
    """Takes a file as a StagedFile does, and writes nothing."""

    def __init__(self):
        self.restart()

    def restart(self):
        self._sha256 = hashlib.sha256()
        self.written = 0

    def write(self, view):
        self._sha256.update(view)
        self.written += len(view)

    def hexdigest(self):
        return hexlify(self._sha256.digest()).decode()
