"""The settings of what board_*.py have: checked, and put into force. Loaded where there are such; see docs/tutorial.md.

{"wifi": {"ssid": "shop", "password": "...", "country": "KR", "power_save": false}}
"""

_WIFI = ("ssid", "password", "country", "power_save")


def check(values):
    """What `values`, the whole settings, say of the network: None, or (wifi, ethernet, hostname), of which one of the
    first two is a dict and the other None; the last is None or the board's name, as far as a host name can be it.

    Raises ValueError with the key and what it may be, and never with a password.
    """
    if isinstance(values.get("password"), dict):
        from otalink.board_secret import check as check_reference

        check_reference("password", values["password"])
    wifi, ethernet = values.get("wifi"), values.get("ethernet")
    if wifi is not None and ethernet is not None:
        raise ValueError("wifi and ethernet are both there: keep the one that the board uses")
    if wifi is None and ethernet is None:
        return None
    if wifi is not None:
        _check_wifi(wifi)
    else:
        from otalink.board_ethernet import check as check_ethernet

        check_ethernet(ethernet)
    link = values.get("link")
    return wifi, ethernet, _hostname(link.get("board") if isinstance(link, dict) else None)


def set_up_network(config, message):
    """Reads the settings, by their path or from a dict, and tells network.py of the network that they have, if any.

    `message(line)` takes the lines. Raises ValueError as `check`.
    """
    from otalink.link_setup import read
    from otalink.network import use

    values, where = read(config)
    try:
        found = check(values)
    except ValueError as error:
        raise ValueError(where + str(error))
    if found is not None:
        use(found, message)


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


def resolve(values):
    """The settings with the password itself in the place of a reference. Raises ValueError when it is not there.

    That of "wifi" and the link's secret are resolved where they are used: board_net.py, link_setup.py.
    """
    from otalink.board_secret import resolve

    values = dict(values)
    values["password"] = resolve("password", values["password"])
    return values


def _check_wifi(wifi):
    texts = [wifi.get("ssid"), wifi.get("country", "XX")] if isinstance(wifi, dict) else [None]
    if not all(isinstance(text, str) for text in texts) or not texts[0] or not _is_secret(wifi.get("password", "")):
        raise ValueError('wifi must be an object of texts, as in {"ssid": "shop", "password": "..."}')
    if len(texts[1]) != 2:
        raise ValueError("wifi: country must be the two letters of a country, such as KR")
    if not isinstance(wifi.get("power_save", False), bool):
        raise ValueError("wifi: power_save must be true or false")
    for key in wifi:
        if key not in _WIFI:
            raise ValueError(f"wifi: {key} is not known here: it may be {', '.join(_WIFI)}")


def _is_secret(value):
    if isinstance(value, dict):
        from otalink.board_secret import is_reference

        return is_reference(value)
    return isinstance(value, str)


def _hostname(name):
    # RFC 1123 section 2.1: letters, digits and hyphens. MicroPython takes 32 characters. Bytes, not characters: each
    # of those would be kept as a name.
    if not isinstance(name, str):
        return None
    letters = [b if 48 <= b < 58 or 65 <= b < 91 or 97 <= b < 123 else 45 for b in name.encode()]
    return bytes(letters[:32]).decode().strip("-") or None
