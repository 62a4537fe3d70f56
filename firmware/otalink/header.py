"""The header of a release file on the server: brought to the flash, and looked at again."""

import hashlib
from binascii import hexlify

from micropython import const

from otalink.errors import FolderChangedError, ReleaseError
from otalink.files import make_folder, remove
from otalink.flash import on_flash
from otalink.layout import HEADER_LENGTH_MAX, HEADER_MAGIC, INCOMING, NEW_SUFFIX, STATE_FOLDER

# The first line ends within so many bytes.
_FIRST_MAX = const(32)


async def bring(job):
    """Puts the header of the release file `job.found` on the flash, as it comes. Its `mark` is the SHA-256, as text."""
    release = job.found
    root = job.root + "/"
    path = INCOMING + NEW_SUFFIX
    make_folder(root, STATE_FOLDER)
    file = on_flash(path, "written", open, root + path, "wb")
    whole = False
    try:
        release.mark = await _read(job, release, lambda view: on_flash(path, "written", file.write, view))
        whole = True
    finally:
        try:
            on_flash(path, "written", file.close)
        finally:
            if not whole:
                remove(root, path)


async def refuse_change(job):
    """Raises FolderChangedError when the release file is not what it was at first."""
    if await _read(job, job.release, None) != job.release.mark:
        raise FolderChangedError(f"{job.release.versioned} was replaced on the server during the download")


async def _read(job, release, write):
    # Gives the SHA-256 of the header. The transfer stops behind it. To `write` it is read once, and no more.
    sha256 = hashlib.sha256()
    first = b""
    length = None
    got = 0

    def sink(view):
        nonlocal first, length, got
        if length is None:
            first += bytes(view[:_FIRST_MAX])
            length = _length(first, release.versioned)
            if write is None and length is not None and length > release.size:
                # The transfer would be refused as too long, again and again.
                raise FolderChangedError(f"{release.versioned} was replaced on the server during the download")
        if length is not None and got + len(view) > length:
            view = view[: length - got]
        got += len(view)
        sha256.update(view)
        if write is not None:
            write(view)
        return got == length

    # Where the listing says how long the file is, nothing needs to be asked for.
    if release.size is None:
        from otalink.ftp_listing import FtpListing as Client
    else:
        from otalink.ftp_session import FtpSession as Client
    async with Client(*job.config.server) as client:
        client.resume(job.link)
        try:
            if release.size is None:
                release.size = await client.size(release.versioned)
            await client.retrieve(release.versioned, job.buffer, sink, 0, release.size)
        finally:
            if write is None:
                client.suspend(job.link)
    if got != length:
        raise ReleaseError(f"{release.versioned} ends within its header: publish it again")
    return hexlify(sha256.digest()).decode()


def _length(first, filename):
    # The length that the first line says; None as long as it has not come.
    line, end, _ = first.partition(b"\n")
    fields = line.split(b" ")
    if end and len(fields) == 3 and fields[0] == HEADER_MAGIC.encode() and fields[2].isdigit() and len(fields[2]) < 9:
        length = int(fields[2])
        if len(line) < length <= HEADER_LENGTH_MAX:
            return length
    elif not end and len(first) < _FIRST_MAX:
        return None
    raise ReleaseError(f"{filename} is no release file: it does not begin with a header")
