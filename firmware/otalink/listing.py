"""A plain folder's listing, as it comes; `offer.py` makes sense of it.

In the list `job.link` a session goes from phase to phase, see `FtpSession.suspend`.
"""

from otalink.errors import FtpError
from otalink.ftp_listing import FtpListing


async def listing(job):
    """Lists the folder: gives (command, lines), those of MLSD, or of NLST where there is no MLSD."""
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)
        try:
            found = "MLSD", await client.rows("MLSD")
        except FtpError as error:
            if not 500 <= error.code <= 504:
                raise
            found = "NLST", await client.rows("NLST")
        client.suspend(job.link)
        return found


async def leave(job):
    """Says goodbye."""
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)
