"""What went wrong with TLS, in words. Loaded when something has."""

import errno

from otalink.certificate import UNTRUSTED
from otalink.errors import TransferError

# mbedTLS's numbers (its ssl.h), for data that is no TLS, for an alert that ends the connection, and for a host with
# which it has no version of TLS in common.
_INVALID_RECORD = -0x7200
_FATAL_ALERT = -0x7780
_VERSION = -0x6E80
# MicroPython passes errors of the socket on as they are; beyond these are mbedTLS's own.
_LEAST = -256

_REFUSED = "the host's certificate is refused: {}: check ca, server_name and this board's clock"
_NO_MEMORY = 'not enough memory for TLS: free some, or set "data" under tls to "clear", which takes one connection less'
_NO_TLS = "it has no TLS, and gets no password without: switch explicit TLS on there, or take tls out of /otalink.json"
_NO_RESUMPTION = (
    "if it wants the TLS session resumed, which MicroPython cannot: require_ssl_reuse=NO (vsftpd), TLSOptions "
    'NoSessionReuseRequired (ProFTPD), or "data": "clear" under tls'
)


def failure(error):
    """What to raise for `error`, which a socket over TLS, or the wrapping of one, has raised.

    A TransferError in words; a MemoryError; or `error` itself, when it is the network's.
    """
    if not isinstance(error, OSError):
        return error
    number = error.errno
    text = str(error.args[1]) if len(error.args) > 1 else f"error {number}"
    if number == UNTRUSTED:
        # mbedTLS says what is wrong with a certificate in lines.
        return TransferError(_REFUSED.format("; ".join(line for line in text.split("\n") if line)))
    if number == errno.ENOMEM or "ALLOC_FAILED" in text:
        return MemoryError()
    if number == _INVALID_RECORD:
        return TransferError("the host answers without TLS: is this the right port?")
    if number in (_FATAL_ALERT, _VERSION):
        return TransferError(f"the host refuses the TLS handshake ({text}): does it speak TLS 1.2?")
    return TransferError(f"TLS failed ({text})") if isinstance(number, int) and number < _LEAST else error


def words(error):
    """As `failure`, for an FTP session, which says in a text what a MemoryError is."""
    found = failure(error)
    return _NO_MEMORY if isinstance(found, MemoryError) else found


def of_job(job, error):
    """The error to raise for `error`, in which a step of an update ended: over TLS memory is short for its sake."""
    is_short = isinstance(error, MemoryError) and job.config.tls is not None
    return TransferError(_NO_MEMORY, errno.ENOMEM) if is_short else error


def hint(line, code, is_private):
    """What to do about the refusal `code` of the FTP command `line`, or None. `is_private`: data connections are over
    TLS."""
    if line == "AUTH TLS":
        return _NO_TLS
    return _NO_RESUMPTION if is_private and code in (425, 522) else None
