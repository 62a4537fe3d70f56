"""The steps of a check and of a download, one after the other; see phase.go.

A check logs in, lists, decides, and reads what the release has; a download compares, logs in, streams, looks again,
verifies and records. `retry.py` goes back to the login when the stream breaks.
"""

import io

from otalink.errors import ReleaseError
from otalink.phase import call, run


def check(job):
    """Gives the steps of a check. They leave in `job.found` the offer.Release that the policy wants installed, or None.

    Beside it the job has `installed`, the version that is installed, or None; `failed`, the release that the board went
    back from, as text, or None; whether a release is `on_trial`; and what offer.py and folder.py say.
    """
    root = job.root + "/"
    job.found = None
    job.failed = call("journal.failed", root)
    job.on_trial = call("journal.state", root) == "trial"
    return "ftp_session ftp_login.begin; ftp_session ftp_listing listing.listing; plain offer.decide"


async def failed(job, error):
    """What comes after an error of one of these steps. Raises it."""
    job.found = job.listing = job.sums = job.told = None
    if job.link and isinstance(error, ReleaseError):
        await run("ftp_session ftp_listing listing.leave", job)
    raise call("tls_errors.of_job", job, error) if isinstance(error, MemoryError) else error


def download(job):
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
    if job.release.files is None:
        # A chunk (chunks.CHUNK bytes) has its place here.
        job.source = io.BytesIO(4096)
        job.look = "ftp_session header.refuse_change"
        job.stream = "ftp_session staging files unpack.download; files install differ.verify; steps.finish"
        return "files install differ.compare; files differ.check_space; steps.log_in"
    job.look = "ftp_session ftp_listing fingerprint.refuse_change"
    job.stream = f"ftp_session staging download.download; {job.look}; files install.finish; steps.finish"
    return "files begin.begin_release; files install.compare; space.check; files install.record; steps.log_in"


def log_in(job):
    """Gives the steps from the login on, once it is known what differs."""
    if job.wanted is None and not job.differ:
        # Of a release file, nothing needs to be asked for.
        return "steps.finish"
    steps = "ftp_session ftp_login.begin; "
    if job.wanted is not None and None in [file[3] for file in job.wanted]:
        # The sizes that the listing did not tell.
        steps += "ftp_session ftp_listing listing.ask_sizes; space.check; "
    return steps + job.stream


def finish(job):
    """All of it is there."""
    job.source = None
    if job.percent < 100:
        job.percent = 100
        if job.progress is not None:
            job.progress(job.total, job.total)
    job.is_ready = True
    job.say(f"downloaded {job.received} bytes: {job.differ} of {job.count} files differ")
