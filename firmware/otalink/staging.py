"""Files that are staged beside their targets: what a download needs of the flash, and no more."""

import hashlib
from binascii import hexlify

from micropython import const

from otalink.errors import ReleaseError
from otalink.flash import on_flash

# A growing file is written to flash anew from its last block on at each flush: 16 KiB cost one hundredth more.
_FLUSH = const(16384)


def report(job, size):
    """Counts `size` more bytes of a download, and says so at each new percent."""
    job.done += size
    total = job.total
    percent = min(100, 100 * job.done // total) if total else -1
    if percent > job.percent:
        job.percent = percent
        if job.progress is not None:
            job.progress(min(job.done, total), total)


class StagedFile:
    """A file `path` that is being staged as the file `new`, or, where that is None, not on the flash at all: then its
    digest is what is wanted.

    `path` is as given, `written` counts its bytes; `write` is what FtpClient.retrieve takes as its sink.
    """

    def __init__(self, path, new, sha256=None, written=0):
        """Begins the file, or goes on behind what is there of it: `sha256` has taken `written` bytes."""
        self.path = path
        self._sha256 = sha256 or hashlib.sha256()
        self.written = written
        self._flushed = written
        self._file = None
        if new is not None:
            self._file = on_flash(path, "written", open, new, "ab" if written else "wb")

    def partial(self):
        """What another StagedFile needs to go on: the hash and the number of the bytes that are here."""
        return self._sha256, self.written

    def write(self, view):
        """Appends the bytes of `view`. Raises InstallError when the flash fails."""
        if self._file is not None:
            on_flash(self.path, "written", self._file.write, view)
        self._sha256.update(view)
        self.written += len(view)

    def keep(self):
        """Puts on the flash what has been written, once there is enough of it: there it outlives a power cut."""
        if self.written - self._flushed >= _FLUSH:
            self._flushed = self.written
            on_flash(self.path, "written", self._file.flush)

    def finish(self, size, digest):
        """Closes the file. Gives the SHA-256 of what came, as hexadecimal text; see Installation.verify.

        `size` (bytes) and `digest` are what it must have; None where that is not known. Raises ReleaseError when it is
        another file.
        """
        self.close()
        if size is not None and self.written != size:
            raise ReleaseError(f"{self.path}: {self.written} bytes came, it must have {size}")
        received = hexlify(self._sha256.digest()).decode()
        if digest is not None and received != digest:
            raise ReleaseError(f"{self.path}: its SHA-256 is not the promised one")
        return received

    def close(self):
        """Closes the file. What is there of it stays."""
        file, self._file = self._file, None
        if file is not None:
            on_flash(self.path, "written", file.close)
