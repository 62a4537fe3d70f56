"""Lies on the board as /os.py: after so many renames of the boot guard's swap it resets the board, once.

MicroPython imports it in the place of its own module os, which is uos, too. A reset in the middle of a swap can be made
by no host: nothing that it could talk to runs at that time.
"""

import uos
from uos import *  # noqa: F403

_LEFT = [3]


def rename(old, new):
    uos.rename(old, new)
    # The guard's alone, and only from the begin of the swap on.
    if new == "/.otalink/swapping":
        _LEFT.append(1)
    elif len(_LEFT) > 1:
        _LEFT[0] -= 1
        if not _LEFT[0]:
            uos.remove("/os.py")
            __import__("machine").reset()
