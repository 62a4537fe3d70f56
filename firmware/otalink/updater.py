"""The update, step by step or by itself: check, download, apply. It joins the parts and has no rule of its own.

    updater = otalink.Updater()             # reads /otalink.json
    asyncio.create_task(updater.run())      # checks, installs, restarts

The application's other tasks go on meanwhile. Whatever goes wrong, the release that runs stays whole.
"""

import asyncio
import random

from otalink.config import PATH, Config, load
from otalink.errors import FolderChangedError, InstallError, OtaError
from otalink.version import format_version, is_wanted

_MESSAGES_MAX = 20
# How often a download starts over because the folder changed under it, before it waits for the next check.
_STARTS_MAX = 3
# asyncio counts in milliseconds that wrap around.
_SLEEP_MAX = 3600


class Updater:
    """Keeps this board's application up to date.

    `config` is a path to the settings, a dict that holds them, or a Config. `progress(done, total)` is called with the
    bytes of the download; `percent` has the same as 0 to 100. `ask(release)`, plain or a coroutine, is asked before a
    release is applied; False puts it off until the next check. `message(line)` takes each line of what happens; the
    last 20 are kept in `messages`. `root` stands before every path of the flash.
    """

    def __init__(self, config=PATH, progress=None, ask=None, message=print, root=""):
        if isinstance(config, str):
            config = load(config)
        elif isinstance(config, dict):
            config = Config(config)
        self.config = config
        self.messages = []
        self.percent = 0
        self._progress = progress
        self._ask = ask
        self._message = message
        self._root = root
        self._buffer = None
        self._installation = None
        self._release = None
        if config.unknown:
            self._say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))

    async def run(self):
        """Checks at the configured interval, for ever, and installs what the policy wants. Raises nothing."""
        while True:
            await _sleep(random.random() * self.config.jitter)
            await self.update()
            await _sleep(self.config.interval)

    async def update(self):
        """One check and, when there is a release to install, all of the rest. Raises nothing.

        True when a release was applied (and `restart` is "none", else the board has restarted by then).
        """
        try:
            for _ in range(_STARTS_MAX):
                release = await self.check()
                if release is None:
                    return False
                try:
                    await self.download(release)
                    break
                except FolderChangedError as error:
                    self._say(str(error))
            else:
                return False
            if not await self._agreed(release):
                self._say(f"{release.name} {format_version(release.version)} is put off until the next check")
                return False
            await self.apply()
            return True
        except OtaError as error:
            self._say(str(error))
        except Exception as error:  # the application must go on, whatever this is
            self._say(f"the update failed with {type(error).__name__}: {error}")
        return False

    async def check(self):
        """Looks on the server. Gives the release that the policy wants installed, or None. Raises OtaError."""
        from otalink.folder import offered as offered_by

        installed = self.installed()
        async with self._client() as client:
            await client.cwd(self.config.folder)
            release = await offered_by(client, self.config.name)
        if release is None:
            self._say(f"no release of {self.config.name} on {self.config.host} in {self.config.folder}")
            return None
        offered = format_version(release.version)
        if installed == release.version:
            self._say(f"{release.name} {offered} is the latest version")
            return None
        if not is_wanted(self.config.policy, installed, release.version):
            self._say(f"the server offers {release.name} {offered}, older than {format_version(installed)} here")
            return None
        self._say(
            "{} {} is offered, {} is here".format(
                release.name, offered, "no release" if installed is None else format_version(installed)
            )
        )
        return release

    def installed(self):
        """The version that is installed, four ints; None when none is recorded, or another application's is."""
        try:
            found = self._flash().installed()
        except InstallError as error:
            self._say(str(error))
            return None
        return found[1] if found is not None and found[0] == self.config.name else None

    async def download(self, release, progress=None):
        """Stages what `release` has and the flash has not. Raises OtaError; nothing that runs has changed.

        `progress(done, total)` is called with bytes as they come. FolderChangedError: check again.
        """
        from otalink.download import Download

        flash = self._flash()
        self._release = None
        self.percent = 0
        progress = progress or self._progress

        def report(done, total):
            self.percent = 100 * done // total if total else 100
            if progress is not None:
                progress(done, total)

        async with self._client() as client:
            await client.cwd(self.config.folder)
            download = Download(release, client, flash, self._buffer, self.config, report, self._say)
            await download.run()
        self._say(f"downloaded {download.received} bytes: {download.fetched} of {len(release.files)} files differ")
        self._release = release

    async def apply(self, restart=None):
        """Puts what was downloaded in place, after the start delay, and restarts the board.

        `restart` is "reset", "soft" or "none"; None takes the configured one. Raises InstallError; ValueError when
        nothing was downloaded.
        """
        if self._release is None:
            raise ValueError("nothing to apply: download a release first")
        name, version = self._release.name, format_version(self._release.version)
        if self.config.start_delay:
            self._say(f"applying {name} {version} in {self.config.start_delay} s")
            await _sleep(self.config.start_delay)
        paths = [file[0] for file in self._release.files]
        self._release = None
        self._installation.commit()
        for path in paths:
            source = path[:-3] + "py"
            if path.endswith(".mpy") and self._installation.exists(source):
                self._say(f"{source} hides {path}: MicroPython imports the source; remove it")
        restart = restart or self.config.restart
        self._say(f"{name} {version} is installed" + ("" if restart == "none" else "; restarting"))
        if restart != "none":
            from otalink.board import restart as restart_board

            restart_board(restart)

    async def _agreed(self, release):
        answer = True if self._ask is None else self._ask(release)
        return await answer if hasattr(answer, "send") else answer

    def _client(self):
        from otalink.ftp import FtpClient

        settings = self.config
        return FtpClient(
            settings.host, settings.port, settings.user, settings.password, settings.timeout, settings.stall
        )

    def _flash(self):
        if self._installation is None:
            from otalink.install import Installation

            self._buffer = bytearray(self.config.buffer)
            self._installation = Installation(self._buffer, self._root)
        return self._installation

    def _say(self, line):
        if len(self.messages) >= _MESSAGES_MAX:
            self.messages.pop(0)
        self.messages.append(line)
        if self._message is not None:
            self._message(line)


async def _sleep(seconds):
    while seconds > _SLEEP_MAX:
        await asyncio.sleep(_SLEEP_MAX)
        seconds -= _SLEEP_MAX
    await asyncio.sleep(seconds)
