"""The download of a release, phase by phase: compare, log in, stream, look again, verify and record."""

import io

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
        await (_fetch_file(job) if job.release.files is None else _fetch_folder(job))
    except (ReleaseError, InstallError):
        await run("files begin.discard", job)
        raise
    except BaseException:
        if job.wanted is not None:
            await run("files install prepare.tidy", job)
        raise
    finally:
        job.source = None
    if job.percent < 100:
        job.progress(job.total, job.total)
    job.is_ready = True
    job.say(f"downloaded {job.received} bytes: {job.differ} of {job.count} files differ")


async def _fetch_file(job):
    # A chunk (chunks.CHUNK bytes) has its place here, taken before the heap is in small pieces.
    job.source = io.BytesIO(4096)
    await run("files install differ.compare", job)
    await run("files differ.check_space", job)
    if job.differ:
        await run("ftp_session ftp_login.begin", job)
        await _download(job, "ftp_session header.refuse_change", "ftp_session staging files unpack.download")
    await run("files install differ.verify", job)


async def _fetch_folder(job):
    await run("files begin.begin_release", job)
    await run("files install prepare.compare", job)
    await run("space.check", job)
    await run("files install prepare.record", job)
    await run("ftp_session ftp_login.begin", job)
    if any(file[3] is None for file in job.wanted):
        await run("ftp_session ftp_listing listing.ask_sizes", job)
        await run("space.check", job)
    job.total = sum(file[3] or file[5] or 0 for file in job.wanted)
    await _download(job, "ftp_session ftp_listing fingerprint.refuse_change", "ftp_session staging download.download")
    await run("ftp_session ftp_listing fingerprint.refuse_change", job, False)
    await run("files install prepare.finish", job)
    job.differ, job.count = len(job.staged), len(job.release.files)


async def _download(job, look, download):
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
