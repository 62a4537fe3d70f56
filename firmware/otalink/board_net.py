"""Wi-Fi and Ethernet, as far as the hardware goes: made ready, told to join, asked how it stands. See network.py.

In memory only while one of these functions runs. What they know of the ports is from MicroPython's
ports/esp32/network_wlan.c and extmod/network_cyw43.c.
"""

# How often the ESP32's driver tries again by itself before it says why it does not get on.
_RECONNECTS = 3
# What the ESP32 says (4WAY_HANDSHAKE_TIMEOUT of ESP-IDF) to most wrong passwords; no other port has such a number.
_ESP_HANDSHAKE = 15
# The constants of the module network that say the same, where the port has them.
_WRONG_PASSWORD = ("STAT_WRONG_PASSWORD", "STAT_HANDSHAKE_TIMEOUT")


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
        from otalink.board_ethernet import start

        return start(network, ethernet)
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
    password = wifi.get("password")
    if isinstance(password, dict):
        from otalink.board_secret import resolve

        password = resolve("wifi.password", password)
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
