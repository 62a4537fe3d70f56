"""The counters as a page for Prometheus, over HTTP: GET /metrics, and nothing else.

It is answered in the server's own loop, by whichever process takes the connection: the counters are shared. Hence also:
a server that does not answer here is one that is stuck.
"""

import socket
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop

from otalink_host.counters import Counters

# Bytes of a request, seconds for it, and how many at once: what reads the page is one program, now and then.
REQUEST_MAX = 8192
REQUEST_TIMEOUT = 5
REQUESTS_AT_ONCE = 8


class MetricsPage(ioloop.Acceptor):  # type: ignore[misc]  # pyftpdlib has no type hints
    """Answers on `listener`, which listens, with what `counters` has."""

    def __init__(self, listener: socket.socket, counters: Counters, loop: Any) -> None:
        super().__init__(ioloop=loop)
        self.counters = counters
        self.requests: set[_Request] = set()
        listener.setblocking(False)
        self.set_socket(listener)
        self.add_channel()
        self.accepting = True

    def handle_accepted(self, sock: socket.socket, addr: object) -> None:
        if len(self.requests) >= REQUESTS_AT_ONCE:
            sock.close()
            return
        self.requests.add(_Request(sock, self))

    def handle_error(self) -> None:
        pass  # a moment without descriptors, say: Prometheus comes again


class _Request(ioloop.AsyncChat):  # type: ignore[misc]  # as above
    def __init__(self, sock: socket.socket, page: MetricsPage) -> None:
        self._page = page
        self._head = b""
        super().__init__(sock, ioloop=page.ioloop)
        self.set_terminator(b"\r\n\r\n")
        self.call_later(REQUEST_TIMEOUT, self.close)

    def collect_incoming_data(self, data: bytes) -> None:
        self._head += data
        if len(self._head) > REQUEST_MAX:
            self.close()

    def found_terminator(self) -> None:
        method, path, _ = (*self._head.split(b"\r\n")[0].split(b" "), b"", b"", b"")[:3]
        if method not in (b"GET", b"HEAD"):
            status, body = "405 Method Not Allowed", "GET /metrics is all that there is here.\n"
        elif path.split(b"?")[0] != b"/metrics":
            status, body = "404 Not Found", "It is at /metrics.\n"
        else:
            status, body = "200 OK", self._page.counters.exposition()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        # One request a connection: what comes behind it is not read.
        self.set_terminator(0)
        self.ac_in_buffer = b""
        self.push((head + ("" if method == b"HEAD" else body)).encode())
        self.close_when_done()

    def handle_close(self) -> None:
        self.close()

    def handle_error(self) -> None:
        self.close()

    def close(self) -> None:
        self._page.requests.discard(self)
        super().close()
