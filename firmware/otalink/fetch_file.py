"""The phases in which a release file is downloaded: compare, log in, stream, verify."""

import io

from otalink.fetch import attempts
from otalink.phase import run


async def fetch(job):
    """Stages what differs of `job.release`."""
    # A compressed chunk has its place here, taken before the heap is in small pieces.
    job.source = io.BytesIO(4096)
    await run("files install differ.compare", job)
    await run("files differ.check_space", job)
    if job.differ:
        await run("ftp_session ftp_login.begin", job)
        await attempts(job, "ftp_session header.refuse_change", "ftp_session staging files unpack.download")
    await run("files install differ.verify", job)
