"""One update on a flash that is the whole file system, from power-on: otalink is imported from there, as on a board."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import gc
import json
import sys

import power_on


def in_use():
    gc.collect()
    return gc.mem_alloc()


def main():
    # What the image's /main.py calls, under the boot guard's eyes.
    at_start = in_use()
    # By its name, so that mypy does not follow it to the board's modules.
    updater = __import__("otalink").Updater(message=None)
    applied = asyncio.run(updater.update())
    found.update({"applied": applied, "messages": updater.messages, "start": at_start, "after": in_use()})


found = {}
power_on.mount(json.loads(sys.stdin.readline())["image"])
found["before"] = in_use()
power_on.boot()
# On a board all this is firmware.
for name in ("power_on", "machine"):
    del sys.modules[name]
del power_on
execfile("/main.py", {"main": main})  # noqa: F821 - MicroPython has it
print(json.dumps(found))
