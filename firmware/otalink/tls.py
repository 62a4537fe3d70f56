"""TLS for a connection of a link or of an FTP session: the host proves that it is the one that is meant, or nothing is
said to it. Loaded when it is asked for; tls_errors.py has the words for what goes wrong.

MicroPython resumes no TLS session, and its mbedTLS speaks TLS 1.2.
"""

import asyncio
import errno
import ssl
import time

from micropython import const

from otalink.certificate import UNTRUSTED, read
from otalink.clock import ensure
from otalink.errors import TransferError
from otalink.phase import call

_HANDSHAKE_MS = const(20)


async def trust(ca, ntp, timeout_ms):
    """An SSLContext that trusts who has the certificate `ca`, the path of a file in DER, and nobody else.

    `ntp`, unless it is None, is the server that is asked for the time when the clock is not set. Raises TransferError,
    ProtocolError.
    """
    if not await ensure(ntp, timeout_ms / 1000):
        raise TransferError("TLS needs the time, and this board's clock is not set: put a time server under ntp")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=read(ca))
    except ValueError as error:
        text = str(error)
        raise TransferError(text if text[:3] == "ca:" else f"ca: {ca} holds no certificate: copy it to the board again")
    return context


async def secure(sock, context, name, first, timeout_ms):
    """The socket over TLS of `sock`, after `first`, its first bytes, has gone through.

    `name` is the one that the host's certificate must have: without one mbedTLS would take any name. `sock` is
    non-blocking, and closed when this raises: TransferError, MemoryError or OSError.
    """
    secured = None
    is_secure = False
    try:
        secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        deadline = time.ticks_add(time.ticks_ms(), timeout_ms)
        # A write takes the handshake forward as far as it goes, and is refused until that is over.
        while not (count := secured.write(first)):
            if time.ticks_diff(deadline, time.ticks_ms()) < 0:
                raise OSError(errno.ETIMEDOUT)
            await asyncio.sleep_ms(_HANDSHAKE_MS)
        if count < len(first):
            stream = asyncio.StreamWriter(secured, {})
            stream.write(first[count:])
            await stream.drain()
        is_secure = True
        return secured
    except ValueError as error:
        raise call("tls_errors.failure", OSError(UNTRUSTED, str(error)))
    except OSError as error:
        raise call("tls_errors.failure", error)
    finally:
        if not is_secure:
            if secured is not None:
                secured.close()
            # A handshake that failed has let go of it.
            sock.close()
