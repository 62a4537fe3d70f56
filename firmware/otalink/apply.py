"""The last step of an update: the start delay, the commit, the restart."""

from otalink import updater
from otalink.board import check_restart
from otalink.phase import run


async def apply(job, restart):
    """Puts the release that was downloaded in place and restarts the board.

    None, or why there can be no other update before a restart. Raises InstallError; ValueError when nothing was
    downloaded.
    """
    check_restart(restart)
    if not job.is_ready:
        raise ValueError("nothing to apply: download a release first")
    release = job.release
    if job.config.start_delay:
        job.say(f"applying {release.label} in {job.config.start_delay} s")
        await updater._sleep(job.config.start_delay)
    job.is_ready = False
    if await run("release install commit.commit", job, release, restart):
        # Phases of the new one must not meet the old updater.
        return "otalink itself was updated: restart the board"
    return None
