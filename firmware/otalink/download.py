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
    takes what happens. `fetched` counts the files that were staged, `received` the bytes of files that came.
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
        self.fetched = 0
        self.received = 0

    async def run(self):
        """Stages everything that the flash lacks. Raises FolderChangedError when the folder changed meanwhile.

        After a TransferError what is whole stays staged, and the next download uses it; after a ReleaseError or an
        InstallError nothing is left.
        """
        release, flash = self._release, self._flash
        await release.read_files(self._client, self._buffer)
        for line in release.messages:
            self._say(line)
        try:
            flash.begin([file[0] for file in release.files])
            wanted = await self._compare()
            sizes = [size for path, _, _, size in wanted if size is not None and size != flash.size(path)]
            if flash.check_space(sizes):
                self._say("the flash is short: the way back to the release before this one is given up")
            self._record()
            self._total = sum(file[3] or 0 for file in wanted)
            self._report(0)
            for file in wanted:
                await self._bring(file)
            if await release.changed(self._client, self._buffer):
                raise self._changed()
            for file in release.files:
                file[3] = flash.staged_size(file[0])
            self._record()
        except (ReleaseError, InstallError):
            flash.discard()
            raise
        self._report(self._total - self._done)

    async def _compare(self):
        # The files that have to be fetched, with their sizes where the server tells them.
        wanted = []
        for file in self._release.files:
            path, filename, digest, size = file
            if digest is not None and await self._has(path, digest):
                continue
            if size is None:
                file[3] = await self._client.size(filename)
            wanted.append(file)
        return wanted

    async def _has(self, path, digest):
        return await self._flash.digest(path) == digest or await self._flash.is_staged(path, digest)

    def _record(self):
        release = self._release
        self._flash.record(
            release.name,
            release.version,
            [(path, digest or _UNKNOWN, size or 0) for path, _, digest, size in release.files],
        )

    async def _bring(self, file):
        path, filename, digest, size = file
        here = None
        if digest is None:
            # Nothing says what the file must be: what comes is compared with what is here, and not written if equal.
            here = await self._flash.digest(path)
            if here is not None and size == self._flash.size(path):
                came = _Digest()
                await self._fetch(filename, came, size)
                file[2] = digest = came.hexdigest()
                if digest == here:
                    self._say(f"{path}: unchanged")
                    return
                self._total += size
        staged = self._flash.stage(path)
        try:
            await self._fetch(filename, staged, size)
            try:
                file[2] = await staged.finish(size, digest)
            except ReleaseError as error:
                if await self._release.changed(self._client, self._buffer):
                    raise self._changed()
                raise ReleaseError(f"{error}: publish {filename} again")
        finally:
            staged.close()
        if file[2] == here:
            self._flash.unstage(path)
            self._say(f"{path}: unchanged")
            return
        self.fetched += 1
        self._say(f"{path}: {staged.written} bytes")

    async def _fetch(self, filename, target, size):
        # Moves one file into `target`; a broken connection goes on behind the bytes that it has.
        def sink(view):
            target.write(view)
            self.received += len(view)
            self._report(len(view))

        failures = 0
        while True:
            before = target.written
            try:
                await self._client.retrieve(filename, self._buffer, sink, before, size)
                return
            except TransferError as error:
                if isinstance(error, FtpError) and error.code >= 500:
                    raise
                if isinstance(error, ResumeError):
                    self._report(-target.written)
                    target.restart()
                failures = 0 if target.written > before else failures + 1
                if failures >= self._config.attempts:
                    raise
                delay = min(self._config.retry_delay * 2**failures, _RETRY_DELAY_MAX)
                self._say(f"{error}; going on at byte {target.written} in {delay} s")
            await asyncio.sleep(delay)

    def _report(self, size):
        self._done += size
        percent = 100 * self._done // self._total if self._total else 100
        if percent > self._percent:
            self._percent = percent
            self._progress(self._done, self._total)

    def _changed(self):
        return FolderChangedError("the folder on the server changed during the download: starting over")


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
