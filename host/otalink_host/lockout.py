"""Who must wait before the next login, after wrong ones: pure, the caller tells the time.

Failures count twice: for the source that they come from (an IPv4 address, or the /64 of an IPv6 address, any address of
which one host may take), and for the account at that source. After `failures` of them a login is refused unseen for
`delay` seconds, after each further one for twice that, up to `delay_max`. A right login clears both.

- A stranger elsewhere locks no board out: what counts against an account counts at the stranger's own source alone.
- Behind one address (a router with NAT) a board with a wrong password locks no others out that have logged in from
  there before: the source's count does not hold for them, only their own does.
- What waits is not counted again, and who waited for another `delay_max` after the lock is forgotten.
- At most `entries` of each are remembered; those that were not heard of longest go.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from otalink_host.settings import Address, LockoutSettings

ENTRIES = 10_000
# So long an account's name may be; what claims to be more is no account, and must not fill the memory.
NAME_MAX = 32


class Lockout:
    """Remembers failures. Every `now` is in seconds, from any one start, and never runs backwards."""

    def __init__(self, settings: LockoutSettings = LockoutSettings(), entries: int = ENTRIES) -> None:  # noqa: B008  # frozen
        self._settings = settings
        self._entries = entries
        # How many failures, and until when a login is refused.
        self._failures: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        self._known: OrderedDict[Hashable, None] = OrderedDict()

    def wait(self, account: str, address: Address, now: float) -> float:
        """How many seconds a login of `account` from `address` is refused for; 0.0: it may be tried."""
        own, source = _keys(account, address)
        keys = (own,) if own in self._known else (own, source)
        return max(0.0, *(self._entry(key, now)[1] - now for key in keys))

    def failed(self, account: str, address: Address, now: float) -> float:
        """Counts a wrong login. Returns how many seconds the next one is refused for; 0.0: it may be tried."""
        for key in _keys(account, address):
            count = self._entry(key, now)[0] + 1
            over = count - self._settings.failures
            # More doublings than that are more than the most, and a float bears no thousand.
            delay = min(self._settings.delay * 2.0 ** min(over, 32), self._settings.delay_max) if over >= 0 else 0.0
            _put(self._failures, key, (count, now + delay), self._entries)
        return self.wait(account, address, now)

    def succeeded(self, account: str, address: Address) -> None:
        """Clears what was counted, and knows the account at this source from now on."""
        own, source = _keys(account, address)
        for key in (own, source):
            self._failures.pop(key, None)
        _put(self._known, own, None, self._entries)

    def _entry(self, key: Hashable, now: float) -> tuple[int, float]:
        count, until = self._failures.get(key, (0, now))
        if now - until > self._settings.delay_max:
            del self._failures[key]
            return 0, now
        return count, until


def source_of(address: Address) -> str:
    """What one host may take of addresses: an IPv4 address, or the /64 that an IPv6 address is in."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))


def _keys(account: str, address: Address) -> tuple[Hashable, Hashable]:
    source = source_of(address)
    return (account if len(account) <= NAME_MAX else "", source), source


def _put(entries: "OrderedDict[Hashable, Any]", key: Hashable, value: Any, most: int) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > most:
        entries.popitem(last=False)
