"""How a TCP connection is made, without holding up the application: every socket of otalink's is made here."""

import asyncio
import errno
import select
import socket
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

# How often a connection that is being made is looked at.
_CONNECT_MS = const(5)


async def connect_socket(address, port, timeout_ms):
    """A connected, non-blocking TCP socket. Raises OSError when it cannot be had in time."""
    family, kind, protocol, _, target = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)[0]
    deadline = ticks_add(ticks_ms(), timeout_ms)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        try:
            sock.connect(target)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        while True:
            events = poller.poll(0)
            if events:
                break
            if ticks_diff(deadline, ticks_ms()) < 0:
                raise OSError(errno.ETIMEDOUT)
            await asyncio.sleep_ms(_CONNECT_MS)
        if events[0][1] & (select.POLLERR | select.POLLHUP):
            sock.read(1)  # raises the error that the connection ended in
            raise OSError(errno.ECONNREFUSED)
        return sock
    except BaseException:
        sock.close()
        raise
