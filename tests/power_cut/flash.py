"""A flash chip whose every mutating operation can be the last. Runs under MicroPython.

A run is recorded as the list of its operations. The content of the chip after a cut in operation n is then what it was
before, with the operations ahead of n and a part of n: whatever the board did afterwards, nobody would have seen.
"""

import random

import micropython

BLOCK = 4096
# How much of the operation in which the power goes is done: nothing; its first half; that, and junk behind it.
NOTHING, HALF, JUNK = range(3)
KINDS = ("nothing", "half", "junk")


class Flash:
    """The chip while it has power, over `image`, a bytearray. `record`, a list or None, takes (start, data).

    After `off` it takes and gives nothing: finalisers of a board that lost its power still call, with the heap locked.
    """

    block = BLOCK

    def __init__(self, image, record=None):
        self._image = image
        self._view = memoryview(image)
        self._record = record
        self._blocks = len(image) // self.block
        self._on = True
        self.writes = 0

    def off(self):
        self._on = False

    @micropython.native
    def readblocks(self, block, buf, offset=0):
        if not self._on:
            return 0
        start = block * self.block + offset
        buf[:] = self._view[start : start + len(buf)]
        return 0

    def writeblocks(self, block, buf, offset=0):
        if not self._on:
            return 0
        self._change(block * self.block + offset, bytes(buf))
        return 0

    def ioctl(self, operation, argument):
        if not self._on:
            return 0
        if operation == 4:
            return self._blocks
        if operation == 5:
            return self.block
        if operation == 6:
            self._change(argument * BLOCK, ERASED)
        return 0

    def _change(self, start, data):
        self.writes += 1
        if self._record is not None:
            self._record.append((start, data))
        self._image[start : start + len(data)] = data


class FatFlash(Flash):
    """The same for FAT, which takes sectors and never erases."""

    block = 512


ERASED = b"\xff" * BLOCK


def apply(image, operation):
    start, data = operation
    image[start : start + len(data)] = data


def tear(image, operation, kind):
    """Does to `image` what is left of `operation` when the power goes in it."""
    if kind == NOTHING:
        return
    start, data = operation
    half = len(data) // 2
    image[start : start + half] = data[:half]
    if kind == JUNK:
        rest = len(data) - half
        random.seed(start + rest)
        image[start + half : start + len(data)] = bytes([random.getrandbits(8) for _ in range(rest)])
