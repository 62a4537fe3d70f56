"""What a whole update writes to the flash, and what it takes of it: the download with the commit, and the restart."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import json
import os
import sys

import flash
import power_on
import vfs

_ERASE = 6


class CountingBlocks(flash.FileBlocks):
    """A block device that counts what is written to it, and how many of its blocks are erased."""

    def __init__(self, path):
        super().__init__(path)
        self.written = self.erased = 0

    def writeblocks(self, block, buffer, offset=0):
        self.written += len(buffer)
        super().writeblocks(block, buffer, offset)

    def ioctl(self, operation, argument):
        if operation == _ERASE:
            self.erased += 1
        return super().ioctl(operation, argument)

    def take(self):
        """Bytes written and blocks erased since the last call, and the blocks that are free now."""
        found = self.written, self.erased, os.statvfs("/")[3]
        self.written = self.erased = 0
        return found


blocks = power_on.mount(json.loads(sys.stdin.readline())["image"], CountingBlocks)
power_on.boot()
vfs.umount("/main.py")  # as when the firmware opens it
at_start = blocks.take()
# By its name, so that mypy does not follow it to the board's modules.
updater = __import__("otalink").Updater(message=None)
applied = asyncio.run(updater.update())
updated = blocks.take()
power_on.boot()
os.rename("/.otalink/trial-1", "/.otalink/confirmed")
restarted = blocks.take()
print(
    json.dumps(
        {
            "applied": applied,
            "messages": updater.messages,
            "start": at_start,
            "update": updated,
            "restart": restarted,
        }
    )
)
