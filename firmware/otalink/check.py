"""The look on the server, step by step: log in, list, decide, read what the release has; see phase.go."""

from otalink.errors import ReleaseError
from otalink.journal import failed, state
from otalink.phase import run


def begin(job):
    """Gives the steps of a check. They leave in `job.found` the offer.Release that the policy wants installed, or None.

    Beside it the job has `installed`, the version that is installed, or None; `failed`, the release that the board went
    back from, as text, or None; whether a release is `on_trial`; and what offer.py and folder.py say.
    """
    root = job.root + "/"
    job.found = None
    job.failed = failed(root)
    job.on_trial = state(root) == "trial"
    return "ftp_session ftp_login.begin; ftp_session ftp_listing listing.listing; plain offer.decide"


async def give_up(job, error):
    """What comes after an error of one of these steps. Raises it."""
    job.found = job.listing = job.sums = job.told = None
    if job.link and isinstance(error, ReleaseError):
        await run("ftp_session ftp_listing listing.leave", job)
    raise error
