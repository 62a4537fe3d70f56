"""What this board is. Only board.py and the files named board_*.py import hardware (machine, network, esp32).

    board_reset.py     the restart, and the cause of the last one
    board_net.py       Wi-Fi and Ethernet; network.py keeps them up
    board_ethernet.py  the Ethernet's settings and driver
    board_clock.py     the time from an SNTP server, and the clock
    board_watchdog.py  the watchdog
    board_secret.py    secrets that stand elsewhere than in the settings
    board_setup.py     the settings of all of these

Each is loaded when it is needed, and says what it does on a port that lacks the hardware.
"""

import sys


def platform(found: str = sys.platform) -> str:
    """What a release calls a board whose sys.platform is `found`: that, and "unix" on every system of the Unix port."""
    return "unix" if found in ("linux", "darwin") else found


def unique_id():
    """What its chip is called, as hexadecimal digits; None where it has no name."""
    try:
        from machine import unique_id
    except ImportError:
        return None
    from binascii import hexlify

    return hexlify(unique_id()).decode()


def bytecode():
    """The version of the .mpy files that this board loads, as (major, minor); None when it loads none."""
    found = getattr(sys.implementation, "_mpy", None)
    return None if found is None else (found & 0xFF, found >> 8 & 3)
