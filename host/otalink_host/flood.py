"""Keeps those who are refused again and again from filling the disk with records: pure, the caller tells the time.

Of each source `most` events in `seconds` pass; the others are counted, and told as one number when the time is over.
"""

from collections import OrderedDict
from dataclasses import dataclass

MOST = 30
SECONDS = 60.0
SOURCES = 10_000


@dataclass
class _Window:
    """Since when events are counted, and how many passed and did not."""

    begun: float
    passed: int = 0
    left_out: int = 0


class Flood:
    """Remembers sources. Every `now` is in seconds, from any one start, and never runs backwards."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS, sources: int = SOURCES) -> None:
        self._most = most
        self._seconds = seconds
        self._sources = sources
        # The one that began first comes first.
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def passes(self, source: str, now: float) -> bool:
        """Whether an event of `source` is to be recorded."""
        window = self._windows.get(source)
        if window is None:
            # Where there is no room it passes: what is recorded is bounded by how many sources there are, then.
            if len(self._windows) >= self._sources:
                return True
            window = self._windows[source] = _Window(now)
        if window.passed < self._most:
            window.passed += 1
            return True
        window.left_out += 1
        return False

    def over(self, now: float) -> list[tuple[str, int]]:
        """Forgets the sources whose time is over: those of which something was left out, with how many events."""
        found = []
        while self._windows:
            source, window = next(iter(self._windows.items()))
            if now - window.begun < self._seconds:
                break
            del self._windows[source]
            if window.left_out:
                found.append((source, window.left_out))
        return found
