"""What publishing needs of a place where releases are: a folder of this machine, or one on an FTP server.

place_local.py and place_ftp.py are such places. They know nothing of releases: the rules about those stand in
release_rules.py, once, for every place. A file's path is relative to the place, with `/` between its parts.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol

# Our own names in a release folder: hidden, so that no client takes them for files of a release.
PART_PREFIX = ".otalink-part-"
LOCK_NAME = ".otalink-lock"
# The files that a publish removes once the new release stands, and those that it adds: should it be killed, the next
# one removes what then belongs to no release. SHA256SUMS cannot say that, for it is replaced in the middle.
JOURNAL_NAME = ".otalink-journal"
# What is withdrawn keeps its name behind this, out of the boards' sight, and can be put back.
WITHDRAWN_PREFIX = ".withdrawn-"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file: its `size` in bytes, `when` it was changed (seconds since 1970), and whether it is a link to one."""

    size: int
    when: float
    is_link: bool = False


class Place(Protocol):
    """A folder that releases are published to. Its text, `str(place)`, tells the user which.

    Everything that touches it raises UserError or OSError when that fails, and FileNotFoundError for a file to `open`
    or rename that is not there.
    """

    # True where what was written must be read again to know that it arrived.
    reads_back: bool

    def where(self, path: str) -> Path | str:
        """What the user knows the file `path` as."""
        ...

    def is_there(self) -> bool:
        """False when the folder does not exist yet. Raises UserError when something else is in its place."""
        ...

    def make(self) -> None:
        """Makes the folder, and those above it, unless it is there."""
        ...

    def sub(self, name: str) -> "Place":
        """The place that the folder `name` right in this one is."""
        ...

    def files(self) -> dict[str, Entry]:
        """The files right in the folder, sorted by name, with those whose names are hidden."""
        ...

    def folders(self) -> list[str]:
        """The names of the folders right in the folder, sorted, without hidden ones."""
        ...

    def entry(self, path: str) -> Entry | None:
        """The file `path`; None when there is none."""
        ...

    def is_folder(self, path: str) -> bool: ...

    def check_way(self, path: str) -> None:
        """Raises UserError when a link leads from the folder `path` to somewhere outside of the place."""
        ...

    def open(self, path: str) -> BufferedIOBase:
        """The content of the file `path`, to be closed by the caller."""
        ...

    def stage(self, content: Iterable[bytes]) -> str:
        """Writes `content` under a new name that begins with PART_PREFIX, whole and on the disk. Gives that name."""
        ...

    def rename(self, before: str, after: str, *, replace: bool = False) -> None:
        """Renames a file, into another folder if need be, which is made then.

        Where there is an `after` already, raises FileExistsError unless it is to `replace` that, which is one step
        where the place can do it in one.
        """
        ...

    def remove(self, path: str) -> bool:
        """Removes the file `path`, and the folders above it that are empty then. False when it was not there."""
        ...

    def sync(self, paths: Iterable[str]) -> None:
        """Puts the renames to `paths` on the disk, ahead of all that come later."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Keeps a second publish out, where the place can do that. Raises UserError when one is under way."""
        ...
