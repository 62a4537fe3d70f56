"""The update, step by step or by itself: check, download, apply. It joins the parts and has no rule of its own.

    updater = otalink.Updater()             # reads /otalink.json
    asyncio.create_task(updater.run())      # checks, installs, restarts, confirms

The application's other tasks go on meanwhile. Whatever goes wrong, the release that runs stays whole.
"""

import asyncio
import gc
import random
from time import ticks_diff, ticks_ms

from otalink.config import PATH, RESTARTS, Config, load
from otalink.errors import FolderChangedError, InstallError, OtaError, ReleaseError
from otalink.version import format_version, is_wanted

_MESSAGES_MAX = 20
# How often a download starts over because the folder changed under it, before it waits for the next check.
_STARTS_MAX = 3
# asyncio counts in milliseconds that wrap around.
_SLEEP_MAX = 3600
# Seconds between tries to reach the server while a release is on trial.
_TRIAL_INTERVAL = 30


class Updater:
    """Keeps this board's application up to date.

    `config` is a path to the settings, a dict that holds them, or a Config. A file that cannot be used is a message,
    so that the application starts without updates; `config` is None then. A dict that cannot be used is a ValueError.

    `progress(done, total)` is called with the bytes of the download; `percent` has the same as 0 to 100.
    `ask(release)`, plain or a coroutine, is asked before a release is applied; False puts it off until the next check.
    `message(line)` takes each line of what happens; the last 20 are kept in `messages`. `root` stands before every path
    of the flash.

    A release that was applied is on trial after the restart: it is confirmed once it has run `confirm_after` seconds
    and the server has been reached since, or it goes back. Nothing else is downloaded meanwhile.

    One step at a time: a second one that is begun meanwhile is a ValueError (for `update` and `run`, a message).
    """

    def __init__(self, config=PATH, progress=None, ask=None, message=print, root=""):
        self.messages = []
        self.percent = 0
        self._progress = progress
        self._ask = ask
        self._message = message
        self._root = root
        self._installation = None
        self._release = None
        self._busy = False
        self._fault = None
        self._began = ticks_ms()
        self._started = self._proven = False
        if isinstance(config, str):
            try:
                config = load(config)
            except ValueError as error:
                config = None
                self._fault = f"{error}; no updates until then"
                self._say(self._fault)
        elif isinstance(config, dict):
            config = Config(config)
        self.config = config
        if config is not None:
            # First of all, while the heap is in one piece.
            self._buffer = bytearray(config.buffer)
            if config.unknown:
                self._say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))

    async def run(self):
        """Checks at the configured interval, for ever, and installs what the policy wants. Raises nothing.

        A release on trial is confirmed first.
        """
        while self.config is not None:
            self._start()
            config = self.config
            if self.on_trial():
                await _sleep(config.confirm_after)
                await self.update()
                while self.on_trial():
                    await _sleep(min(config.interval, _TRIAL_INTERVAL))
                    await self.update()
            await _sleep(random.random() * config.jitter)
            await self.update()
            await _sleep(config.interval)

    async def update(self):
        """One check and, when there is a release to install, all of the rest. Raises nothing.

        While a release is on trial, it is confirmed when the time has come, and nothing else is done. True when a
        release was applied (and `restart` is "none", else the board has restarted by then).
        """
        try:
            self._start()
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

    def on_trial(self):
        """True while the release that runs is on trial."""
        from otalink.journal import state

        return state(self._root + "/") == "trial"

    def confirm(self):
        """Keeps the release that is on trial; `run` does so by itself. True when there was one. Raises InstallError."""
        from otalink.journal import confirm

        found = confirm(self._root + "/")
        if found:
            self._say(f"{self._running()} is confirmed")
        return found

    async def rollback(self, restart=None):
        """Goes back to the release before the one that runs, and restarts the board; `restart` is as in `apply`.

        The release that runs is not tried again until another version is offered. Raises InstallError when it is not
        confirmed, or the release before it is not kept any more.
        """
        await self._alone(self._rollback, restart)

    def installed(self):
        """The version that is installed, four ints; None when none is recorded, or another application's is."""
        if self.config is None:
            return None
        try:
            found = self._flash().installed()
        except InstallError as error:
            self._say(str(error))
            return None
        return found[1] if found is not None and found[0] == self.config.name else None

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

    def _start(self):
        # The application has come so far that it can be updated: no evidence against it counts any more.
        if self._started or self.config is None:
            return
        self._started = True
        from otalink.journal import started

        try:
            started(self._root + "/")
            if self.on_trial():
                self._say(f"{self._running()} is on trial")
        except InstallError as error:
            self._say(str(error))

    def _running(self):
        if self.config is None:
            return "the release"
        version = self.installed()
        return self.config.name + ("" if version is None else " " + format_version(version))

    async def _try_out(self):
        self._proven = self._proven or ticks_diff(ticks_ms(), self._began) >= 1000 * self.config.confirm_after
        if not self._proven:
            self._say(f"{self._running()} is confirmed when it has run for {self.config.confirm_after} s")
            return
        try:
            await self._check()
        except ReleaseError as error:
            # The server was reached, whatever it has.
            self._say(str(error))
        self.confirm()

    async def _update(self):
        from otalink.journal import check_idle

        if self.on_trial():
            await self._try_out()
            return False
        check_idle(self._root + "/")
        for _ in range(_STARTS_MAX):
            release = await self._check()
            if release is None:
                # What an abandoned download left is of no use any more.
                self._release = None
                self._flash().discard()
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
            self._say(f"{release.name} {format_version(release.version)} is put off until the next check")
            return False
        await self._apply(None)
        return True

    async def _check(self):
        installed = self.installed()
        async with self._client() as client:
            from otalink.folder import offered as offered_by

            await client.cwd(self.config.folder)
            release = await offered_by(client, self.config.name)
        if release is None:
            self._say(f"no release of {self.config.name} on {self.config.host} in {self.config.folder}")
            return None
        for line in release.messages:
            self._say(line)
        offered = format_version(release.version)
        if installed == release.version:
            self._say(f"{release.name} {offered} is the latest version")
            return None
        if not is_wanted(self.config.policy, installed, release.version):
            self._say(f"the server offers {release.name} {offered}, older than {format_version(installed)} here")
            return None
        from otalink.journal import failed

        if failed(self._root + "/") == (release.name, release.version):
            self._say(f"the board went back from {release.name} {offered}: not tried again until another is offered")
            return None
        here = "no release" if installed is None else format_version(installed)
        self._say(f"{release.name} {offered} is offered, {here} is here")
        return release

    async def _download(self, release, progress):
        gc.collect()
        from otalink.download import Download

        flash = self._flash()
        self._release = None
        self.percent = 0

        def report(done, total):
            self.percent = 100 * done // total if total else 100
            if progress is not None:
                progress(done, total)

        async with self._client() as client:
            await client.cwd(self.config.folder)
            download = Download(release, client, flash, self._buffer, self.config, report, self._say)
            await download.run()
        self._say(f"downloaded {download.received} bytes: {download.staged} of {len(release.files)} files differ")
        self._release = release

    async def _apply(self, restart):
        restart = self._restart_kind(restart)
        if self._release is None:
            raise ValueError("nothing to apply: download a release first")
        from otalink.plan import hidden_by

        release = self._release
        name, version = release.name, format_version(release.version)
        if self.config.start_delay:
            self._say(f"applying {name} {version} in {self.config.start_delay} s")
            await _sleep(self.config.start_delay)
        self._release = None
        for path, _, _, _ in release.files:
            source = hidden_by(path)
            if source is not None and self._flash().stays(source):
                self._say(f"{source} hides {path}: MicroPython imports the source; remove it")
        self._flash().commit(self.config.trial_deadline)
        self._restart(restart, f"{name} {version} is committed")

    async def _rollback(self, restart):
        restart = self._restart_kind(restart)
        from otalink.journal import rollback

        running = self._running()
        rollback(self._root + "/")
        self._restart(restart, f"going back from {running}")

    def _restart_kind(self, restart):
        restart = restart or self.config.restart
        if restart not in RESTARTS:
            raise ValueError(f"restart must be reset, soft or none, not {restart!r}")
        return restart

    def _restart(self, restart, line):
        if restart == "none":
            self._say(f"{line}: it takes effect when the board restarts")
            return
        self._say(f"{line}; restarting")
        from otalink.board import restart as restart_board

        try:
            restart_board(restart)
        except (AttributeError, ImportError):
            self._say(f"this board cannot restart by {restart}: restart it by hand")

    def _client(self):
        # The parts of otalink that are loaded here should find the heap in one piece.
        gc.collect()
        from otalink.ftp import FtpClient

        gc.collect()
        settings = self.config
        return FtpClient(
            settings.host, settings.port, settings.user, settings.password, settings.timeout, settings.stall
        )

    def _flash(self):
        if self._installation is None:
            from otalink.install import Installation

            self._installation = Installation(self._buffer, self._root)
        return self._installation

    def _say(self, line):
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
