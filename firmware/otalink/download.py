"""Brings the files of a release from the server to the flash, staged; goes on where it was cut off."""

from otalink.errors import ResumeError, TransferError
from otalink.ftp_session import FtpSession
from otalink.staging import StagedFile, report


async def download(job):
    """Stages `job.wanted` from index `job.at` on, by the session in `job.link`.

    After a TransferError it can be called again: what is whole is staged, and `job.partial` has what there is of the
    next file.
    """
    async with FtpSession(*job.config.server) as client:
        client.resume(job.link)
        job.most = job.most or 0
        try:
            report(job, 0)
            while job.at < len(job.wanted):
                await _bring(job, client, job.wanted[job.at])
            job.most = None
        finally:
            client.suspend(job.link)


async def _bring(job, client, file):
    # Fetches one file, behind the bytes that are here.
    def sink(view):
        target.write(view)
        size = len(view)
        job.received += size
        report(job, size)

    path, filename, digest, size, here = file[:5]
    # Where nothing says what the file must be, it is fetched to be compared, and not written if it is equal.
    target = StagedFile(path, f"{job.root}/{path}{job.suffix}" if here is None else None, *job.partial)
    job.partial = None, 0
    try:
        await client.retrieve(filename, job.buffer, sink, target.written, size)
        came = target.finish(size, digest)
    except ResumeError:
        report(job, -target.written)
        raise
    except TransferError:
        job.partial = target.partial()
        raise
    finally:
        target.close()
    if here is None or came == here:
        file[2] = came
        job.at += 1
        if here is None:
            job.staged.append(path)
        job.say(f"{path}: {target.written} bytes" if here is None else f"{path}: unchanged")
    else:
        file[4] = None
        job.total += target.written
