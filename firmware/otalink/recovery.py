"""Runs the updater alone, until a release came: the boot guard imports it when the application does not start any more.

It prints what it does; Ctrl-C ends it. When it cannot do anything, main.py has its chance again (docs/update.md).
"""

import asyncio

from otalink.board import join, restart
from otalink.updater import Updater

# Seconds between checks, at the most.
_INTERVAL = 60


async def _recover(updater):
    pause = min(updater.config.interval, _INTERVAL)
    print(f"otalink: the application does not start: looking for a release every {pause} s; Ctrl-C ends this")
    # What is known against the application stays known: it has not started.
    updater._job.started = True
    while True:
        # Each time: the application, which would join it again, does not run.
        await _join(updater.config.wifi)
        if await updater.update():
            break
        await asyncio.sleep(pause)
    restart("reset")


async def _join(wifi):
    if wifi is not None:
        try:
            if not await join(wifi):
                print(
                    f"otalink: the Wi-Fi network {wifi['ssid']} cannot be joined: is it there, is its password right?"
                )
        except (ImportError, OSError) as error:
            print(f"otalink: no Wi-Fi here: {error}")


_updater = Updater()
if _updater.config is not None:
    asyncio.run(_recover(_updater))
