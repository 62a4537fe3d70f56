"""Runs the updater alone, until a release came: the boot guard imports it when the application does not start any more.

It prints what it does; Ctrl-C ends it. When it cannot do anything, main.py has its chance again (docs/update.md).
"""

import asyncio

from otalink.board import restart
from otalink.updater import Updater

# Seconds between checks, at the most.
_INTERVAL = 60


async def _recover(updater):
    pause = min(updater.config.interval, _INTERVAL)
    print(f"otalink: the application does not start: looking for a release every {pause} s; Ctrl-C ends this")
    # What is known against the application stays known: it has not started.
    updater._job.started = True
    while not await updater.update():
        await asyncio.sleep(pause)
    restart("reset")


_updater = Updater()
if _updater.config is not None:
    asyncio.run(_recover(_updater))
