"""Prints the SHA-256 of the files on an image, but for otalink's own and those that are kept for a way back."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import hashlib
import json
import os
import sys
from binascii import hexlify

import flash

# What `otalink flash` has put there.
OWN = ("/lib", "/.otalink", "/otalink.json", "/boot.py", "/otaguard.py", "/otaswap.py", "/main.py")
found = {}


def walk(folder):
    for name, kind, *_ in os.ilistdir("/flash" + folder):
        path = folder + "/" + name
        if path in OWN or path.endswith(".ota-old"):
            continue
        if kind == 0x4000:
            walk(path)
            continue
        with open("/flash" + path, "rb") as file:
            found[path[1:]] = hexlify(hashlib.sha256(file.read()).digest()).decode()


flash.mount(json.loads(sys.stdin.readline())["image"], "/flash")
walk("")
print(json.dumps(found))
