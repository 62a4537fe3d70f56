"""The updates that lose power. Runs under MicroPython.

A scenario starts on a chip that `start` has made, wants the board at `goal`, and knows which releases may run on the
way. Its `act` is what the application does once it runs; it says when it is done.
"""

import hashlib
import os

from board import (
    BUFFER,
    BadError,
    Board,
    Release,
    break_off,
    confirm,
    exists,
    failed,
    rollback,
    staged_file,
    update,
    update_by_file,
)
from flash import BLOCK

from otalink import journal
from otalink.begin import begin
from otalink.install import Installation

BLOCKS = 40
# What no release names stays as it is.
OWN = {"otalink.json": b'{"name": "app"}', "lib/own.txt": b"mine"}
# The boot guard and what calls it; FIRMWARE gets their content.
GUARD = ("boot.py", "otaswap.py", "otaguard.py")
FIRMWARE = {}


def text(seed, size):
    return (f"# {seed}\n" + f"x = {seed!r}\n" * (size // 9 + 1)).encode()[:size]


def noise(seed, size):
    """What does not compress."""
    found = b""
    while len(found) < size:
        found += hashlib.sha256(f"{seed} {len(found)}".encode()).digest()
    return found[:size]


def main(version):
    return f"VERSION = {version}\n".encode()


def _release(version, files):
    found = dict(files)
    found["main.py"] = main(version)
    return Release(version, found)


OLD = {"lib/a.py": text("a1", 700), "lib/b.py": text("b", 90), "gone/deep/c.py": text("c", 300), "d.py": text("d1", 40)}
NEW = {"lib/a.py": text("a2", 1500), "lib/b.py": text("b", 90), "made/new/e.py": text("e", 200), "d.py": text("d2", 60)}


class Scenario:
    """An update from the release `old` to `new` on a fresh board.

    It is confirmed on its first boot: two cuts make that the third.
    """

    blocks = BLOCKS
    old = _release(1, OLD)
    new = _release(2, NEW)
    # The release at the end; whether it can be rolled back from there, to what.
    back = old
    # What the application does to update itself, and of which releases there are release files.
    update = staticmethod(update)
    built = ()

    def __init__(self):
        self.goal = self.new
        self.allowed = (self.old, self.new)

    def start(self):
        """The chip before the first operation that may be the last: `old` as if flashed over the cable."""
        board = self.board()
        board.format()
        board.mount()
        put(OWN)
        put({path: FIRMWARE[path] for path in GUARD})
        os.mkdir("/.otalink")
        board.boot()
        install(board, self.old)
        self.prepare(board)
        board.off()
        return board.image

    def prepare(self, board):
        pass

    def expected(self, release):
        """What is on the flash while `release` runs, as {path: content}, otalink's own files left out."""
        found = {path: FIRMWARE[path] for path in FIRMWARE}
        found.update(OWN)
        found.update(release.files)
        return found

    def names(self, release, kept_from, state):
        """All names on the flash when `release` runs and nothing is left to do: with what is kept of `kept_from`."""
        expected = self.expected(release)
        found = {".otalink/", ".otalink/installed", ".otalink/" + state}
        found.update(expected)
        if kept_from is not None:
            found.add(".otalink/installed.ota-old")
            for path, content in self.expected(kept_from).items():
                if expected.get(path) != content:
                    found.add(path + ".ota-old")
        for path in list(found):
            slash = path.find("/")
            while slash >= 0:
                found.add(path[: slash + 1])
                slash = path.find("/", slash + 1)
        return sorted(found)

    def board(self):
        return Board(bytearray(BLOCK * self.blocks))

    def act(self, board):
        """One thing that the application does; True when there is nothing left to do. It may ask for a restart."""
        installation = Installation(BUFFER)
        state = journal.state()
        if state == "trial":
            confirm()
            return False
        _, version = installation.installed()
        if version == self.goal.version:
            return True
        if failed() == "2.0.0.0":
            raise BadError("it went back")
        self.update(self.new)
        board.boot()
        return False


class Guard(Scenario):
    """The update brings another boot guard and another boot.py."""

    guard = b"# another\n"

    def __init__(self):
        self.new = _release(
            2,
            dict([(path, self.other(path)) for path in GUARD] + [("lib/a.py", text("a2", 40))]),
        )
        self.old = _release(1, {"lib/a.py": text("a1", 40), "gone.py": text("g", 30)})
        self.old.files.update(FIRMWARE)
        self.old = Release(1, self.old.files)
        self.back = self.old
        Scenario.__init__(self)

    def other(self, path):
        return FIRMWARE[path] + b"\n# another\n"


class FailingGuard(Guard):
    """The new guard raises when it is called: the one before it comes back, and the release with it."""

    back = None

    def __init__(self):
        Guard.__init__(self)
        self.back = None
        self.goal = self.old
        self.allowed = (self.old,)

    def other(self, path):
        fault = b"def boot():\n    raise ValueError('a new fault')\n"
        return fault if path == "otaguard.py" else Guard.other(self, path)

    def act(self, board):
        if failed() is not None:
            return True
        if journal.state() == "trial":
            raise BadError("its guard does not work, but it is on trial")
        self.update(self.new)
        board.boot()
        return False


class BrokenGuard(FailingGuard):
    """The new guard does not compile."""

    def other(self, path):
        return b"def boot(:\n" if path == "otaguard.py" else Guard.other(self, path)


class FailingSwap(FailingGuard):
    """The new guard is good, but not what it loads to count the trial's boots."""

    def other(self, path):
        fault = b"FORMAT = 1\n\n\ndef work(names, cause):\n    raise ValueError('a new fault')\n"
        return fault if path == "otaswap.py" else Guard.other(self, path)


class Full(Scenario):
    """The flash is so full that the kept files of the update before have to go before the download."""

    third = _release(3, {"lib/a.py": text("a3", 1500), "lib/b.py": text("b", 90), "f.py": text("f3", 5000)})
    second = _release(2, {"lib/a.py": text("a2", 1500), "lib/b.py": text("b", 90), "f.py": text("f2", 5000)})
    first = _release(1, {"lib/a.py": text("a1", 700), "lib/b.py": text("b", 90), "f.py": text("f1", 5000)})

    def __init__(self):
        self.old, self.new, self.back = self.second, self.third, self.second
        Scenario.__init__(self)

    def start(self):
        self.old, self.new = self.first, self.second
        self.goal = self.second
        image = Scenario.start(self)
        self.old, self.new, self.goal = self.second, self.third, self.third
        return image

    def prepare(self, board):
        install(board, self.second)
        # The update needs 10 blocks, the six to spare among them; 3 are in kept files.
        self.filled = 0
        with open("/lib/own.txt", "wb") as file:
            while os.statvfs("/")[3] > 9:
                file.write(b"own " * 256)
                file.flush()
                self.filled += 1

    def expected(self, release):
        found = Scenario.expected(self, release)
        found["lib/own.txt"] = b"own " * 256 * self.filled
        return found


class Resumed(Scenario):
    """A download of another release was abandoned in the middle: its files and folders are in the way."""

    ghost = _release(9, {"lib/a.py": text("ghost", 400), "ghost/deep/g.py": text("g", 600), "made/h.py": text("h", 50)})

    def prepare(self, board):
        installation = Installation(BUFFER)
        files = self.ghost.listing
        begin("/", (file[0] for file in files))
        installation.record("app", self.ghost.version, files)
        for path, _, _ in files:
            if path != "main.py":
                staged = staged_file(installation, path)
                staged.write(self.ghost.files[path][: 300 if path == "lib/a.py" else None])
                staged.close()


class Again(Scenario):
    """The update before deleted a file that this one brings again: what was kept of it must not come back."""

    first = _release(1, {"lib/a.py": text("a1", 60), "old/x.py": text("x1", 700)})
    second = _release(2, {"lib/a.py": text("a1", 60)})
    third = _release(3, {"lib/a.py": text("a3", 60), "old/x.py": text("x3", 500)})

    def __init__(self):
        self.old, self.new, self.back = self.second, self.third, self.second
        Scenario.__init__(self)

    def start(self):
        self.old = self.first
        image = Scenario.start(self)
        self.old = self.second
        return image

    def prepare(self, board):
        install(board, self.second)


class Rollback(Scenario):
    """Back from a confirmed update: what it deleted is there again."""

    back = None

    def __init__(self):
        Scenario.__init__(self)
        self.goal = self.old

    def prepare(self, board):
        install(board, self.new)

    def act(self, board):
        installation = Installation(BUFFER)
        if installation.installed()[1] == self.goal.version:
            return True
        rollback()
        board.boot()
        return False


class GuardRollback(Rollback, Guard):
    """Back from a confirmed update that brought another guard, with a download of a third begun."""

    def names(self, release, kept_from, state):
        # The next download needs it, to remove what was begun.
        return sorted(Guard.names(self, release, kept_from, state) + [".otalink/incoming"])  # noqa: RUF005 - MicroPython

    def __init__(self):
        Guard.__init__(self)
        self.goal = self.old
        self.back = None

    def prepare(self, board):
        install(board, self.new)
        installation = Installation(BUFFER)
        files = self.new.files
        third = dict(files)
        third["otaguard.py"] = files["otaguard.py"] + b"# a third\n"
        third = Release(3, third)
        begin("/", (file[0] for file in third.listing))
        installation.record("app", third.version, third.listing)
        staged = staged_file(installation, "otaguard.py")
        staged.write(third.files["otaguard.py"])
        staged.close()


class Unconfirmed(Scenario):
    """Nobody confirms: the fourth boot of the trial goes back."""

    back = None

    def __init__(self):
        Scenario.__init__(self)
        self.goal = self.old

    def act(self, board):
        if failed() is not None:
            return True
        if journal.state() != "trial":
            self.update(self.new)
        board.boot()
        return False


class OlderPlan(Guard):
    """A newer guard, which reads plans of a format to come as well, carries out an older plan."""

    def other(self, path):
        return Guard.other(self, path).replace(b"FORMAT = 1", b"FORMAT = 2")


class File(Scenario):
    """The update comes by a signed release file: plain and compressed content that takes several flushes, a long gap
    that is jumped over, a short one, an empty file, files that go and folders that come."""

    blocks = 88
    same = {"b/same.bin": noise("same", 17000), "lib/b.py": text("b", 90)}
    old = _release(
        1,
        dict(
            [("a/noise.bin", noise("n1", 3000)), ("c/text.txt", text("t1", 5000)), ("lib/a.py", text("a1", 700))],
            **same,
            **{"gone/deep/c.py": text("c", 300)},
        ),
    )
    new = _release(
        2,
        dict(
            [("a/noise.bin", noise("n2", 18000)), ("c/text.txt", text("t2", 18000)), ("lib/a.py", text("a2", 1500))],
            **same,
            **{"made/new/e.py": text("e", 200), "made/empty": b""},
        ),
    )
    back = old
    update = staticmethod(update_by_file)

    def __init__(self):
        Scenario.__init__(self)
        self.built = (self.new,)


class FileResumed(File):
    """A download of the same release file broke off in a file that is stored as it is, behind a flush."""

    breaks = (17500,)

    def prepare(self, board):
        for after in self.breaks:
            break_off(self.new, after)


class FileResumedAtChunk(FileResumed):
    """It broke off twice, the second time in a compressed file."""

    breaks = (5000, 15000)


class FileAfterAnother(File):
    """A download of another release file broke off: its files, half of one and its folders are in the way, and one is a
    folder where the next release has a file."""

    ghost = _release(
        9,
        {
            "a/noise.bin": noise("n9", 6000),
            "ghost/deep/g.py": text("g", 600),
            "made/empty/h.py": text("h", 50),
            "lib/z.bin": noise("z9", 3000),
        },
    )

    def __init__(self):
        File.__init__(self)
        self.built = (self.new, self.ghost)

    def prepare(self, board):
        break_off(self.ghost, 8500)


class FileGuard(Guard):
    """A release file brings another boot guard, another boot.py and other files of otalink."""

    update = staticmethod(update_by_file)

    def __init__(self):
        Guard.__init__(self)
        self.old.files["lib/otalink/updater.py"] = text("u1", 3000)
        self.old = self.back = Release(1, self.old.files)
        self.new.files["lib/otalink/updater.py"] = text("u2", 3000)
        self.new.files["lib/otalink/unpack.py"] = text("u2", 600)
        self.new = Release(2, self.new.files)
        Scenario.__init__(self)
        self.built = (self.new,)


class FileFull(Full):
    """The flash is so full that the kept files have to go before what differs of a release file can come."""

    update = staticmethod(update_by_file)

    def __init__(self):
        Full.__init__(self)
        self.built = (self.third,)


ALL = {
    "update": Scenario,
    "guard": Guard,
    "failing-guard": FailingGuard,
    "broken-guard": BrokenGuard,
    "failing-swap": FailingSwap,
    "full": Full,
    "resumed": Resumed,
    "again": Again,
    "rollback": Rollback,
    "guard-rollback": GuardRollback,
    "unconfirmed": Unconfirmed,
    "older-plan": OlderPlan,
    "file": File,
    "file-resumed": FileResumed,
    "file-resumed-at-chunk": FileResumedAtChunk,
    "file-after-another": FileAfterAnother,
    "file-guard": FileGuard,
    "file-full": FileFull,
}


def put(files):
    for path, content in files.items():
        slash = path.find("/")
        while slash >= 0:
            if not exists(path[:slash]):
                os.mkdir(path[:slash])
            slash = path.find("/", slash + 1)
        with open(path, "wb") as file:
            file.write(content)


def install(board, wanted):
    update(wanted)
    board.boot()
    confirm()
