"""TLS for a link: the host proves that it is the one that is meant, or nothing is said. Loaded when it is asked for."""

import asyncio
import errno
import ssl
import time

from micropython import const

from otalink.clock import ensure
from otalink.errors import TransferError

_HANDSHAKE_MS = const(20)
# What mbedTLS calls data that is no TLS.
_NO_TLS = "INVALID_RECORD"


async def secure(sock, ca, name, frame, timeout_ms, ntp):
    """The socket over TLS of `sock`, after `frame`, its first bytes, has gone through.

    `ca` is the path of a certificate in DER, `name` the one that the host's own must have. `ntp`, unless it is None, is
    the server that is asked for the time when the clock is not set. `sock` is non-blocking, and closed when this
    raises: TransferError, ProtocolError or OSError.
    """
    secured = sock
    is_secure = False
    try:
        if not await ensure(ntp, timeout_ms / 1000):
            raise TransferError("TLS needs the time, and this board's clock is not set: put a time server under ntp")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        with open(ca, "rb") as file:
            context.load_verify_locations(cadata=file.read())
        secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        deadline = time.ticks_add(time.ticks_ms(), timeout_ms)
        # A write takes the handshake forward as far as it goes, and is refused until that is over.
        while not (count := secured.write(frame)):
            if time.ticks_diff(deadline, time.ticks_ms()) < 0:
                raise OSError(errno.ETIMEDOUT)
            await asyncio.sleep_ms(_HANDSHAKE_MS)
        if count < len(frame):
            stream = asyncio.StreamWriter(secured, {})
            stream.write(frame[count:])
            await stream.drain()
        is_secure = True
        return secured
    except ValueError as error:
        # mbedTLS says what is wrong with a certificate in lines.
        reason = "; ".join(line for line in str(error).split("\n") if line)
        raise TransferError(
            f"the host's certificate is refused: {reason}: check ca, server_name and this board's clock"
        )
    except OSError as error:
        if len(error.args) > 1 and _NO_TLS in error.args[1]:
            raise TransferError("the host answers without TLS: is this the right port?")
        raise
    finally:
        if not is_secure:
            secured.close()
