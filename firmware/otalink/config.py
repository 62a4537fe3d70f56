"""The board's settings, `/otalink.json`: read, checked, with defaults; and the buffer of an Updater.

It holds the password: never print it whole.
"""

import gc
import json

from otalink.board import RESTARTS
from otalink.version import POLICIES, check_name

PATH = "/otalink.json"

# key: (default, smallest, largest)
_NUMBERS = {
    "port": (21, 1, 65535),
    "interval": (3600, 1, 31536000),  # seconds between checks
    "jitter": (60, 0, 86400),  # seconds: up to so much later, at random, the first check too
    "start_delay": (5, 0, 86400),  # seconds between the download and its application (note 18)
    "trial_deadline": (600, 0, 86400),  # seconds in which a new release must be confirmed; then the board restarts
    "confirm_after": (60, 0, 86400),  # seconds that a new release must have run, at least, to be confirmed
    "buffer": (None, 512, 65536),  # bytes; None: as the heap allows, see updater.py
    "timeout": (10, 0.1, 600),  # seconds: connection, banner, each reply
    "stall": (30, 0.1, 3600),  # seconds without a byte of data
    "attempts": (5, 1, 100),  # tries without progress before a download is given up until the next check
    "retry_delay": (1, 0, 60),  # seconds before the second try; it doubles from try to try
}
# key: default; None: it must be there
_TEXTS = {
    "name": None,
    "host": None,
    "user": "anonymous",
    "password": "otalink",
    "folder": "/",
    "policy": "newer",
    "restart": "reset",
}
# What has rules of its own, below or elsewhere: link_setup.py.
_OTHERS = ("keys", "wifi", "link")


class Config:
    """Settings as attributes, named as the keys of `/otalink.json`. It has no methods: see phase.py.

    `server` has those that an FTP client takes, `keys` the public keys of releases, base64 text by key id. `wifi` is
    None, or the network that `recovery.py` joins, a dict with `ssid` and, unless it is open, `password`. `unknown`
    lists keys that this version of otalink does not know: a newer one may have written them.
    """


def configure(values: object) -> Config:
    """The Config of `values`, which is what the JSON holds. Raises ValueError with the key and what it may be."""
    config = Config()
    if not isinstance(values, dict):
        raise ValueError('the settings must be a JSON object, as in {"name": "thermostat"}')
    config.unknown = sorted(key for key in values if key not in _NUMBERS and key not in _TEXTS and key not in _OTHERS)
    for key, (default, smallest, largest) in _NUMBERS.items():
        value = values.get(key, default)
        kind = (int,) if key in ("port", "trial_deadline", "buffer", "attempts") else (int, float)
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        if value is not default and not (is_number and smallest <= value <= largest):
            raise ValueError(f"{key} must be a number from {smallest} to {largest}, not {value!r}")
        setattr(config, key, value)
    for key, default in _TEXTS.items():
        value = values.get(key, default)
        if value is None:
            raise ValueError(f"{key} is missing")
        if not isinstance(value, str) or not value:
            raise ValueError(f"{key} must be text")
        if min(value.encode()) < 32:
            raise ValueError(f"{key} must not hold line ends or other control characters")
        setattr(config, key, value)
    check_name(config.name)
    if config.policy not in POLICIES:
        raise ValueError(f"policy must be newer or differs, not {config.policy!r}")
    if config.restart not in RESTARTS:
        raise ValueError(f"restart must be reset, soft or none, not {config.restart!r}")
    if 0 < config.trial_deadline <= config.confirm_after:
        raise ValueError(f"confirm_after must be below trial_deadline, which is {config.trial_deadline}")
    config.keys = values.get("keys", {})
    if not isinstance(config.keys, dict):
        raise ValueError('keys must be an object, as in {"5f0c93d1a6b27e84": "MODULUS"}')
    for identity, modulus in config.keys.items():
        if len(identity) != 16 or identity.strip("0123456789abcdef") or not isinstance(modulus, str):
            raise ValueError(f"keys: {identity[:40]!r} is no key: put what `otalink keys export` prints")
    config.wifi = wifi = values.get("wifi")
    if wifi is not None:
        texts = [wifi.get("ssid"), wifi.get("password", "")] if isinstance(wifi, dict) else [None]
        if not all(isinstance(text, str) for text in texts) or not texts[0]:
            raise ValueError('wifi must be an object of texts, as in {"ssid": "shop", "password": "..."}')
    config.server = config.host, config.port, config.user, config.password, config.timeout, config.stall
    return config


def load(path=PATH):
    """The Config that the file `path` holds. Raises ValueError, one line with the file and what is wrong in it."""
    try:
        with open(path) as file:
            values = json.load(file)
    except OSError:
        raise ValueError(f"{path} cannot be read: put it on the board (docs/tutorial.md has an example)")
    except ValueError:
        raise ValueError(f"{path} is no JSON: check its commas, quotes and braces")
    try:
        return configure(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}")


def set_up(job, config):
    """Gives the Config, and why there is none: `config` is as Updater has it, and `job` gets it, and a buffer.

    Raises ValueError for a dict that cannot be used.
    """
    if isinstance(config, str):
        try:
            config = load(config)
        except ValueError as error:
            return None, f"{error}; no updates until then"
    elif isinstance(config, dict):
        config = configure(config)
    job.config = config
    gc.collect()
    # All data goes through it. With less of the heap free than 96 KiB, memory counts more than speed.
    job.buffer = bytearray(config.buffer or (4096 if gc.mem_free() > 98304 else 512))
    if config.unknown:
        job.say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))
    return config, None
