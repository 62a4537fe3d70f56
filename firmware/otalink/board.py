"""The hardware: the only file that imports machine or network."""

import sys

RESTARTS = ("reset", "soft", "none")


def restart(kind):
    """Restarts the board: "reset" as its button does, "soft" keeping the network up. Does not return.

    Raises AttributeError or ImportError where the board has no such restart.
    """
    import machine

    if kind == "soft":
        machine.soft_reset()
    machine.reset()


async def join(wifi, timeout=30):
    """Joins the network `wifi` of the settings, unless the board is in it; waits at most `timeout` seconds.

    True when the board is in it. Raises ImportError where the board has no Wi-Fi, or its firmware keeps that to itself.
    """
    import asyncio
    from time import ticks_add, ticks_diff, ticks_ms

    import network

    station = network.WLAN(network.STA_IF)
    station.active(True)
    if not station.isconnected():
        station.connect(wifi["ssid"], wifi.get("password") or None)
        deadline = ticks_add(ticks_ms(), int(timeout * 1000))
        while not station.isconnected() and ticks_diff(deadline, ticks_ms()) > 0:
            await asyncio.sleep_ms(100)
    return station.isconnected()


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


def check_restart(kind):
    """Raises ValueError unless `kind` is one of RESTARTS."""
    if kind not in RESTARTS:
        raise ValueError(f"restart must be reset, soft or none, not {kind!r}")
