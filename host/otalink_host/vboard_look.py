"""Prints as JSON what lies on the flash of a virtual board that is off: SHA-256 by path. Runs under MicroPython.

Arguments: the file that is the flash, the size of its blocks in bytes; then "names", when no SHA-256 is wanted. It
writes nothing.
"""

# mypy: ignore-errors

import hashlib
import json
import os
import sys
from binascii import hexlify

import vfs


class Flash:
    def __init__(self, path, block):
        self._file = open(path, "rb")  # noqa: SIM115 - it stays open until the end
        self._block = block
        self._blocks = os.stat(path)[6] // block

    def readblocks(self, number, buffer, offset=0):
        self._file.seek(number * self._block + offset)
        self._file.readinto(buffer)

    def writeblocks(self, number, buffer, offset=0):
        raise OSError(30)

    def ioctl(self, operation, argument):
        return {4: self._blocks, 5: self._block}.get(operation, 0)


def walk(folder):
    for name, kind, *_ in os.ilistdir("/flash" + folder):
        path = folder + "/" + name
        if kind == 0x4000:
            walk(path)
            continue
        found[path] = "" if "names" in sys.argv else digest("/flash" + path)


def digest(path):
    with open(path, "rb") as file:
        return hexlify(hashlib.sha256(file.read()).digest()).decode()


found = {}
vfs.mount(Flash(sys.argv[1], int(sys.argv[2])), "/flash")
walk("")
print(json.dumps(found))
