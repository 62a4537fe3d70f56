"""What a download does when one of its steps has failed; see steps.py and phase.go."""

import asyncio

from micropython import const

from otalink.errors import FolderChangedError, FtpError, InstallError, ReleaseError, TransferError
from otalink.phase import call, network, run

_RETRY_DELAY_MAX = const(60)


async def failed(job, error):
    """Waits, and gives the steps from the next try on; or raises an error when there is to be none.

    `job.most` is the most that had been done (bytes) at an earlier failure of the stream; None: it is not on.
    """
    source, job.source = job.source, None
    try:
        if job.most is None or not isinstance(error, (TransferError, ReleaseError)):
            raise call("tls_errors.of_job", job, error) if isinstance(error, MemoryError) else error
        await _wait(job, error)
    except (ReleaseError, InstallError):
        await run("files begin.discard", job)
        raise
    except BaseException:
        if job.wanted is not None:
            await run("files install.tidy", job)
        raise
    job.source = source
    # What is here may be a part of a file that was replaced.
    return f"ftp_session ftp_login.begin; {job.look}; {job.stream}"


async def _wait(job, error):
    if isinstance(error, FolderChangedError):
        raise error
    is_wrong = isinstance(error, ReleaseError)
    if is_wrong or (isinstance(error, FtpError) and error.code >= 500):
        await run(job.look, job)
        if is_wrong:
            filename = job.release.versioned if job.wanted is None else job.wanted[job.at][1]
            raise ReleaseError(f"{error}: publish {filename} again")
        raise error
    # What came twice is no progress: a server may cut off every transfer at the same byte.
    job.failures = 0 if job.done > job.most else job.failures + 1
    job.most = max(job.most, job.done)
    if job.failures >= job.config.attempts:
        raise TransferError(f"{error}; given up until the next check", error.errno)
    delay = min(job.config.retry_delay * 2 ** max(0, job.failures - 1), _RETRY_DELAY_MAX)
    place = "where it was" if job.wanted is None else f"at byte {job.partial[1]}"
    job.say(f"{error}; going on {place} in {delay} s")
    await asyncio.sleep(delay)
    await network()
