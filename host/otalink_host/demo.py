"""`otalink demo`: a real server, virtual boards and signed releases, and whether what must happen was seen to happen.

Nothing in it is staged: the server is `otalink serve`'s, the boards run MicroPython, mpremote flashes them, a power cut
is a SIGKILL, and what the table says was seen was read from the boards' consoles, from their link to the host, from the
server's record and from the flash.
"""

import random
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import otalink_examples
from otalink_host import keys
from otalink_host.build import Built, build
from otalink_host.copying import shown_on
from otalink_host.errors import UserError
from otalink_host.flash import flash
from otalink_host.peer import Client, Handler, Report
from otalink_host.peer_thread import BackgroundPeer
from otalink_host.release_file import ReleaseFile, read_header
from otalink_host.repository import publish, publish_file, withdraw
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

SIGNED, PLAIN = "signed", "plain"  # the server's accounts, each with a folder of its own
PASSWORD = SECRET = "only for this demonstration"
SECOND = "board-2"
NAME = "thermostat"
FORGED = "says what a stranger wants"
EXAMPLE = ("main.py", "thermostat.py", "display.py")
# Bytes: the new curves are large enough that the application can be watched while they come.
OLD_CURVES = 8_000
CURVES = 1_000_000
# So many that the boot guard takes a while to put them in place.
PICTURES = 16
PICTURE = 300
FLASH = 4 << 20
PATIENCE = 20.0
CHECK_INTERVAL = 1.0
# Power cuts within the swap, and boots to get there. Seconds behind its first write: each is cut later than the one
# before, and the writes are looked for that often.
CUTS, TRIES = 3, 6
LATER, OFTEN = 0.006, 0.0005


def run_demo(console: Console) -> bool:
    """Runs the demonstration; True when everything was seen that was to be shown."""
    with tempfile.TemporaryDirectory(prefix="otalink-demo-") as work:
        return _Demo(console, Path(work)).run()


class _NotSeenError(Exception):
    pass


class _Host(Handler):
    """What the host hears over the link, a line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def identified(self, client: Client) -> None:
        hello = client.hello
        if hello is not None:
            proven = "by its secret" if client.is_verified else "NOT PROVEN"
            self.lines.append(f"{hello.board}, {proven}: runs {hello.application} {hello.version}, {hello.condition}")

    def report(self, client: Client, report: Report) -> None:
        percent = None if report.percent is None else f"{report.percent:g} %"
        self.lines.append(f"{client.board} reports: {report.event} {report.version or percent or report.reason}")


class _Watched:
    """A board whose console is shown, line by line, under a `label`. `mark` is how far it was read."""

    def __init__(self, console: Console, board: VirtualBoard, label: str) -> None:
        self.board = board
        self.mark = 0
        self._console = console
        self._label = label

    def wait(self, pattern: str, show_all: bool = True) -> "re.Match[str]":
        """Waits for a line that begins with `pattern` behind those that were seen; shows it, and those before it."""
        start = self.mark
        try:
            match = self.board.wait_for(re.compile(rf"{pattern}.*\n"), PATIENCE, since=start)
        except TimeoutError:
            self._print(self.board.output[start:])
            raise _NotSeenError(f"in {PATIENCE:g} s {self._label} did not print a line {pattern}") from None
        self.mark = match.end()
        self._print(self.board.output[start if show_all else match.start() : match.end()])
        return match

    def since(self, start: int) -> str:
        """What it printed from `start` to what was seen last."""
        return self.board.output[start : self.mark]

    def _print(self, text: str) -> None:
        for line in _shortened(text.splitlines()):
            self._console.print(f"   [dim]{self._label}:[/dim] {escape(line)}", highlight=False, soft_wrap=True)


class _Demo:
    def __init__(self, console: Console, work: Path) -> None:
        self._console = console
        self._work = work
        self._table = Table("shown", "seen", "", title="The demonstration", title_justify="left")
        self._failed = False
        # Seeded, so that every run moves the same bytes; but for the keys, which no run shares with another.
        self._random = random.Random(18)
        self._files = {name: (Path(otalink_examples.__file__).parent / name).read_bytes() for name in EXAMPLE}
        self._releases: dict[str, ReleaseFile] = {}
        # What goes on behind what is shown: releases that are built ahead, by version, and the second board.
        self._ahead: dict[str, Future[Built]] = {}
        self._second_did: Future[list[tuple[str, ...]]]
        self._over = threading.Event()
        self._host = _Host()

    def run(self) -> bool:
        started = time.monotonic()
        accounts = tuple(Account(name, self._work / "server" / name) for name in (SIGNED, PLAIN))
        for account in accounts:
            account.folder.mkdir(parents=True)
        settings = Settings(accounts=accounts, passive_ports=None)
        with (
            ThreadPoolExecutor() as meanwhile,
            BackgroundServer(settings, dict.fromkeys((SIGNED, PLAIN), PASSWORD)) as server,
            VirtualBoard(self._work / "board", size=FLASH) as board,
            BackgroundPeer(self._host, secrets={SECOND: SECRET}) as peer,
            VirtualBoard(self._work / "board-2") as second,
        ):
            self._meanwhile, self._server, self._peer = meanwhile, server, peer
            self._watched = _Watched(self._console, board, "board")
            self._second = _Watched(self._console, second, "board 2")
            self._board, self._wait = board, self._watched.wait
            self._served, self._plain = (account.folder for account in accounts)
            self._say(f"An FTP server listens on 127.0.0.1:{server.port}; a virtual board is on {board.pty}.")
            try:
                self._flash()
                self._update_all()
                self._update_one_file()
                self._stay()
                self._forge()
                self._update_plain()
                self._go_back()
                self._look()
            except (_NotSeenError, UserError) as error:
                self._show("the demonstration itself", str(error), False)
            finally:
                self._over.set()
        self._console.print()
        self._console.print(self._table)
        self._console.print(f"{time.monotonic() - started:.1f} s in all.")
        return not self._failed

    def _flash(self) -> None:
        self._title("1. A key is made; otalink, thermostat 1.0.0.1 and the key go onto a board")
        self._key = keys.create(self._work / "keys", "release")
        self._signer = keys.load_signer(self._work / "keys", "release", lambda path: b"")
        self._say(f"key {self._key.id}: its private half stays here and signs, its public half lets boards verify")
        self._new_content(OLD_CURVES)
        application = self._release("1.0.0.1", "says hello")
        self._new_content(CURVES)
        self._build_ahead("1.0.0.2", "says good morning")
        self._flash_board(self._watched, SIGNED, application, keys=keys.for_boards([self._key]))
        self._second_did = self._meanwhile.submit(self._use_second)
        self._wait(r"no release of thermostat")
        self._show(
            "a board flashed with mpremote runs the application",
            f"thermostat 1.0.0.1 says hello; it has the key {self._key.id}",
            True,
        )

    def _update_all(self) -> None:
        self._title("2. thermostat 1.0.0.2 is published, signed. The power fails meanwhile")
        release = self._publish("1.0.0.2", "says good morning")
        found = self._wait(r"thermostat 1\.0\.0\.2 is offered, 1\.0\.0\.1 is here")
        self._show("the board finds the signed release", found.group().strip(), True)
        start = self._watched.mark
        self._wait(r"download 40 %")
        before = self._steps(start)
        counted = before[-1][1] - before[0][1]
        self._show(
            "the application goes on meanwhile", f"it counted {counted} further during the download", counted > 0
        )
        self._board.kill()
        self._say("The power is cut in mid-download (SIGKILL), and comes back.")
        self._restart()
        self._wait(r"thermostat 1\.0\.0\.1 says hello")
        start = self._watched.mark
        came = int(self._wait(r"downloaded (\d+) bytes").group(1))
        self._show(
            "power cut in mid-download: the old release runs, the download goes on where it was",
            f"1.0.0.1 says hello; {came:,} of {release.stored:,} bytes came after the cut",
            0 < came < release.stored * 4 // 5,
        )
        percents = [percent for percent, _ in before + self._steps(start)]
        self._show(
            "it downloads, with a percentage",
            f"{len(percents)} steps from {percents[0]} % to {percents[-1]} %",
            len(percents) >= 8 and percents == sorted(percents) and percents[-1] == 100,
        )
        self._wait(r"thermostat 1\.0\.0\.2 is committed; restarting")
        self._board.kill()
        self._say("The power is cut at once, and again and again while the boot guard puts the files in place.")
        left = self._cut_the_swap()
        self._restart()
        self._wait(r"thermostat 1\.0\.0\.2 says good morning")
        self._show(
            "power cuts while the files are put in place: the new release, whole",
            f"{len(left)} cuts with {', '.join(map(str, left)) or 'no'} files left; then: 1.0.0.2 says good morning",
            bool(left),
        )
        self._wait(r"thermostat 1\.0\.0\.2 is confirmed")
        self._show("it keeps the release once the server is reached", "thermostat 1.0.0.2 is confirmed", True)

    def _cut_the_swap(self) -> list[int]:
        """Cuts the power later and later in the boots behind a commit; the files left to swap at the cuts that hit."""
        left: list[int] = []
        for attempt in range(TRIES):
            written = self._board.flash.stat().st_mtime_ns
            deadline = time.monotonic() + PATIENCE
            self._restart()
            # The first thing that such a boot writes is that the swap begins.
            while self._board.flash.stat().st_mtime_ns == written and time.monotonic() < deadline:
                time.sleep(OFTEN)
            time.sleep(attempt * LATER)
            self._board.kill()
            names = self._board.names()
            if any(name.startswith("/.otalink/trial-") for name in names):
                break
            if "/.otalink/swapping" in names:
                left.append(sum(name.endswith(".ota-new") for name in names))
                self._say(f"cut in the swap: {left[-1]} files are left to be put in place")
            if len(left) == CUTS:
                break
        return left

    def _update_one_file(self) -> None:
        self._title("3. thermostat 1.0.0.3 is published: one file is another")
        resets = self._board.hard_resets
        release = self._publish("1.0.0.3", "says good evening")
        found = self._wait(r"downloaded (\d+) bytes: (\d+) of (\d+) files differ")
        came, differ, count = map(int, found.groups())
        size = next(file.stored for file in release.files if file.path == "display.mpy")
        behind = sum(file.stored for file in release.files if file.path >= "display.mpy")
        self._show(
            f"one file of {count} changed: only that one crosses the network",
            f"{came:,} of {release.stored:,} bytes came behind the header: display.mpy and what shared its packet",
            # What lies behind it comes in the same packet, and nothing else.
            differ == 1 and size <= came <= behind,
        )
        self._wait(r"thermostat 1\.0\.0\.3 is committed; restarting")
        self._wait(r"thermostat 1\.0\.0\.3 says good evening")
        self._show(
            "it restarts into the release",
            f"{self._board.hard_resets - resets} resets, then: thermostat 1.0.0.3 says good evening",
            # One before the boot guard swaps the files, one after.
            self._board.hard_resets == resets + 2,
        )
        self._wait(r"thermostat 1\.0\.0\.3 is confirmed")

    def _stay(self) -> None:
        self._title("4. thermostat 1.0.0.3 is withdrawn: 1.0.0.2 is offered again, which is not newer")
        resets = self._board.hard_resets
        with self._files_sent() as sent:
            withdraw(self._served, NAME, "1.0.0.3")
            self._build_ahead("1.0.0.5", FORGED)
            self._wait(r"the server offers thermostat 1\.0\.0\.2, older than 1\.0\.0\.3 here")
            time.sleep(CHECK_INTERVAL)
            count = sent()
        withdraw(self._served, NAME, "1.0.0.3", undo=True)
        self._say("thermostat 1.0.0.3 is put back")
        self._show(
            "a release that is not newer: nothing happens",
            f"{count} files fetched, {self._board.hard_resets - resets} resets, 1.0.0.3 runs on",
            count == 0 and self._board.hard_resets == resets,
        )

    def _forge(self) -> None:
        self._title("5. Somebody breaks into the server and puts forged releases there")
        resets = self._board.hard_resets
        stranger = self._meanwhile.submit(self._build_as_stranger, self._release("1.0.0.5", FORGED))
        whole = self._build("1.0.0.5", FORGED)
        release = read_header(whole.path, keys.for_boards([self._key]))
        content = whole.path.read_bytes()
        place = release.length
        for file in release.files:
            if file.path == "display.mpy":
                break
            place += file.stored
        name = f"{NAME}_1.0.0.5.ota"
        place += file.stored - 1
        self._offer_forged(("a byte of a file changed", name, _changed(content, place), r".*display\.mpy: .*publish"))
        place = content.index(file.digest.encode())
        self._offer_forged(("a byte of the header changed", name, _changed(content, place), r"the signature is wrong"))
        self._offer_forged(
            (
                "a plain folder, not signed",
                f"{NAME}_1.0.0.6.py",
                b"print('a stranger was here')\n",
                r".*thermostat_1\.0\.0\.6\.py is a plain",
            ),
            ("signed with another key", name, stranger.result().path.read_bytes(), r"the release is signed with key"),
        )
        self._show(
            "it runs on meanwhile",
            f"{self._board.hard_resets - resets} resets, 1.0.0.3 runs on",
            self._board.hard_resets == resets,
        )

    def _build_as_stranger(self, folder: Path) -> Built:
        keys.create(self._work / "stranger", "stranger")
        return self._build_from(
            folder, "1.0.0.5", keys.load_signer(self._work / "stranger", "stranger", lambda path: b"")
        )

    def _offer_forged(self, *forged: tuple[str, str, bytes, str]) -> None:
        """Puts forged releases on the server for one check; of each: what was done to it, its file's name and content,
        and what the board must say of it, in this order."""
        for what, name, content, _ in forged:
            self._say(f"{what}:")
            (self._served / ".part").write_bytes(content)
            (self._served / ".part").rename(self._served / name)
        for what, _, _, pattern in forged:
            self._show(f"forged release refused: {what}", self._wait(pattern).group().strip(), True)
        for _, name, _, _ in forged:
            (self._served / name).unlink()

    def _use_second(self) -> list[tuple[str, ...]]:
        """What a second board does behind all that: flashed without a key and with a link to the host, it takes two
        plain folders, when it is asked to, the second of which does not start. Gives what there is to say of the three.
        """
        files = {name: self._files[name] for name in EXAMPLE}
        files["main.py"] = Path(otalink_examples.__file__).with_name("main_with_link.py").read_bytes()
        flashed: list[str] = []
        link = {"host": "127.0.0.1", "port": self._peer.port, "board": SECOND, "secret": SECRET, "retry": [0.1, 0.5]}
        # It would not look by itself for an hour.
        settings = self._settings(PLAIN, link=link, interval=3600, jitter=3600)
        application = self._release("1.0.0.1", "says hello", files=files)
        flash(self._second.board.pty, application, settings, version="1.0.0.1", check=False, say=flashed.append)

        def update(version: str, greeting: str, display: str | None = None) -> tuple[str, ...]:
            folder = self._release(version, greeting, display, files)
            published = publish(folder, self._plain, name=NAME, version=version)
            return f"published {', '.join(sorted(published.written))}", self._ask_second()

        self._hear(f"{SECOND}, .* 1.0.0.1, confirmed")
        good = update("1.0.0.2", "says good morning")
        self._hear("reports: confirmed 1.0.0.2")
        return [
            tuple(flashed),
            good,
            update("1.0.0.3", "says nothing", 'raise ValueError("a fault of this release")\n'),
        ]

    def _ask_second(self) -> str:
        """Asks the second board to check; gives what came of it."""
        answer = self._peer.ask(SECOND, "check")
        return f"the host asks {SECOND} to check at once: {'it does' if answer.done else answer.text}"

    def _hear(self, pattern: str) -> str:
        """Waits until the host hears it; gives the line."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for line in list(self._host.lines):
                if re.search(pattern, line):
                    return line
            if self._over.wait(OFTEN) or time.monotonic() > deadline:
                raise _NotSeenError(f"in {PATIENCE:g} s the host did not hear {pattern}")

    def _update_plain(self) -> None:
        self._title("6. Meanwhile a second board, without a key and with a link to the host, takes a plain folder")
        flashed, good, _ = self._second_did.result()
        for line in flashed:
            self._say(line)
        self._second.wait(r"thermostat 1\.0\.0\.1 says hello", show_all=False)
        hello = self._hear(f"{SECOND}, .* 1.0.0.1, confirmed")
        self._show("a board says over the link what it is", hello, "by its secret" in hello)
        for line in good:
            self._say(line)
        self._second.wait(r"thermostat 1\.0\.0\.2 says good morning")
        self._second.wait(r"thermostat 1\.0\.0\.2 is confirmed")
        lines = self._host.lines
        heard = lines[lines.index(hello) + 1 : lines.index(self._hear("reports: confirmed 1.0.0.2")) + 1]
        for line in heard:
            self._say(f"the host hears: {line}")
        self._show(
            "a plain folder, which needs no tools, updates a board without a key",
            "thermostat_1.0.0.2.py, display.py: 1.0.0.2 says good morning",
            True,
        )
        self._show(
            "asked over the link, the board checks at once, and its reports arrive",
            ", ".join(re.sub(r".*(reports: |\d, )", "", line) for line in heard),
            "it does" in good[-1]
            and [line.rpartition("reports: ")[2] for line in heard if "reports" in line and "download" not in line]
            == ["offered 1.0.0.2", "applying 1.0.0.2", "confirmed 1.0.0.2"],
        )

    def _go_back(self) -> None:
        self._title("7. Then it got thermostat 1.0.0.3, which raises an exception at its start")
        for line in self._second_did.result()[2]:
            self._say(line)
        self._second.wait(r"thermostat 1\.0\.0\.3 is committed; restarting")
        start = self._second.mark
        self._second.wait(r"thermostat 1\.0\.0\.2 says good morning")
        tries = self._second.since(start).count("ValueError: a fault of this release")
        heard = self._hear("reverted from 1.0.0.3")
        self._say(f"the host hears: {heard}")
        self._say(self._ask_second())
        self._second.wait(r"the board went back from thermostat 1\.0\.0\.3: not tried again")
        self._show(
            "a release that does not start: the board goes back by itself",
            f"{tries} tries of 1.0.0.3, then: thermostat 1.0.0.2 says good morning",
            tries == 3,
        )
        self._show(
            "the host hears why",
            heard.partition("runs ")[2],
            heard.endswith("reverted from 1.0.0.3: ValueError: a fault of this release"),
        )

    def _look(self) -> None:
        self._title("8. The first board is switched off; what lies on its flash?")
        self._board.kill()
        found = self._board.files()
        release = self._releases["1.0.0.3"]
        right = sum(found.get(f"/{file.path}") == file.digest for file in release.files)
        stray = [name for name in found if name.endswith(".ota-new")]
        self._show(
            "after all of that, the flash holds one whole release",
            f"{right} of {len(release.files)} files of 1.0.0.3, by their SHA-256, {len(stray)} stray files",
            right == len(release.files) and not stray,
        )

    # Releases

    def _new_content(self, curves: int) -> None:
        self._files["curves.bin"] = self._random.randbytes(curves)
        for number in range(PICTURES):
            self._files[f"art-{number:02}.bin"] = self._random.randbytes(PICTURE)

    def _release(
        self, version: str, greeting: str, display: str | None = None, files: dict[str, bytes] | None = None
    ) -> Path:
        """A folder with the application, whose display.py says `greeting`, or is `display`."""
        files = files or self._files
        folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-{version}-", dir=self._work))
        content = re.sub(rb'"says .*"', f'"{greeting}"'.encode(), files["display.py"])
        for name, data in {**files, "display.py": display.encode() if display else content}.items():
            (folder / name).write_bytes(data)
        return folder

    def _build(self, version: str, greeting: str) -> Built:
        ahead = self._ahead.pop(version, None)
        return ahead.result() if ahead else self._build_from(self._release(version, greeting), version, self._signer)

    def _build_ahead(self, version: str, greeting: str) -> None:
        """Builds, behind what goes on, a release of the content that there is now, which is to be published later."""
        folder = self._release(version, greeting)
        self._ahead[version] = self._meanwhile.submit(self._build_from, folder, version, self._signer)

    def _build_from(self, folder: Path, version: str, signer: keys.Signer) -> Built:
        return build(folder, signer=signer, name=NAME, version=version, output=Path(tempfile.mkdtemp(dir=self._work)))

    def _publish(self, version: str, greeting: str) -> ReleaseFile:
        built = self._build(version, greeting)
        published = publish_file(built.path, self._served, keys.for_boards([self._key]))
        self._say(
            f"published {built.path.name}: {len(built.files)} files, {published.size:,} bytes, "
            f"signed with key {built.key}"
        )
        self._releases[version] = published.release
        return published.release

    @contextmanager
    def _files_sent(self) -> Iterator[Callable[[], int]]:
        """Gives a function that counts the files that the server has sent since."""
        before = len(self._server.transfers)
        yield lambda: len(self._server.transfers) - before

    # The board

    def _flash_board(self, watched: _Watched, account: str, application: Path, **more: object) -> None:
        settings = self._settings(account, **more)
        with shown_on(self._console, self._say) as copying:
            flash(
                watched.board.pty, application, settings, version="1.0.0.1", check=False, say=self._say, copying=copying
            )
        # Ahead of it, the console holds mpremote's whole session.
        watched.wait(r"thermostat 1\.0\.0\.1 says hello", show_all=False)

    def _settings(self, account: str, **more: object) -> dict[str, object]:
        return {
            "name": NAME,
            "host": "127.0.0.1",
            "port": self._server.port,
            "user": account,
            "password": PASSWORD,
            "interval": CHECK_INTERVAL,
            "jitter": 0,
            "start_delay": 0,
            "confirm_after": 0.1,
            "retry_delay": 0.2,
            **more,
        }

    def _restart(self) -> None:
        self._watched.mark = self._board.mark()
        self._board.start()

    def _steps(self, start: int) -> list[tuple[int, int]]:
        """The steps of a download as (percent, the application's count)."""
        return [
            (int(percent), int(count))
            for percent, count in re.findall(r"download (\d+) %, count (\d+)", self._watched.since(start))
        ]

    # What is printed

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/bold]", highlight=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(f"   {escape(text)}", highlight=False, soft_wrap=True)

    def _show(self, shown: str, seen: str, good: bool) -> None:
        self._failed = self._failed or not good
        self._table.add_row(shown, escape(seen), "[green]yes[/green]" if good else "[red]NO[/red]")


def _shortened(lines: list[str]) -> Iterator[str]:
    """`lines`, of each row of those that say how large a file is only the first and how many more there were."""
    for is_file, group in groupby(lines, lambda line: re.fullmatch(r"\S+: \d+ bytes", line) is not None):
        row = list(group)
        if is_file and len(row) > 2:
            row = [row[0], f"… and {len(row) - 1} files more"]
        yield from row


def _changed(content: bytes, place: int) -> bytes:
    """`content` with another byte at `place`, a hexadecimal digit if it was one."""
    other = b"1" if content[place : place + 1] == b"0" else b"0"
    return content[:place] + other + content[place + 1 :]
