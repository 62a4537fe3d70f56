"""Puts a release on the flash: stages its files beside their targets, verifies them, commits them by one rename.

Nothing is written in place: a file is staged as `PATH.ota-new`, closed and read back. `commit` writes the plan of the
update and renames it to `committed`; from there on the boot guard swaps, forward or back, when the board restarts. It
knows no network and no policy; docs/update.md is its specification.
"""

import asyncio
import hashlib
import os
from binascii import hexlify
from time import ticks_diff, ticks_ms

from otalink.errors import InstallError, ReleaseError
from otalink.plan import REMOVE, steps
from otalink.release import INSTALLED, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER, Header, format_header
from otalink.version import format_version, parse_version

INCOMING = STATE_FOLDER + "/incoming"
# The form of the plans that are written here: a guard of the same or a newer one carries them out.
PLAN_FORMAT = 1
_PLAN = STATE_FOLDER + "/plan" + NEW_SUFFIX
# Never missing, so replaced by copy; in this order, the guard last of all files.
_GUARD = ("boot.py", "otaguard.py")
# States in which an update is on: nothing is staged, and nothing committed.
_BUSY = ("committed", "swapping", "trial", "reverting")
_BOOT_MAX = 16384
_FOLDER_BIT = 0x4000
# Blocks that an update needs beside those of its files: folders, records, and room for littlefs to move in.
_SPARE_BLOCKS = 6
# Reading files back must let the application run: at the least this often.
_YIELD_MS = 10


class Installation:
    """The releases on one flash: the installed one and the one that is being staged.

    `root` stands before every path, "" for a board's own root. `buffer` is the bytearray that files are read through.
    """

    def __init__(self, buffer, root=""):
        self._buffer = buffer
        self._root = root + "/"
        self._staged = None

    # What there is

    def installed(self):
        """The installed release as (name, version), or None when no release is recorded.

        Raises InstallError when there is a record and it cannot be read.
        """
        return self._read_record(INSTALLED)

    def _read_record(self, path):
        if self._kind(path) is None:
            return None
        try:
            with open(self._root + path, "rb") as file:
                header = Header(file)
                return header.name, header.version
        except (ReleaseError, OSError) as error:
            raise InstallError(f"/{path} cannot be read ({error}): what is installed is not known")

    def _files(self, path):
        # Yields (path, digest, size) for each file of a record; nothing when there is none or it is broken.
        if self._kind(path) is None:
            return
        with open(self._root + path, "rb") as file:
            try:
                yield from Header(file).files()
            except ReleaseError:
                return

    async def digest(self, path):
        """The SHA-256 of a file on the flash, as hexadecimal text; None when there is no such file."""
        if self._kind(path) != "file":
            return None
        sha256 = hashlib.sha256()
        view = memoryview(self._buffer)
        size = len(self._buffer)
        yielded = ticks_ms()
        with open(self._root + path, "rb") as file:
            while True:
                n = file.readinto(self._buffer)
                if not n:
                    break
                sha256.update(self._buffer if n == size else view[:n])
                if ticks_diff(ticks_ms(), yielded) >= _YIELD_MS:
                    await asyncio.sleep_ms(0)
                    yielded = ticks_ms()
        return hexlify(sha256.digest()).decode()

    def exists(self, path):
        """True when there is a file or folder `path` on the flash."""
        return self._kind(path) is not None

    def size(self, path):
        """The bytes of a file on the flash; None when there is no such file."""
        return os.stat(self._root + path)[6] if self._kind(path) == "file" else None

    # Staging

    def begin(self, paths):
        """Begins to stage the files `paths`: what an earlier try left and this one has no use for is removed.

        Raises ReleaseError when a file would take a folder's place or a folder a file's, InstallError while another
        update is on.
        """
        self._check_idle()
        self._retrieve_incoming()
        for path in paths:
            if self._kind(path) == "folder":
                raise ReleaseError(f"{path} is a folder on the board and a file of the release: remove it")
            slash = path.find("/")
            while slash >= 0:
                if self._kind(path[:slash]) == "file":
                    raise ReleaseError(f"{path[:slash]} is a file on the board and a folder of the release: remove it")
                slash = path.find("/", slash + 1)
        for path, *_ in self._files(INCOMING):
            if path not in paths:
                self._remove_staged(path)
        self._staged = []

    def record(self, name, version, files):
        """Writes down what is being staged, before the first file, and again when all digests are known.

        `files` is a list of (path, digest, size).
        """
        self._make_folder(STATE_FOLDER)
        try:
            with open(self._root + INCOMING + NEW_SUFFIX, "wb") as file:
                for line in format_header(name, version, files):
                    file.write(line)
            os.rename(self._root + INCOMING + NEW_SUFFIX, self._root + INCOMING)
        except OSError as error:
            raise InstallError(f"/{INCOMING} cannot be written: {_explain(error)}", error.errno)

    def check_space(self, sizes):
        """Raises InstallError unless files of these `sizes` (bytes, a list) fit beside what is there.

        True when the way back to the release before had to be given up for that.
        """
        block, free = self._space()
        needed = _SPARE_BLOCKS
        for size in sizes:
            needed += (size + block - 1) // block
        forgotten = needed > free and self.forget()
        if forgotten:
            block, free = self._space()
        if needed > free:
            raise InstallError(
                f"the flash is too full: the update needs {needed * block} bytes, {free * block} are free: "
                "remove files that the application does not need"
            )
        return forgotten

    def _space(self):
        # The bytes of a block, and how many blocks are free.
        status = os.statvfs(self._root)
        free = status[4]
        if free > status[2]:  # what littlefs says when it is full
            free = 0
        return status[1] or status[0], free

    def stage(self, path):
        """A StagedFile for `path`, empty; the folders that it needs are made."""
        slash = path.find("/")
        while slash >= 0:
            self._make_folder(path[:slash])
            slash = path.find("/", slash + 1)
        return StagedFile(self, path, self._root + path + NEW_SUFFIX)

    async def is_staged(self, path, digest):
        """True when an earlier try has left `path` staged with this content; it then belongs to this release."""
        if await self.digest(path + NEW_SUFFIX) != digest:
            return False
        self._staged.append(path)
        return True

    def unstage(self, path):
        """Takes a staged file back."""
        self._staged.remove(path)
        self._remove_staged(path)

    def staged_size(self, path):
        """The bytes that `path` will have after the commit."""
        return self.size(path + NEW_SUFFIX if path in self._staged else path)

    def discard(self):
        """Removes everything that is staged; nothing while a committed update is on."""
        if self.state() in _BUSY:
            return
        self._retrieve_incoming()
        for file in self._files(INCOMING):
            self._remove_staged(file[0])
        self._remove(INCOMING)
        self._remove(INCOMING + NEW_SUFFIX)
        self._remove(_PLAN)
        self._staged = None

    def _retrieve_incoming(self):
        # A commit that was cut short has given the record its new name already.
        staged = INSTALLED + NEW_SUFFIX
        if self.exists(staged) and not self.exists(INCOMING):
            os.rename(self._root + staged, self._root + INCOMING)
        self._remove(STATE_FOLDER + "/broken")

    # Commit

    def commit(self, deadline=600):
        """Commits what is staged, by one rename: the boot guard swaps it in when the board restarts.

        `deadline` is how many seconds a boot of the trial may last without `confirm`; 0 for ever. Gives up the way
        back to the release before this one. Raises InstallError, with nothing committed, while another update is on,
        on a FAT file system, without a boot guard, or when the flash fails; ReleaseError for a `boot.py` that would
        not start the guard; ValueError when nothing has been staged.
        """
        if self._staged is None:
            raise ValueError("nothing is staged: download a release first")
        self._check_idle()
        self._check_flash()
        self._check_guard()
        try:
            with open(self._root + _PLAN, "wb") as file:
                for line in self._plan(deadline):
                    file.write(line.encode())
            os.rename(self._root + INCOMING, self._root + INSTALLED + NEW_SUFFIX)
            os.rename(self._root + _PLAN, self._root + STATE_FOLDER + "/committed")
        except OSError as error:
            raise InstallError(f"the update could not be committed: {_explain(error)}", error.errno)
        self._staged = None

    def _plan(self, deadline):
        # Yields the plan's lines. A path that is staged differs; one that is not stays as it is.
        staged = set(self._staged)
        with open(self._root + INCOMING, "rb") as file:
            header = Header(file)
            yield f"otalink-plan {PLAN_FORMAT}\nname {header.name}\nversion {format_version(header.version)}\n"
            yield f"deadline {deadline}\n{self._action(INSTALLED)} {INSTALLED}\n"
            for action, found in steps(self._files(INSTALLED), header.files()):
                path = found[0]
                if path in _GUARD:
                    continue
                if action == REMOVE:
                    if self._kind(path) == "file":
                        yield f"delete {path}\n"
                elif path in staged:
                    yield f"{self._action(path)} {path}\n"
                else:
                    # What an abandoned download left of it.
                    self._remove(path + NEW_SUFFIX)
        for path in _GUARD:
            if path in staged:
                yield f"copy {path}\n"
            else:
                self._remove(path + NEW_SUFFIX)
        yield "end\n"

    def _action(self, path):
        return "replace" if self.exists(path) else "add"

    def _check_idle(self):
        state = self.state()
        if state == "trial":
            raise InstallError("a release is on trial: confirm it, or let it go back, before the next one")
        if state in _BUSY:
            raise InstallError("an update waits for a restart: restart the board")

    def _check_flash(self):
        # Only FAT finds a name in other letters.
        if self.exists(STATE_FOLDER.upper()):
            raise InstallError("the flash is FAT, where a power cut breaks an update: format it as littlefs")

    def _check_guard(self):
        if "boot.py" in self._staged:
            check_boot(self._root + "boot.py" + NEW_SUFFIX)
        try:
            check_boot(self._root + "boot.py")
            known = __import__("otaguard").FORMAT
        except (ImportError, OSError, ReleaseError):
            raise InstallError("/boot.py does not start the boot guard: run `otalink flash` once over the cable")
        if known < PLAN_FORMAT:
            raise InstallError("the boot guard is too old for this otalink: run `otalink flash` over the cable")
        # The guard keeps copies of these two.
        block, free = self._space()
        needed = sum(self.size(path) // block + 2 for path in _GUARD if path in self._staged)
        if needed > free:
            self.forget()
            if needed > self._space()[1]:
                raise InstallError("the flash is too full for the boot guard's copy: remove files")

    # After the commit

    def state(self):
        """Where an update is: "committed", "swapping", "trial", "confirmed", "reverting", "reverted", "forgetting" or
        "broken" (docs/update.md); None when there was none."""
        found = self._state_file()
        return found if found is None else found.partition("-")[0]

    def _state_file(self):
        try:
            names = os.listdir(self._root + STATE_FOLDER)
        except OSError:
            return None
        for state in ("committed", "swapping", "reverting", "trial-0", "trial-1", "trial-2", "trial-3", "forgetting"):
            if state in names:
                return state
        for state in ("confirmed", "reverted", "broken"):
            if state in names:
                return state
        return None

    def confirm(self):
        """Keeps the release that is on trial. True when there was a trial."""
        self._remove_evidence()
        if self.state() != "trial":
            return False
        self._become(self._state_file(), "confirmed")
        return True

    def rollback(self):
        """Goes back to the release before the confirmed one when the board restarts. Raises InstallError when there
        is none."""
        if self.state() != "confirmed":
            raise InstallError("there is no release to go back to")
        self._become("confirmed", "reverting")

    def started(self):
        """Says that the application's updater runs: the evidence of earlier failed starts is removed."""
        self._remove_evidence()

    def failed(self):
        """The release that this board went back from as (name, version), or None."""
        if self.state() != "reverted":
            return None
        with open(self._root + STATE_FOLDER + "/reverted") as file:
            file.readline()
            name = file.readline()[5:-1]
            version = file.readline()[8:-1]
        try:
            return name, parse_version(version)
        except ValueError:
            return None

    def forget(self):
        """Gives up the way back to the release before: its files are removed. True when there was one."""
        if self.state() == "confirmed":
            self._become("confirmed", "forgetting")
        elif self.state() != "forgetting":
            return False
        path = STATE_FOLDER + "/forgetting"
        try:
            with open(self._root + path) as file:
                for line in file:
                    action, _, target = line[:-1].partition(" ")
                    if action in ("replace", "add", "delete", "copy"):
                        self._remove(target + OLD_SUFFIX)
                        self._prune(target)
            self._remove(path)
        except OSError as error:
            raise InstallError(f"the kept files could not be removed: {_explain(error)}", error.errno)
        return True

    def _become(self, old, new):
        try:
            os.rename(f"{self._root}{STATE_FOLDER}/{old}", f"{self._root}{STATE_FOLDER}/{new}")
        except OSError as error:
            raise InstallError(f"/{STATE_FOLDER}/{old} cannot be renamed: {_explain(error)}", error.errno)

    def _remove_evidence(self):
        for n in (1, 2, 3):
            self._remove(f"{STATE_FOLDER}/crash-{n}")

    # The flash

    def _kind(self, path):
        try:
            return "folder" if os.stat(self._root + path)[0] & _FOLDER_BIT else "file"
        except OSError:
            return None

    def _make_folder(self, path):
        if self._kind(path) is None:
            try:
                os.mkdir(self._root + path)
            except OSError as error:
                raise InstallError(f"the folder /{path} cannot be made: {_explain(error)}", error.errno)

    def _remove(self, path):
        if self._kind(path) == "file":
            os.remove(self._root + path)

    def _remove_staged(self, path):
        # The folders as well: they may have been made, and the file not begun.
        self._remove(path + NEW_SUFFIX)
        self._prune(path)

    def _prune(self, path):
        # Folders that have nothing in them any more.
        slash = path.rfind("/")
        while slash >= 0:
            path = path[:slash]
            if self._kind(path) == "folder":
                if os.listdir(self._root + path):
                    return
                os.rmdir(self._root + path)
            slash = path.rfind("/")


class StagedFile:
    """A file that is being staged. `written` counts its bytes; `write` is what FtpClient.retrieve takes as its sink."""

    def __init__(self, installation, path, staged):
        self._installation = installation
        self._path = path
        self._staged = staged
        self._file = None
        self.restart()

    def restart(self):
        """Begins the file over."""
        self.close()
        self._file = self._guarded(open, self._staged, "wb")
        self._sha256 = hashlib.sha256()
        self.written = 0

    def write(self, view):
        """Appends the bytes of `view`. Raises InstallError when the flash fails."""
        self._guarded(self._file.write, view)
        self._sha256.update(view)
        self.written += len(view)

    async def finish(self, size, digest):
        """Closes the file and reads it back. Gives its SHA-256 as hexadecimal text.

        `size` (bytes) and `digest` are what it must have; None where that is not known. Raises ReleaseError when it is
        another file, InstallError when the flash does not give back what was written.
        """
        self.close()
        if size is not None and self.written != size:
            raise ReleaseError(f"{self._path}: {self.written} bytes came, it must have {size}")
        received = hexlify(self._sha256.digest()).decode()
        if digest is not None and received != digest:
            raise ReleaseError(f"{self._path}: its SHA-256 is not the promised one")
        if await self._installation.digest(self._path + NEW_SUFFIX) != received:
            raise InstallError(f"{self._path}: the flash does not give back what was written to it")
        if self._path == "boot.py":
            check_boot(self._staged)
        self._installation._staged.append(self._path)
        return received

    def close(self):
        """Closes the file; what is staged stays."""
        if self._file is not None:
            self._guarded(self._file.close)
            self._file = None

    def _guarded(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError as error:
            raise InstallError(f"{self._path} cannot be written: {_explain(error)}", error.errno)


def check_boot(path):
    """Raises ReleaseError unless the file `path` is a boot.py that starts the guard before anything else."""
    try:
        with open(path) as file:
            source = file.read(_BOOT_MAX)
        compile(source, "boot.py", "exec")
    except (SyntaxError, UnicodeError):
        raise ReleaseError("boot.py: it does not compile")
    code = [line.strip() for line in source.split("\n")]
    code = [line for line in code if line and line[0] != "#"]
    if code[:3] != ["try:", "import otaguard", "otaguard.boot()"]:
        raise ReleaseError("boot.py: it does not begin by calling the boot guard, as otalink's own does")


def _explain(error):
    # littlefs numbers its errors by itself: 28 is no space, whatever the port.
    return "the flash is full" if error.errno == 28 else f"the flash failed with error {error.errno}"
