"""What an account sees of the disk: its folder under its virtual path, and a way out of it for nobody."""

import contextlib
import errno
import os
import posixpath
import re
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyftpdlib.exceptions import FilesystemError
from pyftpdlib.filesystems import AbstractedFS

from otalink_host.open_within import is_below, open_within
from otalink_host.place import JOURNAL_NAME, PART_PREFIX, WITHDRAWN_PREFIX
from otalink_host.place_local import LocalPlace
from otalink_host.settings import Account

# What a client sends stands under such a name until it is whole. No client reaches that.
UPLOAD_PREFIX = ".otalink-upload-"
# Seconds after which an upload that has such a name was cut off by the end of the server.
_ABANDONED = 24 * 3600
# Where a board leaves its report: the one path that it may write, which it cannot read again.
REPORT_PATH = "/report.json"


class Upload:
    """A file that a client sends, as pyftpdlib writes to it: hidden, until whoever owns it renames its `part`.

    `name` is the client's path. More than `size_max` bytes are refused: `is_too_large` then. `failure` is what the disk
    says when it takes no more.
    """

    def __init__(self, name: str, folder: Path, size_max: int) -> None:
        self.name = name
        self.part = folder / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}"
        self.size = 0
        self.is_too_large = False
        self.failure: OSError | None = None
        self._size_max = size_max
        _remove_abandoned(folder)
        self._file = self.part.open("xb")

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self._size_max:
            self.is_too_large = True
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        try:
            self._file.write(data)
        except OSError as error:
            self.failure = error
            raise
        self.size += len(data)

    def flush_to_disk(self) -> None:
        """Puts all of it on the disk, and closes it."""
        # pyftpdlib has closed it when it tells that all of it came.
        self._file.close()
        with self.part.open("rb+") as file:
            os.fsync(file.fileno())

    def close(self) -> None:
        # What no disk takes any more is of no use, either.
        with contextlib.suppress(OSError):
            self._file.close()

    def discard(self) -> None:
        """Leaves nothing of it."""
        self.close()
        with contextlib.suppress(OSError):
            self.part.unlink()


class ServedPlace(LocalPlace):
    """An account's folder as a place for releases, which is called what the client calls it."""

    def __init__(self, folder: Path, shown: str) -> None:
        super().__init__(folder)
        self._shown = shown

    def __str__(self) -> str:
        return self._shown

    def where(self, path: str) -> str:  # type: ignore[override]  # a client's path, not this machine's
        return posixpath.join(self._shown, path)

    def sub(self, name: str) -> "ServedPlace":
        return ServedPlace(self.folder / name, self.where(name))


class VirtualFolder(AbstractedFS):  # type: ignore[misc]  # pyftpdlib has no type hints
    """An account's folders, each under its virtual path. What may be written is not decided here.

    pyftpdlib turns each path of a client into one of the file system and passes that around. Here both are the client's
    path, absolute and without `..`; only the methods that touch a disk turn it into a real one, so that one place,
    `_real`, decides what can be reached. The folders above the virtual paths are no folders of the disk.
    """

    def __init__(self, root: str, cmd_channel: Any) -> None:
        super().__init__(root, cmd_channel)
        self.account: Account = cmd_channel.authorizer.account(cmd_channel.username)
        # Each folder of the disk, with the names that lead to it. No virtual path is another's beginning.
        self._mounts = [(self._parts(path), os.path.realpath(folder)) for path, folder in self.account.mounts.items()]

    def ftpnorm(self, ftppath: str) -> str:
        return "/" + posixpath.normpath(posixpath.join(self.cwd, ftppath)).lstrip("/")

    def ftp2fs(self, ftppath: str) -> str:
        return self.ftpnorm(ftppath)

    def fs2ftp(self, fspath: str) -> str:
        return fspath

    def validpath(self, path: str) -> bool:
        """False for what leads out of the folder. What is not there is said when it is opened."""
        try:
            self._real(path)
        except PermissionError:
            return False
        except FileNotFoundError:
            pass
        return True

    def open(self, filename: str, mode: str) -> Any:
        if mode == "rb":
            with contextlib.suppress(IsADirectoryError):
                # Where links lead, it looks itself.
                return open_within(self._unchecked(filename), [root for _, root in self._mounts])
        raise FilesystemError("This is no file that can be read")

    def create(self, path: str, size_max: int) -> Upload:
        """A file for what a client uploads to `path`, in the same folder. Raises OSError when there is none."""
        return Upload(path, Path(self._real(path)).parent, size_max)

    def locate(self, path: str) -> tuple[ServedPlace, str]:
        """The account's folder, and the path in it, with `/`, that the client's `path` is. Raises OSError."""
        prefix, root = self._mount(self._parts(path))
        relative = os.path.relpath(self._real(path), root).replace(os.sep, "/")
        return ServedPlace(Path(root), "/" + "/".join(prefix)), "" if relative == "." else relative

    def mkdir(self, path: str) -> None:
        os.mkdir(self._real(path))

    def rmdir(self, path: str) -> None:
        """Removes a folder, which must be empty."""
        os.rmdir(self._real(path))

    def chdir(self, path: str) -> None:
        # Not os.chdir, as in pyftpdlib: the server is a guest in its process.
        if not self.isdir(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.cwd = path

    def listdir(self, path: str) -> list[str]:
        above = self._above(path)
        if above:
            return above
        real = self._real(path)
        # Hidden names are uploads under way, which a client that fetches every file it sees must not get.
        with os.scandir(real) as entries:
            return [entry.name for entry in entries if self._is_reachable(entry.name) and self._is_shown(entry)]

    def stat(self, path: str) -> os.stat_result:
        # In a listing "." and "" stand for the folder itself.
        path = self.ftpnorm(path.replace(os.sep, "/"))
        return os.stat(self._root if self._above(path) else self._real(path))

    # A link is shown as what it leads to: where it leads is nobody's business.
    lstat = stat
    readlink = None

    def islink(self, path: str) -> bool:
        return False

    def isfile(self, path: str) -> bool:
        return self._is(stat.S_ISREG, path)

    def isdir(self, path: str) -> bool:
        return self._is(stat.S_ISDIR, path)

    def lexists(self, path: str) -> bool:
        return self._is(lambda mode: True, path)

    def getsize(self, path: str) -> int:
        return self.stat(path).st_size

    def getmtime(self, path: str) -> float:
        return self.stat(path).st_mtime

    def realpath(self, path: str) -> str:
        return path

    def get_user_by_uid(self, uid: int) -> str:
        return "otalink"

    def get_group_by_gid(self, gid: int) -> str:
        return "otalink"

    def _refuse(self, *arguments: Any, **keywords: Any) -> Any:
        raise FilesystemError("This account may read only")

    # No command leads here; inherited, these would act on the real disk.
    remove = rename = chmod = utime = mkstemp = _refuse

    def client_path(self, real: str) -> str:
        """The client's path of a file that `open` opened; what has become of it since does not count."""
        # The deepest folder, should one lie in another.
        prefix, root = max(((p, r) for p, r in self._mounts if is_below(real, r)), key=lambda mount: len(mount[1]))
        return "/" + "/".join(prefix + os.path.relpath(real, root).split(os.sep))

    def _is(self, kind: Callable[[int], bool], path: str) -> bool:
        try:
            return kind(self.stat(path).st_mode)
        except (OSError, FilesystemError):
            return False

    def _parts(self, path: str) -> list[str]:
        return [part for part in path.split("/") if part]

    def _above(self, path: str) -> list[str]:
        """When `path` is a folder above virtual paths: the names in it, else none."""
        parts = self._parts(path)
        names = (prefix[len(parts)] for prefix, _ in self._mounts if prefix[: len(parts)] == parts != prefix)
        return list(dict.fromkeys(names))

    def _mount(self, parts: list[str]) -> tuple[list[str], str]:
        """The folder of the disk that the path's `parts` lie in, behind the names that lead to it. Raises OSError."""
        for prefix, root in self._mounts:
            if parts[: len(prefix)] == prefix:
                return prefix, root
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _real(self, path: str) -> str:
        """The path on this machine's disk. Raises OSError for what cannot be reached."""
        real = self._unchecked(path)
        if not self._inside(real):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real

    def _unchecked(self, path: str) -> str:
        """As `_real`, but links may lead from it to anywhere."""
        parts = self._parts(path)
        prefix, root = self._mount(parts)
        parts = parts[len(prefix) :]
        for part in parts:
            # On Windows `C:`, `\` and `name:stream` inside of a part would lead elsewhere.
            if part == ".." or re.search(r"[\x00-\x1f\x7f]", part) or (os.name == "nt" and re.search(r"[:\\]", part)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # A hidden folder, and what is in it, is nobody's.
        if not all(self._is_reachable(part) for part in parts[-1:]) or any(part[:1] == "." for part in parts[:-1]):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return os.path.join(root, *parts)

    def _is_reachable(self, name: str) -> bool:
        """True for a name that the account may know of; of the hidden ones, a publisher's own."""
        if not name.startswith("."):
            return True
        is_own = name.startswith((PART_PREFIX, WITHDRAWN_PREFIX)) or name == JOURNAL_NAME
        return is_own and self.account.role == "publisher"

    def _is_shown(self, entry: "os.DirEntry[str]") -> bool:
        """False for links that lead out of the folder, or nowhere. Windows has links that do not say that they are."""
        if os.name != "nt" and not entry.is_symlink():
            return True
        return self._inside(entry.path) and os.path.exists(entry.path)

    def _inside(self, real: str) -> bool:
        """True unless symbolic links lead from `real` out of the account's folders."""
        return any(_is_in(real, root) for _, root in self._mounts)


def _is_in(real: str, root: str) -> bool:
    try:
        return is_below(os.path.realpath(real), root)
    except (OSError, ValueError):
        return False


def _remove_abandoned(folder: Path) -> None:
    """Removes uploads from `folder` that a server which was killed has left."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(UPLOAD_PREFIX):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _ABANDONED:
                        os.unlink(entry)
