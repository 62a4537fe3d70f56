"""The last step of an update, the start delay, the commit and the restart; and the way back."""

from otalink import updater
from otalink.board import check_restart
from otalink.phase import call, run


async def apply(job, restart):
    """Commits the release that was downloaded and restarts the board. ValueError when nothing was downloaded.

    `restart` is "reset", "soft" or "none"; None takes the configured one. Raises InstallError, ReleaseError.
    """
    restart = restart or job.config.restart
    check_restart(restart)
    if not job.is_ready:
        raise ValueError("nothing to apply: download a release first")
    label = job.release.label
    if job.config.start_delay:
        job.say(f"applying {label} in {job.config.start_delay} s")
        await updater._sleep(job.config.start_delay)
    job.is_ready = False
    # What is staged says it all from here on.
    job.release = job.staged = job.wanted = None
    root = job.root + "/"
    await run("files begin.check", root)
    await run("files commit.commit", root, job.config.trial_deadline, job.say)
    _restart(job, restart, f"{label} is committed")


async def rollback(job, restart):
    """Goes back to the release before the confirmed one. `restart` is as above. Raises InstallError."""
    restart = restart or job.config.restart
    check_restart(restart)
    _restart(job, restart, await run("trial.rollback", job))


def _restart(job, restart, line):
    if restart == "none":
        job.say(f"{line}: it takes effect when the board restarts")
        return
    job.say(f"{line}; restarting")
    try:
        call("board.restart", restart)
    except (AttributeError, ImportError):
        job.say(f"this board cannot restart by {restart}: restart it by hand")
