"""What a plain folder says about its files, as it comes: SHA256SUMS, fingerprint; `offer.py` makes sense of it."""

from otalink.errors import FtpError, ProtocolError, ReleaseError
from otalink.fingerprint import fingerprint
from otalink.ftp_reply import LineSplitter
from otalink.phase import call

_SUMS = "SHA256SUMS"


async def read(job):
    """Reads what there is about the files of the offer.Release `job.found`, and says goodbye.

    `job.sums` are the lines of SHA256SUMS, None where there is none; `job.told` has (filename, size, is a folder) of
    each file where the server tells only names and there is no SHA256SUMS; `mark` of the Release is the fingerprint.
    """
    release = job.found
    # Where the listing says how long SHA256SUMS is, nothing needs to be asked for.
    if release.sums_size is None:
        from otalink.ftp_listing import FtpListing as Client
    else:
        from otalink.ftp_session import FtpSession as Client
    async with Client(*job.config.server) as client:
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

        release.mark, has_sums = await fingerprint(
            client, job, job.listing, release.versioned, take, files.append, release.sums_size
        )
        sums.append(splitter.end() or b"")
        for number, (filename, size) in enumerate(files):
            is_folder = type(size) is not int and await _is_folder(client, filename, size, job.listing[1])
            files[number] = filename, size, is_folder
        job.sums, job.told = sums if has_sums else None, files


async def _is_folder(client, filename, size, rows):
    # NLST gives folders' names too. A folder has no size, and can be entered.
    try:
        await client._run(client._command, "CWD " + filename)
    except FtpError as error:
        if error.code != 550:
            raise
        if size == "":
            raise call("ftp_errors.unreadable", filename, rows)
        return False
    # Back by a new session: the folder may be relative to where a login begins.
    client.close()
    return True
