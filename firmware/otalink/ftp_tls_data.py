"""The data connections of an FTP session over TLS (RFC 4217). In memory only as long as there is one.

Rules that it keeps:
- The handshake begins when something is read or written.
- Servers that end their data by TLS's close_notify, and wait for the client's, which MicroPython never sends, do not
  end it for us. So a file whose length is known ends there (ftp_session.py), and anything else when the server has said
  on the control connection that it is over, and nothing more comes.
"""

import asyncio
import select
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from otalink.certificate import UNTRUSTED

# How often a data connection is looked at that has nothing to read. In so much time a board's TCP takes in a window
# of some KB, so that this bounds no transfer.
_LOOK_MS = const(5)
# How long data may be on its way after the control connection has said that it is all there.
_REST_MS = const(1000)
_REPLY = const(64)


def wrap(session):
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
