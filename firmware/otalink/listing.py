"""A plain folder's listing, as it comes; `offer.py` makes sense of it.

In the list `job.link` a session goes from phase to phase, see `FtpSession.suspend`.
"""

from otalink.errors import FtpError, TransferError
from otalink.ftp_listing import FtpListing


async def listing(job):
    """Lists the folder. `job.listing` is (command, lines): those of MLSD, or of NLST where there is no MLSD."""
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)
        try:
            job.listing = "MLSD", await client.rows("MLSD")
        except FtpError as error:
            if not 500 <= error.code <= 504:
                raise
            job.listing = "NLST", await client.rows("NLST")
        client.suspend(job.link)


async def leave(job):
    """Says goodbye."""
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)


async def ask_sizes(job):
    """Asks the server for the sizes of what is wanted, where they are not known."""
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)
        for file in job.wanted:
            if file[3] is None:
                try:
                    file[3] = await client.size(file[1])
                except FtpError as error:
                    if error.code != 550:
                        raise
                    raise TransferError(f"{file[1]} belongs to the release and is not on the server: publish it again")
        client.suspend(job.link)
