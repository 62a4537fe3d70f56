"""What a board at the cable is, and what lies on it: asked by scripts that change nothing."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from otalink.board import platform as release_platform
from otalink.config import PATH
from otalink.layout import STATE_FOLDER
from otalink_host.cable import Cable
from otalink_host.errors import UserError

# Paths in one script: a board compiles it in its heap.
BATCH = 50
# Where flash keeps a boot.py that the board had: otalink's own runs it behind the guard.
OWN_BOOT = "boot_own.py"

# A dict's items as lines that Python reads, the last one the paths that its records name: those of the release that
# runs, and of a swap that was cut off.
_ASK = f"""
import gc, json, os, sys
heap = gc.mem_free() + gc.mem_alloc()
def tell(key, value):
    print(key, repr(value))
def read(path):
    with open(path, "rb") as file:
        return str(file.read(), "utf-8")
implementation = sys.implementation
tell("platform", sys.platform)
tell("version", tuple(implementation[1][:3]))
tell("machine", getattr(implementation, "_machine", ""))
tell("build", getattr(implementation, "_build", None))
tell("mpy", getattr(implementation, "_mpy", 0))
tell("heap", heap)
try:
    from machine import unique_id
    tell("id", bytes(unique_id()))
except ImportError:
    pass
found = os.statvfs("/")
tell("flash", (found[1], found[2], found[3]))
kind = None
try:
    import vfs
    kind = [type(each[0]).__name__ for each in vfs.mount() if each[1] == "/"][0]
except (ImportError, AttributeError, TypeError, IndexError):
    pass
if kind is None:
    # FAT finds a name whatever its case.
    for name in os.listdir("/"):
        other = name.upper() if name != name.upper() else name.lower()
        if other != name and other not in os.listdir("/"):
            try:
                os.stat("/" + other)
                kind = "VfsFat"
            except OSError:
                kind = "VfsLfs2"
            break
tell("file_system", kind)
try:
    settings = json.loads(read("{PATH}"))
    tell("keys", sorted(settings.get("keys", ())))
    tell("name", settings.get("name"))
    tell("device", settings.get("link", {{}}).get("board"))
except (OSError, ValueError, AttributeError, TypeError):
    pass
settings = None
try:
    tell("boot", read("/boot.py"))
except (OSError, UnicodeError) as error:
    tell("boot", None if isinstance(error, OSError) else "not UTF-8")
names = os.listdir("/")
tell("has_own_boot", "{OWN_BOOT}" in names)
tell("hides", "otalink" in names or "otalink.py" in names or "otalink.mpy" in names)
try:
    tell("modules", os.listdir("/lib/otalink"))
except OSError:
    pass
try:
    import otalink
    tell("otalink", otalink.__version__)
    tell("is_frozen", getattr(otalink, "__file__", "")[:1] != "/")
except Exception:
    pass
print("recorded [", end="")
for record in ("installed", "swapping", "reverting"):
    try:
        file = open("/{STATE_FOLDER}/" + record, "rb")
    except OSError:
        continue
    with file:
        for line in file:
            action = line.split(b" ", 1)[0]
            if action in (b"file", b"add", b"replace", b"delete"):
                try:
                    print(repr(line[:-1].split(b" ", 5 if action == b"file" else 1)[-1].decode()), end=", ")
                except UnicodeError:
                    pass
print("]")
"""

# For each path a line: its SHA-256 and size, or a dash.
_HASH = """
import hashlib
from binascii import hexlify
buffer = bytearray(512)
view = memoryview(buffer)
for path in {paths!r}:
    try:
        file = open("/" + path, "rb")
    except OSError:
        print("-")
        continue
    digest = hashlib.sha256()
    size = 0
    with file:
        while True:
            count = file.readinto(buffer)
            if not count:
                break
            digest.update(view[:count])
            size += count
    print(hexlify(digest.digest()).decode(), size)
"""


@dataclass(frozen=True)
class Board:
    """What a board is, and what otalink needs to know of its flash.

    `platform` is as releases call it, `bytecode` the version that it loads, such as (6, 3), `architecture` that of
    native code as a number of MicroPython's, `build` MicroPython's own name of the board (None before 1.25). `heap` and
    `block`, the flash's unit, are in bytes; of `blocks` there are `free_blocks`. `file_system` is MicroPython's class,
    None where it cannot be told. `boot` is its /boot.py, or None; `recorded` are the paths of the files that otalink
    has put there, `modules` the names in /lib/otalink. `hides` is true when something in the root would be imported in
    its place.
    """

    platform: str
    version: tuple[int, ...]
    machine: str
    build: str | None
    bytecode: tuple[int, int]
    architecture: int
    heap: int
    block: int
    blocks: int
    free_blocks: int
    file_system: str | None
    identity: str | None = None
    keys: tuple[str, ...] = ()
    name: str | None = None
    device: str | None = None
    boot: str | None = None
    has_own_boot: bool = False
    recorded: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    hides: bool = False
    otalink: str | None = None
    is_frozen: bool = False

    @property
    def free(self) -> int:
        """Bytes that are free on the flash. A full littlefs tells nonsense (docs/update.md), hence the bound."""
        return self.block * min(self.free_blocks, self.blocks)


def survey(cable: Cable) -> Board:
    """What the board is. Raises UserError when it does not answer as MicroPython does."""
    answer = cable.execute(_ASK)
    told: dict[str, Any] = {}
    try:
        for line in answer.splitlines():
            key, _, value = line.partition(" ")
            if key.isidentifier() and value:
                told[key] = ast.literal_eval(value)
        mpy = told["mpy"]
        block, blocks, free = told["flash"]
        return Board(
            platform=release_platform(told["platform"]),
            version=told["version"],
            machine=told["machine"],
            build=told["build"],
            bytecode=(mpy & 0xFF, mpy >> 8 & 3),
            architecture=mpy >> 10 & 0xF,
            heap=told["heap"],
            block=block,
            blocks=blocks,
            free_blocks=free,
            file_system=told["file_system"],
            identity=told["id"].hex() if "id" in told else None,
            keys=tuple(told.get("keys", ())),
            name=told.get("name"),
            device=told.get("device"),
            boot=told["boot"],
            has_own_boot=told["has_own_boot"],
            recorded=frozenset(told["recorded"]),
            modules=tuple(told.get("modules", ())),
            hides=told["hides"],
            otalink=told.get("otalink"),
            is_frozen=told.get("is_frozen", False),
        )
    except (ValueError, SyntaxError, TypeError, KeyError):
        raise UserError(f"{cable.port}: it does not answer as MicroPython does: {answer.strip()[-80:]!r}") from None


def hashes(cable: Cable, paths: Iterable[str]) -> dict[str, tuple[str, int] | None]:
    """The SHA-256, in hexadecimal digits, and the size of each of the files `paths` on the board; None of one that is
    not there."""
    wanted = list(paths)
    if not wanted:
        return {}
    answer = cable.execute(*(_HASH.format(paths=batch) for batch in batches(wanted)))
    lines = [line.split() for line in answer.splitlines()]
    if len(lines) != len(wanted) or not all(line == ["-"] or len(line) == 2 for line in lines):
        raise UserError(f"{cable.port}: it does not answer as MicroPython does: {answer.strip()[-80:]!r}")
    return {path: None if line == ["-"] else (line[0], int(line[1])) for path, line in zip(wanted, lines, strict=True)}


def batches(paths: list[str]) -> Iterator[list[str]]:
    """`paths` in lists that a script may hold each."""
    yield from (paths[first : first + BATCH] for first in range(0, len(paths), BATCH))
