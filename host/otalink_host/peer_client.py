"""The client form of a peer: a PC that stands in for a board, or talks to a vendor's device. For programs, and for
`otalink peer --connect`. It prints nothing.
"""

import asyncio
import errno
import os
import socket
import ssl as tls
from collections import deque
from types import TracebackType
from typing import Any

from otalink_host.connection import PORT, Connection, LinkOptions, Links, Tap
from otalink_host.errors import UserError

CONNECT_TIMEOUT = 10.0
# Texts and faults that wait to be taken; beyond that the other end has to wait.
INBOX_MAX = 64


class PeerClient:
    """A connection to a peer: `async with PeerClient("192.168.0.10") as link:` connects, leaving the block closes it.

        link.send("21.5")
        async for text in link:
            ...

    `faults` True gives faults among the texts, as (result, data). Raises UserError when nobody is reached there.
    """

    def __init__(
        self,
        host: str,
        port: int = PORT,
        *,
        options: LinkOptions | None = None,
        ssl: tls.SSLContext | None = None,
        tap: Tap | None = None,
        timeout: float = CONNECT_TIMEOUT,
        faults: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        # Why it was closed; None while it is open.
        self.closed: str | None = None
        self._ssl = ssl
        self._timeout = timeout
        self._faults = faults
        self._links = Links(self, options or LinkOptions(), tap)
        self._connection: Connection | None = None
        self._inbox: deque[str | tuple[int, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def connection(self) -> Connection:
        """The connection, with its counters."""
        if self._connection is None:
            raise RuntimeError("it is not connected yet")
        return self._connection

    async def connect(self) -> None:
        """Connects. Raises UserError when it cannot."""
        loop = asyncio.get_running_loop()
        name = self.host if self._ssl is not None else None
        try:
            _, connection = await asyncio.wait_for(
                loop.create_connection(
                    lambda: Connection(self._links), self.host, self.port, ssl=self._ssl, server_hostname=name
                ),
                self._timeout,
            )
        except (OSError, asyncio.TimeoutError, UnicodeError) as error:
            raise UserError(_why_not(error, self.host, self.port)) from None
        self._connection = connection
        self._links.start()

    async def close(self, wait: float = 1.0) -> None:
        """Closes the connection; what waits may still be sent, for `wait` seconds."""
        await self._links.close(wait)

    async def __aenter__(self) -> "PeerClient":
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def send(self, data: "str | bytes") -> bool:
        """Sends a frame, without waiting; see Connection.send."""
        return self.connection.send(data)

    async def drain(self) -> None:
        """Waits until there is room in the queue."""
        await self.connection.drain()

    def __aiter__(self) -> "PeerClient":
        return self

    async def __anext__(self) -> Any:
        """The next text; the iteration ends when the connection is closed and all that came was taken."""
        while not self._inbox:
            if self.closed is not None:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        item = self._inbox.popleft()
        if len(self._inbox) < INBOX_MAX // 2 and self._connection is not None:
            self._connection.resume()
        return item

    # --- what the connection tells (connection.Owner)

    def opened(self, connection: Connection) -> bool:
        """For Links."""
        return True

    def frame(self, connection: Connection, text: str) -> None:
        """For Links."""
        self._put(connection, text)

    def fault(self, connection: Connection, result: int, data: bytes) -> None:
        """For Links."""
        if self._faults:
            self._put(connection, (result, data))

    def settled(self, connection: Connection) -> None:
        """For Links."""

    def is_busy(self, connection: Connection) -> bool:
        """For Links."""
        return False

    def lost(self, connection: Connection, reason: str) -> None:
        """For Links."""
        self.closed = reason
        self._wake()

    def ticked(self) -> None:
        """For Links."""

    def _put(self, connection: Connection, item: "str | tuple[int, bytes]") -> None:
        self._inbox.append(item)
        if len(self._inbox) >= INBOX_MAX:
            connection.pause()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _why_not(error: BaseException, host: str, port: int) -> str:
    # A name with an empty or an overlong part cannot even be looked up.
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"there is no host {host}: check the name, or give its IP address"
    if isinstance(error, tls.SSLCertVerificationError):
        return f"{host} port {port}: its certificate is not trusted ({error.verify_message}): name its CA with --ca"
    if isinstance(error, tls.SSLError):
        return f"{host} port {port} does not speak TLS as it should ({error.reason or error})"
    # Of a name with several addresses, none of which answers, asyncio gives all reasons as one text.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return f"{host} port {port} refuses the connection: is a peer running there, on that port?"
    if isinstance(error, asyncio.TimeoutError):
        return f"{host} port {port} does not answer: check the address, the cable and the firewall"
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)
    return f"{host} port {port} cannot be reached ({reason}): check the address and the network"
