"""The download of a release, phase by phase; `fetch_file.py` and `fetch_folder.py` have the phases."""

from otalink.errors import InstallError, ReleaseError, TransferError
from otalink.phase import run


async def fetch(job):
    """Stages what `job.release` has and the flash has not.

    After a ReleaseError or an InstallError nothing is left of it; otherwise what is whole stays staged, and of a
    release file what has come of the next file too.
    """
    job.is_ready = False
    job.staged = []
    job.source = None
    job.wanted = None
    job.done = job.received = job.at = job.failures = 0
    job.partial = None, 0
    job.percent = -1
    try:
        await run("files ready.check_board", job.root + "/")
        await run("fetch_file.fetch" if job.release.files is None else "fetch_folder.fetch", job)
    except (ReleaseError, InstallError):
        await run("files begin.discard", job)
        raise
    except BaseException:
        if job.wanted is not None:
            await run("files install prepare.tidy", job)
        raise
    job.source = None
    if job.percent < 100:
        job.progress(job.total, job.total)
    job.is_ready = True
    job.say(f"downloaded {job.received} bytes: {job.differ} of {job.count} files differ")


async def attempts(job, look, download):
    """Awaits the phase `download` until it comes through. `look` raises FolderChangedError when the release changed."""
    error = None
    most = job.done
    while True:
        try:
            if error is not None:
                await run("ftp_session ftp_login.begin", job)
                # What is here may be a part of a file that was replaced.
                await run(look, job)
            return await run(download, job)
        except (TransferError, ReleaseError) as failure:
            error = failure
        # What came twice is no progress: a server may cut off every transfer at the same byte.
        await run("retry.wait", job, error, job.done > most, look)
        most = max(most, job.done)


def report(job, size):
    """Counts `size` more bytes, and says so at each new percent."""
    job.done += size
    total = job.total
    percent = min(100, 100 * job.done // total) if total else -1
    if percent > job.percent:
        job.percent = percent
        job.progress(min(job.done, total), total)
