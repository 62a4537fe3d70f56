"""The setting "tls" of an updater: checked. Loaded where there is one.

{"tls": {"ca": "/ca.der", "server_name": "updates.example", "data": "private"}}
"""

_KEYS = ("ca", "server_name", "data")


def check(tls, config):
    """What an FtpSession takes for `tls`, the setting: (ca, server_name, whether data is private, ntp, None).

    `config` is the Config, as far as it has been read. The file `ca` is looked at when it is used: a host checks
    settings too. Raises ValueError with the key and what it may be.
    """
    if not isinstance(tls, dict):
        raise ValueError('tls must be an object, as in {"ca": "/ca.der"}')
    for unknown in tls:
        if unknown not in _KEYS:
            raise ValueError(f"tls: {unknown} is not known here: it may be {', '.join(_KEYS)}")
    ca, name, data = tls.get("ca"), tls.get("server_name", config.host), tls.get("data", "private")
    if not _is_text(ca):
        raise ValueError("tls: ca must be the path of a certificate on the board, such as /ca.der")
    # Never empty: mbedTLS would take any name.
    if not _is_text(name):
        raise ValueError("tls: server_name must be the name or address in the server's certificate")
    if data not in ("private", "clear"):
        raise ValueError(f"tls: data must be private or clear, not {data!r}")
    if data == "clear" and not config.keys:
        raise ValueError("tls: data can be clear only on a board with keys: releases must be signed then")
    return ca, name, data == "private", config.ntp, None


def _is_text(value):
    return isinstance(value, str) and value and min(value.encode()) >= 32
