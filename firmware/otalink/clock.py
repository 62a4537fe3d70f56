"""Whether the clock has been set, without which TLS refuses every certificate; and has it set. Loaded for TLS alone."""

import time

from micropython import const

from otalink import phase

# The year of this release: a clock before it has not been set. It begins in 1970 or in 2000.
_YEAR = const(2026)


async def ensure(host, timeout):
    """True when the clock is set, which the SNTP server `host` is asked to do for, if it is not; None: nobody is asked.

    `timeout` is in seconds. Raises what board_clock.set_clock does.
    """
    if not _is_set() and host is not None:
        set_clock = __import__("otalink.board_clock", None, None, ("set_clock",)).set_clock
        try:
            await set_clock(host, timeout)
        finally:
            set_clock = None
            phase.forget("otalink.board_clock")
    return _is_set()


def _is_set():
    return time.localtime()[0] >= _YEAR
