"""Brings the files of a release from the server to the flash, staged and verified; goes on where it was cut off."""

import asyncio

from micropython import const

from otalink.errors import FolderChangedError, FtpError, ReleaseError, ResumeError, TransferError
from otalink.ftp_session import FtpSession
from otalink.phase import call, run
from otalink.staging import StagedFile, size_of

_RETRY_DELAY_MAX = const(60)


async def download(config, link, release, wanted, staged, buffer, root, progress, say):
    """Stages `wanted`, which is what `prepare.prepare` gave, by the session in `link`. Gives the bytes that came.

    What becomes known of a file is put into it. `progress(done, total)` is called, in bytes, at each new percent;
    `say(line)` takes what happens. The session is left in `link`. FolderChangedError: the folder changed meanwhile.
    After a TransferError what is whole stays staged, and the next download uses it.
    """
    async with FtpSession(*config.server) as client:
        client.resume(link)
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
        for file, _ in wanted:
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
                [(file[0], file[3] or 0) for file, _ in wanted],
            )
        self._report(0)
        for file, here in wanted:
            path = file[0]
            if here is not None:
                # Nothing says what the file must be: it is fetched to be compared, and not written if it is equal.
                came, size = await self._bring(file, None)
                if came == here:
                    file[2] = here
                    self._say(f"{path}: unchanged")
                    continue
                self._total += size
            file[2], size = await self._bring(file, self._staged)
            self._say(f"{path}: {size} bytes")
        if self._percent < 100:
            self._progress(self._total, self._total)
        return self._received

    async def _bring(self, file, staged):
        # Gives the SHA-256 and the size of what came.
        path, filename, digest, size = file
        target = StagedFile(self._root, path, staged)
        try:
            await self._fetch(filename, target, size)
            return target.finish(size, digest), target.written
        except ReleaseError as error:
            await self._refuse_change()
            raise ReleaseError(f"{error}: publish {filename} again")
        finally:
            target.close()

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
        mark = await run("ftp folder.look", self._config, self._link, release.versioned, self._buffer, True)
        self._client.resume(self._link)
        if mark != release.mark:
            raise FolderChangedError("the folder on the server changed during the download")

    def _report(self, size):
        self._done += size
        percent = min(100, 100 * self._done // self._total) if self._total else -1
        if percent > self._percent:
            self._percent = percent
            self._progress(min(self._done, self._total), self._total)
