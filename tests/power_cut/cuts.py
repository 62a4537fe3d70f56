"""Cuts the power in every mutating operation of a scenario, and in every one of the boots after that.

Runs under MicroPython: cuts.py FIRMWARE SCENARIO [singles|doubles] PART PARTS STRIDE [GUARD]. Prints a line for each
bad cut, which names the scenario, the operation and the kind of the cut, and a line of counts at the end.
"""

import gc
import hashlib
import io
import os
import sys

FIRMWARE, NAME, DEPTH, PART, PARTS, STRIDE = sys.argv[1:7]
GUARD = sys.argv[7] if len(sys.argv) > 7 else FIRMWARE + "/otaguard.py"
sys.path[:] = [sys.argv[0].rpartition("/")[0], FIRMWARE, ".frozen"]

import board as boards  # noqa: E402 - found on the path above
import scenarios  # noqa: E402
from flash import KINDS, apply, tear  # noqa: E402

from otalink.install import Installation  # noqa: E402

KEPT = ".ota-old"
NEW = ".ota-new"


class Quiet(io.IOBase):
    """Takes what the guard prints of exceptions that the scenario wants."""

    def write(self, data):
        return len(data)


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


def remains():
    """What is on the flash, by name, and how much is free."""
    free = boards.blocks_free()
    return sorted(boards.tree()), free


def check_end(board, scenario, reference):
    """The board is at its goal, with nothing left over; and it can be rolled back. Gives what remains."""
    board.boot()
    check_running(scenario)
    ends = [remains()]
    if scenario.back is not None:
        Installation(boards.BUFFER).rollback()
        board.boot()
        version = Installation(boards.BUFFER).installed()[1]
        if version != scenario.back.version:
            raise boards.BadError("the rollback did not come to its end")
        check_running(scenario)
        ends.append(remains())
    for names, _ in ends:
        for name in names:
            if name.endswith(NEW):
                raise boards.BadError(f"{name} is left over")
    if reference is not None:
        for (names, free), (usual_names, usual_free) in zip(ends, reference):
            if names != usual_names:
                different = [name for name in names + usual_names if (name in names) != (name in usual_names)]
                raise boards.BadError("left over or missing: " + ", ".join(different))
            if free < usual_free:
                raise boards.BadError(f"{usual_free - free} blocks are lost")
    return ends


class Cuts:
    def __init__(self, name):
        self.name = name
        self.scenario = scenarios.ALL[name]()
        self.start = bytes(self.scenario.start())
        self.seen = set()
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
        """Boots from `image` and does all the rest; True when that was good."""
        board = self.board
        board.image[:] = image
        try:
            board.recording = record
            board.boot()
            board.recording = None
            key = hashlib.sha256(board.image).digest()
            if key not in self.seen:
                finish(board, self.scenario)
                check_end(board, self.scenario, self.reference)
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
                for kind in range(len(KINDS)):
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


def main():
    for path in ("boot.py", "otaguard.py"):
        with open(GUARD if path == "otaguard.py" else f"{FIRMWARE}/{path}", "rb") as file:
            scenarios.FIRMWARE[path] = file.read()
    sys.path[:] = ["", ".frozen", "/lib"]  # a board's
    names = sorted(scenarios.ALL) if NAME == "all" else [NAME]
    singles = doubles = bad = 0
    for name in names:
        cuts = Cuts(name)
        cuts.run(DEPTH == "doubles", int(PART), int(PARTS), int(STRIDE))
        print(f"{name}: {len(cuts.record)} operations, {cuts.singles} cuts, {cuts.doubles} double, {cuts.bad} bad", len(cuts.seen))
        singles += cuts.singles
        doubles += cuts.doubles
        bad += cuts.bad
    print(f"{singles} cuts, {doubles} double cuts, {bad} bad")


main()
