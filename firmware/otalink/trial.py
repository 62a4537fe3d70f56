"""A release on trial, and what the updater and an application do about it: wait, confirm, go back (docs/update.md)."""

import random
from time import ticks_diff, ticks_ms

from micropython import const

from otalink.errors import InstallError
from otalink.files import remove
from otalink.journal import become, check_idle, plan_name, release_of, state
from otalink.layout import STATE_FOLDER

# Seconds between tries to reach the server, at the most, once all else speaks for the release.
_INTERVAL = const(60)


def pause(job):
    """The seconds until the updater has something to do."""
    config = job.config
    left = _left(job)
    if left is None:
        found = random.random() * config.jitter + (config.interval if job.checked else 0)
    else:
        found = left or (min(config.interval, _INTERVAL) if job.checked else 0)
    job.checked = True
    return found


def begin(job):
    """What a check has to know first: the seconds that the release on trial has to run yet; None when there is none.

    Raises InstallError while an update waits for a restart.
    """
    left = _left(job)
    root = job.root + "/"
    if left is None:
        check_idle(root)
    elif left:
        release = release_of(root, plan_name(root))
        job.say(f"{release} is confirmed when it has run for {job.config.confirm_after} s")
    return left


def _left(job):
    root = job.root + "/"
    plan = plan_name(root)
    trial = plan is not None and plan.startswith("trial")
    if not job.started:
        # The application has come so far that it can be updated: no evidence against it counts any more.
        job.started = True
        _started(root)
        if trial:
            job.say(release_of(root, plan) + " is on trial")
    if not trial:
        return None
    if job.began is not None:
        left = job.config.confirm_after - ticks_diff(ticks_ms(), job.began) / 1000
        if left > 0:
            return left
        job.began = None  # the clock wraps around
    return 0


def confirm(job):
    """Keeps the release that is on trial. True when there was a trial. Raises InstallError."""
    root = job.root + "/"
    plan = plan_name(root)
    _started(root)
    if state(root) != "trial":
        return False
    become(root, plan, "confirmed")
    job.say(release_of(root, "confirmed") + " is confirmed")
    return True


def rollback(job):
    """Goes back to the release before the confirmed one when the board restarts. Gives what to say. Raises InstallError
    when there is none."""
    root = job.root + "/"
    if state(root) != "confirmed":
        raise InstallError("there is no release to go back to")
    become(root, "confirmed", "reverting")
    return "going back from " + release_of(root, "reverting")


def _started(root):
    for name in ("crash", "crash-1", "crash-2", "crash-3"):
        remove(root, f"{STATE_FOLDER}/{name}")
