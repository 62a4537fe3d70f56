"""The board test: what a board must be able to do for otalink, step by step, by mpremote and over the network.

Each step stands by itself: what fails in one does not hide the others. The board must be one that may be overwritten;
at the end the test removes what it put there. Scripts in on_board/ run on the board, application/ is what updates
itself there, planted/os.py resets it in the middle of a swap.
"""

import ast
import hashlib
import json
import math
import re
import secrets
import sys
import tempfile
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from board_console import Console  # what is run as a folder finds its neighbours
from board_report import FAILED, LEFT_OUT, NOT_POSSIBLE, OK, Outcome, Report

import otalink
from otalink.boot_rule import calls_guard, statements
from otalink.chunks import WINDOW_BITS
from otalink.layout import GUARD, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER
from otalink_host import keys
from otalink_host.build import build
from otalink_host.cable import RESET, Cable
from otalink_host.errors import UserError
from otalink_host.flash import flash
from otalink_host.peer import Client, Handler
from otalink_host.peer_thread import BackgroundPeer
from otalink_host.release_file import ReleaseFile
from otalink_host.repository import publish_file
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "host"))  # for lint_boards

from lint_boards import needed_modules  # noqa: E402 - as above

NAME = "boardtest"
FIRST, SECOND, THIRD = "1.0.0.1", "1.0.0.2", "1.0.0.3"
FAULT = "a fault of this release"
TRIES = 3
# Seconds to wait for what the application says next.
PATIENCE = 120.0
FRAMES = 200
SMALL, LARGE = 100_000, 1_000_000
# Seconds in which the port of a board is there again after a reset.
RETURN = 15.0
# Bytes of flash that a file must leave free.
SPARE = 100_000
BUFFERS = (512, 4096)
# Paths on the board, in one script.
BATCH = 40

# Beside the modules that otalink's own files import: functions that are missing here and there.
FUNCTIONS = (
    *("hashlib.sha256", "binascii.crc32", "deflate.DeflateIO", "select.poll", "time.ticks_ms", "builtins.execfile"),
    *("machine.reset", "machine.reset_cause", "machine.Timer", "machine.WDT", "vfs.mount", "ssl.SSLContext"),
)
# What otalink does without, and what that means; all else that is missing is a failure.
SPARED = {
    "network": "the board has no radio of its own",
    "vfs": "its place takes os, as before MicroPython 1.22",
    "vfs.mount": "its place takes os.mount",
    "ssl": "no link and no update over TLS",
    "ssl.SSLContext": "no link and no update over TLS",
    "binascii.crc32": "CRC-32 is calculated in Python, slowly",
    "machine.reset_cause": "boots are told apart by the clock",
    "machine.Timer": "a trial has no deadline",
    "machine.WDT": "no watchdog",
}

# What the updater says when trying again is of no use.
_HOPELESS = r"memory is too small|is refused|signature is wrong|too full|the update failed with|cannot be used"
_OURS = ("/main.py", f"/{NAME}.py", f"/{NAME}.mpy", "/otalink.json", "/os.py", "/board-test.reset", "/board-test.bin")
_OUR_FOLDERS = (f"/{NAME}-files", "/lib/otalink", f"/{STATE_FOLDER}")

_FILE_SYSTEMS = {"VfsLfs2": "littlefs", "VfsFat": "FAT, on which otalink does not update"}

Take = Callable[[dict[str, Any]], None]


class NotPossibleError(Exception):
    """A step cannot be done on this board; the text says why."""


@dataclass(frozen=True)
class Step:
    """A step: what it is called, what it does, and the steps without which it cannot be done."""

    title: str
    work: "Callable[[BoardTest], str]"
    needs: tuple[str, ...] = ()


class _Echo(Handler):
    """The host's end of the link: sends each text back, and closes the connection when it is asked to."""

    def __init__(self) -> None:
        self.texts = self.faults = self.proven = 0

    def text(self, client: Client, text: str) -> None:
        if text == "close":
            client.close()
            return
        self.texts += 1
        client.send(text)

    def identified(self, client: Client) -> None:
        self.proven += client.is_verified

    def fault(self, client: Client, result: int, data: bytes) -> None:
        self.faults += 1


class BoardTest:
    """One test of the board on `port`. `address` is this machine's, as the board reaches it.

    `wifi` is what `/otalink.json` is to say of the network, or None. `overwrite` allows files of somebody else's to be
    lost. `say` takes what is printed, line ends included.
    """

    def __init__(
        self,
        port: str,
        address: str,
        *,
        wifi: dict[str, str] | None = None,
        overwrite: bool = False,
        patience: float = PATIENCE,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._cable = Cable(port)
        self._address = address
        self._wifi = wifi
        self._overwrite = overwrite
        self._patience = patience
        self._say = say
        self._facts: dict[str, Any] = {}
        self._names: set[str] = set()  # the files that were on the board
        self._folders: set[str] = set()
        self._is_flashed = False
        self._lacking: list[str] = []
        self._reset_at = -math.inf  # when the board was reset last, by time.monotonic
        self._releases: dict[str, ReleaseFile] = {}
        self._swap = ""
        self.report = Report(otalink.__version__, False)

    def check_owner(self) -> None:
        """Raises UserError unless the board may be overwritten."""
        self._list(keep=True)
        lines: dict[str, list[str]] = {}
        for found in self._run("read", paths=["/otalink.json", "/main.py", "/boot.py"]):
            lines.setdefault(found["path"], []).append(found["line"])
        settings = "\n".join(lines.get("/otalink.json", ()))
        mark = (HERE / "application" / "main.py").read_text(encoding="utf-8").splitlines()[0]
        boot = "\n".join(lines.get("/boot.py", ()))
        others = [
            path
            for path, is_ours in (
                ("/otalink.json", f'"name": "{NAME}"' in settings),
                ("/main.py", lines.get("/main.py", [""])[:1] == [mark]),
                ("/boot.py", not statements(boot) or calls_guard(boot)),
            )
            if path in self._names and not is_ours
        ]
        if others and not self._overwrite:
            raise UserError(
                f"the board holds {', '.join(others)}, which the test would overwrite: save what you need of it, then "
                "add --overwrite"
            )

    def run(self, wanted: Sequence[str] = ()) -> Report:
        """Does the steps `wanted`, the first, and those that they need; without any, all."""
        chosen = {"board", *(wanted or STEPS)}
        for name in reversed(STEPS):
            if name in chosen:
                chosen.update(STEPS[name].needs)
        with ExitStack() as stack:
            self._set_up(stack)
            for name, step in STEPS.items():
                if name in chosen or (name == "cleanup" and self._is_flashed):
                    self._do(name, step)
                else:
                    self.report.outcomes.append(Outcome(step.title, LEFT_OUT, ""))
        return self.report

    def _set_up(self, stack: ExitStack) -> None:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otalink-board-test-")))
        self._work, self._served = work, work / "served"
        self._served.mkdir()
        keys.create(work / "keys", NAME)
        self._signer = keys.load_signer(work / "keys", NAME, lambda path: b"")
        self._content = _content()
        password, secret = secrets.token_hex(16), secrets.token_hex(16)
        self._echo = _Echo()
        self._console = stack.enter_context(Console(self._address))
        accounts = (Account("board", self._served),)
        server = stack.enter_context(
            BackgroundServer(Settings(accounts, passive_ports=None), {"board": password}, address=self._address)
        )
        peer = stack.enter_context(BackgroundPeer(self._echo, address=self._address, secrets={NAME: secret}))
        self._settings: dict[str, Any] = {
            "name": NAME,
            "host": self._address,
            "port": server.port,
            "user": "board",
            "password": password,
            "interval": 1,
            "jitter": 0,
            "start_delay": 0,
            "confirm_after": 1,
            "retry_delay": 0.2,
            "keys": keys.for_boards([self._signer.key]),
            "link": {"host": self._address, "port": peer.port, "board": NAME, "secret": secret, "retry": [0.2, 2]},
            **({"wifi": self._wifi} if self._wifi else {}),
        }

    def _do(self, name: str, step: Step) -> None:
        self._say(f"{step.title:{_WIDTH}} ")
        states = dict(zip(STEPS, (outcome.state for outcome in self.report.outcomes), strict=False))
        lacking = [STEPS[need].title for need in step.needs if states.get(need) != OK]
        try:
            if lacking:
                raise NotPossibleError(f"it needs the step {lacking[0]!r}")
            outcome = Outcome(step.title, OK, step.work(self))
        except NotPossibleError as error:
            outcome = Outcome(step.title, NOT_POSSIBLE, str(error))
        except UserError as error:
            outcome = Outcome(step.title, FAILED, _reason(str(error), self._cable.port))
        except Exception as error:  # a fault of the test itself must not hide the other steps
            outcome = Outcome(step.title, FAILED, f"{type(error).__name__}: {error}")
        self._say(f"{outcome}\n")
        self.report.outcomes.append(outcome)

    # The steps

    def _identify(self) -> str:
        self._run("identity", take=self._facts.update)
        facts = self._facts
        self.report.is_virtual = facts["platform"] in ("linux", "darwin")
        bytecode = facts["mpy"] & 0xFF, facts["mpy"] >> 8 & 3
        board = "virtual board" if self.report.is_virtual else facts["board"] or facts["machine"] or facts["platform"]
        file_system = _FILE_SYSTEMS.get(facts["file_system"], facts["file_system"])
        megahertz = f"{facts['frequency'] / 1e6:g}" if facts["frequency"] else "not told"
        self.report.facts = {
            "board": board,
            "machine": str(facts["machine"]),
            "MicroPython": f"{facts['version']} ({facts['build']})",
            "platform": facts["platform"],
            "bytecode": f"{bytecode[0]}.{bytecode[1]}",
            "unique id": facts["id"] or "not told",
            "file system": file_system,
        }
        self._figure("frequency", megahertz, "MHz")
        self._figure("heap", facts["heap"] / 1024, "KiB")
        self._figure("flash: size of the file system", facts["flash"] / 1024, "KiB")
        self._figure("flash: free before the test", facts["flash_free"] / 1024, "KiB")
        if facts["name"] != "micropython":
            raise UserError(f"it runs {facts['name']}, and otalink needs MicroPython")
        return f"{facts['machine']}, MicroPython {facts['version']}, {board}, {file_system}"

    def _look_for_modules(self) -> str:
        names = sorted({*needed_modules(), *FUNCTIONS})
        self._lacking = found = self._run("modules", names=names)[0]["lacking"]
        bad = [name for name in found if name not in SPARED]
        if bad:
            raise UserError(f"this MicroPython lacks {', '.join(bad)}")
        whole = [name for name in found if name.partition(".")[0] not in found or "." not in name]
        spared = [f"{name} is missing ({SPARED[name]})" for name in whole]
        return "; ".join([f"{len(names) - len(found)} of {len(names)} modules and functions are there", *spared])

    def _flash(self) -> str:
        self._is_flashed = True
        lines: list[str] = []
        flash(
            self._cable.port,
            self._application(FIRST),
            self._settings,
            version=FIRST,
            replace_boot=self._overwrite,
            say=lines.append,
            copying=self._dot,
        )
        self._reset_at = time.monotonic()
        return next((line for line in lines if line.startswith("otalink ")), "")

    def _dot(self, path: str, number: int, count: int, percent: int) -> None:
        if percent == 0 and number % 10 == 0:
            self._say(".")

    def _join(self) -> str:
        if "socket" in self._lacking:
            raise NotPossibleError("this MicroPython has no sockets")
        if self._wifi and "network" in self._lacking:
            raise NotPossibleError("this MicroPython has no module network, and so no Wi-Fi: leave --wifi out")
        found: dict[str, Any] = {}
        self._run("join", "network", take=found.update, host=self._address, port=self._console.port)
        self._figure("network: round trip", found["milliseconds"], "ms")
        return f"{found['address'] or 'the network of its host'}, a round trip takes {found['milliseconds']:.3g} ms"

    def _download(self) -> str:
        free = self._run("identity")[0]["flash_free"]
        sizes = [size for size in (SMALL, LARGE) if size + SPARE < free]
        if not sizes:
            raise NotPossibleError(f"only {free:,} bytes of the flash are free")
        for size in sizes:
            name, content = f"download-{size}.bin", secrets.token_bytes(size)
            self._serve(name, content)

            def take(found: dict[str, Any], size: int = size) -> None:
                title = f"FTP: {size:,} bytes to the flash, buffer {found['buffer']:,}"
                self._figure(title, size / found["seconds"] / 1e6, "MB/s")

            digest = hashlib.sha256(content).hexdigest()
            self._run("join", "download", take=take, name=name, size=size, sha256=digest, buffers=BUFFERS)
            (self._served / name).unlink()
        left = [f"{size:,}" for size in (SMALL, LARGE) if size not in sizes]
        done = f"{' and '.join(f'{size:,}' for size in sizes)} bytes, SHA-256 right"
        return f"{done}; not {left[0]} bytes: the flash has {free:,} free" if left else done

    def _serve(self, name: str, content: bytes) -> None:
        (self._served / name).write_bytes(content)

    def _measure(self) -> str:
        content = (b"the quick brown fox jumps over the lazy dog, %d\n" * 100)[:4096]
        packer = zlib.compressobj(wbits=-WINDOW_BITS)
        deflated = b64encode(packer.compress(content) + packer.flush()).decode()
        titles = {
            "sha256": ("SHA-256", 1e6, "MB/s"),
            "flash_write": ("flash: writing", 1e6, "MB/s"),
            "flash_read": ("flash: reading", 1e6, "MB/s"),
            "deflate": ("deflate, bytes that come out", 1e6, "MB/s"),
            "crc32": ("CRC-32", 1e6, "MB/s"),
            "frame_encode": ("frame of 100 characters: encode", 1e-3, "ms"),
            "frame_decode": ("frame of 100 characters: decode", 1e-3, "ms"),
        }

        def take(found: dict[str, Any]) -> None:
            for name, value in found.items():
                title, factor, unit = titles[name]
                self._figure(title, value / factor, unit)

        self._run("speed", take=take, deflated=deflated, sha256=hashlib.sha256(content).hexdigest())
        return f"SHA-256 {self._shown('SHA-256')}, flash written at {self._shown('flash: writing')}"

    def _verify(self) -> str:
        data = secrets.token_bytes(1000)
        modulus, signed = self._signer.key.modulus, self._signer.sign(data)
        found = self._run(
            "verify",
            modulus=b64encode(modulus).decode(),
            data=b64encode(data).decode(),
            signature=b64encode(signed).decode(),
        )[0]
        self._figure(f"RSA-{found['bits']}: verification", found["seconds"] * 1000, "ms")
        return f"RSA-{found['bits']} verified in {found['seconds'] * 1000:.3g} ms, forged ones refused"

    def _update(self) -> str:
        if self._facts["file_system"] == "VfsFat":
            raise NotPossibleError("its flash is FAT, and an update needs littlefs: format it as that")
        release = self._publish(SECOND)
        files = {"/board-test.reset": ""}
        # Without uos that module would break everything else.
        if not self._run("modules", names=["uos.rename"])[0]["lacking"]:
            files["/os.py"] = _script("os", "planted")
        self._run("put", files=files)
        at = self._restart()
        at, _ = self._wait(rf"runs {FIRST}$", at)
        at, said = self._wait(r"^reset at \d+ %", at)
        at, _ = self._wait(rf"runs {FIRST}$", at)
        at, came = self._wait(r"^downloaded \d+ bytes", at)
        at, _ = self._wait(rf"runs {SECOND}$", at)
        self._wait(rf"{SECOND} is confirmed", at)
        fetched = int(came.split()[1])
        if not 0 < fetched < release.stored:
            raise UserError(f"after the reset {fetched:,} of {release.stored:,} bytes were fetched: it began anew")
        names = self._compare(SECOND, "confirmed")
        if "/os.py" in files and "/os.py" not in names:
            self._swap = "in the middle of the boot guard's renames; it went on, and the release is whole"
        return (
            f"{len(release.files)} files of {SECOND} are right by their SHA-256, nothing else is there; {said}, then "
            f"{fetched:,} of {release.stored:,} bytes"
        )

    def _look_at_swap(self) -> str:
        if not self._swap:
            raise NotPossibleError("this MicroPython takes no module os from the flash, by which the reset is made")
        return self._swap

    def _crash(self) -> str:
        self._publish(THIRD)
        at = start = self._restart()
        at, _ = self._wait(rf"{THIRD} is offered", at)
        for _ in range(TRIES):
            at, _ = self._wait(rf"runs {THIRD}$", at)
        at, _ = self._wait(rf"runs {SECOND}$", at)
        tries = sum(line == f"runs {THIRD}" for line in self._console.lines(start))
        if tries != TRIES:
            raise UserError(f"it tried {THIRD} {tries} times, not {TRIES}")
        self._compare(SECOND, "reverted")
        log = self._log()
        if not any(FAULT in line for line in log):
            raise UserError(f"its log does not say why: {' / '.join(log[-3:])}")
        return f"{tries} tries of {THIRD}, then {SECOND} again, whole; its log says why: {FAULT}"

    def _link(self) -> str:
        self._withdraw_all()
        found: dict[str, Any] = {}
        complaints: list[str] = []

        def take(each: dict[str, Any]) -> None:
            found.update(each)
            if not each.get("said", "connected").startswith("connected"):
                complaints.append(each["said"])

        try:
            self._run("join", "link", take=take, frames=FRAMES)
            self._check_link(found)
        except UserError as error:
            raise UserError("; ".join([_reason(str(error), self._cable.port), *complaints[-1:]])) from None
        self._figure("link: a text and its echo", found["seconds"] * 1000, "ms")
        return f"{FRAMES} frames each way, every CRC right, connected anew once; the board proved who it is"

    def _check_link(self, found: dict[str, Any]) -> None:
        if found["in"][0] < FRAMES or any(found["in"][1:]) or self._echo.faults:
            raise UserError(f"frames came broken: {found['in']} at the board, {self._echo.faults} at the host")
        if self._echo.texts != FRAMES or found["connections"] != 2:
            raise UserError(
                f"{self._echo.texts} of {FRAMES} texts came, over {found['connections']} connections, not 2"
            )
        if self._echo.proven < 2:
            raise UserError("the board did not prove by its secret who it is")

    def _look_at_memory(self) -> str:
        self._withdraw_all()
        has_network = self._state("network") == OK
        titles = {
            "idle": "heap free: nothing imported",
            "imported": "heap free: otalink and asyncio imported",
            "ready": "heap free: Updater, Link and Reporter made",
            "running": "heap free: all three at work, after a check",
        }

        def take(found: dict[str, Any]) -> None:
            for name, value in found.items():
                self._figure(titles[name], value / 1024, "KiB")

        scripts = ("heap", *(("join",) if has_network else ()), "heap_running")
        self._run(*scripts, take=take, network=has_network)
        cost = self._run("guard_cost")[0]["milliseconds"]
        self._figure("boot guard: a boot with nothing to do", cost, "ms")
        free = self._run("identity")[0]["flash_free"]
        self._figure("flash: free with otalink on it", free / 1024, "KiB")
        self._figure("flash: bytes written by an update", "not told by boards", "")
        return f"{self._shown(titles['idle'])} of heap free, the boot guard takes {cost:.3g} ms"

    def _clean_up(self) -> str:
        files, folders = self._list()
        boot = "".join(f"{found['line']}\n" for found in self._run("read", paths=["/boot.py"]))
        self._has_our_boot = boot == resources.files("otalink_guard").joinpath("boot.py").read_text(encoding="utf-8")
        ours = [path for path in sorted(files) if path not in self._names or self._is_ours(path)]
        gone = sorted({*(folders - self._folders), *_OUR_FOLDERS}, reverse=True)  # the inner ones first
        for first in range(0, max(len(ours), 1), BATCH):
            is_last = first + BATCH >= len(ours)
            self._run(
                "remove",
                then=RESET if is_last else (),
                files=ours[first : first + BATCH],
                folders=gone if is_last else [],
            )
        left = self._list()[0] - {path for path in self._names if not self._is_ours(path)}
        if left:
            raise UserError(f"it still holds {', '.join(sorted(left))}: remove that by hand")
        return f"{len(ours)} files; it holds {len(files) - len(ours)} others"

    # What the steps have in common

    def _run(self, *scripts: str, take: Take | None = None, then: Sequence[str] = (), **given: Any) -> list[Any]:
        """Runs scripts of on_board/ in a fresh soft reset, with `given`, and gives the JSON objects that they printed.

        `take` gets each as it comes: what a script told before it failed is not lost.
        """
        found: list[Any] = []

        def follow(line: str) -> None:
            if line.startswith("{"):
                found.append(json.loads(line))
                if take is not None:
                    take(found[-1])

        while True:
            try:
                self._cable.execute(f"given = {given!r}", *map(_script, scripts), then=then, follow=follow)
                break
            except UserError as error:
                # The port of a board that does USB itself goes away with each reset.
                is_away = "there is no such port" in str(error) or "the connection broke" in str(error)
                if not is_away or time.monotonic() > self._reset_at + RETURN:
                    raise
            found.clear()
            time.sleep(0.5)
        if then == RESET:
            self._reset_at = time.monotonic()
        return found

    def _restart(self) -> int:
        """Resets the board, so that its application runs. Gives the place on the console before it."""
        at = self._console.mark()
        self._run(then=RESET)
        return at

    def _wait(self, pattern: str, since: int) -> tuple[int, str]:
        """Waits until the application says `pattern`; gives the place behind that line, and the line."""
        found = self._console.wait_for(f"{pattern}|{_HOPELESS}", since, self._patience)
        if found is None:
            said = self._console.lines(since)
            last = f"the last that it said was: {said[-1]}" if said else "it said nothing"
            log = self._log()
            logged = f"; its log ends: {' / '.join(log[-2:])}" if log else ""
            raise UserError(f"in {self._patience:g} s it did not say {_readable(pattern)!r}; {last}{logged}")
        if not re.search(pattern, found[1]):
            raise UserError(f"the board says: {found[1]}")
        return found

    def _log(self) -> list[str]:
        try:
            found = self._run("read", paths=[f"/{STATE_FOLDER}/log-1", f"/{STATE_FOLDER}/log"])
        except UserError:
            return []
        return [each["line"] for each in found]

    def _list(self, keep: bool = False) -> tuple[set[str], set[str]]:
        """The files and the folders on the board; `keep`: those are what it held before the test."""
        found = self._run("listing", hashed=False)
        files = {each["file"] for each in found if "file" in each}
        folders = {each["folder"] for each in found if "folder" in each}
        if keep:
            self._names, self._folders = files, folders
        return files, folders

    def _compare(self, version: str, state: str) -> set[str]:
        """Raises UserError unless the board holds the release whole, in that state, and nothing that must not be there.

        Gives the files that are there.
        """
        release = self._releases[version]
        found = {each["file"]: each["sha256"] for each in self._run("listing", hashed=True) if "file" in each}
        expected = {f"/{file.path}": file.digest for file in release.files}
        wrong = [path for path, digest in expected.items() if found.get(path) != digest]
        if wrong:
            raise UserError(f"{len(wrong)} files are not those of {version}: {', '.join(wrong)}")
        if f"/{STATE_FOLDER}/{state}" not in found:
            raise UserError(f"the update is not {state}: {', '.join(p for p in found if STATE_FOLDER in p)}")
        stray = [path for path in found if path not in expected and not self._may_be_there(path, state)]
        if stray:
            raise UserError(f"files that nobody put there: {', '.join(stray)}")
        return set(found)

    def _may_be_there(self, path: str, state: str) -> bool:
        if path in self._names or path in ("/otalink.json", "/os.py", *(f"/{name}" for name in GUARD)):
            return True
        if path.endswith(OLD_SUFFIX):
            # Kept for the way back, until the next update.
            return state == "confirmed"
        ours = path.startswith(("/lib/otalink/", f"/{STATE_FOLDER}/")) and not path.endswith(NEW_SUFFIX)
        return ours and not path.endswith(("/incoming", "/committed", "/swapping"))

    def _is_ours(self, path: str) -> bool:
        if path == "/boot.py":
            return self._has_our_boot
        if path in (*_OURS, *(f"/{name}" for name in GUARD)) or path.endswith((NEW_SUFFIX, OLD_SUFFIX)):
            return True
        return path.startswith(tuple(f"{folder}/" for folder in _OUR_FOLDERS))

    def _application(self, version: str) -> Path:
        """A folder with the release `version` of the application, whose content is another in each version."""
        folder = self._work / f"application-{version}"
        (folder / f"{NAME}-files").mkdir(parents=True)
        for name in ("main.py", f"{NAME}.py"):
            text = (HERE / "application" / name).read_text(encoding="utf-8")
            text = text.replace('"1.0.0.1"', f'"{version}"').replace('("127.0.0.1", 0)', repr(self._console_address))
            text = text.replace('FAULT = ""', f"FAULT = {FAULT if version == THIRD else ''!r}")
            (folder / name).write_text(text, encoding="utf-8")
        if version != FIRST:
            for name, content in self._content.items():
                (folder / f"{NAME}-files" / name).write_bytes(content)
        return folder

    @property
    def _console_address(self) -> tuple[str, int]:
        return self._address, self._console.port

    def _publish(self, version: str) -> ReleaseFile:
        bytecode = self._facts["mpy"] & 0xFF, self._facts["mpy"] >> 8 & 3
        built = build(
            self._application(version),
            signer=self._signer,
            name=NAME,
            version=version,
            bytecode=bytecode,
            output=self._work,
        )
        self._withdraw_all()
        published = publish_file(built.path, self._served, keys.for_boards([self._signer.key]))
        self._releases[version] = published.release
        return published.release

    def _withdraw_all(self) -> None:
        for path in self._served.glob("*.ota"):
            path.unlink()

    def _state(self, name: str) -> str:
        return self.report.outcomes[list(STEPS).index(name)].state

    def _figure(self, name: str, value: float | str, unit: str) -> None:
        self.report.figures[name] = value if isinstance(value, str) else _number(value), unit

    def _shown(self, name: str) -> str:
        return " ".join(self.report.figures[name])


# In the order in which they are done.
STEPS = {
    "board": Step("what it is", BoardTest._identify),
    "modules": Step("modules", BoardTest._look_for_modules),
    "flash": Step("otalink is put on it", BoardTest._flash),
    "network": Step("network", BoardTest._join, ("flash",)),
    "ftp": Step("FTP download", BoardTest._download, ("network",)),
    "speed": Step("speed", BoardTest._measure, ("flash",)),
    "signature": Step("signature", BoardTest._verify, ("flash",)),
    "update": Step("update, with a reset in the download", BoardTest._update, ("board", "network")),
    "swap": Step("reset in the swap", BoardTest._look_at_swap, ("update",)),
    "crash": Step("a release that crashes goes back", BoardTest._crash, ("update",)),
    "link": Step("link", BoardTest._link, ("network",)),
    "figures": Step("memory and boot guard", BoardTest._look_at_memory, ("flash",)),
    "cleanup": Step("what the test put there is removed", BoardTest._clean_up),
}
_WIDTH = max(len(step.title) for step in STEPS.values())


def _content() -> dict[str, bytes]:
    """The files of a release beside its modules: some that cannot be compressed, one that can, small ones."""
    small = {f"small-{number}.bin": secrets.token_bytes(700) for number in range(5)}
    text = "".join(f"line {number}: {number * number % 97}\n" for number in range(2000)).encode()
    return {"large.bin": secrets.token_bytes(90_000), "text.txt": text, "empty.txt": b"", **small}


def _script(name: str, folder: str = "on_board") -> str:
    """A script for the board without its docstring: it is compiled in the heap there."""
    text = (HERE / folder / f"{name}.py").read_text(encoding="utf-8")
    end = ast.parse(text).body[0].end_lineno
    return "".join(text.splitlines(keepends=True)[end:]).lstrip("\n")


def _reason(text: str, port: str) -> str:
    """What went wrong, of a UserError of the cable's: without the port, and the kind of error that scripts raise."""
    if text.endswith("TimeoutError:"):
        return "it did not come so far in time"
    return re.sub(r"^(OSError|ValueError): (?=\D)", "", text.removeprefix(f"{port}: "))


def _readable(pattern: str) -> str:
    return re.sub(r"[\\^$]|\(.*\)", "", pattern)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
