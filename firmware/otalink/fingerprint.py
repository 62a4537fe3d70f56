"""Whether a folder on a server is still what it was: a fingerprint of its listing and its SHA256SUMS, as they come.

It knows no rule about releases but which names cannot matter.
"""

import hashlib

from micropython import const

from otalink.errors import FolderChangedError, FtpError, ReleaseError
from otalink.ftp_text import text_of
from otalink.phase import run

# A bound for what has no end. How many files a board can hold, its memory decides: far fewer (docs/release-format.md).
_SUMS_MAX = const(32768)
_SUMS = "SHA256SUMS"


async def refuse_change(job):
    """Raises FolderChangedError when the folder is not what it was at first. Says goodbye once all has come."""
    from otalink.ftp_listing import FtpListing

    stay = job.most is not None
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)
        # Whatever comes is compared: less than all is another folder.
        client.asks_size = False
        try:
            mark, _ = await fingerprint(client, job, None, job.release.versioned)
            if mark != job.release.mark:
                stay = False
                raise FolderChangedError("the folder on the server changed during the download")
        finally:
            if stay:
                client.suspend(job.link)


async def fingerprint(client, job, listing, versioned, take=None, tell=None, size=None):
    """Gives a digest of all that matters, and whether there is a SHA256SUMS.

    `listing` is what `folder.listing` gave; None: the server is asked. `take` gets SHA256SUMS, piece by piece. Where
    there is none and the server tells only names, `tell` gets (filename, size) for each; size is "" where it was
    refused. `size` is that of SHA256SUMS in bytes, as far as it is known.
    """
    # Where SHA256SUMS says what the files are, only its content and the application's versions count.
    by_name, by_row = hashlib.sha256(), hashlib.sha256()
    prefix = job.config.name + "_"
    filenames = []
    has_sums = False

    def see(row):
        nonlocal has_sums
        filename = text_of(row if command == "NLST" else row[row.find(b" ") + 1 :])
        filename = filename[filename.rfind("/") + 1 :]
        if "\r" in filename or "\0" in filename:
            return  # as parse_nlst_line has it
        if filename == _SUMS:
            has_sums = True
            return
        if filename.startswith(prefix):
            by_name.update(filename + "\n")
            if filename != versioned:
                return
        # Hidden files are uploads under way.
        if filename[:1] not in ("", ".") and not filename.endswith(".ota") and b"type=dir;" not in row.lower():
            by_row.update(row)
            by_row.update(b"\n")
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

        await client.retrieve(_SUMS, job.buffer, sink, 0, size)
        return by_name.digest(), True
    if filenames:
        await run("told.ask", client, filenames, by_row, tell)
    by_row.update(by_name.digest())
    return by_row.digest(), False
