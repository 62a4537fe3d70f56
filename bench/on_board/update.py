"""One update on a flash that is the whole file system: otalink itself is imported from there, as on a board."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import gc
import json
import sys

import flash


def in_use():
    gc.collect()
    return gc.mem_alloc()


def run(image):
    flash.mount(image, "/")
    sys.path[:] = ["/lib", ".frozen"]
    before = in_use()
    # By its name, so that mypy does not follow it to the board's modules.
    updater = __import__("otalink").Updater(message=None)
    applied = asyncio.run(updater.update())
    return {"applied": applied, "messages": updater.messages, "before": before, "after": in_use()}


print(json.dumps(run(json.loads(sys.stdin.readline())["image"])))
