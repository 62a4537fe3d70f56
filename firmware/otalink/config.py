"""The board's settings, `/otalink.json`: read, checked, with defaults; and the buffer of an Updater.

It holds the password: never print it whole.
"""

import gc
import json

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
    "watchdog": (None, 1, 3600),  # seconds in which the application must feed it; None: there is none
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
# What has rules of its own, below or elsewhere: board_setup.py, link_setup.py, tls_setup.py.
_OTHERS = ("keys", "wifi", "ethernet", "ntp", "link", "tls", "report")
# The server that is asked for the time before TLS, where the clock has not been set; "ntp": null asks none.
NTP = "pool.ntp.org"


class Config:
    """Settings as attributes, named as the keys of `/otalink.json`. It has no methods: see phase.py.

    `server` has those that an FTP client takes, `keys` the public keys of releases, base64 text by key id. `network`
    is None, or what board_setup.check makes of `wifi` and `ethernet`; `tls` None, or what tls_setup.check gives.
    `password` of `configure` may be a reference, see board_secret.py. `unknown` lists keys that this version of otalink
    does not know: a newer one may have written them.
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
        if key == "password" and isinstance(value, dict):
            pass  # it says where the password is
        elif not isinstance(value, str) or not value:
            raise ValueError(f"{key} must be text")
        elif min(value.encode()) < 32:
            raise ValueError(f"{key} must not hold line ends or other control characters")
        setattr(config, key, value)
    check_name(config.name)
    if config.policy not in POLICIES:
        raise ValueError(f"policy must be newer or differs, not {config.policy!r}")
    check_restart(config.restart)
    if 0 < config.trial_deadline <= config.confirm_after:
        raise ValueError(f"confirm_after must be below trial_deadline, which is {config.trial_deadline}")
    config.keys = values.get("keys", {})
    if not isinstance(config.keys, dict):
        raise ValueError('keys must be an object, as in {"5f0c93d1a6b27e84": "MODULUS"}')
    for identity, modulus in config.keys.items():
        if len(identity) != 16 or identity.strip("0123456789abcdef") or not isinstance(modulus, str):
            raise ValueError(f"keys: {identity[:40]!r} is no key: put what `otalink keys export` prints")
    config.ntp = values.get("ntp", NTP)
    if config.ntp is not None and (not isinstance(config.ntp, str) or not config.ntp):
        raise ValueError(f"ntp must be the name of a time server such as {NTP}, or null")
    config.report = values.get("report", False)
    if not isinstance(config.report, bool):
        raise ValueError(f"report must be true or false, not {config.report!r}")
    config.wifi, config.ethernet = values.get("wifi"), values.get("ethernet")
    config.network = None
    if config.wifi is not None or config.ethernet is not None or isinstance(config.password, dict):
        from otalink.board_setup import check

        config.network = check(values)
    config.tls = values.get("tls")
    if config.tls is not None:
        from otalink.tls_setup import check

        config.tls = check(config.tls, config)
    config.server = config.host, config.port, config.user, config.password, config.timeout, config.stall, config.tls
    return config


def check_restart(kind):
    """Raises ValueError unless `kind` says how an updater restarts the board."""
    if kind not in ("reset", "soft", "none"):
        raise ValueError(f"restart must be reset, soft or none, not {kind!r}")


def _resolved(values):
    # The settings with the password itself where they say where it is.
    if not isinstance(values, dict) or not isinstance(values.get("password"), dict):
        return values
    from otalink.board_setup import resolve

    return resolve(values)


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
        return configure(_resolved(values))
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
        config = configure(_resolved(config))
    job.config = config
    if config.network is not None or config.watchdog is not None:
        from otalink import board_setup

        board_setup.set_up(job, config)
    gc.collect()
    # All data goes through it. With less of the heap free than 96 KiB, memory counts more than speed.
    job.buffer = bytearray(config.buffer or (4096 if gc.mem_free() > 98304 else 512))
    if config.unknown:
        job.say("settings that this otalink does not know: {}".format(", ".join(config.unknown)))
    return config, None
