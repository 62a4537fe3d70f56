"""The settings of what board_*.py have: checked, and put into force. Loaded where there are such; see docs/tutorial.md.

{"wifi": {"ssid": "shop", "password": "...", "country": "KR", "power_save": false}}
{"ethernet": {"phy": "LAN8720", "phy_addr": 0, "mdc": 23, "mdio": 18, "power": 12}}
{"ethernet": {"driver": "WIZNET5K", "spi": {"id": 0, "sck": 18, "mosi": 19, "miso": 16}, "cs": 17, "reset": 20}}
"""

from otalink.board_secret import check as check_reference
from otalink.board_secret import is_reference, resolve

__all__ = ("check", "resolve", "set_up")

_DRIVERS = ("LAN", "WIZNET5K")
# Keys of "ethernet" whose values are texts; all others are numbers, but for "spi".
_TEXTS = ("driver", "phy", "ref_clk_mode")


def check(values):
    """What `values`, the whole settings, say of the network: None, or (wifi, ethernet, hostname), of which one of the
    first two is a dict and the other None; the last is None or the board's name, as far as a host name can be it.

    Raises ValueError with the key and what it may be, and never with a password.
    """
    if isinstance(values.get("password"), dict):
        check_reference("password", values["password"])
    wifi, ethernet = values.get("wifi"), values.get("ethernet")
    if wifi is not None and ethernet is not None:
        raise ValueError("wifi and ethernet are both there: keep the one that the board uses")
    if wifi is None and ethernet is None:
        return None
    if wifi is not None:
        _check_wifi(wifi)
    else:
        _check_ethernet(ethernet)
    link = values.get("link")
    return wifi, ethernet, _hostname(link.get("board") if isinstance(link, dict) else None)


def set_up(job, config):
    """Tells network.py of the network, and starts the watchdog, as `config` has them; `job.say` takes the lines."""
    if config.network is not None:
        from otalink.network import use

        use(config.network, job.say)
    if config.watchdog is not None:
        from otalink import phase

        if phase.feed is None:
            from otalink.board_watchdog import watchdog

            phase.feed = watchdog(config.watchdog, job.say).feed


def _check_wifi(wifi):
    texts = [wifi.get("ssid"), wifi.get("country", "XX")] if isinstance(wifi, dict) else [None]
    password = wifi.get("password", "") if texts[0] else None
    if not all(isinstance(text, str) for text in texts) or not (isinstance(password, str) or is_reference(password)):
        raise ValueError('wifi must be an object of texts, as in {"ssid": "shop", "password": "..."}')
    if len(texts[1]) != 2:
        raise ValueError("wifi: country must be the two letters of a country, such as KR")
    if not isinstance(wifi.get("power_save", False), bool):
        raise ValueError("wifi: power_save must be true or false")
    _check_keys("wifi", wifi, ("ssid", "password", "country", "power_save"))


def _check_ethernet(ethernet):
    if not isinstance(ethernet, dict):
        raise ValueError('ethernet must be an object, as in {"phy": "LAN8720", "mdc": 23, "mdio": 18}')
    if ethernet.get("driver", "LAN") not in _DRIVERS:
        raise ValueError("ethernet: driver must be LAN or WIZNET5K")
    for key, value in ethernet.items():
        if key in _TEXTS:
            if not isinstance(value, str):
                raise ValueError(f"ethernet: {key} must be text")
        elif key == "spi":
            if not isinstance(value, dict) or not all(_is_count(number) for number in value.values()):
                raise ValueError('ethernet: spi must be an object of numbers, as in {"id": 1, "sck": 18}')
        elif not _is_count(value):
            raise ValueError(f"ethernet: {key} must be a number: that of a pin, or the phy_addr")
    if ethernet.get("ref_clk_mode", "in") not in ("in", "out"):
        raise ValueError("ethernet: ref_clk_mode must be in or out")


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_keys(setting, values, known):
    for key in values:
        if key not in known:
            raise ValueError(f"{setting}: {key} is not known here: it may be {', '.join(known)}")


def _hostname(name):
    # RFC 1123 section 2.1: letters, digits and hyphens. MicroPython takes 32 characters.
    if not isinstance(name, str):
        return None
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    found = "".join(c if c.lower() in letters else "-" for c in name)[:32].strip("-")
    return found or None
