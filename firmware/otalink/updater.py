"""The update, step by step or by itself: check, download, apply. It joins the phases and has no rule of its own.

    updater = otalink.Updater()             # reads /otalink.json
    asyncio.create_task(updater.run())      # checks, installs, restarts

The application's other tasks go on meanwhile. Whatever goes wrong, the release that runs stays whole.
"""

import asyncio
import gc
import random

from micropython import const

from otalink.errors import FolderChangedError, InstallError, OtaError, ReleaseError
from otalink.phase import call, run

_MESSAGES_MAX = const(20)
# How often a download starts over because the folder changed under it, before it waits for the next check.
_STARTS_MAX = const(3)
# asyncio counts in milliseconds that wrap around.
_SLEEP_MAX = const(3600)


class Updater:
    """Keeps this board's application up to date.

    `config` is a path to the settings, a dict that holds them, or a Config. A file that cannot be used is a message,
    so that the application starts without updates; `config` is None then. A dict that cannot be used is a ValueError.

    `progress(done, total)` is called with the bytes of the download; `percent` has the same as 0 to 100.
    `ask(release)`, plain or a coroutine, is asked before a release is applied; False puts it off until the next check.
    `message(line)` takes each line of what happens; the last 20 are kept in `messages`. `root` stands before every path
    of the flash.

    One step at a time: a second one that is begun meanwhile is a ValueError (for `update` and `run`, a message).
    """

    def __init__(self, config="/otalink.json", progress=None, ask=None, message=print, root=""):
        self.messages = []
        self.percent = 0
        self._progress = progress
        self._ask = ask
        self._message = message
        self._root = root
        self._release = None
        self._staged = None
        self._busy = False
        self._fault = None
        # The FTP session between two phases.
        self._link = []
        if isinstance(config, str):
            try:
                config = call("config.load", config)
            except ValueError as error:
                config = None
                self._fault = f"{error}; no updates until then"
                self._say(self._fault)
        elif isinstance(config, dict):
            config = call("config.configure", config)
        self.config = config
        if config is not None:
            # First of all, while the heap is in one piece.
            self._buffer = bytearray(config.buffer)
            if config.unknown:
                self._say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))

    async def run(self):
        """Checks at the configured interval, for ever, and installs what the policy wants. Raises nothing."""
        while self.config is not None:
            await _sleep(random.random() * self.config.jitter)
            await self.update()
            await _sleep(self.config.interval)

    async def update(self):
        """One check and, when there is a release to install, all of the rest. Raises nothing.

        True when a release was applied (and `restart` is "none", else the board has restarted by then).
        """
        try:
            return await self._alone(self._update)
        except (OtaError, ValueError) as error:
            line = str(error)
        except MemoryError:
            gc.collect()
            line = "the memory is too small for the update: free some, or make the release or the folder smaller"
        except Exception as error:  # the application must go on, whatever this is
            line = f"the update failed with {type(error).__name__}: {error}"
        self._say(line)
        return False

    async def check(self):
        """Looks on the server. Gives the release that the policy wants installed, or None. Raises OtaError."""
        return await self._alone(self._check)

    async def download(self, release, progress=None):
        """Stages what `release` has and the flash has not. Raises OtaError; nothing that runs has changed.

        `progress(done, total)` is called with bytes as they come. FolderChangedError: check again.
        """
        await self._alone(self._download, release, progress or self._progress)

    async def apply(self, restart=None):
        """Puts what was downloaded in place, after the start delay, and restarts the board.

        `restart` is "reset", "soft" or "none"; None takes the configured one. Raises InstallError; ValueError when
        nothing was downloaded.
        """
        await self._alone(self._apply, restart)

    def installed(self):
        """The version that is installed, four ints; None when none is recorded, or another application's is."""
        if self.config is None:
            return None
        return call("release install prepare.installed", self.config.name, self._buffer, self._root, self._say)

    async def _alone(self, step, *arguments):
        if self._fault is not None:
            raise ValueError(self._fault)
        if self._busy:
            raise ValueError("an update is under way already: wait for its end")
        self._busy = True
        try:
            return await step(*arguments)
        finally:
            self._busy = False
            if self._link and self._link[0] is not None:
                self._link[0].close()
            self._link.clear()

    async def _update(self):
        for _ in range(_STARTS_MAX):
            try:
                release = await self._check()
            except ReleaseError:
                self._discard(self._release)
                raise
            if release is None:
                # What an abandoned download left is of no use any more.
                self._discard(self._release)
                return False
            try:
                await self._download(release, self._progress)
                break
            except FolderChangedError as error:
                self._say(f"{error}: starting over")
        else:
            self._say("the folder on the server changes all the time: given up until the next check")
            return False
        answer = True if self._ask is None else self._ask(release)
        if not (await answer if hasattr(answer, "send") else answer):
            self._say(f"{release.label} is put off until the next check")
            return False
        await self._apply(None)
        return True

    async def _check(self):
        config, link = self.config, self._link
        installed = self.installed()
        await run("ftp_session ftp_login.begin", config, link)
        listing = await run("ftp_session ftp folder.listing", config, link)
        release = None
        try:
            release, messages = call("names plain offer.decide", config, installed, listing)
        finally:
            if release is None:
                await run("ftp_session ftp folder.leave", config, link)
        self._say(*messages)
        if release is not None:
            sums, told, release.mark = await run(
                "ftp_session ftp folder.read", config, link, listing, release.versioned, self._buffer
            )
            self._say(*call("names plain offer.place", release, listing, sums, told))
        return release

    async def _download(self, release, progress):
        flash, link = (self._buffer, self._root), self._link
        self._release = None
        self.percent = 0

        def report(done, total):
            self.percent = 100 * done // total if total else 100
            if progress is not None:
                progress(done, total)

        staged = []
        wanted = None
        try:
            wanted = await run("release install prepare.prepare", release, staged, *flash)
            await run("ftp_session ftp_login.begin", self.config, link)
            received = await run(
                "ftp_session staging download.download",
                self.config,
                link,
                release,
                wanted,
                staged,
                *flash,
                report,
                self._say,
            )
            mark = await run("ftp_session ftp folder.look", self.config, link, release.versioned, self._buffer)
            if mark != release.mark:
                raise FolderChangedError("the folder on the server changed during the download")
            await run("release install prepare.finish", release, wanted, staged, *flash)
        except (ReleaseError, InstallError):
            self._discard(release)
            raise
        except BaseException:
            if wanted is not None:
                call("release install prepare.tidy", release, staged, *flash)
            raise
        self._say(f"downloaded {received} bytes: {len(staged)} of {len(release.files)} files differ")
        self._release, self._staged = release, staged

    def _discard(self, release):
        self._release = None
        call("release install prepare.discard", release, self._buffer, self._root)

    async def _apply(self, restart):
        restart = restart or self.config.restart
        call("commit.check_restart", restart)
        release = self._release
        if release is None:
            raise ValueError("nothing to apply: download a release first")
        if self.config.start_delay:
            self._say(f"applying {release.label} in {self.config.start_delay} s")
            await _sleep(self.config.start_delay)
        self._release = None
        if call("release install commit.commit", release, self._staged, restart, self._buffer, self._root, self._say):
            # Phases of the new one must not meet the old updater.
            self._fault = "otalink itself was updated: restart the board"
            self._say(self._fault)

    def _say(self, *lines):
        for line in lines:
            if len(self.messages) >= _MESSAGES_MAX:
                self.messages.pop(0)
            self.messages.append(line)
            if self._message is not None:
                try:
                    self._message(line)
                except Exception:  # a broken display must not end the update
                    pass


async def _sleep(seconds):
    while seconds > _SLEEP_MAX:
        await asyncio.sleep(_SLEEP_MAX)
        seconds -= _SLEEP_MAX
    await asyncio.sleep(seconds)
