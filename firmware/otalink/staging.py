"""Files that are staged beside their targets: what a download needs of the flash, and no more."""

import hashlib
from binascii import hexlify

from otalink.errors import ReleaseError
from otalink.flash import on_flash


class StagedFile:
    """A file `path` that is being staged as `staging_path`.

    `written` counts its bytes; `write` is what FtpClient.retrieve takes as its sink. Once all has come, its path is in
    the list `staged`. Where that is None, nothing is written: its digest is what is wanted.
    """

    def __init__(self, path, staging_path, staged, sha256=None, written=0):
        """Begins the file, or goes on with what `partial` gave of it."""
        self._path = path
        self._staged = staged
        self._sha256 = sha256 or hashlib.sha256()
        self.written = written
        self._file = None
        if staged is not None:
            self._file = on_flash(path, "written", open, staging_path, "ab" if written else "wb")

    def partial(self):
        """What another StagedFile needs to go on: the hash and the number of the bytes that are here."""
        return self._sha256, self.written

    def write(self, view):
        """Appends the bytes of `view`. Raises InstallError when the flash fails."""
        if self._file is not None:
            on_flash(self._path, "written", self._file.write, view)
        self._sha256.update(view)
        self.written += len(view)

    def finish(self, size, digest):
        """Closes the file. Gives the SHA-256 of what came, as hexadecimal text; see Installation.verify.

        `size` (bytes) and `digest` are what it must have; None where that is not known. Raises ReleaseError when it is
        another file.
        """
        self.close()
        if size is not None and self.written != size:
            raise ReleaseError(f"{self._path}: {self.written} bytes came, it must have {size}")
        received = hexlify(self._sha256.digest()).decode()
        if digest is not None and received != digest:
            raise ReleaseError(f"{self._path}: its SHA-256 is not the promised one")
        if self._staged is not None:
            self._staged.append(self._path)
        return received

    def close(self):
        """Closes the file; unless it was finished, it is left for Installation.tidy to remove."""
        file, self._file = self._file, None
        if file is not None:
            on_flash(self._path, "written", file.close)
