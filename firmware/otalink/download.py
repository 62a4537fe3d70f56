"""Brings the files of a release from the server to the flash, staged and verified; goes on where it was cut off."""

import asyncio
import hashlib
from binascii import hexlify

from micropython import const

from otalink.errors import FolderChangedError, FtpError, ReleaseError, ResumeError, TransferError
from otalink.ftp_session import FtpSession
from otalink.phase import call, run
from otalink.staging import StagedFile, digest_of, size_of

_RETRY_DELAY_MAX = const(60)


async def download(config, link, release, wanted, staged, buffer, root, progress, say):
    """Stages `wanted`, those of the release's files that the flash lacks. Gives the bytes of files that came.

    What becomes known of a file is put into it. `progress(done, total)` is called, in bytes, at each new percent;
    `say(line)` takes what happens. The session is left in `link`. FolderChangedError: the folder changed meanwhile.
    After a TransferError what is whole stays staged, and the next download uses it.
    """
    async with FtpSession(*config.server) as client:
        await client.cwd(config.folder)
        download = _Download(client, config, link, release, staged, buffer, root + "/", progress, say)
        received = await download.run(wanted)
        client.suspend(link)
        return received


class _Download:
    def __init__(self, client, config, link, release, staged, buffer, root, progress, say):
        self._client = client
        self._config = config
        self._link = link
        self._release = release
        self._staged = staged
        self._buffer = buffer
        self._root = root
        self._progress = progress
        self._say = say
        self._done = 0
        self._total = 0
        self._percent = -1
        self._received = 0

    async def run(self, wanted):
        asked = False
        for file in wanted:
            if file[3] is None:
                asked = True
                try:
                    file[3] = await self._client.size(file[1])
                except FtpError as error:
                    if error.code != 550:
                        raise
                    raise TransferError(f"{file[1]} belongs to the release and is not on the server: publish it again")
            self._total += file[3] or size_of(self._root, file[0]) or 0
        if asked:
            # What the listing told has been checked before.
            call(
                "space.check_space",
                self._root,
                [file[0] for file in self._release.files],
                [(file[0], file[3] or 0) for file in wanted],
            )
        self._report(0)
        for file in wanted:
            await self._bring(file)
        if self._percent < 100:
            self._progress(self._total, self._total)
        return self._received

    async def _bring(self, file):
        path, filename, digest, size = file
        if digest is None and await self._is_equal(file):
            self._say(f"{path}: unchanged")
            return
        target = StagedFile(self._buffer, self._root, path, self._staged)
        try:
            await self._fetch(filename, target, size)
            file[2] = await target.finish(size, digest)
        except ReleaseError as error:
            target.close()
            await self._refuse_change()
            raise ReleaseError(f"{error}: publish {filename} again")
        finally:
            target.close()
        self._say(f"{path}: {target.written} bytes")

    async def _is_equal(self, file):
        # Nothing says what the file must be: it is fetched to be compared, and not written if the flash has the same.
        # A file of another size need not be compared.
        path, filename, _, size = file
        here = await digest_of(self._root, path, self._buffer)
        if here is None or size not in (None, size_of(self._root, path)):
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
            self._received += len(view)
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
        release = self._release
        self._client.suspend(self._link)
        mark = await run("folder.look", self._config, self._link, release.versioned, self._buffer, True)
        self._client.resume(self._link)
        if mark != release.mark:
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
