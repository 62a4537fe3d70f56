"""What a download does when a transfer has failed."""

import asyncio

from micropython import const

from otalink.errors import FolderChangedError, FtpError, ReleaseError, TransferError
from otalink.phase import run

_RETRY_DELAY_MAX = const(60)


async def wait(job, error, progressed):
    """Waits for the next try, or raises an error when there is to be none.

    `error` is what ended the last one, `progressed` says whether anything came of the file.
    """
    if isinstance(error, FolderChangedError):
        raise error
    is_wrong = isinstance(error, ReleaseError)
    if is_wrong or (isinstance(error, FtpError) and error.code >= 500):
        await run("ftp_session ftp_listing look.refuse_change", job)
        if is_wrong:
            raise ReleaseError(f"{error}: publish {job.wanted[job.at][1]} again")
        raise error
    job.failures = 0 if progressed else job.failures + 1
    if job.failures >= job.config.attempts:
        raise TransferError(f"{error}; given up until the next check", error.errno)
    delay = min(job.config.retry_delay * 2 ** max(0, job.failures - 1), _RETRY_DELAY_MAX)
    job.say(f"{error}; going on at byte {job.partial[1]} in {delay} s")
    await asyncio.sleep(delay)
