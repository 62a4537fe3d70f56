"""The download of a release, phase by phase: compare, log in, stream, look again, verify and record."""

from otalink.errors import InstallError, ReleaseError, TransferError
from otalink.phase import run


async def fetch(job):
    """Stages what `job.release` has and the flash has not.

    After a ReleaseError or an InstallError nothing is left of it; otherwise what is whole stays staged.
    """
    release = job.release
    job.is_ready = False
    job.staged = []
    job.wanted = None
    job.done = job.received = job.at = job.failures = 0
    job.partial = None, 0
    job.percent = -1
    try:
        await run("release files begin.begin_release", job)
        job.wanted = await run("files install prepare.compare", job)
        await run("space.check", job)
        await run("files install prepare.record", job)
        await run("ftp_session ftp_login.begin", job)
        if any(file[3] is None for file in job.wanted):
            await run("ftp_session ftp_listing sizes.ask", job)
            await run("space.check", job)
        job.total = sum(file[3] or file[5] or 0 for file in job.wanted)
        await _download(job)
        await run("ftp_session ftp_listing look.refuse_change", job, False)
        await run("files install prepare.finish", job)
    except (ReleaseError, InstallError):
        await run("release files begin.discard", job)
        raise
    except BaseException:
        if job.wanted is not None:
            await run("files install prepare.tidy", job)
        raise
    if job.percent < 100:
        job.progress(job.total, job.total)
    job.is_ready = True
    job.say(f"downloaded {job.received} bytes: {len(job.staged)} of {len(release.files)} files differ")


async def _download(job):
    error = None
    while True:
        received = job.received
        try:
            if error is not None:
                await run("ftp_session ftp_login.begin", job)
                # What is here may be a part of a file that was replaced.
                await run("ftp_session ftp_listing look.refuse_change", job)
            return await run("ftp_session staging download.download", job)
        except (TransferError, ReleaseError) as failure:
            error = failure
        await run("retry.wait", job, error, job.received > received)
