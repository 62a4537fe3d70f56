"""The data connections of an FTP session over TLS (RFC 4217). In memory only as long as there is one.

Rules that it keeps:
- The handshake begins when something is read or written.
- MicroPython never sends TLS's close_notify, and servers wait for it. So a file whose length is known ends there
  (ftp_session.py), whatever the server does.
- Where the length is not known, the end counts; or the server's word on the control connection that it is over, when
  nothing more comes: some servers never end their data. MicroPython's `readinto` reads on until the buffer is full, and
  does not tell when what ended it was the end: there it gets one byte at a time.
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


def wrap(session, size):
    """The data connection of an FtpSession over TLS, for a file of `size` bytes; None: it is not known."""
    _, name, _, _, context = session.tls
    sock = session._data
    try:
        secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except OSError as error:
        raise session._failure("broken", error)
    return _Data(session, sock, secured, size is not None)


class _Data:
    # A socket over TLS, as far as FtpSession and ftp_store.py make use of one. It raises OSError alone.

    def __init__(self, session, sock, secured, is_whole):
        self._session = session
        self._socket = sock
        self._secured = secured
        self._poller = select.poll()
        self._poller.register(secured, select.POLLIN)
        self._buffer = bytearray(_REPLY)
        self._byte = None if is_whole else bytearray(1)
        self._is_over = False

    def readinto(self, buffer):
        if self._is_over:
            return 0
        read, byte = self._secured.readinto, self._byte
        if byte is None:
            return self._move(read, buffer)
        count = 0
        for count in range(len(buffer)):
            n = self._move(read, byte)
            if not n:
                # The end is told by the next call, when something came.
                self._is_over = n == 0
                return count or n
            buffer[count] = byte[0]
        return count + 1

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
