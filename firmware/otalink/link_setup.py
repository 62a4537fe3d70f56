"""The options of a link: read, checked, with defaults. Loaded when a link is made; see link.py."""

import json

from otalink.frame import LENGTH_MAX, PROFILES

# name: (default, smallest, largest); link.py says what they are. What a host says itself takes 200 characters.
_NUMBERS = {
    "limit": (1500, 200, LENGTH_MAX),
    "queue": (16, 1, 1000),
    "window": (8, 1, 100),
    "file_size": (32768, 1024, 1048576),
    "heartbeat": (0, 0, 86400),
    "deadline": (None, 0, 259200),
    "timeout": (10, 0.1, 600),
}
_INTEGERS = ("limit", "queue", "window", "file_size")
_SWITCHES = ("drop_oldest", "strict", "short_crc")
_TEXTS = ("file", "ca", "server_name", "ntp")
_RETRY = (1, 60)
# Of the settings, but not of a Link: who the board is, see docs/link.md.
_OTHERS = ("secret", "board")


def check(host, port, options):
    """The dict of all options, defaults included. Raises ValueError with the name and what it may be."""
    if not isinstance(host, str) or not host or min(host.encode()) <= 32:
        raise ValueError(f"host must be the host's name or address, not {host!r}")
    if not _is_number(port, (int,)) or not 0 < port < 65536:
        raise ValueError(f"port must be a number from 1 to 65535, not {port!r}")
    options = dict(options)
    found = {}
    for name, (default, smallest, largest) in _NUMBERS.items():
        value = options.pop(name, default)
        kind = (int,) if name in _INTEGERS else (int, float)
        if value is not default and not (_is_number(value, kind) and smallest <= value <= largest):
            raise ValueError(f"{name} must be a number from {smallest} to {largest}, not {value!r}")
        found[name] = value
    if found["deadline"] and found["deadline"] <= found["heartbeat"]:
        raise ValueError(f"deadline must be above heartbeat, which is {found['heartbeat']}")
    for name in _SWITCHES:
        found[name] = value = options.pop(name, False)
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {value!r}")
    for name in _TEXTS:
        found[name] = value = options.pop(name, None)
        if value is not None and (not isinstance(value, str) or not value):
            raise ValueError(f"{name} must be text, not {value!r}")
    found["profile"] = profile = options.pop("profile", "utf-16-le")
    if profile not in PROFILES:
        raise ValueError(f"profile must be utf-16-le or utf-8, not {profile!r}")
    found["retry"] = retry = options.pop("retry", _RETRY)
    is_pair = isinstance(retry, (tuple, list)) and len(retry) == 2 and all(_is_number(s, (int, float)) for s in retry)
    if not is_pair or not 0.01 <= retry[0] <= retry[1] <= 3600:
        raise ValueError(f"retry must be two numbers from 0.01 to 3600, the smaller one first, not {retry!r}")
    if options:
        raise ValueError(f"there is no option {min(options)} of a link")
    if (found["ca"] is None) != (found["server_name"] is None):
        raise ValueError("ca and server_name belong together: the one who signed, and the name in the certificate")
    if found["ca"] is not None:
        from otalink.certificate import read

        read(found["ca"])
    return found


def load(config):
    """What the settings hold for a Link: (the object "link", with `ntp`; whether they have a network).

    `config` is their path or a dict that holds them.
    """
    values, where = read(config)
    link = {key: value for key, value in _link(values, where).items() if key not in _OTHERS}
    # As config.NTP: to load that for its sake would cost a link its names.
    link["ntp"] = values.get("ntp", "pool.ntp.org")
    try:
        check(link.get("host"), link.get("port", 3377), {k: v for k, v in link.items() if k not in ("host", "port")})
    except ValueError as error:
        raise ValueError(f"{where}link: {error}")
    return link, values.get("wifi") is not None or values.get("ethernet") is not None


def identity(config):
    """Who the board is, by the object "link" of the settings: (its name, its secret or None)."""
    values, where = read(config)
    link = _link(values, where)
    board, secret = link.get("board"), link.get("secret")
    if isinstance(secret, dict):
        try:
            from otalink.phase import call  # the host has no such thing, and no references to secrets

            secret = call("board_secret.resolve", "link.secret", secret)
        except ValueError as error:
            raise ValueError(where + str(error))
    if board is None:
        from otalink.board import unique_id

        board = unique_id()
    for key, value, longest in (("board", board, 64), ("secret", secret, 128)):
        if value is None and key == "secret":
            continue
        if not isinstance(value, str) or not 0 < len(value) <= longest or min(value.encode()) < 32:
            raise ValueError(f"{where}link: {key} must be text of 1 to {longest} characters, such as shop-1")
    return board, secret


def read(config):
    """The settings, a dict, and what errors about them begin with. `config` is their path or a dict that holds them."""
    where = ""
    if not isinstance(config, dict):
        where = f"{config}: "
        try:
            with open(config) as file:
                config = json.load(file)
        except OSError:
            raise ValueError(f"{config} cannot be read: put it on the board (docs/tutorial.md has an example)")
        except ValueError:
            raise ValueError(f"{config} is no JSON: check its commas, quotes and braces")
    return config if isinstance(config, dict) else {}, where


def _link(values, where):
    link = values.get("link")
    if not isinstance(link, dict):
        raise ValueError(where + 'link must be an object, as in {"link": {"host": "192.168.0.10"}}')
    return link


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)
