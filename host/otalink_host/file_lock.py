"""A lock on an open file, on every system: it keeps a second process out of what the file stands for."""

import sys
from typing import IO


def lock(file: IO[bytes]) -> bool:
    """Locks `file` until it is closed; False when somebody else has locked it. It does not wait.

    The system gives the lock back when this process ends, killed or not.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
