"""The look on the server: is there a release that this board wants, and which files does it have?"""

from otalink.ftp import FtpClient
from otalink.phase import call, run


async def check(config, installed, buffer, say):
    """The offer.Release that the policy wants installed, or None. Raises OtaError."""
    async with FtpClient(
        config.host, config.port, config.user, config.password, config.timeout, config.stall
    ) as client:
        await client.cwd(config.folder)
        listing = await run("fingerprint.rows_of", client)
        release, messages = call("offer.decide", config, installed, listing)
        for line in messages:
            say(line)
        if release is None:
            return None
        files, release.fingerprint = await run(
            "folder.read", client, release.name, release.versioned, listing, buffer, say
        )
    call("offer.place", release, files)
    return release
