"""How fast bytes may go. It knows no sockets."""

import time
from collections.abc import Callable

# What a pause has saved up may be spent at once, but no more than so many seconds' worth.
BURST = 0.25
# Bytes that are moved at once under a limit: few, so that many connections that share one do not wait long for theirs.
CHUNK_MIN, CHUNK_MAX = 4096, 65536


class Throttle:
    """Lets `rate` bytes a second through, on average. Several connections may share one: each then waits its turn."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._free_at = clock()

    def take(self, size: int) -> float:
        """`size` bytes went through: how many seconds to wait before the next."""
        now = self._clock()
        self._free_at = max(self._free_at, now - BURST) + size / self.rate
        return max(0.0, self._free_at - now)

    def chunk(self) -> int:
        """How many bytes to move at once."""
        return min(max(self.rate // 256, CHUNK_MIN), CHUNK_MAX)
