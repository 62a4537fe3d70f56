"""The look on the server, phase by phase: log in, list, decide, read what the release has."""

from otalink.phase import run


async def check(job, installed):
    """The offer.Release that the policy wants installed, or None. Raises OtaError."""
    failed = await run("journal.failed", job.root + "/")
    await run("ftp_session ftp_login.begin", job)
    listing = await run("ftp_session ftp_listing listing.listing", job)
    release = None
    try:
        found, messages = await run("plain offer.decide", job.config, installed, listing)
        if found is not None and found.label == failed:
            messages[-1] = f"the board went back from {failed}: not tried again until another is offered"
        else:
            release = found
    finally:
        if release is None:
            await run("ftp_session ftp_listing listing.leave", job)
    job.say(*messages)
    if release is None:
        return None
    if release.files is None:
        await run("ftp_session staging header.bring", job, release)
        await run("release signature admit.admit", job, release)
    else:
        sums, told, release.mark = await run("ftp_session folder.read", job, listing, release)
        job.say(*await run("plain offer.place", release, listing, sums, told))
    return release
