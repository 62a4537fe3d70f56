"""The sizes of files that the listing does not tell."""

from otalink.errors import FtpError, TransferError
from otalink.ftp_listing import FtpListing


async def ask(job):
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
