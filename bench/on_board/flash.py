"""A flash whose blocks are in a file of the host, so that they take nothing of the heap."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import vfs

BLOCK = 4096


class FileBlocks:
    """A block device (MicroPython's extended interface) on the file `path`."""

    def __init__(self, path):
        self._file = open(path, "r+b")  # noqa: SIM115
        self._count = self._file.seek(0, 2) // BLOCK

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(block * BLOCK + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        self._file.seek(block * BLOCK + offset)
        self._file.write(buffer)

    def ioctl(self, operation, argument):
        if operation == 4:
            return self._count
        if operation == 5:
            return BLOCK
        return 0


def make(path):
    """Puts an empty littlefs on the image."""
    vfs.VfsLfs2.mkfs(FileBlocks(path))


def mount(path, where, device=FileBlocks):
    """Mounts the image's littlefs, in the place of what `where` showed before if that is the root.

    Gives the block device, which `device` makes of the path.
    """
    blocks = device(path)
    if where == "/":
        vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(blocks), where)
    return blocks
