"""A process that serves a folder by pyftpdlib, counts what it sends, and can hold its data back to a steady pace.

With the path of a certificate it serves over TLS, and counts nothing.
"""

import socket
import sys
import threading
import time
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

from bench.children import end_with_parent

USER, PASSWORD = "board", "secret"
# What one TCP segment carries on an Ethernet: the smallest pieces, so the most of them, that a board gets.
SEGMENT = 1460


class Counts:
    """What went over the wire since it was last asked; the bytes are those that the sockets took or gave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._transfers: list[dict[str, Any]] = []
        self._control = {"sessions": 0, "sent": 0, "received": 0}

    def transfer(self, command: str, path: str, size: int, complete: bool) -> None:
        with self._lock:
            self._transfers.append({"command": command, "path": path, "bytes": size, "complete": complete})

    def control(self, key: str, number: int) -> None:
        with self._lock:
            self._control[key] += number

    def report(self) -> dict[str, Any]:
        with self._lock:
            found = {"transfers": self._transfers, "control": self._control}
            self._clear()
            return found


class CountingData(DTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A data connection that counts."""

    def close(self) -> None:
        # pyftpdlib replies 226 from here: what is counted ahead of that is there when the client asks for more.
        if not self._closed and (self._initialized or self.tot_bytes_sent):
            path = "" if self.file_obj is None else self.cmd_channel.fs.fs2ftp(self.file_obj.name)
            self.cmd_channel.counts.transfer(self.cmd or "", path, self.tot_bytes_sent, self.transfer_finished)
        super().close()


class PacedData(CountingData):
    """A data connection that sends segment by segment, at `rate` bytes a second."""

    ac_out_buffer_size = SEGMENT
    rate = 0

    def __init__(self, sock: socket.socket, cmd_channel: FTPHandler) -> None:
        # Otherwise TCP would wait for more and send forty segments at a time (Nagle's algorithm, RFC 896).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, cmd_channel)

    def use_sendfile(self) -> bool:
        return False

    def send(self, data: bytes) -> int:
        sent = int(super().send(data))
        wait = self._start_time + self.tot_bytes_sent / self.rate - time.perf_counter()
        if wait > 0:
            self.del_channel()
            self._waiting = self.ioloop.call_later(wait, self._go_on, _errback=self.handle_error)
        return sent

    def _go_on(self) -> None:
        self.add_channel(events=self.ioloop.WRITE)

    def close(self) -> None:
        waiting = getattr(self, "_waiting", None)
        if waiting is not None and not waiting.cancelled:
            waiting.cancel()
        super().close()


class Quiet:
    """A control connection that logs nothing."""

    def log(self, msg: str, logfun: object = None) -> None:
        pass

    logline = log

    def log_cmd(self, cmd: str, arg: str, respcode: int, respstr: str) -> None:
        pass

    def log_transfer(self, *arguments: Any, **keywords: Any) -> None:
        pass


class CountingControl(Quiet, FTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A control connection that counts."""

    banner = "ready"
    counts: Counts

    def on_connect(self) -> None:
        self.counts.control("sessions", 1)

    def send(self, data: bytes) -> int:
        sent = int(super().send(data))
        self.counts.control("sent", sent)
        return sent

    def recv(self, buffer_size: int) -> bytes:
        data = bytes(super().recv(buffer_size))
        self.counts.control("received", len(data))
        return data


def main() -> None:
    folder, rate = sys.argv[1], int(sys.argv[2])
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, folder, perm="elr")
    counts = Counts()
    handler = type(
        "Handler",
        (CountingControl,),
        {
            "authorizer": authorizer,
            "counts": counts,
            "dtp_handler": type("Data", (PacedData,), {"rate": rate}) if rate else CountingData,
        },
    )
    if len(sys.argv) > 3:
        handler = type(
            "Handler",
            (Quiet, TLS_FTPHandler),
            {"authorizer": authorizer, "certfile": sys.argv[3], "tls_control_required": True},
        )
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=ioloop.IOLoop())
    print(server.address[1], flush=True)
    end_with_parent(counts.report)
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    main()
