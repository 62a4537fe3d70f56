"""Wi-Fi and Ethernet, as far as the hardware goes: made ready, told to join, asked how it stands. See network.py.

In memory only while one of these functions runs. What they know of the ports is from MicroPython's
ports/esp32/network_wlan.c and network_lan.c, and extmod/network_cyw43.c and network_wiznet5k.c.
"""

# How often the ESP32's driver tries again by itself before it says why it does not get on.
_RECONNECTS = 3
# What the ESP32 says (4WAY_HANDSHAKE_TIMEOUT of ESP-IDF) to most wrong passwords; no other port has such a number.
_ESP_HANDSHAKE = 15
# The constants of the module network that say the same, where the port has them.
_WRONG_PASSWORD = ("STAT_WRONG_PASSWORD", "STAT_HANDSHAKE_TIMEOUT")
# Settings that go to the driver as numbers; all others are pins.
_NUMBERS = ("phy_addr", "id", "baudrate", "polarity", "phase")


def start(settings):
    """The network interface of `settings`, which board_setup.check gave, switched on; None where the port has none.

    Raises ValueError for one that this board lacks, or that does not start.
    """
    try:
        import network
    except ImportError:
        return None
    wifi, ethernet, hostname = settings
    if hostname is not None:
        _set_hostname(network, hostname)
    if ethernet is not None:
        return _start_ethernet(network, ethernet)
    if not hasattr(network, "WLAN"):
        raise ValueError("this board has no Wi-Fi: take wifi out of /otalink.json")
    if "country" in wifi and hasattr(network, "country"):
        network.country(wifi["country"])
    station = network.WLAN(getattr(network, "STA_IF", 0))
    station.active(True)
    modes = network.WLAN
    if "power_save" in wifi and hasattr(modes, "PM_NONE"):
        station.config(pm=modes.PM_POWERSAVE if wifi["power_save"] else modes.PM_NONE)
    try:
        station.config(reconnects=_RECONNECTS)
    except Exception:  # the ESP32 alone has it, and others say so in ways of their own
        pass
    return station


def connect(interface, settings):
    """Has the interface join its network; Ethernet does so by itself. Raises OSError; ValueError for its password."""
    wifi = settings[0]
    if wifi is None:
        return
    from otalink.board_secret import resolve

    password = resolve("wifi.password", wifi.get("password"))
    try:
        # An ESP32 that is still at it would refuse.
        interface.disconnect()
    except OSError:
        pass
    interface.connect(wifi["ssid"], password or None)


def describe(interface, settings):
    """A line that says how the interface stands: joined, with its address; or why not."""
    wifi = settings[0]
    if interface.isconnected():
        place = "on the Ethernet" if wifi is None else f"in the Wi-Fi network {wifi['ssid']}"
        return f"{place} as {interface.ifconfig()[0]}"
    if wifi is None:
        return "no Ethernet: is the cable plugged in, and does somebody there give addresses (DHCP)?"
    import network

    status = interface.status()
    ssid = wifi["ssid"]
    if status == getattr(network, "STAT_NO_AP_FOUND", None):
        return f"there is no Wi-Fi network {ssid} here: is its access point on, and its name right?"
    if status == _ESP_HANDSHAKE or status in [getattr(network, name, None) for name in _WRONG_PASSWORD]:
        return f"the Wi-Fi network {ssid} refuses the password: put the right one under wifi in /otalink.json"
    return f"the Wi-Fi network {ssid} cannot be joined (status {status} of its driver)"


def _set_hostname(network, name):
    for length in (32, 15):  # MicroPython before 1.23 takes 15 characters
        try:
            network.hostname(name[:length])
            return
        except (AttributeError, ValueError):
            pass


def _start_ethernet(network, settings):
    driver = settings.get("driver", "LAN")
    if not hasattr(network, driver):
        raise ValueError(f"ethernet: this board has no driver {driver}: its firmware knows {_drivers(network)}")
    try:
        made = {key: _made(network, key, value) for key, value in settings.items() if key != "driver"}
        if driver == "WIZNET5K":
            names = [key for key in ("spi", "cs", "reset", "int") if key in made]
            interface = network.WIZNET5K(*[made[key] for key in names])
        else:
            if "phy" in made:
                made["phy_type"] = made.pop("phy")
                made.setdefault("phy_addr", 0)
            interface = network.LAN(**made)
        interface.active(True)
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"ethernet: {driver} does not start: {error}")
    return interface


def _drivers(network):
    return " and ".join(name for name in ("LAN", "WIZNET5K", "WLAN") if hasattr(network, name)) or "none"


def _made(network, key, value):
    # The object of a driver that a setting stands for.
    from machine import Pin

    if key == "phy":
        return getattr(network, "PHY_" + value)
    if key == "ref_clk_mode":
        return Pin.IN if value == "in" else Pin.OUT
    if key == "spi":
        from machine import SPI

        pins = {name: _made(network, name, number) for name, number in value.items()}
        return SPI(pins.pop("id", 0), **pins)
    return value if key in _NUMBERS else Pin(value)
