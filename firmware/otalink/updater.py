"""The update, step by step or by itself: check, download, apply, confirm. It joins the phases and has no rule itself.

    updater = otalink.Updater()             # reads /otalink.json
    asyncio.create_task(updater.run())      # checks, installs, restarts, confirms

The application's other tasks go on meanwhile. Whatever goes wrong, the release that runs stays whole.
"""

import asyncio
import gc
from time import ticks_ms

from micropython import const

from otalink import phase
from otalink.errors import FolderChangedError, OtaError, ReleaseError
from otalink.phase import call, go, run

_MESSAGES_MAX = const(10)
# How often a download starts over because the folder changed under it, before it waits for the next check.
_STARTS_MAX = const(3)
# asyncio counts in milliseconds that wrap around.
_SLEEP_MAX = const(3600)


class _Job:
    """What the phases of an update share: data, and no methods.

    `config`, `root`, `buffer` and `say`, which takes lines for the user; `link`, the FTP session between two phases;
    `installed`, `failed`, `on_trial`, `listing`, `sums`, `told` and `found`, what a check knows, see steps.py;
    `release`, the offer.Release that is being staged, and `staged`, those of its paths that are staged and whole;
    `is_ready` when that is all of it: PATH.ota-new is there for each file that differs, and for no other;
    `began`, when the program did (ticks_ms; None: long ago), `started` and `checked`, see trial.py;
    of a plain folder `wanted`, see install.compare, and `suffix`, what the name of a staged file ends in;
    `at`, how many of the wanted files, or of the header's, are done with, and `partial`, what there is of the next, see
    StagedFile; `failures`, the tries in a row in which nothing came, and `most`, see retry.py; `look` and `stream`, see
    steps.py; `count` and `differ`, the files of the release and those of them that differ; `received`, `done` and
    `total` (bytes), `percent` and `progress(done, total)`.
    """


class Updater:
    """Keeps this board's application up to date.

    `config` is a path to the settings, a dict that holds them, or a Config. A file that cannot be used is a message,
    so that the application starts without updates; `config` is None then. A dict that cannot be used is a ValueError.

    `progress(done, total)` is called with the bytes of the download; `percent` has the same as 0 to 100.
    `ask(release)`, plain or a coroutine, is asked before a release is applied; False puts it off until the next check.
    `message(line)` takes each line of what happens; the last 10 are kept in `messages`. `root` stands before every path
    of the flash.

    `watchdog`, such as a machine.WDT, or that of the setting "watchdog", is fed ahead of each step of an update, and at
    no other time: an application that hangs must not be kept alive. Between steps the application feeds it, by `feed`.

    A release that was applied is on trial after the restart: it is confirmed once it has run `confirm_after` seconds
    and the server has been reached since, or it goes back. Nothing else is downloaded meanwhile.

    `event` may be set to a callable that takes what happens as data, event(kind, detail): "offered", "applying" and
    "confirmed" with a version (four ints), "download" with a percentage, "failed" with a line that says why. `leave`
    may be set to a coroutine function, which is awaited ahead of a restart.

    One step at a time: a second one that is begun while the updater is `busy` is a ValueError (for `update` and `run`,
    a message).
    """

    def __init__(self, config="/otalink.json", progress=None, ask=None, message=print, root="", watchdog=None):
        self.messages = []
        self.event = self.leave = None
        self.root = root
        self._progress = progress
        self._ask = ask
        self._message = message
        self.busy = False
        self._job = job = _Job()
        job.root, job.say, job.link, job.release, job.staged = root, self._say, [], None, None
        job.began = ticks_ms()
        if watchdog is not None:
            phase.feed = watchdog.feed
        job.percent = 0
        job.is_ready = job.started = job.checked = False
        self.config, self._fault = call("config.set_up", job, config)
        if self._fault is not None:
            self._say(self._fault)

    @property
    def percent(self):
        """How much of the last download has come, from 0 to 100."""
        return max(0, self._job.percent)

    async def run(self):
        """Checks at the configured interval, for ever, and installs what the policy wants. Raises nothing.

        A release on trial is confirmed first. With "report" in the settings, it tells the server how each check went.
        With "wifi" or "ethernet" in the settings, it brings the network up.
        """
        while self.config is not None:
            try:
                if self._job.checked and self.config.report:
                    await self._alone(run, "report.send", self._job, self.messages)
            except Exception:  # a report must not change when a trial is looked at
                pass
            try:
                pause = call("trial.pause", self._job)
            except Exception:  # the check says what it is
                pause = self.config.interval
            await _sleep(pause)
            await phase.network()
            await self.update()

    def feed(self):
        """Feeds the watchdog, if there is one."""
        if phase.feed is not None:
            phase.feed()

    async def update(self):
        """One check and, when there is a release to install, all of the rest. Raises nothing.

        While a release is on trial, it is confirmed when the time has come, and nothing else is done. True when a
        release was applied (and `restart` is "none", else the board has restarted by then).
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
        self._tell("failed", line)
        return False

    async def check(self):
        """Looks on the server. Gives the release that the policy wants installed, or None. Raises OtaError."""
        return await self._alone(self._check)

    async def download(self, release, progress=None):
        """Stages what `release` has and the flash has not. Raises OtaError; nothing that runs has changed.

        `progress(done, total)` is called with bytes as they come. FolderChangedError: check again.
        """
        await self._alone(self._fetch, release, progress or self._progress)

    async def apply(self, restart=None):
        """Commits what was downloaded, after the start delay, and restarts the board: that puts it in place.

        `restart` is "reset", "soft" or "none"; None takes the configured one. Raises InstallError, ReleaseError;
        ValueError when nothing was downloaded.
        """
        await self._alone(run, "apply.apply", self._job, restart, self.leave)

    def on_trial(self):
        """True while the release that runs is on trial."""
        return call("journal.state", self._job.root + "/") == "trial"

    def confirm(self):
        """Keeps the release that is on trial; `run` does so by itself. True when there was one. Raises InstallError."""
        if not call("trial.confirm", self._job):
            return False
        self._tell("confirmed", self.installed())
        return True

    async def rollback(self, restart=None):
        """Goes back to the release before the one that runs, and restarts the board; `restart` is as in `apply`.

        The release that runs is not tried again until another version is offered. Raises InstallError when it is not
        confirmed, or the release before it is not kept any more.
        """
        await self._alone(run, "apply.rollback", self._job, restart, self.leave)

    def installed(self):
        """The version that is installed, four ints; None when none is recorded, or another application's is."""
        if self.config is None:
            return None
        return call("files install.installed", self._job)

    async def _alone(self, step, *arguments):
        if self._fault is not None:
            raise ValueError(self._fault)
        if self.busy:
            raise ValueError("an update is under way already: wait for its end")
        self.busy = True
        try:
            return await step(*arguments)
        finally:
            self.busy = False
            link = self._job.link
            if link and link[0] is not None:
                link[0].close()
            link.clear()

    async def _update(self):
        left = call("trial.begin", self._job)
        if left is not None:
            if not left:
                try:
                    await self._check()
                except ReleaseError as error:
                    # The server was reached, whatever it has.
                    self._say(str(error))
                self.confirm()
            return False
        for _ in range(_STARTS_MAX):
            try:
                release = await self._check()
            except ReleaseError:
                call("files begin.discard", self._job)
                raise
            if release is None:
                # What an abandoned download left is of no use any more.
                call("files begin.discard", self._job)
                return False
            self._tell("offered", release.version)
            try:
                await self._fetch(release, self._progress)
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
        self._tell("applying", release.version)
        await run("apply.apply", self._job, None, self.leave)
        return True

    async def _check(self):
        job = self._job
        job.installed = self.installed()
        await go(job, "steps.check", "steps.failed")
        found = job.found
        job.found = job.listing = None
        return found

    def _fetch(self, release, progress):
        # The download of a release, to be awaited.
        self._job.release, self._job.progress = release, progress if self.event is None else self._told(progress)
        return go(self._job, "steps.download", "retry.failed")

    def _told(self, progress):
        # `progress`, and the event beside it.
        def report(done, total):
            self._tell("download", self.percent)
            if progress is not None:
                progress(done, total)

        return report

    def _tell(self, kind, detail):
        if self.event is not None:
            try:
                self.event(kind, detail)
            except Exception as error:  # what others make of it must not end the update
                self._say(f"event {kind}: {error}")

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
