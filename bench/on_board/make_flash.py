"""Makes a littlefs on an image and copies a folder of the host to it."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import json
import os
import sys

import flash


def copy(source, target):
    for name, kind, _, *_ in os.ilistdir(source):
        if kind == 0x4000:
            os.mkdir(target + "/" + name)
            copy(source + "/" + name, target + "/" + name)
        else:
            with open(source + "/" + name, "rb") as file, open(target + "/" + name, "wb") as copied:
                copied.write(file.read())


wanted = json.loads(sys.stdin.readline())
flash.make(wanted["image"])
flash.mount(wanted["image"], "/flash")
copy(wanted["source"], "/flash")
print("{}")
