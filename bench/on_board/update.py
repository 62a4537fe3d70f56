"""One update on a flash that is the whole file system: otalink itself is imported from there, as on a board."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import json
import sys

import flash


def run(image):
    flash.mount(image, "/")
    sys.path[:] = ["/lib", ".frozen"]
    # By its name, so that mypy does not follow it to the board's modules.
    updater = __import__("otalink").Updater(message=None)
    return {"applied": asyncio.run(updater.update()), "messages": updater.messages}


print(json.dumps(run(json.loads(sys.argv[1])["image"])))
