"""The look on the server, phase by phase: log in, list, decide, read what the release has."""

from otalink.phase import run


async def check(job, installed):
    """The offer.Release that the policy wants installed, or None. Raises OtaError.

    While a release is on trial the listing is all that is read of it: it cannot be downloaded yet.
    """
    root = job.root + "/"
    failed = await run("journal.failed", root)
    on_trial = await run("journal.state", root) == "trial"
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
        if release is None or on_trial:
            await run("ftp_session ftp_listing listing.leave", job)
    job.say(*messages)
    # What is half published must not keep the release on trial from being confirmed.
    if release is None or on_trial:
        return release
    if release.files is None:
        await run("ftp_session staging header.bring", job, release)
        await run("release signature admit.admit", job, release)
    else:
        sums, told, release.mark = await run("ftp_session folder.read", job, listing, release)
        job.say(*await run("plain offer.place", release, listing, sums, told))
    return release
