"""`otalink demo`: a real server, a virtual board and five releases, and whether what must happen was seen to happen.

Nothing in it is staged: the server is `otalink serve`'s, the board runs MicroPython, mpremote flashes it, and what the
table says was seen was read from the board's console and the server's record.
"""

import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import otalink_examples
from otalink_host.errors import UserError
from otalink_host.flash import flash
from otalink_host.repository import publish
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

ACCOUNT = "demo-board"
PASSWORD = "only for this demonstration"
NAME = "thermostat"
EXAMPLE = ("main.py", "thermostat.py", "display.py")
# Bytes: the new curves are large enough that the application can be watched while they come.
OLD_CURVES = 8_000
CURVES = 1_500_000
ICONS = 20_000
FLASH = 4 << 20
PATIENCE = 20.0
CHECK_INTERVAL = 1.0


def run_demo(console: Console) -> bool:
    """Runs the demonstration; True when everything was seen that was to be shown."""
    with tempfile.TemporaryDirectory(prefix="otalink-demo-") as work:
        return _Demo(console, Path(work)).run()


class _NotSeenError(Exception):
    pass


class _Demo:
    def __init__(self, console: Console, work: Path) -> None:
        self._console = console
        self._work = work
        self._served = work / "server"
        self._served.mkdir()
        self._table = Table("shown", "seen", "", title="The demonstration", title_justify="left")
        self._failed = False
        self._mark = 0
        # Seeded, so that every run moves the same bytes.
        self._random = random.Random(18)
        self._files = {name: (Path(otalink_examples.__file__).parent / name).read_bytes() for name in EXAMPLE}
        self._files["icons.bin"] = self._random.randbytes(ICONS)

    def run(self) -> bool:
        started = time.monotonic()
        settings = Settings(accounts=(Account(ACCOUNT, self._served),), passive_ports=None)
        with (
            BackgroundServer(settings, {ACCOUNT: PASSWORD}) as server,
            VirtualBoard(self._work / "board", size=FLASH) as board,
        ):
            self._server, self._board = server, board
            self._say(f"FTP server on 127.0.0.1:{server.port}, account {ACCOUNT}; virtual board on {board.pty}")
            try:
                self._flash()
                self._update_all()
                self._update_one_file()
                self._stay()
                self._go_back()
            except (_NotSeenError, UserError) as error:
                self._show("the demonstration itself", str(error), False)
        self._console.print()
        self._console.print(self._table)
        self._console.print(f"{time.monotonic() - started:.1f} s in all.")
        return not self._failed

    def _flash(self) -> None:
        self._title("1. otalink and thermostat 1.0.0.1 go onto the board, by mpremote")
        settings = {
            "name": NAME,
            "host": "127.0.0.1",
            "port": self._server.port,
            "user": ACCOUNT,
            "password": PASSWORD,
            "interval": CHECK_INTERVAL,
            "jitter": 0,
            "start_delay": 0.5,
            "confirm_after": 1,
        }
        application = self._release("1.0.0.1", "says hello", self._random.randbytes(OLD_CURVES))
        flash(self._board.pty, application, settings, say=self._say)
        # Ahead of it, the console holds mpremote's whole session.
        self._wait(r"thermostat 1\.0\.0\.1 says hello", show_all=False)
        self._wait(r"no release of thermostat")
        self._show("a board flashed with mpremote runs the application", "thermostat 1.0.0.1 says hello", True)

    def _update_all(self) -> None:
        self._title("2. thermostat 1.0.0.2 is published")
        resets = self._board.hard_resets
        with self._bytes_sent() as sent:
            self._publish(self._release("1.0.0.2", "says good morning", self._random.randbytes(CURVES)))
            self._wait(r"thermostat 1\.0\.0\.2 is offered, 1\.0\.0\.1 is here")
            self._show("the board finds the release", "thermostat 1.0.0.2 is offered, 1.0.0.1 is here", True)
            steps = self._wait_for_download()
        percents = [percent for percent, _ in steps]
        self._show(
            "it downloads, with a percentage",
            f"{len(steps)} steps from {percents[0]} % to {percents[-1]} %, {sent()} bytes of files",
            len(steps) >= 10 and percents == sorted(percents) and percents[-1] == 100,
        )
        counted = steps[-1][1] - steps[0][1]
        self._show(
            "the application goes on meanwhile", f"it counted {counted} further during the download", counted > 0
        )
        self._wait(r"thermostat 1\.0\.0\.2 is committed; restarting")
        self._wait(r"thermostat 1\.0\.0\.2 says good morning")
        self._show(
            "it applies the release, restarts, runs it",
            f"{self._board.hard_resets - resets} resets, then: thermostat 1.0.0.2 says good morning",
            # One before the boot guard swaps the files, one after.
            self._board.hard_resets == resets + 2,
        )
        self._wait(r"thermostat 1\.0\.0\.2 is confirmed")
        self._show("it confirms the release once the server is reached", "thermostat 1.0.0.2 is confirmed", True)
        self._wait(r"thermostat 1\.0\.0\.2 is the latest version")

    def _update_one_file(self) -> None:
        self._title("3. thermostat 1.0.0.3 is published: one file of five is another")
        with self._bytes_sent() as sent:
            changed = self._release("1.0.0.3", "says good evening")
            self._publish(changed)
            self._wait(r"thermostat 1\.0\.0\.3 is committed; restarting")
            size = (changed / "display.py").stat().st_size
            count = sent()
        self._show(
            "one file of five changed: only that one crosses the network",
            f"{count} bytes of files, and display.py has {size}",
            count == size,
        )
        self._wait(r"thermostat 1\.0\.0\.3 says good evening")
        self._wait(r"thermostat 1\.0\.0\.3 is confirmed")
        self._wait(r"thermostat 1\.0\.0\.3 is the latest version")

    def _stay(self) -> None:
        self._title("4. thermostat 1.0.0.2 is put in its place again: it is not newer")
        resets = self._board.hard_resets
        with self._bytes_sent() as sent:
            self._publish(self._release("1.0.0.2", "says good morning"), allow_older=True)
            self._wait(r"the server offers thermostat 1\.0\.0\.2, older than 1\.0\.0\.3 here")
            time.sleep(CHECK_INTERVAL)
            count = sent()
        self._show(
            "a release that is not newer: nothing happens",
            f"{count} bytes of files, {self._board.hard_resets - resets} resets, 1.0.0.3 runs on",
            count == 0 and self._board.hard_resets == resets,
        )

    def _go_back(self) -> None:
        self._title("5. thermostat 1.0.0.4 is published: it raises an exception at its start")
        broken = self._release("1.0.0.4", "says nothing")
        (broken / "display.py").write_text('raise ValueError("a fault of this release")\n')
        self._publish(broken)
        self._wait(r"thermostat 1\.0\.0\.4 is committed; restarting")
        start = self._mark
        self._wait(r"thermostat 1\.0\.0\.3 says good evening")
        tries = self._board.output[start : self._mark].count("ValueError: a fault of this release")
        self._wait(r"the board went back from thermostat 1\.0\.0\.4: not tried again")
        self._show(
            "a release that does not start: the board goes back by itself",
            f"{tries} tries of 1.0.0.4, then: thermostat 1.0.0.3 says good evening",
            tries == 3,
        )

    def _release(self, version: str, greeting: str, curves: bytes | None = None) -> Path:
        """A folder with the application as `version`: display.py says `greeting`, and `curves` is new or as before."""
        folder = self._work / f"{NAME}-{version}-{len(list(self._work.iterdir()))}"
        folder.mkdir()
        if curves is not None:
            self._files["curves.bin"] = curves
        self._files["display.py"] = re.sub(rb'"says .*"', f'"{greeting}"'.encode(), self._files["display.py"])
        for name, content in self._files.items():
            (folder / name.replace(f"{NAME}.", f"{NAME}_{version}.")).write_bytes(content)
        return folder

    def _publish(self, folder: Path, allow_older: bool = False) -> None:
        published = publish(folder, self._served, allow_older=allow_older)
        self._say(f"published {published.versioned} and {len(published.written) - 1} files more")

    @contextmanager
    def _bytes_sent(self) -> Iterator[Callable[[], int]]:
        """Gives a function that counts the bytes of the release's files that the server has sent since."""
        before = len(self._server.transfers)

        def count() -> int:
            return sum(t.size for t in self._server.transfers[before:] if not t.path.endswith("SHA256SUMS"))

        yield count

    def _wait_for_download(self) -> list[tuple[int, int]]:
        """The steps of a download as (percent, the application's count)."""
        start = self._mark
        self._wait(r"downloaded \d+ bytes")
        return [
            (int(percent), int(count))
            for percent, count in re.findall(r"download (\d+) %, count (\d+)", self._board.output[start : self._mark])
        ]

    def _wait(self, pattern: str, show_all: bool = True) -> None:
        """Waits for a line that begins with `pattern` behind those that were seen; shows it, and those before it."""
        start = self._mark
        try:
            match = self._board.wait_for(re.compile(rf"{pattern}.*\n"), PATIENCE, since=start)
        except TimeoutError as error:
            raise _NotSeenError(str(error)) from None
        self._mark = match.end()
        for line in self._board.output[start if show_all else match.start() : match.end()].splitlines():
            self._console.print(f"   [dim]board:[/dim] {escape(line)}", highlight=False, soft_wrap=True)

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/bold]", highlight=False)

    def _say(self, text: str) -> None:
        self._console.print(f"   {escape(text)}", highlight=False, soft_wrap=True)

    def _show(self, shown: str, seen: str, good: bool) -> None:
        self._failed = self._failed or not good
        self._table.add_row(shown, escape(seen), "[green]yes[/green]" if good else "[red]NO[/red]")
