"""Runs the updater alone, until a release came: the boot guard imports it when the application does not start any more.

It prints what it does; Ctrl-C ends it. When it cannot do anything, main.py has its chance again (docs/update.md).
"""

import asyncio

from otalink.board_reset import restart
from otalink.phase import network
from otalink.updater import Updater

# Seconds between checks, at the most.
_INTERVAL = 60
# Seconds between two feedings of a watchdog.
_FEED = 1


async def _recover(updater):
    pause = min(updater.config.interval, _INTERVAL)
    print(f"otalink: the application does not start: looking for a release every {pause} s; Ctrl-C ends this")
    # What is known against the application stays known: it has not started.
    updater._job.started = True
    # The application, which would feed it, does not run.
    feeding = asyncio.create_task(_feed(updater))
    while True:
        await network()
        if await updater.update():
            break
        await asyncio.sleep(pause)
    feeding.cancel()
    restart("reset")


async def _feed(updater):
    while True:
        updater.feed()
        await asyncio.sleep(_FEED)


_updater = Updater()
if _updater.config is not None:
    asyncio.run(_recover(_updater))
