"""What a download does when a transfer has failed."""

import asyncio

from micropython import const

from otalink.errors import FolderChangedError, FtpError, ReleaseError, TransferError
from otalink.phase import run

_RETRY_DELAY_MAX = const(60)


async def wait(job, error, progressed, look):
    """Waits for the next try, or raises an error when there is to be none.

    `error` is what ended the last one, `progressed` says whether anything new came; `look` is the phase that
    raises FolderChangedError when the release is not what it was at first.
    """
    if isinstance(error, FolderChangedError):
        raise error
    is_wrong = isinstance(error, ReleaseError)
    if is_wrong or (isinstance(error, FtpError) and error.code >= 500):
        await run(look, job)
        if is_wrong:
            filename = job.release.versioned if job.wanted is None else job.wanted[job.at][1]
            raise ReleaseError(f"{error}: publish {filename} again")
        raise error
    job.failures = 0 if progressed else job.failures + 1
    if job.failures >= job.config.attempts:
        raise TransferError(f"{error}; given up until the next check", error.errno)
    delay = min(job.config.retry_delay * 2 ** max(0, job.failures - 1), _RETRY_DELAY_MAX)
    place = "where it was" if job.wanted is None else f"at byte {job.partial[1]}"
    job.say(f"{error}; going on {place} in {delay} s")
    await asyncio.sleep(delay)
