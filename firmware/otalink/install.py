"""Puts a release on the flash: stages its files beside their targets, verifies them, commits them by one rename.

Nothing is written in place: a file is staged as `PATH.ota-new`, closed and read back. `commit` writes the plan of the
update and renames it to `committed`; from there on the boot guard swaps, forward or back, when the board restarts. It
knows no network and no policy; docs/update.md is its specification.
"""

import os

from otalink.errors import InstallError, ReleaseError
from otalink.journal import BUSY, check_idle, state
from otalink.layout import INCOMING, INSTALLED, NEW_SUFFIX, PLAN, STATE_FOLDER, parents
from otalink.release import Header, format_header
from otalink.staging import (
    StagedFile,
    digest_of,
    kind_of,
    make_folder,
    on_flash,
    remove,
    remove_staged,
    size_of,
)


class Installation:
    """The releases on one flash: the installed one and the one that is being staged.

    `root` stands before every path, "" for a board's own root. `buffer` is the bytearray that files are read through.
    Every method raises InstallError when the flash fails.
    """

    def __init__(self, buffer, root="", paths=None, staged=None):
        """`paths` and `staged` continue what another Installation began: the paths of the release that is being
        staged, and the list of those that are staged and whole, which grows."""
        self._buffer = buffer
        self._root = root + "/"
        self._paths = paths
        self._staged = staged

    # What there is

    def installed(self):
        """The installed release as (name, version), or None when no release is recorded.

        Raises InstallError when there is a record and it cannot be read.
        """
        if self._kind(INSTALLED) is None:
            return None
        try:
            with open(self._root + INSTALLED, "rb") as file:
                header = Header(file)
                return header.name, header.version
        except (ReleaseError, OSError) as error:
            raise InstallError(f"/{INSTALLED} cannot be read ({error}): what is installed is not known")

    def _recorded(self, path):
        # Yields (path, digest, size) for each file of a record, as far as it can be read.
        if self._kind(path) != "file":
            return
        with open(self._root + path, "rb") as file:
            try:
                yield from Header(file).files()
            except (ReleaseError, OSError):
                return

    async def digest(self, path):
        """The SHA-256 of a file on the flash, as hexadecimal text; None when there is no such file."""
        return await digest_of(self._root, path, self._buffer)

    def exists(self, path):
        """True when there is a file or folder `path` on the flash."""
        return self._kind(path) is not None

    def size(self, path):
        """The bytes of a file on the flash; None when there is no such file."""
        return size_of(self._root, path)

    # Staging

    def begin(self, paths):
        """Begins to stage the files `paths` (sorted): what an earlier try left beside them is removed.

        Raises ReleaseError when a file would take a folder's place or a folder a file's, InstallError while another
        update is on.
        """
        check_idle(self._root)
        self._retrieve_incoming()
        for path in paths:
            if self._kind(path) == "folder":
                raise ReleaseError(f"{path} is a folder on the board and a file of the release: remove one of them")
            for folder in parents(path):
                if self._kind(folder) == "file":
                    raise ReleaseError(f"{folder} is a file on the board and a folder of the release: remove one")
        for path, *_ in self._recorded(INCOMING):
            if path not in paths:
                remove_staged(self._root, path)
        self._paths = paths
        if self._staged is None:
            self._staged = []

    def record(self, name, version, files):
        """Writes down what is being staged, before the first file, and again when all digests are known.

        `files` is a list of (path, digest, size).
        """
        make_folder(self._root, STATE_FOLDER)
        new = INCOMING + NEW_SUFFIX
        file = on_flash(INCOMING, "written", open, self._root + new, "wb")
        try:
            for line in format_header(name, version, files):
                on_flash(INCOMING, "written", file.write, line)
        finally:
            on_flash(INCOMING, "written", file.close)
        self._rename(new, INCOMING)

    def check_space(self, files):
        """Raises InstallError unless `files`, a list of (path, size in bytes), fit beside what is there.

        True when the way back to the release before had to be given up for that.
        """
        from otalink.space import check_space

        return check_space(self._root, self._paths, files)

    def stage(self, path):
        """A StagedFile for `path`, empty; the folders that it needs are made."""
        return StagedFile(self._buffer, self._root, path, self._staged)

    async def take_staged(self, path, digest):
        """True when an earlier try has left `path` staged with this content; what else it has left is removed."""
        if digest is not None and await self.digest(path + NEW_SUFFIX) == digest:
            self._staged.append(path)
            return True
        self.unstage(path)
        return False

    def unstage(self, path):
        """Removes what is staged of `path`, if there is anything."""
        if path in self._staged:
            self._staged.remove(path)
        remove_staged(self._root, path)

    def staged_size(self, path):
        """The bytes that `path` will have after the commit."""
        return self.size(path + NEW_SUFFIX if path in self._staged else path)

    def discard(self):
        """Removes everything that is staged; nothing while a committed update is on."""
        if state(self._root) in BUSY:
            return
        self._retrieve_incoming()
        for path in self._paths or ():
            remove_staged(self._root, path)
        for path, *_ in self._recorded(INCOMING):
            remove_staged(self._root, path)
        remove(self._root, PLAN)
        remove(self._root, INCOMING + NEW_SUFFIX)
        remove(self._root, INCOMING)
        self._paths = self._staged = None

    def _retrieve_incoming(self):
        # A commit that was cut short has given the record its new name already.
        staged = INSTALLED + NEW_SUFFIX
        if self._kind(staged) is not None and self._kind(INCOMING) is None:
            self._rename(staged, INCOMING)
        remove(self._root, STATE_FOLDER + "/broken")

    def stays(self, path):
        """True when there is a file or folder `path` on the flash, and the release that is staged leaves it there."""
        if not self.exists(path):
            return False
        return path in self._paths or all(found[0] != path for found in self._recorded(INSTALLED))

    # Commit

    def commit(self, deadline=600):
        """Commits what is staged, by one rename: the boot guard swaps it in when the board restarts.

        `deadline` is how many seconds a boot of the trial may last without being confirmed; 0 for ever. Gives up the
        way back to the release before this one. Raises InstallError, with nothing committed, while another update is
        on, on a FAT file system, without a boot guard, or when the flash fails; ReleaseError for a `boot.py` that
        would not start the guard; ValueError when nothing has been staged.
        """
        if self._staged is None:
            raise ValueError("nothing is staged: download a release first")
        from otalink.update_plan import commit

        commit(self._root, self._recorded(INSTALLED), self._staged, deadline)
        self._paths = self._staged = None

    # The flash

    def _kind(self, path):
        return kind_of(self._root, path)

    def _rename(self, path, target):
        on_flash(target, "put in place", os.rename, self._root + path, self._root + target)
