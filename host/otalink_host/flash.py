"""Puts otalink and an application on a board over the cable: what a board needs to update itself from then on."""

import ast
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import otalink
from otalink.boot_rule import calls_guard
from otalink.config import PATH
from otalink.layout import GUARD, INSTALLED, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER
from otalink.paths import check_path
from otalink_host import board_tree
from otalink_host.board_settings import check_link, check_settings
from otalink_host.board_tree import OTALINK, Application, count_of
from otalink_host.boards import BoardType, load_boards, recognise
from otalink_host.cable import RESET, Cable
from otalink_host.copying import Copying
from otalink_host.errors import UserError
from otalink_host.survey import OWN_BOOT, Board, batches, hashes, survey

Say = Callable[[str], None]

# Bytes of heap, all that MicroPython counts, below which no update fits: measured, docs/benchmarks.md. The virtual
# board's pointers are twice as wide; of `-X heapsize=64k` it counts 63 KiB.
HEAP_MIN = {"unix": 62 << 10}
HEAP_MIN_ELSEWHERE = 46 << 10
# What is sent last: until it is whole, what starts a board must not start what is not there.
_LAST = ("main.py", "boot.py")

# Removes the files of the application before that the new one lacks, and folders that are empty then. What names them
# stays until they are gone, so that flashing again after a power cut finds the rest.
_REMOVE = """
import os
for path in {paths!r}:
    try:
        os.remove("/" + path)
    except OSError:
        pass
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        try:
            os.rmdir("/" + path)
        except OSError:
            break
print()
"""

# An update that was on is over: what flash brings is what runs. The log stays, and so does what waits for the link.
# Makes the folders, and says of what kind the file system is. A boot.py of the board's own gets another name.
_PREPARE = f"""
import os
def remove(path):
    try:
        os.remove(path)
    except OSError:
        pass
try:
    states = os.listdir("/{STATE_FOLDER}")
except OSError:
    states = ()
for state in states:
    if state.startswith(("log", "outbox")) or state in {{kept!r}}:
        continue
    try:
        file = open("/{STATE_FOLDER}/" + state, "rb")
    except OSError:  # one before it named it
        continue
    with file:
        for line in file:
            try:
                path = line[:-1].split(b" ", 5 if line.startswith(b"file ") else 1)[-1].decode()
            except UnicodeError:
                continue
            remove("/" + path + "{NEW_SUFFIX}")
            remove("/" + path + "{OLD_SUFFIX}")
    remove("/{STATE_FOLDER}/" + state)
for folder in {{folders!r}}:
    try:
        os.mkdir(folder)
    except OSError:
        pass
if {{keeps_boot}}:
    os.rename("/boot.py", "/{OWN_BOOT}")
try:
    os.stat("/{STATE_FOLDER.upper()}")
    print(True)
except OSError:
    print(False)
"""

# Seconds in which a board joins its network.
JOIN = 60

# Lets the board look on its server once. What it says to the user comes line by line, the outcome last. No watchdog is
# started, which only a reset ends.
_CHECK = f"""
import asyncio, json, otalink
async def check():
    with open("{PATH}") as file:
        settings = json.load(file)
    settings.pop("watchdog", None)
    try:
        updater = otalink.Updater(settings, message=print)
    except ValueError as error:
        return "its settings cannot be used: " + str(error)
    settings = None
    if updater.config.network is not None:
        from otalink import network
        if not await network.wait({JOIN}):
            return "it does not get into its network in {JOIN} s"
    try:
        release = await updater.check()
    except otalink.ReleaseError as error:  # the server was reached: what lies there is another matter
        print(error)
        return None
    except (otalink.OtaError, OSError) as error:
        return str(error)
    except MemoryError:
        return "its memory is too small for that"
    if release is None:
        print("there is nothing to install for it now")
print("otalink:", repr(asyncio.run(check())))
"""


@dataclass(frozen=True)
class PlannedFile:
    """A file of the plan: its `path` on the board, its `source` here, its `size`, and whether it `is_there` already."""

    path: str
    source: Path
    size: int
    is_there: bool


@dataclass(frozen=True)
class Plan:
    """What `flash` is going to do: `files` in the order in which they are sent, `removed` paths, `lines` to show.

    `former` are the paths of `removed` and of what a flash that was cut off has removed: their folders may be empty.
    """

    files: tuple[PlannedFile, ...]
    removed: tuple[str, ...]
    former: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def sent(self) -> tuple[PlannedFile, ...]:
        return tuple(file for file in self.files if not file.is_there)


def flash(
    port: str,
    application: Path,
    settings: dict[str, Any],
    *,
    version: str | None = None,
    replace_boot: bool = False,
    unsigned: bool = False,
    ca: bytes | None = None,
    dry_run: bool = False,
    check: bool = True,
    boards: Mapping[str, BoardType] | None = None,
    expected: str | None = None,
    say: Say = print,
    copying: Copying | None = None,
    show: Callable[[Plan], None] | None = None,
) -> Board:
    """Flashes otalink with its boot guard, the `application` (a folder, as `repository.publish` takes it, or a release
    file) and `/otalink.json`; reads it back; has the board look on its server, if `check`; resets.

    `settings` is what `/otalink.json` is to hold; its "name" and `version` name the release where no versioned file
    does, and its "keys" are the public keys of the releases that the board is to install from then on. A /boot.py of
    the board's own is kept, and run behind the guard; `replace_boot` has it overwritten. `unsigned` allows the keys of
    a board to be taken away. `ca` is the certificate, in DER, that the setting "tls" names. `boards` are the known
    ones, by default otalink's own, `expected` the name of one of them that it must be. `show` gets the plan; with
    `dry_run` that is all. `copying` is told how far the copy is.

    Raises UserError, one line; run again, it sends what is missing.
    """
    check_settings(settings)
    check_link(settings)
    cable = Cable(port)
    board = survey(cable)
    kind = recognise(load_boards() if boards is None else boards, board.platform, board.build, board.machine)
    say(f"{port}: {describe(board, kind)}")
    _refuse(port, board, kind, expected, settings, unsigned)
    with tempfile.TemporaryDirectory(prefix="otalink-flash-") as work:
        root = Path(work, "board")
        root.mkdir()
        laid_out = board_tree.lay_out_application(
            application, root, Path(work, "release"), settings["name"], version, settings.get("keys", {}), unsigned
        )
        board_tree.check_bytecode(root, laid_out, board.bytecode, board.architecture)
        board_tree.lay_out_guard(root)
        modules = None if board.is_frozen else board_tree.lay_out_otalink(root, board.bytecode)
        board_tree.lay_out_settings(root, settings)
        if ca is not None:
            board_tree.lay_out_ca(root, ca)
        keeps_boot = _keeps_boot(port, root, board, replace_boot)
        plan = _plan(cable, board, root, laid_out, keeps_boot, modules)
        for line in plan.lines:
            say(line)
        if show is not None:
            show(plan)
        if dry_run:
            return board
        _carry_out(cable, plan, root, keeps_boot, copying)
        _read_back(cable, plan)
        say(f"read back: {len(plan.files)} files, as they should be")
        say(_about_keys(settings.get("keys", {})))
        gone = sorted(set(board.keys) - set(settings.get("keys", {})))
        if gone:
            say(f"It had, and has no more: {', '.join(gone)}")
    if check:
        _check(cable, say)
    else:
        cable.execute(then=RESET)
    return board


def describe(board: Board, kind: BoardType | None) -> str:
    """A board in one line: what it is, how much room there is, and whether otalink was tried on its `kind`."""
    major, minor = board.bytecode
    version = ".".join(map(str, board.version))
    return (
        f"{kind.name if kind else board.build or board.machine}, MicroPython {version}, bytecode {major}.{minor}, "
        f"{board.free >> 10:,} of {board.block * board.blocks >> 10:,} KiB of flash free, {board.heap >> 10} KiB heap"
        + (f"; {kind.state}" if kind else "; not listed: docs/my-board-is-not-listed.md")
    )


def _refuse(
    port: str,
    board: Board,
    kind: BoardType | None,
    expected: str | None,
    settings: dict[str, Any],
    unsigned: bool,
) -> None:
    """Raises UserError when otalink cannot run on the board, or what is wanted would be a slip."""
    found = kind.name if kind is not None else board.build or board.machine
    if expected is not None and found != expected:
        raise UserError(f"{port} is no {expected}, it says that it is {found}: name another port, or leave --board out")
    if kind is not None and kind.reason is not None:
        raise UserError(f"{port}: otalink does not run on {kind.name}: {kind.reason}; take another board")
    if board.file_system == "VfsFat":
        raise UserError(_fat(port))
    smallest = HEAP_MIN.get(board.platform, HEAP_MIN_ELSEWHERE)
    if board.heap < smallest:
        raise UserError(
            f"{port} is too small: it has {board.heap >> 10} KiB of heap, and an update needs {smallest >> 10}: take a "
            "board with more"
        )
    if board.hides:
        raise UserError(
            f"{port} has an otalink of its own in /, which would be imported in the place of lib/otalink: remove it, "
            f"as in: mpremote connect {port} rm -r :/otalink"
        )
    if board.keys and not settings.get("keys") and not unsigned:
        raise UserError(
            f"{port} has the key {', '.join(board.keys)}, and there is none here: give it one with --key or --keys, "
            "or take it away with --unsigned"
        )


def _fat(port: str) -> str:
    return (
        f"the flash of {port} is FAT, where a power cut breaks an update: format it as littlefs "
        "(docs/when-it-goes-wrong.md says how; that erases it), then run this again"
    )


def _keeps_boot(port: str, root: Path, board: Board, replace: bool) -> bool:
    """True when the board's /boot.py is to be kept under another name."""
    if replace or not board_tree.keeps_boot(root, board.boot):
        return False
    assert board.boot is not None
    if calls_guard(board.boot):
        # It is otalink's, of another version or with lines behind it: those are its owner's.
        (root / "boot.py").unlink()
        return False
    if board.has_own_boot:
        raise UserError(
            f"{port} has a /boot.py and a /{OWN_BOOT}, neither of them otalink's: keep what you need in one of the "
            "two, remove the other, or flash with --replace-boot"
        )
    return True


def _plan(cable: Cable, board: Board, root: Path, laid_out: Application, keeps_boot: bool, modules: int | None) -> Plan:
    sources = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if not path.is_dir()}
    old = sorted(path for path in board.recorded - {*sources, *GUARD} if _may_be_a_releases(path))
    stale = [f"{OTALINK}/{name}" for name in sorted(board.modules) if f"{OTALINK}/{name}" not in sources]
    there = hashes(cable, [*sorted(sources), *old])
    removed = [path for path in old if there[path] is not None]
    files = tuple(
        PlannedFile(
            path,
            source,
            source.stat().st_size,
            there[path] == _hash_of(source) and not (keeps_boot and path == "boot.py"),
        )
        for path, source in sorted(sources.items(), key=lambda item: (item[0] in _LAST, item[0]))
    )
    plan = Plan(files, (*removed, *stale), (*old, *stale), ())
    _check_room(cable.port, board, plan, there)
    lines = [*laid_out.notes]
    what = f"otalink {otalink.__version__}" + ("" if modules is None else f" ({modules} modules)")
    if modules is None:
        lines.append(
            f"otalink {board.otalink} is frozen into its firmware, which would hide one in {OTALINK}: it stays"
        )
        what = "the boot guard"
    else:
        what += ", its boot guard"
    lines.append(f"to be on it: {what}, {laid_out} and {PATH}")
    sent = plan.sent
    size = sum(file.size for file in sent)
    same = f"; the other {len(files) - len(sent)} are there already" if len(sent) < len(files) else ""
    lines.append(f"to send: {len(sent)} of {len(files)} files, {size:,} bytes{same}")
    if removed:
        lines.append(f"to remove: {count_of(removed)} of the application before: {', '.join(removed)}")
    if stale:
        lines.append(f"to remove: {count_of(stale)} of another otalink in {OTALINK}")
    if keeps_boot:
        lines.append(f"its own /boot.py becomes /{OWN_BOOT}, which runs behind the boot guard")
    return replace(plan, lines=tuple(lines))


def _hash_of(path: Path) -> tuple[str, int]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), len(content)


def _check_room(port: str, board: Board, plan: Plan, there: dict[str, tuple[str, int] | None]) -> None:
    """Raises UserError when the plan's files do not fit on the flash."""

    def blocks(size: int) -> int:
        return -(-size // board.block)

    wanted = sum(blocks(file.size) for file in plan.sent)
    given_up = sum(blocks(found[1]) for file in plan.sent if (found := there[file.path]) is not None)
    # A folder takes two blocks, and a file of a few bytes lies in its folder's.
    if board.block * (wanted - given_up) > board.free + board.block * len(plan.removed):
        raise UserError(
            f"{port} is too small: {board.block * (wanted - given_up) >> 10:,} KiB more are to lie on its flash, and "
            f"{board.free >> 10:,} are free: remove files from it, or take a board with more flash"
        )


def _may_be_a_releases(path: str) -> bool:
    """Whether a release may name `path`: a record that is broken must not have anything else removed."""
    try:
        check_path(path)
    except ValueError:
        return False
    return True


def _carry_out(cable: Cable, plan: Plan, root: Path, keeps_boot: bool, copying: Copying | None) -> None:
    """Removes and copies as the plan says."""
    folders = sorted(f"/{path.relative_to(root).as_posix()}" for path in root.rglob("*") if path.is_dir())
    scripts = [_REMOVE.format(paths=batch) for batch in batches(list(plan.former))]
    kept = [INSTALLED.rpartition("/")[2]] if any(f.path == INSTALLED and f.is_there for f in plan.files) else []
    scripts.append(_PREPARE.format(folders=folders, keeps_boot=keeps_boot, kept=kept))
    sent = plan.sent

    def progress(index: int, percent: int) -> None:
        if copying is not None:
            copying(f"/{sent[index].path}", index + 1, len(sent), percent)

    printed = cable.copy([(file.source, f"/{file.path}") for file in sent], progress, first=scripts)
    if printed[-1].strip() == "True":
        raise UserError(_fat(cable.port))


def _read_back(cable: Cable, plan: Plan) -> None:
    """Raises UserError unless every file lies on the board as it was to."""
    found = hashes(cable, [file.path for file in plan.files])
    wrong = [file.path for file in plan.files if found[file.path] != _hash_of(file.source)]
    if wrong:
        raise UserError(
            f"{cable.port}: {count_of(wrong)} does not read back as it was written ({', '.join(wrong[:3])}): run the "
            "same command again; if that does not mend it, the board's flash is worn out"
        )


def _check(cable: Cable, say: Say) -> None:
    """Has the board look on its server, tells what it says, and resets it. Raises UserError when it got no answer."""
    outcome: list[str] = []

    def follow(line: str) -> None:
        if line.startswith("otalink: "):
            outcome.append(line.removeprefix("otalink: "))
        elif line:
            say(f"the board says: {line}")

    cable.execute(_CHECK, then=RESET, follow=follow)
    why = ast.literal_eval(outcome[-1]) if outcome else "it did not come to an end"
    if why is not None:
        raise UserError(
            f"all of it is on {cable.port}, but it does not reach its server: {why}; mend that and run the same "
            "command again, or leave this out with --no-check"
        )


def _about_keys(keys: dict[str, str]) -> str:
    if not keys:
        return "It has no key: it installs plain folders and any release file, whoever made them"
    one = "that key" if len(keys) == 1 else "one of them"
    return (
        f"It has {'the key' if len(keys) == 1 else 'the keys'} {', '.join(sorted(keys))}: it installs release files "
        f"signed with {one}, and refuses plain folders, which nobody signs"
    )
