"""What can be done with a board at the end of a cable once otalink is on it: look, go back, change its settings, wipe
its secrets. It prints nothing.

Scripts run on the board, by mpremote, in the memory that a small one has; none of them carries a secret, since the
command lines of a machine are everybody's to read. A session stops the application. At its end the board restarts: by
a soft reset during a trial, which does not count as one of its boots, and else as its button does (docs/update.md).
"""

import ast
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from otalink.board import platform as release_platform
from otalink.boot_rule import calls_guard
from otalink.config import PATH
from otalink.layout import GUARD, INSTALLED, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER, STATES
from otalink_host.board_settings import check_link, check_settings, format_settings, masked, parse_settings, references
from otalink_host.cable import RESET, Cable
from otalink_host.errors import UserError
from otalink_host.ports import listen

# How many boots a release on trial has.
TRIAL_BOOTS = 3
# What each line begins with that a script has to say: the board may print others.
_MARK = "otalink> "
_AGAIN = "run the same command again"
# Seconds in which a board says that it restarts, and in which it is back behind a swap.
_SOFT_RESET = 1.0
_SETTLE = 3.0
_BACK = 90.0
_NEW_SETTINGS = PATH + NEW_SUFFIX
_SCRATCH = f"/unprovision{NEW_SUFFIX}"

# Called with how many bytes are done of how many.
Progress = Callable[[int, int], None]
# What scripts said: (kind, details) for each line, in their order.
_Answer = list[tuple[str, tuple[Any, ...]]]

# Scripts. In one session each finds the names of those before it.

_BEGIN = f"""
import os
def tell(*what):
    print("\\n{_MARK}" + repr(what))
def size(path):
    try:
        found = os.stat(path)
        return -1 if found[0] & 0x4000 else found[6]
    except OSError:
        return None
def names(path):
    try:
        return os.listdir(path)
    except OSError:
        return []
def part(kind, path, start=0):
    try:
        with open(path, "rb") as file:
            file.seek(start)
            while True:
                piece = file.read(200)
                if not piece:
                    break
                tell(kind, piece)
    except OSError:
        pass
"""

# The plan's state, and the first lines of what names a release.
_STATE = f"""
states = names("/{STATE_FOLDER}")
tell("states", [name for name in states if not name.startswith("log")])
def head(path):
    try:
        with open(path, "rb") as file:
            tell("head", path, [file.readline(300) for _ in range(3)])
    except OSError:
        pass
for name in {STATES.split(" ")}:
    if name in states:
        head("/{STATE_FOLDER}/" + name)
for name in ("installed", "installed{OLD_SUFFIX}", "incoming"):
    head("/{STATE_FOLDER}/" + name)
del head
"""

_GUARD = """
first = []
try:
    with open("/boot.py") as file:
        for line in file:
            line = line.strip()
            if line and line[0] != "#":
                first.append(line[:100])
                if len(first) == 3:
                    break
except (OSError, UnicodeError):
    pass
tell("boot", first)
"""

_SETTINGS = f"""
tell("settings", size("{PATH}"))
part("setting", "{PATH}")
"""

_IDENTITY = """
import gc, sys
gc.collect()
heap = gc.mem_free()
identity = cause = None
try:
    import machine
    from binascii import hexlify
    identity = hexlify(machine.unique_id()).decode()
    cause = str(machine.reset_cause())
    for name in dir(machine):
        if name.endswith("_RESET") and str(getattr(machine, name)) == cause:
            cause = name
except (ImportError, AttributeError):
    pass
tell("is", sys.implementation.name, sys.version, sys.platform, getattr(sys.implementation, "_machine", None),
    getattr(sys.implementation, "_mpy", 0), identity, cause, heap)
"""

# FAT alone finds a name in other letters.
_FLASH = """
found = os.statvfs("/")
tell("flash", found[1] or found[0], found[2], found[3])
fat = False
there = os.listdir("/")
for name in there:
    other = name.upper()
    if other not in there and size("/" + other) is not None:
        fat = True
tell("fat", fat)
del there
"""

_OTALINK = """
try:
    import otalink
    tell("otalink", otalink.__version__, otalink.__path__)
except Exception as error:
    tell("no otalink", type(error).__name__ + ": " + str(error))
twice = names("/lib/otalink")
for name in twice:
    if name.endswith(".mpy") and name[:-3] + "py" in twice:
        tell("hidden", "lib/otalink/" + name)
"""

_CRASHES_AND_LOG = f"""
for name in ("crash", "crash-1", "crash-2", "crash-3"):
    path = "/{STATE_FOLDER}/" + name
    if size(path) is not None:
        tell("evidence", name)
        part("crash", path, max(0, size(path) - 400))
for name in ("log-1", "log"):
    path = "/{STATE_FOLDER}/" + name
    if size(path) is not None:
        part("log", path, max(0, size(path) - 4000))
"""

# Compares each file that the record names with what is there. Every file gives a line, so that the host sees it going.
_FILES = f"""
import hashlib
from binascii import hexlify
buffer = bytearray(1024)
view = memoryview(buffer)
def digest(path):
    sha256 = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while True:
                n = file.readinto(buffer)
                if not n:
                    return hexlify(sha256.digest())
                sha256.update(view[:n])
    except OSError:
        return b""
for name in {GUARD}:
    tell("guard", name, digest("/" + name).decode())
def compare():
    try:
        with open("/{INSTALLED}", "rb") as file:
            line = file.readline(300)
            left = int(line.split(b" ")[2]) - len(line)
            while left > 0:
                line = file.readline(2000)
                left -= len(line)
                if line[-1:] != b"\\n":
                    break
                if line[:5] != b"file ":
                    continue
                path = line[:-1].split(b" ", 5)[5].decode()
                here = digest("/" + path)
                tell("equal" if here == line[5:69] else "changed" if here else "missing", path)
                if path.endswith(".mpy") and size("/" + path[:-3] + "py") is not None:
                    tell("hidden", path)
            else:
                if left == 0:
                    return tell("whole")
    except OSError:
        return tell("no record")
    except (ValueError, IndexError):
        pass
    tell("damaged")
compare()
del compare, digest, buffer, view
"""

# Restarts the board, unless a release is on trial: then the host types what resets it softly.
_RESTART = f"""
import os, time, machine
try:
    trial = [name for name in os.listdir("/{STATE_FOLDER}") if name.startswith("trial-")]
except OSError:
    trial = []
if not trial:
    time.sleep_ms(100)
    machine.reset()
"""
_THEN_RESTART = ("exec", "--no-follow", _RESTART)

# By the board's own otalink where it has one that loads; else, and in a trial, by the rule that it keeps.
_ROLL_BACK = f"""
try:
    import asyncio, otalink
    asyncio.run(otalink.Updater({{"name": "x", "host": "x"}}, message=None).rollback("none"))
except Exception:
    pass
states = names("/{STATE_FOLDER}")
for name in () if "reverting" in states else ("trial-0", "trial-1", "trial-2", "trial-3", "confirmed"):
    if name in states:
        try:
            os.rename("/{STATE_FOLDER}/" + name, "/{STATE_FOLDER}/reverting")
        except OSError as error:
            tell("failed", error.errno)
        break
tell("reverting", "reverting" in names("/{STATE_FOLDER}"))
"""

# Puts the new settings in the place of the old ones.
_PUT_SETTINGS = f"""
try:
    if size("{_NEW_SETTINGS}") == {{length}}:
        os.rename("{_NEW_SETTINGS}", "{PATH}")
    else:
        tell("failed", 0)
except OSError as error:
    tell("failed", error.errno)
"""

_ERASE_KEYS = """
try:
    from esp32 import NVS
except ImportError:
    NVS = None
for namespace, key in {keys!r}:
    if NVS is None:
        tell("no nvs", namespace, key)
        continue
    try:
        nvs = NVS(namespace)
        nvs.erase_key(key)
        nvs.commit()
        tell("erased", namespace, key)
    except OSError:
        tell("no key", namespace, key)
"""

# Removes files. littlefs keeps what is short in the log of the folder, and the block that this log had before stays as
# it is until the log is written anew: so each file is written over, briefly, until that has happened twice and more.
_WIPE = """
short = bytes(100)
def wipe(path):
    if size(path) in (None, -1):
        return
    for _ in range(3 * os.statvfs("/")[0] // len(short) + 1):
        try:
            with open(path, "wb") as file:
                file.write(short)
        except OSError:
            break
    os.remove(path)
    tell("removed", path)
for path in {paths!r}:
    try:
        wipe(path)
    except OSError as error:
        tell("failed", path, error.errno)
"""

# Fills what is free of the flash, once, so that every free block is erased and written.
_FILL = f"""
def fill():
    piece = bytes(1024)
    done = 0
    try:
        with open("{_SCRATCH}", "wb") as file:
            while True:
                file.write(piece)
                done += len(piece)
                if not done & 0x3FFF:
                    tell("filled", done)
    except OSError as error:
        if error.errno != 28:  # the flash is not full
            tell("failed", "{_SCRATCH}", error.errno)
    finally:
        os.remove("{_SCRATCH}")
    tell("filled", done)
found = os.statvfs("/")
tell("free", found[0] * min(found[3], found[2]))
fill()
"""


# What a board is


@dataclass(frozen=True)
class Release:
    """A release by its name, and its version as text."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Update:
    """Where an update is (docs/update.md). `state` is the plan's name without a number, or "none"; `boot` counts those
    of a trial. `kept` is the release that the board can go back to, `failed` the one that it went back from, and
    `incoming` the one that is being downloaded."""

    state: str
    boot: int | None
    installed: Release | None
    on_trial: Release | None
    kept: Release | None
    failed: Release | None
    incoming: Release | None


@dataclass(frozen=True)
class Status:
    """What a board is and what is on it. Sizes are bytes; paths are those of the board, as a release writes them."""

    port: str
    # The board.
    micropython: str
    platform: str
    machine: str | None
    unique_id: str | None
    bytecode: str
    reset_cause: str | None
    heap_free: int
    flash_total: int
    flash_free: int
    file_system: str
    # otalink: its version, where it lies, and why it cannot be used.
    otalink: str | None
    otalink_path: str | None
    otalink_fault: str | None
    # The boot guard: whether /boot.py calls it; and for each of its files "same", "other" (than here) or "missing".
    guard_called: bool
    guard: dict[str, str]
    # What runs: the record is "whole", "missing" or "damaged".
    update: Update
    record: str
    files: int
    changed: list[str]
    missing: list[str]
    hidden: list[str]
    # Evidence that a release does not start, and what is in the log.
    crashes: dict[str, str]
    log: list[str]
    # /otalink.json, without its secrets; None with the reason.
    settings: dict[str, Any] | None
    settings_fault: str | None

    @property
    def faults(self) -> list[str]:
        """What keeps the board from running what is installed, or from updating itself; nothing where all is well."""
        if self.otalink is None:
            return [f"{self.otalink_fault}: put it there with `otalink flash`"]
        found = []
        if self.changed:
            found.append(f"not as it was installed: {_some(self.changed)}")
        if self.missing:
            found.append(f"installed, but not there: {_some(self.missing)}")
        if self.record == "damaged":
            found.append("the record of what is installed is damaged")
        if self.record == "missing":
            found.append("no release is recorded")
        if found:
            found[-1] += ": flash it again"
        for path in self.hidden:
            found.append(f"{path[:-3]}py hides {path}: remove it")
        if not self.guard_called:
            found.append("/boot.py does not call the boot guard: flash it again")
        elif "missing" in self.guard.values():
            found.append("the boot guard is not whole: flash it again")
        if self.file_system == "FAT":
            found.append("its flash is FAT, on which it will not update: format it as littlefs")
        if self.settings_fault is not None:
            found.append(self.settings_fault)
        return found


def status(port: str) -> Status:
    """What the board on `port` is. It stops the application, writes nothing, and restarts the board at the end.

    Raises UserError when it does not answer.
    """
    scripts = (_BEGIN, _IDENTITY, _FLASH, _STATE, _GUARD, _SETTINGS, _CRASHES_AND_LOG, _FILES, _OTALINK)
    cable = Cable(port)
    answer = _session(cable, *scripts, then=_THEN_RESTART)
    found = parse_status(port, answer)
    _restart(cable, found.update)
    return found


def parse_status(port: str, answer: _Answer) -> Status:
    """The Status that the scripts' answer tells."""
    says = dict(answer)
    runs, version, platform, machine, mpy, unique_id, cause, heap = _one(answer, "is")
    if runs != "micropython":
        raise UserError(f"{port}: it runs {runs}, and otalink needs MicroPython: write that to it first")
    block, blocks, free = _one(answer, "flash")
    settings, settings_fault = _settings(answer)
    version_here, path = says.get("otalink", (None, None))
    kinds: dict[str, list[str]] = {"equal": [], "changed": [], "missing": [], "hidden": []}
    for kind, details in answer:
        if kind in kinds:
            kinds[kind].append(details[0])
    return Status(
        port=port,
        micropython=version.partition("MicroPython ")[2].partition(" on ")[0] or version,
        platform=release_platform(platform),
        machine=machine,
        unique_id=unique_id,
        bytecode=f"{mpy & 0xFF}.{mpy >> 8 & 3}",
        reset_cause=cause,
        heap_free=heap,
        flash_total=block * blocks,
        # What littlefs says when it is full is more than there is.
        flash_free=block * free if free <= blocks else 0,
        file_system="FAT" if _one(answer, "fat")[0] else "littlefs",
        otalink=version_here,
        otalink_path=path,
        otalink_fault=_otalink_fault(says),
        guard_called=calls_guard("\n".join(_one(answer, "boot")[0])),
        guard={name: _compared(name, digest) for _, (name, digest) in _of(answer, "guard")},
        update=_update(answer),
        record="whole" if "whole" in says else "damaged" if "damaged" in says else "missing",
        files=sum(len(kinds[kind]) for kind in ("equal", "changed", "missing")),
        changed=kinds["changed"],
        missing=kinds["missing"],
        hidden=kinds["hidden"],
        crashes=_crashes(answer),
        log=_text(answer, "log").splitlines(),
        settings=settings,
        settings_fault=settings_fault,
    )


def _otalink_fault(says: dict[str, tuple[Any, ...]]) -> str | None:
    if "no otalink" not in says:
        return None
    (why,) = says["no otalink"]
    if why.startswith("ImportError") and "'otalink'" in why:
        return "otalink is not on the board"
    return f"the board's otalink cannot be loaded ({why})"


def _compared(name: str, digest: str) -> str:
    if not digest:
        return "missing"
    here = hashlib.sha256(files("otalink_guard").joinpath(name).read_bytes()).hexdigest()
    return "same" if digest == here else "other"


def _settings(answer: _Answer) -> tuple[dict[str, Any] | None, str | None]:
    """The settings without their secrets, or why there are none that the board can use."""
    content = _content(answer)
    if content is None:
        return None, f"it has no {PATH}: make it with `otalink flash`, or with `otalink config set`"
    try:
        settings = parse_settings(content)
    except UserError as error:
        return None, str(error)
    hidden: dict[str, Any] = masked(settings)
    try:
        # What only a newer otalink knows is nothing that keeps this one's board from updating itself.
        check_settings(hidden, settings)
        return hidden, None
    except UserError as error:
        return hidden, str(error)


def _crashes(answer: _Answer) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for kind, details in answer:
        if kind == "evidence":
            name = details[0]
            found[name] = ""
        elif kind == "crash":
            found[name] += details[0].decode("utf-8", "replace")
    return found


def _update(answer: _Answer) -> Update:
    """Where the update is, by the name of the plan and the heads of the records."""
    (states,) = _one(answer, "states")
    heads = {path.rpartition("/")[2]: _release(lines) for _, (path, lines) in _of(answer, "head")}
    plan = next((name for name in STATES.split(" ") if name in states), "none")
    state, _, boot = plan.partition("-")
    has_kept = state in ("trial", "confirmed")
    return Update(
        state=state,
        boot=int(boot) if boot else None,
        installed=heads.get("installed"),
        on_trial=heads.get(plan) if state == "trial" else None,
        kept=heads.get(f"installed{OLD_SUFFIX}") if has_kept else None,
        failed=heads.get("reverted") if state in ("reverted", "reverting") else None,
        incoming=heads.get("incoming") if "incoming" in states else None,
    )


def _release(lines: list[bytes]) -> Release | None:
    """The release that a record or plan with these first lines is about."""
    texts = [line.decode("utf-8", "replace").rstrip("\n") for line in lines]
    if len(texts) < 3 or not texts[1].startswith("name ") or not texts[2].startswith("version "):
        return None
    return Release(texts[1][5:], texts[2][8:])


# The way back


def kept_release(port: str) -> Update:
    """Where the update of the board is, which can go back to the release before. Restarts the board.

    Raises UserError when it cannot.
    """
    cable = Cable(port)
    answer = _session(cable, _BEGIN, _STATE, _GUARD, then=_THEN_RESTART)
    found = _update(answer)
    _restart(cable, found)
    if found.state not in ("trial", "confirmed"):
        runs = f", which runs {found.installed}," if found.installed is not None else ""
        why = f": it went back from {found.failed} already" if found.failed is not None else ""
        raise UserError(f"there is no release that the board on {port}{runs} can go back to{why}")
    if not calls_guard("\n".join(_one(answer, "boot")[0])):
        raise UserError(f"the /boot.py of the board on {port} does not call the boot guard: flash it again")
    return found


def roll_back(port: str) -> Update:
    """Has the board go back to the release before, waits for it, and gives what runs then.

    Raises UserError when there is none, or when it does not come to it.
    """
    cable = Cable(port)
    answer = _session(cable, _BEGIN, _STATE, _ROLL_BACK, then=RESET)
    says = dict(answer)
    if _update(answer).state not in ("trial", "confirmed", "reverting"):
        raise UserError(f"there is no release that the board on {port} can go back to")
    if not _one(answer, "reverting")[0]:
        raise UserError(f"{port}: the flash fails with error {says.get('failed', (0,))[0]}: {_AGAIN}")
    return _wait_until_back(cable)


def _wait_until_back(cable: Cable) -> Update:
    """What the board runs once its boot guard has put the release before in place."""
    deadline = time.monotonic() + _BACK
    while True:
        # While it swaps, nobody should disturb it; it would go on, though.
        time.sleep(_SETTLE)
        try:
            answer = _session(cable, _BEGIN, _STATE, then=_THEN_RESTART)
        except UserError:  # it restarts
            if time.monotonic() > deadline:
                raise
            continue
        found = _update(answer)
        _restart(cable, found)
        if found.state == "reverted":
            return found
        if time.monotonic() > deadline:
            raise UserError(f"{cable.port}: it did not go back in {_BACK:g} s: `otalink status` says where it is")


# The settings


def read_settings(port: str) -> dict[str, Any]:
    """The settings of the board, secrets included. Restarts it. Raises UserError when it has none."""
    cable = Cable(port)
    answer = _session(cable, _BEGIN, _STATE, _SETTINGS, then=_THEN_RESTART)
    _restart(cable, _update(answer))
    content = _content(answer)
    if content is None:
        raise UserError(f"the board on {port} has no {PATH}: put otalink on it with `otalink flash`")
    return parse_settings(content)


def change_settings(port: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Changes the settings of the board to what `change` makes of them, and restarts it. False: it has them already.

    The new ones are written beside the old ones, take their place by a rename, and are read back. Raises UserError when
    the board would not take them, and nothing is changed then.
    """
    cable = Cable(port)
    answer = _session(cable, _BEGIN, _STATE, _SETTINGS)
    try:
        before = _content(answer)
        settings = parse_settings(before) if before is not None else {}
        changed = change(settings)
        check_settings(changed, settings)
        check_link(changed)
    except UserError:
        _end(cable)
        raise
    if before is not None and changed == settings:
        _end(cable)
        return False
    content = format_settings(changed)
    with tempfile.TemporaryDirectory(prefix="otalink-config-") as work:
        path = Path(work, "otalink.json")
        path.touch(mode=0o600)
        path.write_bytes(content)
        with _let_go(cable):
            cable.copy([(path, _NEW_SETTINGS)], lambda index, percent: None)
    put = _PUT_SETTINGS.format(length=len(content))
    answer = _session(cable, _BEGIN, _STATE, put, _SETTINGS, then=_THEN_RESTART)
    _restart(cable, _update(answer))
    failed = dict(answer).get("failed")
    if failed is not None:
        raise UserError(f"{port}: the new settings cannot be put in place (error {failed[0]}): {_AGAIN}")
    if _content(answer) != content:
        raise UserError(f"{port}: the flash does not give back the settings that were written: {_AGAIN}")
    return True


# No secret any more


@dataclass(frozen=True)
class Unprovisioned:
    """What was done: the files that were removed, the NVS keys that were erased and those that could not be, and how
    many bytes of the free flash were written over."""

    removed: list[str]
    erased: list[str]
    not_erased: list[str]
    filled: int


def provisioned_as(port: str) -> dict[str, Any] | None:
    """The settings of a board that is to lose them; None when it has none that can be read. Restarts the board."""
    cable = Cable(port)
    answer = _session(cable, _BEGIN, _STATE, _SETTINGS, then=_THEN_RESTART)
    _restart(cable, _update(answer))
    try:
        return parse_settings(_content(answer) or b"")
    except UserError:
        return None


def unprovision(
    port: str, settings: dict[str, Any] | None, progress: Progress = lambda done, total: None
) -> Unprovisioned:
    """Wipes the secrets of the board, which has these `settings`, from its flash; the application and otalink stay.

    `progress` is told how many bytes of the free flash are written over. The board restarts. Raises UserError; run
    again, it goes on.
    """
    cable = Cable(port)
    total = 0

    def follow(line: str) -> None:
        nonlocal total
        for kind, details in parse_lines(line):
            if kind == "free":
                total = details[0]
            elif kind == "filled":
                progress(min(details[0], total), total)

    paths = sorted(_texts_of(settings or {}))
    scripts = [
        _BEGIN,
        # The settings go last: they say what else there is, should this be cut short.
        _ERASE_KEYS.format(keys=references(settings or {})),
        _WIPE.format(paths=[*paths, _SCRATCH, _NEW_SETTINGS, PATH]),
        _FILL,
    ]
    answer = _session(cable, *scripts, then=RESET, follow=follow)
    for _, (path, number) in _of(answer, "failed"):
        raise UserError(f"{port}: {path} cannot be wiped (error {number}): {_AGAIN}")
    return Unprovisioned(
        removed=[details[0] for _, details in _of(answer, "removed")],
        erased=["/".join(details) for _, details in _of(answer, "erased")],
        not_erased=["/".join(details) for kind in ("no nvs", "no key") for _, details in _of(answer, kind)],
        filled=max(details[0] for _, details in _of(answer, "filled")),
    )


def _texts_of(settings: dict[str, Any]) -> set[str]:
    """The paths of the files that hold texts of the board's owner: kept messages, the log, what crashed."""
    names = ("crash", "crash-1", "crash-2", "crash-3", "log", "log-1", "outbox", "outbox-new")
    found = {f"/{STATE_FOLDER}/{name}" for name in names}
    link = settings.get("link")
    outbox = link.get("file") if isinstance(link, dict) else None
    if isinstance(outbox, str):
        path = "/" + outbox.lstrip("/")
        found |= {path, f"{path}-new"}
    return found


# Sessions


def _session(
    cable: Cable, *scripts: str, then: Sequence[str] = (), follow: Callable[[str], None] = lambda line: None
) -> _Answer:
    """What the scripts say in one session, at whose end mpremote does `then`. Raises UserError."""
    with _let_go(cable):
        try:
            answer = list(parse_lines(cable.execute(*scripts, then=then, follow=follow)))
        except UserError as error:
            # What a board said last may hold a secret.
            if _MARK.strip() in str(error):
                raise UserError(f"{cable.port}: the connection broke: {_AGAIN}") from None
            raise
    if not answer:
        raise UserError(f"{cable.port}: it does not answer as MicroPython does: {_AGAIN}")
    return answer


@contextmanager
def _let_go(cable: Cable) -> Iterator[None]:
    """Has the application run again, where the board still listens, when a session does not come to its end."""
    try:
        yield
    except BaseException:
        with suppress(UserError):
            listen(cable.port, b"\r\x03\x02\x04", _SOFT_RESET)
        raise


def parse_lines(output: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What scripts said in what the board printed: (kind, details) for each of their lines."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            try:
                kind, *details = ast.literal_eval(line[len(_MARK) :])
            except (ValueError, SyntaxError, TypeError):  # another line that came into the middle of it
                continue
            yield kind, tuple(details)


def _restart(cable: Cable, update: Update) -> None:
    """The restart of a board that _THEN_RESTART has left as it is since a release is on trial."""
    if update.state == "trial" and "soft reboot" not in listen(cable.port, b"\x04", _SOFT_RESET):
        raise UserError(
            f"the board on {cable.port} does not restart: plug it in again; that counts as a boot of its trial"
        )


def _end(cable: Cable) -> None:
    """Ends what was begun with a session that did not restart the board."""
    _restart(cable, _update(_session(cable, _BEGIN, _STATE, then=_THEN_RESTART)))


def _one(answer: _Answer, kind: str) -> tuple[Any, ...]:
    """What a script says once and always."""
    for each, details in answer:
        if each == kind:
            return details
    raise UserError(f"the board does not answer as MicroPython does (no {kind}): {_AGAIN}")


def _of(answer: _Answer, kind: str) -> _Answer:
    return [each for each in answer if each[0] == kind]


def _content(answer: _Answer) -> bytes | None:
    """What `/otalink.json` holds; None when there is no such file."""
    if _one(answer, "settings")[0] is None:
        return None
    return b"".join(details[0] for _, details in _of(answer, "setting"))


def _text(answer: _Answer, kind: str) -> str:
    return b"".join(details[0] for _, details in _of(answer, kind)).decode("utf-8", "replace")


def _some(paths: list[str]) -> str:
    return ", ".join(paths) if len(paths) <= 3 else f"{', '.join(paths[:3])}, ..."
