"""A folder of this machine as a place for releases: every file arrives by a rename, and is on the disk before it."""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from pathlib import Path, PurePosixPath

from otalink_host.errors import UserError
from otalink_host.file_lock import lock
from otalink_host.place import LOCK_NAME, PART_PREFIX, Entry


class LocalPlace:
    """The folder `folder`; see place.Place."""

    reads_back = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def where(self, path: str) -> Path:
        return self.folder / path

    def is_there(self) -> bool:
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is no folder: name the one that releases are published to")
        return self.folder.is_dir()

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def sub(self, name: str) -> "LocalPlace":
        return LocalPlace(self.folder / name)

    def files(self) -> dict[str, Entry]:
        with os.scandir(self.folder) as entries:
            found = [(entry.name, _entry(entry.stat(), entry.is_symlink())) for entry in entries if entry.is_file()]
        return dict(sorted(found))

    def folders(self) -> list[str]:
        with os.scandir(self.folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def entry(self, path: str) -> Entry | None:
        file = self.folder / path
        return _entry(file.stat(), file.is_symlink()) if file.is_file() else None

    def is_folder(self, path: str) -> bool:
        return (self.folder / path).is_dir()

    def check_way(self, path: str) -> None:
        place = self.folder / path
        if not place.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"{place} is a link that leads out of {self.folder}: move it away")

    def open(self, path: str) -> BufferedIOBase:
        return (self.folder / path).open("rb")

    def stage(self, content: Iterable[bytes]) -> str:
        name = f"{PART_PREFIX}{secrets.token_hex(8)}"
        part = self.folder / name
        try:
            with part.open("xb") as file:
                for chunk in content:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return name

    def rename(self, before: str, after: str, *, replace: bool = False) -> None:
        (self.folder / after).parent.mkdir(parents=True, exist_ok=True)
        if replace:
            replace_file(self.folder / before, self.folder / after)
        else:
            rename_to_new(self.folder / before, self.folder / after)

    def remove(self, path: str) -> bool:
        try:
            (self.folder / path).unlink()
        except FileNotFoundError:
            return False
        for parent in [*PurePosixPath(path).parents][:-1]:
            try:
                (self.folder / parent).rmdir()
            except OSError:  # something is still in it
                break
        return True

    def sync(self, paths: Iterable[str]) -> None:
        for folder in {(self.folder / path).parent for path in paths}:
            sync_folder(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second publish out. The system gives the lock back when this process is killed."""
        path = self.folder / LOCK_NAME
        with path.open("ab") as file:
            if not lock(file):
                raise UserError(f"another publish into {self} is under way: wait for it, then publish again")
            try:
                # The one before may have removed the file between our opening and our locking it.
                if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    raise UserError(f"another publish into {self} has just ended: publish again")
                yield
            finally:
                # Windows does not remove an open file: there it stays, empty and hidden.
                with contextlib.suppress(OSError):
                    path.unlink()


def replace_file(before: Path, after: Path) -> None:
    """Renames over `after`. Windows refuses while a reader has it open: a server does, for moments at a time."""
    for _ in range(100 if os.name == "nt" else 0):
        try:
            os.replace(before, after)
            return
        except PermissionError:
            time.sleep(0.1)
    os.replace(before, after)


def rename_to_new(before: Path, after: Path) -> None:
    """Renames to a name that must be free. Raises FileExistsError.

    No rename of POSIX refuses to replace a file, so that two at once would both succeed: a link does refuse.
    """
    try:
        os.link(before, after, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):
        raise
    except (OSError, NotImplementedError):  # a file system without links, such as a memory card's
        if os.path.lexists(after):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), before, None, after) from None
        os.rename(before, after)
    else:
        os.unlink(before)


def sync_folder(folder: Path) -> None:
    """Puts the renames in `folder` on the disk. Windows has no such call for a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(status: os.stat_result, is_link: bool) -> Entry:
    return Entry(status.st_size, status.st_mtime, is_link)
