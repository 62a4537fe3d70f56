"""The download of a release, step by step: compare, log in, stream, look again, verify and record; see phase.go."""

import io

from otalink.phase import run

_LOG_IN = "ftp_session ftp_login.begin"


async def begin(job):
    """Gives the steps that stage what `job.release` has and the flash has not.

    After a ReleaseError or an InstallError nothing is left of it; otherwise what is whole stays staged, and of a
    release file what has come of the next file too.
    """
    job.is_ready = False
    job.staged = []
    job.source = job.wanted = job.most = None
    job.done = job.received = job.at = job.failures = 0
    job.partial = None, 0
    job.percent = -1
    await run("files ready.check_board", job.root + "/")
    if job.release.files is None:
        # A chunk (chunks.CHUNK bytes) has its place here.
        job.source = io.BytesIO(4096)
        job.look = "ftp_session header.refuse_change"
        job.stream = "ftp_session staging files unpack.download; files install differ.verify; fetch.end"
        return "files install differ.compare; files differ.check_space; fetch.log_in"
    job.look = "ftp_session ftp_listing fingerprint.refuse_change"
    job.stream = f"ftp_session staging download.download; {job.look}; files install.finish; fetch.end"
    return "files begin.begin_release; files install.compare; space.check; files install.record; fetch.log_in"


def log_in(job):
    """Gives the steps from the login on, once it is known what differs."""
    if job.wanted is None:
        # Of a release file, nothing needs to be asked for when nothing differs.
        return f"{_LOG_IN}; {job.stream}" if job.differ else "fetch.end"
    # The sizes that the listing did not tell.
    ask = "ftp_session ftp_listing listing.ask_sizes; space.check; " if None in [file[3] for file in job.wanted] else ""
    return f"{_LOG_IN}; {ask}{job.stream}"


def end(job):
    """All of it is there."""
    job.source = None
    if job.percent < 100:
        job.progress(job.total, job.total)
    job.is_ready = True
    job.say(f"downloaded {job.received} bytes: {job.differ} of {job.count} files differ")
