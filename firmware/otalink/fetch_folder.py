"""The phases in which a plain folder is downloaded: compare, record, log in, stream, look again, verify and record."""

from otalink.fetch import attempts
from otalink.phase import run

_LOOK = "ftp_session ftp_listing fingerprint.refuse_change"


async def fetch(job):
    """Stages what differs of `job.release`."""
    await run("files begin.begin_release", job)
    await run("files install prepare.compare", job)
    await run("space.check", job)
    await run("files install prepare.record", job)
    await run("ftp_session ftp_login.begin", job)
    if any(file[3] is None for file in job.wanted):
        await run("ftp_session ftp_listing listing.ask_sizes", job)
        await run("space.check", job)
    job.total = sum(file[3] or file[5] or 0 for file in job.wanted)
    await attempts(job, _LOOK, "ftp_session staging download.download")
    await run(_LOOK, job, False)
    await run("files install prepare.finish", job)
    job.differ, job.count = len(job.staged), len(job.release.files)
