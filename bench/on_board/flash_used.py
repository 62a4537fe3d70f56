"""How many blocks of an image's littlefs are in use."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import json
import os
import sys

import flash

flash.mount(json.loads(sys.stdin.readline())["image"], "/flash")
found = os.statvfs("/flash")
print(json.dumps(found[2] - found[3]))
