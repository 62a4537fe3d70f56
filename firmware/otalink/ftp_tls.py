"""An FTP session over explicit TLS (RFC 4217). Loaded where the settings have "tls"; tls.py has the handshake.

Rules that it keeps:
- The user is named after the handshake, and a server without TLS gets neither name nor password.
- What a server sent in the clear behind its answer to AUTH counts for nothing: anybody can have put it there.
- The data connection's handshake begins when something is read from it or written to it.
- Servers that end their data by TLS's close_notify, and wait for the client's, which MicroPython never sends, do not
  end it for us. So a file whose length is known ends there (ftp_session.py), and anything else when the server has said
  on the control connection that it is over, and nothing more comes.
"""

import asyncio
import select
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from otalink.certificate import UNTRUSTED
from otalink.errors import OtaError
from otalink.phase import call
from otalink.tls import secure, trust

# How often a data connection is looked at that has nothing to read. In so much time a board's TCP takes in a window
# of some KB, so that this bounds no transfer.
_LOOK_MS = const(5)
# How long data may be on its way after the control connection has said that it is all there.
_REST_MS = const(1000)
_REPLY = const(64)


async def begin(session):
    """Takes the control connection of an FtpSession over to TLS, and says how data connections are to be.

    `session.tls` is as tls_setup.check gives it; the last of it becomes what data connections are secured with, or None
    where they are to be in the clear.
    """
    ca, name, is_private, ntp, _ = session.tls
    timeout_ms = session._timeout_ms
    await session._command("AUTH TLS")
    reply = session._replies.next()
    if reply is not None or not session._replies.is_idle():
        raise call("ftp_errors.unasked", session, reply)
    # For the time, and for the handshake.
    session._arm(3 * timeout_ms)
    try:
        context = await trust(ca, ntp, timeout_ms)
        # RFC 4217 section 9: PBSZ comes before PROT, and says nothing.
        session._control = await secure(session._control, context, name, b"PBSZ 0\r\n", timeout_ms)
    except (OtaError, OSError) as error:
        raise session._failure("broken", error)
    session._arm(timeout_ms)
    code, text = await session._reply()
    if code // 100 != 2:
        raise session._refusal("PBSZ 0", code, text)
    await session._command("PROT P" if is_private else "PROT C")
    session.tls = ca, name, is_private, ntp, context if is_private else None


def data(session):
    """The data connection of an FtpSession over TLS, whose handshake begins with the first read or write."""
    _, name, _, _, context = session.tls
    sock = session._data
    try:
        return _Data(session, sock, context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False))
    except OSError as error:
        raise session._failure("broken", error)


class _Data:
    # A socket over TLS, as far as FtpSession and ftp_store.py make use of one. It raises OSError alone.

    def __init__(self, session, sock, secured):
        self._session = session
        self._socket = sock
        self._secured = secured
        self._poller = select.poll()
        self._poller.register(secured, select.POLLIN)
        self._buffer = bytearray(_REPLY)
        self._is_over = False

    def readinto(self, buffer):
        return 0 if self._is_over else self._move(self._secured.readinto, buffer)

    def write(self, view):
        return self._move(self._secured.write, view)

    def _move(self, function, buffer):
        try:
            return function(buffer)
        except ValueError as error:
            raise OSError(UNTRUSTED, str(error))

    async def readable(self):
        # Until there is something to read; or the server has said that it is over, and nothing more comes.
        session = self._session
        until = None
        while not self._poller.poll(0):
            if until is not None:
                if ticks_diff(until, ticks_ms()) < 0:
                    self._is_over = True
                    return
            else:
                session._hear(self._buffer)
                if not session._replies.is_idle():
                    until = ticks_add(ticks_ms(), _REST_MS)
            await asyncio.sleep_ms(_LOOK_MS)

    def close(self):
        self._secured.close()
        # A handshake that failed has let go of it.
        self._socket.close()
