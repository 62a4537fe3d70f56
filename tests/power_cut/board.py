"""A board with real littlefs, the real boot guard and the real installation, from power-on to application.

Runs under MicroPython. What no machine has is a model: the chip (flash.py), `machine`, and the firmware's way from
reset to main.py. The application is the test itself.
"""

import hashlib
import os
import sys
import time
from binascii import hexlify

import flash as chips

# While sys.path finds them:
import network
import vfs

import otalink.admit
import otalink.differ
import otalink.header
import otalink.record
import otalink.release
import otalink.retry
import otalink.signature
import otalink.staging
import otalink.steps
from otalink import begin, install, journal, phase, trial, unpack
from otalink.commit import commit
from otalink.errors import TransferError
from otalink.install import Installation
from otalink.space import check_space

BUFFER = bytearray(1024)
# As on the rp2, but for what is read at once: each read is a call from C to Python here.
GEOMETRY = {"progsize": 256, "readsize": 256}
LOGS = (".otalink/log", ".otalink/log-1")
install.ticks_diff = unpack.ticks_diff = lambda end, start: 0  # there is no event loop here
otalink.retry.asyncio = network.NoClock()


class ResetError(BaseException):
    """The board restarts."""


class BadError(Exception):
    """What must not be."""


class _Machine:
    PWRON_RESET = 1
    HARD_RESET = 2
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5
    cause = PWRON_RESET

    def reset(self):
        self.cause = self.HARD_RESET
        raise ResetError

    def reset_cause(self):
        return self.cause


machine = _Machine()
sys.modules["machine"] = machine


class _Time:
    # A crash waits two seconds for somebody to press Ctrl-C. Nobody does.
    ticks_ms = time.ticks_ms

    def sleep(self, seconds):
        pass


class Board:
    """`image` is the chip's content. While it is on, the file system is mounted at /.

    `recording`, a list or None, takes each mutating operation from the next mount on.
    """

    kind = vfs.VfsLfs2

    def __init__(self, image):
        self.image = image
        self.chip = None
        self.recording = None

    def format(self):
        if self.kind is vfs.VfsFat:
            vfs.VfsFat.mkfs(chips.FatFlash(self.image))
        else:
            vfs.VfsLfs2.mkfs(chips.Flash(self.image), **GEOMETRY)

    def mount(self):
        record = self.recording
        if self.kind is vfs.VfsFat:
            self.chip = chips.FatFlash(self.image, record)
            system = vfs.VfsFat(self.chip)
        else:
            self.chip = chips.Flash(self.image, record)
            system = vfs.VfsLfs2(self.chip, **GEOMETRY)
        vfs.mount(system, "/")
        os.chdir("/")

    def off(self):
        if self.chip is not None:
            self.chip.off()
            self.chip = None
        for _, path in vfs.mount():
            vfs.umount(path)

    def boot(self, cause=_Machine.PWRON_RESET):
        """From power-on until the application runs, restarts included."""
        for _ in range(12):
            self.off()
            self.mount()
            machine.cause = cause
            sys.modules["time"] = _Time()
            _load_guard()
            try:
                execfile("/boot.py", {"__name__": "__main__"})  # noqa: F821 - MicroPython has it
                if exists("main.py"):
                    execfile("main.py", {"__name__": "__main__"})  # noqa: F821 - MicroPython has it
                return
            except ResetError:
                cause = _Machine.HARD_RESET
            finally:
                sys.modules["time"] = time
        raise BadError("it restarts for ever")


class _Module:
    # What `import otaguard` gives: the module's names, freshly executed.
    def __init__(self, names):
        self._names = names

    def __getattr__(self, name):
        return self._names[name]


_compiled = {}


def _load_guard():
    # Nine tenths of a boot would be the compilation of the guard that is on the chip: each content is compiled once.
    # One that does not load, or is not there, is left to the board's own import.
    for name in ("otaguard", "otaswap"):
        sys.modules.pop(name, None)
        try:
            with open(f"/{name}.py", "rb") as file:
                content = file.read()
            if content not in _compiled:
                _compiled[content] = compile(content, name + ".py", "exec")
            names = {"__name__": name}
            exec(_compiled[content], names)
            sys.modules[name] = _Module(names)
        except Exception:
            pass


def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise BadError("the coroutine waits for something")


def exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def tree(folder=""):
    """{path: content} of all files; {path + "/": None} of all folders."""
    found = {}
    for entry in os.ilistdir("/" + folder):
        path = folder + "/" + entry[0] if folder else entry[0]
        if entry[1] & 0x4000:
            found[path + "/"] = None
            found.update(tree(path))
        else:
            with open("/" + path, "rb") as file:
                found[path] = file.read()
    return found


def blocks_free():
    """Free blocks, without those of the logs, which grow with every boot."""
    for path in LOGS:
        if exists("/" + path):
            os.remove("/" + path)
    return os.statvfs("/")[3]


class Release:
    """A version of the application; `files` is {path: content}."""

    def __init__(self, version, files):
        self.version = (version, 0, 0, 0)
        self.files = files
        self.listing = [
            (path, hexlify(hashlib.sha256(content).digest()).decode(), len(content))
            for path, content in sorted(files.items())
        ]


class _Config:
    name = "app"
    server = ()
    # The public keys of those who sign release files, as in /otalink.json.
    keys = {}
    attempts = 1
    retry_delay = 0


class _Job:
    root = ""
    config = _Config
    buffer = BUFFER

    def __init__(self):
        self.link = []

    def say(self, *lines):
        pass

    def progress(self, done, total):
        pass


def confirm():
    return trial.confirm(_Job())


def rollback():
    trial.rollback(_Job())


def failed():
    """The version, as text, that the board went back from; None if it did not."""
    found = journal.failed()
    return found and found.partition(" ")[2]


def staged_file(installation, path):
    """A StagedFile for `path`, empty; the folders that it needs are made."""
    installation.make_folders(path)
    return otalink.staging.StagedFile(path, f"{installation._root}{path}.ota-new")


def update(release):
    """What a download does: stages what differs, and commits."""
    installation = Installation(BUFFER)
    files = release.listing
    begin.begin("/", (file[0] for file in files))
    wanted = []
    for path, digest, _ in files:
        if run(installation.digest(path)) == digest:
            installation.unstage(path)
        elif not run(installation.take_staged(path, digest)):
            wanted.append(path)
    check_space(
        "/", sum(len(path) + 100 for path in release.files), [(path, len(release.files[path])) for path in wanted]
    )
    installation.record("app", release.version, files)
    for path, digest, size in files:
        if path in wanted:
            staged = staged_file(installation, path)
            staged.write(release.files[path])
            run(installation.verify(path, staged.finish(size, digest)))
    begin.check("/")
    commit("/", 600, print)


def trust(keys):
    _Config.keys = keys


def filename(release):
    """What the release file of `release` is called."""
    return "app_" + ".".join(str(field) for field in release.version) + ".ota"


class _Offer:
    # What the listing of the server's folder says.
    files = None

    def __init__(self, release):
        self.name = "app"
        self.version = release.version
        self.versioned = filename(release)
        self.size = len(network.SERVED[self.versioned])


def bring_file(release):
    """Stages what differs of a release file on the server, by otalink's own phases."""
    job = _Job()
    job.found = job.release = _Offer(release)
    run(otalink.header.bring(job))
    otalink.admit.admit(job)
    run(phase.go(job, "steps.download", "retry.failed"))


def break_off(release, after):
    """A download of the release file that ends without the network, after so many bytes."""
    network.Line.left = after
    try:
        bring_file(release)
    except TransferError:
        return
    finally:
        network.Line.left = None
    raise BadError("the download did not break off")


def update_by_file(release):
    bring_file(release)
    begin.check("/")
    commit("/", 600, print)
