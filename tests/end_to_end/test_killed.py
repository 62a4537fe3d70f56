"""A virtual board that loses its power and its network, at random, while it updates itself by signed release files.

OTALINK_KILLED_SECONDS says for how long (`make killed`), OTALINK_KILLED_SEED repeats the choices of a run.
"""

import ast
import os
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flashed import Flashed

from otalink_host import keys
from otalink_host.build import build
from otalink_host.release_file import unpack
from otalink_host.repository import publish_file
from otalink_host.vboard import VirtualBoard

sys.path.insert(0, str(Path(__file__).parents[1] / "unix_port"))

from updater_support import PASSWORD, Server, digest, write

FIRMWARE = Path(__file__).parents[2] / "firmware"
SECONDS = float(os.environ.get("OTALINK_KILLED_SECONDS", "30"))
SEED = int(os.environ.get("OTALINK_KILLED_SEED", "20"))
# For one version to arrive, with the network in pieces.
PATIENCE = 60.0
STATE = ("confirmed", "installed", "installed.ota-old")

# Prints what is on a board's flash, which is off.
DIGESTS = """
import binascii, hashlib, os, sys, vfs

class Chip:
    with open(sys.argv[1], "rb") as file:
        data = memoryview(file.read())

    def readblocks(self, block, buf, offset=0):
        start = block * 4096 + offset
        buf[:] = self.data[start : start + len(buf)]

    def ioctl(self, operation, argument):
        return {4: len(self.data) // 4096, 5: 4096}.get(operation, 0)

def walk(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            print((path[7:] + "/", None))
            walk(path)
        else:
            with open(path, "rb") as file:
                print((path[7:], binascii.hexlify(hashlib.sha256(file.read()).digest()).decode()))

vfs.mount(vfs.VfsLfs2(Chip()), "/flash", readonly=True)
walk("/flash")
"""


class Application:
    """The releases of an application that changes from version to version."""

    def __init__(self, folder: Path, main: str, chance: random.Random) -> None:
        self._folder = folder
        self._main = main
        self._chance = chance
        self._data = {"curves.bin": b"", "log.txt": b""}
        keys.create(folder / "keys", "test")
        self._signer = keys.load_signer(folder / "keys", "test", lambda path: b"")
        self.keys = keys.for_boards([self._signer.key])

    def source(self, version: int) -> Path:
        """A folder with the files of the next version."""
        chance = self._chance
        for name in [name for name in self._data if chance.random() < 0.3]:
            del self._data[name]
        for _ in range(3):
            name = chance.choice(["", "a/", "a/deep/", "zone/"]) + f"{chance.randrange(20)}.bin"
            self._data[name] = chance.randbytes(chance.choice([0, 100, 5000, 40_000]))
        text = b"".join(b"%d: %d degrees\n" % (n, chance.randrange(40)) for n in range(chance.randrange(3000)))
        files = {
            "main.py": self._main.encode(),
            "thermostat.py": b"GREETING = %r\n" % f"number {version}",
            "text.txt": text,
            **self._data,
        }
        source = self._folder / f"source-{version}"
        write(source, files)
        return source

    def build(self, version: int) -> Path:
        """A release file of the next version; it brings otalink and the boot guard too, which change."""
        source = self.source(version)
        files = {}
        for path in (FIRMWARE / "guard").glob("ota*.py"):
            files[path.name] = path.read_bytes() + b"# %d\n" % (version // 2)
        files["boot.py"] = (FIRMWARE / "guard" / "boot.py").read_bytes() + b"# %d\n" % (version // 3)
        for path in (FIRMWARE / "otalink").glob("*.py"):
            change = b"\nRELEASE = %d\n" % version if path.stem in ("retry", "unpack", "differ", "header") else b""
            files[f"lib/otalink/{path.name}"] = path.read_bytes() + change
        write(source, files)
        name = f"1.0.0.{version}"
        return build(source, signer=self._signer, name="thermostat", version=name, output=self._folder).path


def contents(release: Path) -> dict[str, str]:
    return {path: digest(data) for path, data in unpack(release)}


def folders(paths: set[str]) -> set[str]:
    return {path[: place + 1] for path in paths for place, letter in enumerate(path) if letter == "/"}


@pytest.mark.timeout(SECONDS + 4 * PATIENCE)
def test_a_board_that_is_killed_all_the_time_arrives_whole_through_many_releases(
    board: VirtualBoard, served: Path, tmp_path: Path, main: str, on_board: Callable[..., Any]
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    application = Application(tmp_path, main, chance)
    kills = arrived = 0
    with Server(served) as server:
        flashed = Flashed(
            board,
            server,  # type: ignore[arg-type]  # what it uses of it is the port
            application.source(1),
            version="1.0.0.1",
            user="bob",
            password=PASSWORD,
            folder="/",
            keys=application.keys,
            confirm_after=0,
        )
        flashed.sees("runs number 1")
        version = 1

        def offer(cuts: list[int]) -> Path:
            nonlocal version
            version += 1
            release = application.build(version)
            server.cut_off(cuts)
            for path in served.glob("*.ota"):
                path.unlink()
            publish_file(release, served, application.keys)
            return release

        def arrives(start: int) -> bool:
            name = rf"thermostat 1\.0\.0\.{version}"
            end = rf"{name} is confirmed|{name} is the latest version|went back from {name}"
            return "went back" not in board.wait_for(re.compile(end), PATIENCE, since=start)[0]

        end = time.monotonic() + SECONDS
        while time.monotonic() < end or not arrived:
            offer([chance.randrange(1, 60_000) for _ in range(chance.choice([0, 5, 20]))])
            start = board.mark()
            for _ in range(chance.randrange(1, 7)):
                time.sleep(chance.uniform(0.05, 2.0))
                board.kill()
                board.start()
                kills += 1
            # Too many cuts in a trial take it back; the next version comes all the same.
            arrived += arrives(start)
        print(f"{kills} kills, {version - 1} releases, {arrived} of them installed")

        pair = []
        for _ in range(2):
            start = board.mark()
            pair.append(contents(offer([])))
            board.wait_for(f"thermostat 1.0.0.{version} is confirmed", PATIENCE, since=start)
    before, after = pair
    expected: dict[str, str | None] = dict(after)
    expected.update({path + ".ota-old": old for path, old in before.items() if after.get(path) != old})
    board.kill()
    lines = on_board(DIGESTS, str(board.flash), heap="8m").lines
    found: dict[str, str | None] = dict(ast.literal_eval(line) for line in lines)
    own = {path for path in found if path.startswith(".otalink/log")} | {".otalink/" + name for name in STATE}
    assert {path: found.get(path) for path in expected} == expected
    paths = set(expected) | own | {"otalink.json"}
    assert set(found) == paths | folders(paths)
