"""A plain folder on a server (note 18's form of a release), as it comes: listing, SHA256SUMS, fingerprint.

It knows no rule about releases but which names cannot matter; `offer.py` makes sense of what it brings. In the list
`job.link` a session goes from phase to phase, see `FtpSession.suspend`.
"""

import hashlib

from micropython import const

from otalink.errors import FtpError, ProtocolError, ReleaseError
from otalink.ftp import FtpClient
from otalink.ftp_reply import LineSplitter, text_of

# Some 400 files: more than that, no board can hold in its head.
_SUMS_MAX = const(32768)
_SUMS = "SHA256SUMS"


async def listing(job):
    """Lists the folder: gives (command, lines), those of MLSD, or of NLST where there is no MLSD."""
    async with FtpClient(*job.config.server) as client:
        client.resume(job.link)
        try:
            found = "MLSD", await client.rows("MLSD")
        except FtpError as error:
            if not 500 <= error.code <= 504:
                raise
            found = "NLST", await client.rows("NLST")
        client.suspend(job.link)
        return found


async def read(job, listing, versioned):
    """Reads what there is about the files of the release whose versioned file is `versioned`, and says goodbye.

    Gives (sums, files, mark): the lines of SHA256SUMS, None where there is none; (filename, size, is a folder) of each
    file where the server tells only names and there is no SHA256SUMS; and the fingerprint, which `look` gives too.
    """
    async with FtpClient(*job.config.server) as client:
        client.resume(job.link)
        sums = []
        files = []
        splitter = LineSplitter()

        def take(view):
            try:
                # A little at a time: a small heap has no big pieces.
                for start in range(0, len(view), 128):
                    sums.extend(splitter.feed(view[start : start + 128]))
            except ProtocolError:
                raise ReleaseError(f"{_SUMS} is no list of files: it has a line without end")

        mark, has_sums = await _fingerprint(client, job, listing, versioned, take, files.append)
        sums.append(splitter.end() or b"")
        for number, (filename, size) in enumerate(files):
            is_folder = type(size) is not int and await _is_folder(client, filename, size)
            files[number] = filename, size, is_folder
        return sums if has_sums else None, files, mark


async def look(job, stay=False):
    """The fingerprint of the folder now. Says goodbye unless it is to `stay`."""
    async with FtpClient(*job.config.server) as client:
        client.resume(job.link)
        mark, _ = await _fingerprint(client, job, None, job.release.versioned)
        if stay:
            client.suspend(job.link)
        return mark


async def leave(job):
    """Says goodbye."""
    async with FtpClient(*job.config.server) as client:
        client.resume(job.link)


async def _fingerprint(client, job, listing, versioned, take=None, tell=None):
    # A digest of all that matters, and whether there is a SHA256SUMS. `listing` is None: the server is asked for it.
    # `take` gets SHA256SUMS, piece by piece. Where there is none and the server tells only names, `tell` gets
    # (filename, size) for each; size is "" where it was refused.
    # Where SHA256SUMS says what the files are, only its content and the application's versions count.
    by_name, by_row = hashlib.sha256(), hashlib.sha256()
    prefix = job.config.name + "_"
    filenames = []
    has_sums = False

    def see(row):
        nonlocal has_sums
        filename = text_of(row if command == "NLST" else row.partition(b" ")[2])
        filename = filename[filename.rfind("/") + 1 :]
        if filename == _SUMS:
            has_sums = True
            return
        if filename.startswith(prefix):
            by_name.update(filename + "\n")
            if filename != versioned:
                return
        # Hidden files are uploads under way.
        if filename[:1] not in ("", ".") and not filename.endswith(".ota") and b"type=dir;" not in row.lower():
            by_row.update(row + b"\n")
            if command == "NLST":
                filenames.append(filename)

    if listing is not None:
        command, rows = listing
        for row in rows:
            see(row)
    else:
        command = "MLSD"
        try:
            await client.rows(command, see)
        except FtpError as error:
            if not 500 <= error.code <= 504:
                raise
            command = "NLST"
            await client.rows(command, see)
    if has_sums:
        total = 0

        def sink(view):
            nonlocal total
            total += len(view)
            if total > _SUMS_MAX:
                raise ReleaseError(f"{_SUMS} is over {_SUMS_MAX} bytes: a board cannot hold so many files")
            by_name.update(view)
            if take is not None:
                take(view)

        await client.retrieve(_SUMS, job.buffer, sink)
        return by_name.digest(), True
    for filename in filenames:
        size = modify = None
        try:
            size = await client.size(filename)
            modify = await client.mdtm(filename)
        except FtpError as error:
            if error.code != 550:
                raise
            size = ""
        by_row.update(f"{size}/{modify}\n")
        if tell is not None:
            tell((filename, size))
    by_row.update(by_name.digest())
    return by_row.digest(), False


async def _is_folder(client, filename, size):
    # NLST gives folders' names too. A folder has no size, and can be entered.
    folder = client.folder
    try:
        await client.cwd(filename)
    except FtpError as error:
        if error.code != 550:
            raise
        if size == "":
            raise ReleaseError(f"{filename} is in the listing and cannot be read: check its permissions")
        return False
    # Back by a new session: the folder may be relative to where a login begins.
    client.folder = folder
    client.close()
    return True
