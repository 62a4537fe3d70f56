"""What went wrong with a link, in one line that says what to do. Loaded when something has; see link.py."""

import errno

from otalink.errors import OtaError

_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "it broke the connection",
    errno.ENOTCONN: "it broke the connection",
    errno.EHOSTUNREACH: "no route to it",
    errno.ETIMEDOUT: "no answer",
    # Those that MicroPython has no names for: EPIPE, and ENETUNREACH where it is Linux's.
    32: "it broke the connection",
    101: "no route to it",
}
_LINES = {
    "look up": "cannot reach {}: its name cannot be looked up: is it right, is the network up?",
    "connect": "cannot reach {} ({}): is the host's `otalink peer` running, is the network up?",
    "secure": "cannot reach {} over TLS ({}): is this the port of a host that speaks TLS?",
    "serve": "the link to {} broke ({}): connecting anew",
    "ended": "{} closed the link: connecting anew",
    "silent": "{} has gone silent: connecting anew",
}


def explain(host, port, stage, error):
    """The line for `error`, which came up in the `stage` of a link to host:port."""
    if isinstance(error, OtaError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"no link to {host}:{port}: the memory is too small"
    if isinstance(error, OSError):
        reason = _REASONS.get(error.errno) or f"error {error.errno}"
    else:
        reason = f"{type(error).__name__}: {error}"
    return _LINES[stage].format(f"{host}:{port}", reason)
