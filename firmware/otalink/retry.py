"""What a download does when a transfer has failed; see `download.py`."""

import asyncio

from micropython import const

from otalink.download import report
from otalink.errors import FolderChangedError, FtpError, ResumeError, TransferError
from otalink.phase import run

_RETRY_DELAY_MAX = const(60)


async def wait(job, client, target, error, before, failures):
    """Waits for the next try, or raises `error` when there is to be none. Gives the failures without progress.

    `before` is what was there of the file when the failed try began, `failures` counts those ahead of it.
    """
    if isinstance(error, FolderChangedError):
        raise error
    if isinstance(error, FtpError) and error.code >= 500:
        await refuse_change(job, client)
        raise error
    if isinstance(error, ResumeError):
        report(job, -target.written)
        target.restart()
    failures = 0 if target.written > before else failures + 1
    if failures >= job.config.attempts:
        raise TransferError(f"{error}; given up until the next check", error.errno)
    delay = min(job.config.retry_delay * 2 ** max(0, failures - 1), _RETRY_DELAY_MAX)
    job.say(f"{error}; going on at byte {target.written} in {delay} s")
    await asyncio.sleep(delay)
    return failures


async def refuse_change(job, client):
    """Raises FolderChangedError when the folder is not what it was at first."""
    client.suspend(job.link)
    mark = await run("fingerprint.look", job, True)
    client.resume(job.link)
    if mark != job.release.mark:
        raise FolderChangedError("the folder on the server changed during the download")
