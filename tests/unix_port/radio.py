"""A stand-in for the module `network`, on the board: a radio is what no machine of the tests has.

It does as MicroPython's sources say (ports/esp32/network_wlan.c, extmod/network_cyw43.c): joining takes a while, and
status() has each port's own numbers. `air` is what is around the board, and how a test changes it.
"""

import sys
import time


class _Air:
    """`networks` are those in reach, password by name; `log` is what was asked of the driver."""

    networks = {"shop": "secret"}
    log = []
    # Milliseconds that joining takes, and what status() says while it cannot be joined (None: as the reason is).
    delay = 30
    status = None
    # Until when (ticks_ms) nothing is in reach; None: it is.
    away = None

    def go_away(self, ms):
        """Everything is out of reach for so long."""
        self.away = time.ticks_add(time.ticks_ms(), ms)

    def is_away(self):
        return self.away is not None and time.ticks_diff(self.away, time.ticks_ms()) > 0


air = _Air()


class Wlan:
    PM_NONE, PM_POWERSAVE = 0, 2
    # Numbers of the port: idle, connecting, joined, no such network, wrong password.
    codes = ()
    takes_reconnects = True

    def __init__(self):
        self.is_active = False
        self.wanted = self.began = None

    def active(self, on):
        air.log.append(("active", on))
        self.is_active = on

    def config(self, **options):
        if "reconnects" in options and not self.takes_reconnects:
            raise ValueError("unknown config param")
        air.log.append(("config", sorted(options.items())))

    def connect(self, ssid, key=None):
        assert self.is_active
        if self.wanted is not None and self.takes_reconnects:
            raise OSError("Wifi Internal State Error")
        air.log.append(("connect", ssid, key))
        self.wanted, self.began = (ssid, key), time.ticks_ms()

    def disconnect(self):
        self.wanted = None

    def _reason(self):
        # What becomes of it: an index of the codes.
        if self.wanted is None:
            return 0
        if air.is_away():
            self.began = time.ticks_ms()
            return 3
        if time.ticks_diff(time.ticks_ms(), self.began) < air.delay:
            return 1
        if self.wanted[0] not in air.networks:
            return 3
        return 2 if air.networks[self.wanted[0]] == self.wanted[1] else 4

    def isconnected(self):
        return self._reason() == 2

    def status(self):
        return air.status if air.status is not None else self.codes[self._reason()]

    def ifconfig(self):
        assert self.isconnected()
        return ("192.168.4.7", "255.255.255.0", "192.168.4.1", "192.168.4.1")


class _Network:
    STA_IF = 0

    def __init__(self, codes, **names):
        self.station = Wlan()
        self.station.codes = codes
        self.WLAN = self._Maker(self.station)
        for name, value in names.items():
            setattr(self, name, value)

    class _Maker:
        PM_NONE, PM_POWERSAVE = Wlan.PM_NONE, Wlan.PM_POWERSAVE

        def __init__(self, station):
            self.station = station

        def __call__(self, interface):
            assert interface == 0
            return self.station

    def hostname(self, name):
        if len(name) > 32:
            raise ValueError
        air.log.append(("hostname", name))

    def country(self, code):
        air.log.append(("country", code))


def use(port):
    """Puts the module of a port, "esp32" or "rp2", where `import network` finds it."""
    if port == "esp32":
        names = {"STAT_NO_AP_FOUND": 201, "STAT_WRONG_PASSWORD": 202, "STAT_HANDSHAKE_TIMEOUT": 204}
        module = _Network((1000, 1001, 1010, 201, 15), **names)
    else:
        module = _Network((0, 1, 3, -2, -3), STAT_NO_AP_FOUND=-2, STAT_WRONG_PASSWORD=-3)
        module.station.takes_reconnects = False
    sys.modules["network"] = module
    return module
