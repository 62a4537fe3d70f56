"""An SNTP server (RFC 4330), a real one on UDP, which may do what no server should."""

import socket
import struct
import threading

# A moment long after any machine's clock of these tests, and what the Unix port calls it.
MOMENT = 4_000_000_000
TO_1970 = 2_208_988_800


def answer(request, seconds=MOMENT, *, first=0x24, stratum=2, origin=None, code=b"LOCL"):
    """A server's answer (RFC 4330 section 4): version 4, mode 4, the request's time, then that of the server."""
    head = struct.pack("!BBbb", first, stratum, 6, -20) + bytes(8) + code + bytes(8)
    origin = request[40:48] if origin is None else origin
    return head + origin + bytes(8) + struct.pack("!II", (seconds + TO_1970) % 2**32 if seconds else 0, 0)


class TimeServer:
    """Sends what `reply(request)` gives: a datagram, a list of some, or None. `requests` are those that came."""

    def __init__(self, reply):
        self.requests = []
        self._reply = reply
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sntp")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _run(self):
        while not self._stopped.is_set():
            try:
                request, address = self._socket.recvfrom(100)
            except TimeoutError:
                continue
            self.requests.append(request)
            found = self._reply(request)
            for datagram in found if isinstance(found, list) else [found] if found is not None else []:
                self._socket.sendto(datagram, address)
