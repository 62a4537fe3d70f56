"""The watchdog, which resets the board unless it is fed in time. Once started it cannot be stopped. See board.py."""

# What boards take at the most, in milliseconds: RP2350, RP2040; the ESP8266 takes this one alone.
_LIMITS_MS = (16777, 8388, 5000)


class _NoWatchdog:
    """What there is in its place where there is none."""

    def feed(self):
        pass


def watchdog(seconds, message=print):
    """Starts the watchdog, and gives an object whose `feed()` is to be called within each `seconds` from now on.

    A board that does not take so many gets what it takes, and one without a watchdog an object that does nothing;
    `message(line)` says so.
    """
    try:
        from machine import WDT
    except ImportError:
        message("this board has no watchdog: the setting watchdog does nothing here")
        return _NoWatchdog()
    wanted = int(seconds * 1000)
    for limit in (None,) + _LIMITS_MS:  # noqa: RUF005 - MicroPython has no other form
        try:
            found = WDT(timeout=limit or wanted)
        except (ValueError, OSError):
            continue
        if limit is not None:
            message(f"the watchdog resets this board after {limit / 1000} s: it does not take {seconds} s")
        return found
    message(f"this board takes no watchdog of {seconds} s: it has none")
    return _NoWatchdog()
