"""Prints the bytes of the heap that are free after so many `stages` of what an application does with otalink."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import gc
import json
import sys
import time

import power_on

# Milliseconds in which a link is connected.
CONNECT_MS = 5000


async def run():
    if wanted["stages"]:
        # By its name, so that mypy does not follow it to the board's modules.
        otalink = __import__("otalink")
        if wanted["stages"] > 1:
            updater = otalink.Updater(message=None)
        if wanted["stages"] > 2:
            await updater.update()
        if wanted["stages"] > 3:
            link = otalink.Link.from_config(message=None)
            otalink.Reporter(link, updater)
            task = asyncio.create_task(link.run())
            began = time.ticks_ms()
            while not link.connected.is_set():
                assert time.ticks_diff(time.ticks_ms(), began) < CONNECT_MS
                await asyncio.sleep_ms(10)
            await asyncio.sleep_ms(500)
            await updater.update()
    gc.collect()
    print(gc.mem_free())
    if wanted["stages"] > 3:
        await link.close(1)
        await task


def main():
    # What the image's /main.py calls, under the boot guard's eyes.
    asyncio.run(run())


wanted = json.loads(sys.stdin.readline())
power_on.mount(wanted["image"])
power_on.boot()
# On a board all this is firmware.
for name in ("power_on", "machine"):
    del sys.modules[name]
del power_on
execfile("/main.py", {"main": main})  # noqa: F821 - MicroPython has it
