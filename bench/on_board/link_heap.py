"""What a Link takes of the heap: imported, made, and while frames of 1,500 characters go to an echo and come back.

With `count` it says at the end how many came back, alone: that shows in which heap it works.
"""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import gc
import json
import sys

wanted = json.loads(sys.stdin.readline())
LENGTH = wanted["length"]


def in_use():
    gc.collect()
    return gc.mem_alloc()


async def exchange(link, count):
    text = "x" * LENGTH
    came = 0
    for _ in range(count):
        await link.send(text)
        came += await link.receive() == text
    return came


async def main():
    found = {"before": in_use()}
    # By its name, so that mypy does not follow it to the board's modules.
    module = __import__("otalink.link", None, None, ("Link",))
    found["imported"] = in_use()
    link = module.Link("127.0.0.1", wanted["port"], limit=LENGTH, message=None, **wanted["options"])
    found["made"] = in_use()
    task = asyncio.create_task(link.run())
    found["came"] = await exchange(link, 5)
    found["running"] = in_use()
    if wanted["paced"]:
        # Nothing is collected, so that everything counts that is allocated.
        gc.disable()
        at_first = gc.mem_alloc()
        await exchange(link, wanted["count"])
        found["allocated"] = (gc.mem_alloc() - at_first) // wanted["count"]
        gc.enable()
    else:
        found["came"] += await exchange(link, wanted["count"])
    await link.close()
    await task
    print(json.dumps(found))


asyncio.run(main())
