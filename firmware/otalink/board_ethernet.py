"""Ethernet: its settings, checked, and its driver, made of them as data: no code knows a board. See board_net.py.

{"ethernet": {"phy": "LAN8720", "phy_addr": 0, "mdc": 23, "mdio": 18, "power": 12}}
{"ethernet": {"driver": "WIZNET5K", "spi": {"id": 0, "sck": 18, "mosi": 19, "miso": 16}, "cs": 17, "reset": 20}}
"""

_DRIVERS = ("LAN", "WIZNET5K")
# Keys whose values are texts; all others are numbers, but for "spi".
_TEXTS = ("driver", "phy", "ref_clk_mode")
# Numbers that go to the driver as they are; all others are pins.
_NUMBERS = ("phy_addr", "id", "baudrate", "polarity", "phase")
# What WIZNET5K takes, in this order.
_ARGUMENTS = ("spi", "cs", "reset", "int")


def check(settings):
    """Raises ValueError, with the key and what it may be, unless `settings` can be those of an Ethernet."""
    if not isinstance(settings, dict):
        raise ValueError('ethernet must be an object, as in {"phy": "LAN8720", "mdc": 23, "mdio": 18}')
    if settings.get("driver", "LAN") not in _DRIVERS:
        raise ValueError("ethernet: driver must be LAN or WIZNET5K")
    for key, value in settings.items():
        if key in _TEXTS:
            if not isinstance(value, str):
                raise ValueError(f"ethernet: {key} must be text")
        elif key == "spi":
            if not isinstance(value, dict) or not all(_is_count(number) for number in value.values()):
                raise ValueError('ethernet: spi must be an object of numbers, as in {"id": 1, "sck": 18}')
        elif not _is_count(value):
            raise ValueError(f"ethernet: {key} must be a number: that of a pin, or the phy_addr")
    if settings.get("ref_clk_mode", "in") not in ("in", "out"):
        raise ValueError("ethernet: ref_clk_mode must be in or out")


def start(network, settings):
    """The interface that MicroPython's module `network` makes of `settings`, switched on. Raises ValueError when this
    board lacks it, or it does not start.

    What the drivers take is from ports/esp32/network_lan.c and extmod/network_wiznet5k.c.
    """
    driver = settings.get("driver", "LAN")
    if not hasattr(network, driver):
        known = " and ".join(name for name in ("LAN", "WIZNET5K", "WLAN") if hasattr(network, name)) or "none"
        raise ValueError(f"ethernet: this board has no driver {driver}: its firmware knows {known}")
    try:
        made = {key: _made(network, key, value) for key, value in settings.items() if key != "driver"}
        if driver == "WIZNET5K":
            interface = network.WIZNET5K(*[made[key] for key in _ARGUMENTS if key in made])
        else:
            if "phy" in made:
                made["phy_type"] = made.pop("phy")
                made.setdefault("phy_addr", 0)
            interface = network.LAN(**made)
        interface.active(True)
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"ethernet: {driver} does not start: {error}")
    return interface


def _made(network, key, value):
    # The object of a driver that a setting stands for.
    if key == "phy":
        return getattr(network, "PHY_" + value)
    if key in _NUMBERS:
        return value
    from machine import SPI, Pin

    if key == "ref_clk_mode":
        return Pin.IN if value == "in" else Pin.OUT
    if key == "spi":
        made = {name: _made(network, name, number) for name, number in value.items()}
        return SPI(made.pop("id", 0), **made)
    return Pin(value)


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
