"""The sizes of files that the listing does not tell."""

from otalink.errors import FtpError, TransferError
from otalink.ftp_listing import FtpListing
from otalink.phase import call


async def ask(job):
    """Asks for the sizes of what is wanted where they are not known, and checks the space again."""
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
    call(
        "space.check_space",
        job.root + "/",
        [file[0] for file in job.release.files],
        [(file[0], file[3] or 0) for file in job.wanted],
    )
