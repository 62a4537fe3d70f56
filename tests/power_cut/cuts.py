"""Cuts the power in every mutating operation of a scenario, and in every one of the boots after that.

Runs under MicroPython: cuts.py FIRMWARE GUARD RELEASES SCENARIO singles|doubles PART PARTS STRIDE FILE_SYSTEM. Prints a
line for each bad cut, which names the scenario, the operation and the kind of the cut, and a line of counts at the end.

The folder RELEASES has the release files that the scenario needs, and keys.json. What has to be in them, `sources` in
the place of singles|doubles writes there: a folder for each version.
"""

import gc
import hashlib
import json
import os
import sys

import vfs

FIRMWARE, GUARD, RELEASES, NAME, DEPTH, PART, PARTS, STRIDE, FILE_SYSTEM = sys.argv[1:]
sys.path[:] = [sys.argv[0].rpartition("/")[0], FIRMWARE, ".frozen"]

import board as boards  # noqa: E402 - found on the path above
import network  # noqa: E402
import scenarios  # noqa: E402
from flash import KINDS, NOTHING, apply, tear  # noqa: E402

from otalink import journal  # noqa: E402
from otalink.install import Installation  # noqa: E402

KEPT = ".ota-old"
NEW = ".ota-new"


def check_running(scenario):
    """One of the releases that may run is there, whole, with its own record, and what is the user's as it was."""
    found = boards.tree()
    installation = Installation(boards.BUFFER)
    _, version = installation.installed()
    for release in scenario.allowed:
        if release.version == version:
            break
    else:
        raise boards.BadError(f"{version} is recorded")
    for path, content in scenario.expected(release).items():
        if found.pop(path, None) != content:
            raise boards.BadError(f"{path} is not that of {release.version[0]}")
    for path in found:
        if not path.endswith(("/", KEPT, NEW)) and not path.startswith(".otalink/"):
            raise boards.BadError(f"{path} is not of {release.version[0]}")


def finish(board, scenario):
    for _ in range(12):
        check_running(scenario)
        if scenario.act(board):
            return
    raise boards.BadError("it does not come to its end")


def check_end(board, scenario, usual):
    """The board is at its goal, with nothing left over; and it can be rolled back.

    Gives how many blocks are free then. It must be as many as in `usual`, that of a run without a cut.
    """
    board.boot()
    check_running(scenario)
    state = journal.state()
    free = [check_names(scenario.names(scenario.goal, scenario.back, state))]
    if scenario.back is not None:
        boards.rollback()
        board.boot()
        version = Installation(boards.BUFFER).installed()[1]
        if version != scenario.back.version:
            raise boards.BadError("the rollback did not come to its end")
        check_running(scenario)
        free.append(check_names(scenario.names(scenario.back, None, "reverted")))
    for n, usually in enumerate(usual or ()):
        if free[n] < usually:
            raise boards.BadError(f"{usually - free[n]} blocks are lost")
    return free


def check_names(expected):
    free = boards.blocks_free()
    found = boards.tree()
    different = [path for path in found if path not in expected] + [path for path in expected if path not in found]
    if different:
        raise boards.BadError("left over or missing: " + ", ".join(different))
    return free


def settled_state():
    try:  # noqa: SIM105 - MicroPython has no contextlib
        os.remove("/.otalink/none")
    except OSError:
        pass
    state = hashlib.sha256(str(os.statvfs("/")[3]).encode())
    for path, content in sorted(boards.tree().items()):
        if path not in boards.LOGS:
            state.update(f"{path} {-1 if content is None else len(content)} ".encode())
            state.update(content or b"")
    return state.digest()


class Cuts:
    """All the cuts of one scenario. `seen` holds the states from which a board has come to its good end."""

    def __init__(self, name):
        self.name = name
        self.scenario = scenarios.ALL[name]()
        self.start = bytes(self.scenario.start())
        self.seen = set()
        self.kinds = range(len(KINDS))
        self.singles = self.doubles = self.bad = 0
        self.record = []
        board = self.scenario.board()
        board.image[:] = self.start
        board.recording = self.record
        board.boot()
        finish(board, self.scenario)
        board.recording = None
        self.reference = check_end(board, self.scenario, None)
        board.off()
        self.board = board

    def attempt(self, label, image, record=None):
        """Boots from `image` and does all the rest; records the boots. True when that was good.

        Without a `record` the rest is left out where a board has come to its good end from the same state already:
        the same names, contents and free blocks, in a file system that has settled what the cut left.
        """
        board = self.board
        board.image[:] = image
        try:
            board.recording = record
            board.boot()
            board.recording = None
            key = None
            if record is None:
                check_running(self.scenario)
                key = settled_state()
            if key not in self.seen:
                finish(board, self.scenario)
                check_end(board, self.scenario, self.reference)
                if key is not None:
                    self.seen.add(key)
        except Exception as error:
            self.bad += 1
            print(f"BAD {self.name} {label}: {type(error).__name__}: {error}")
            return False
        finally:
            board.recording = None
            board.off()
        return True

    def run(self, doubles, part, parts, stride):
        before = bytearray(self.start)
        image = bytearray(self.start)
        second = bytearray(self.start)
        for n, operation in enumerate(self.record):
            if n % stride == 0 and n // stride % parts == part:
                for kind in self.kinds:
                    image[:] = before
                    tear(image, operation, kind)
                    label = f"operation {n} {KINDS[kind]}"
                    record = []
                    self.attempt(label, image, record)
                    self.singles += 1
                    if doubles:
                        for m, again in enumerate(record):
                            if m % stride == 0:
                                second[:] = image
                                tear(second, again, (n + m + kind) % len(KINDS))
                                self.attempt(f"{label}, then {m} {KINDS[(n + m + kind) % len(KINDS)]}", second)
                                self.doubles += 1
                            apply(image, again)
                    gc.collect()
            apply(before, operation)


def write_sources():
    for release in scenarios.ALL[NAME]().built:
        folder = f"{RELEASES}/{release.version[0]}"
        os.mkdir(folder)
        os.chdir(folder)
        scenarios.put(release.files)


def serve():
    for name in os.listdir(RELEASES):
        if name.endswith(".ota"):
            with open(f"{RELEASES}/{name}", "rb") as file:
                network.SERVED[name] = file.read()
    with open(RELEASES + "/keys.json") as file:
        boards.trust(json.load(file))


def main():
    for path in scenarios.GUARD:
        with open(f"{GUARD}/{path}", "rb") as file:
            scenarios.FIRMWARE[path] = file.read()
    if DEPTH == "sources":
        write_sources()
        return
    serve()
    sys.path[:] = ["", ".frozen", "/lib"]  # a board's
    if FILE_SYSTEM == "VfsFat":
        boards.Board.kind = vfs.VfsFat
        boards.begin.check_board = lambda root: None
    try:
        cuts = Cuts(NAME)
        if FILE_SYSTEM == "VfsFat":
            cuts.kinds = (NOTHING,)  # sectors that are written whole or not at all: FAT's best case
    except Exception as error:
        print(f"BAD {NAME} without a cut: {type(error).__name__}: {error}\n0 cuts, 0 double cuts, 1 bad")
        return
    cuts.run(DEPTH == "doubles", int(PART), int(PARTS), int(STRIDE))
    print(f"{cuts.singles} cuts, {cuts.doubles} double cuts, {cuts.bad} bad")


main()
