"""The last step of an update, the start delay, the commit and the restart; and the way back."""

from otalink import updater
from otalink.phase import call, run


async def apply(job, restart, leave):
    """Commits the release that was downloaded and restarts the board. ValueError when nothing was downloaded.

    `restart` is "reset", "soft" or "none"; None takes the configured one. `leave` is None, or a coroutine function that
    is awaited ahead of the restart. Raises InstallError, ReleaseError.
    """
    restart = _check(job, restart)
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
    await _restart(job, restart, leave, f"{label} is committed")


async def rollback(job, restart, leave):
    """Goes back to the release before the confirmed one. The arguments are as above. Raises InstallError."""
    restart = _check(job, restart)
    await _restart(job, restart, leave, await run("trial.rollback", job))


def _check(job, restart):
    if restart is None:
        return job.config.restart
    call("config.check_restart", restart)
    return restart


async def _restart(job, restart, leave, line):
    if restart == "none":
        job.say(f"{line}: it takes effect when the board restarts")
        return
    job.say(f"{line}; restarting")
    try:
        restart = call("board_reset.find_restart", restart)
    except (AttributeError, ImportError):
        job.say(f"this board cannot restart by {restart}: restart it by hand")
        return
    if leave is not None:
        try:
            await leave()
        except Exception:  # whatever it is, the release is committed
            pass
    restart()
