"""Another look at a folder: is it still what it was?"""

from otalink.errors import FolderChangedError
from otalink.fingerprint import fingerprint
from otalink.ftp_listing import FtpListing


async def refuse_change(job, stay=True):
    """Raises FolderChangedError when the folder is not what it was at first. Says goodbye unless it is to `stay`."""
    async with FtpListing(*job.config.server) as client:
        client.resume(job.link)
        try:
            mark, _ = await fingerprint(client, job, None, job.release.versioned)
            if mark != job.release.mark:
                stay = False
                raise FolderChangedError("the folder on the server changed during the download")
        finally:
            if stay:
                client.suspend(job.link)
