"""Brings the files of a release from the server to the flash, staged; goes on where it was cut off."""

from otalink.errors import ReleaseError, TransferError
from otalink.ftp_session import FtpSession
from otalink.phase import run
from otalink.staging import StagedFile


async def download(job):
    """Stages `job.wanted` by the session in `job.link`. After a TransferError what is whole stays staged."""
    async with FtpSession(*job.config.server) as client:
        client.resume(job.link)
        report(job, 0)
        for file in job.wanted:
            path, here = file[0], file[4]
            if here is not None:
                # Nothing says what the file must be: it is fetched to be compared, and not written if it is equal.
                came, size = await _bring(job, client, file, None)
                if came == here:
                    file[2] = here
                    job.say(f"{path}: unchanged")
                    continue
                job.total += size
            file[2], size = await _bring(job, client, file, job.staged)
            job.say(f"{path}: {size} bytes")
        client.suspend(job.link)


async def _bring(job, client, file, staged):
    # Fetches one file; a broken connection goes on behind the bytes that are here. Gives its SHA-256 and its size.
    def sink(view):
        target.write(view)
        size = len(view)
        job.received += size
        report(job, size)

    path, filename, digest, size = file[:4]
    target = StagedFile(path, f"{job.root}/{path}{job.suffix}", staged)
    failures = None
    try:
        while True:
            before = target.written
            try:
                if failures is not None:
                    # What is here may be a part of a file that was replaced.
                    await run("retry.refuse_change", job, client)
                await client.retrieve(filename, job.buffer, sink, before, size)
                return target.finish(size, digest), target.written
            except TransferError as error:
                failures = await run("retry.wait", job, client, target, error, before, failures or 0)
    except ReleaseError as error:
        await run("retry.refuse_change", job, client)
        raise ReleaseError(f"{error}: publish {filename} again")
    finally:
        target.close()


def report(job, size):
    """Counts `size` more bytes, and says so at each new percent."""
    job.done += size
    total = job.total
    percent = min(100, 100 * job.done // total) if total else -1
    if percent > job.percent:
        job.percent = percent
        job.progress(min(job.done, total), total)
