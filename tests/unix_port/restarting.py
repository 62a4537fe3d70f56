"""Runs under MicroPython: what a restart does to a flash that is not mounted at `/`, by the real boot guard."""

import os
import sys

import vfs

from otalink import trial
from otalink.space import forget


class ResetError(BaseException):
    """The board restarts."""


class _Machine:
    PWRON_RESET = 1
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5

    def reset(self):
        raise ResetError

    def reset_cause(self):
        return self.PWRON_RESET


sys.modules["machine"] = _Machine()


class Folder:
    """A folder as a file system. (A VfsPosix with a root of its own cannot rename: one buffer for both names.)"""

    def __init__(self, path):
        self._path = path
        self._posix = vfs.VfsPosix()

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def rename(self, old, new):
        self._posix.rename(self._path + old, self._path + new)

    def __getattr__(self, name):
        method = getattr(self._posix, name)
        return lambda path, *arguments: method(self._path + path, *arguments)


def restart(system):
    """Boots with the file system `system` at `/`, until the application would run: by the boot guard that it holds."""
    vfs.umount("/")
    vfs.mount(system, "/")
    sys.path.insert(0, "/")
    try:
        while True:
            for name in ("otaguard", "otaswap"):
                sys.modules.pop(name, None)
            try:
                __import__("otaguard").boot()
                break
            except ResetError:
                pass
    finally:
        sys.path.pop(0)
        for _, path in vfs.mount():
            if path in ("/", "/main.py"):
                vfs.umount(path)
        vfs.mount(vfs.VfsPosix(), "/")
        os.chdir(os.getcwd())


class _Job:
    def __init__(self, root):
        self.root = root

    def say(self, *lines):
        pass


def settle(root):
    """Confirms the release on trial and gives up the way back, so that what is left can be compared whole."""
    trial.confirm(_Job(root))
    forget(root + "/")
