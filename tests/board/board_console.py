"""Where the application on the board says what happens: lines over TCP, which come through however the board resets."""

import re
import selectors
import socket
import threading
import time
from types import TracebackType

from otalink_host.errors import UserError

PING = b"ping\n"


class Console:
    """`with Console(address) as console:` listens on a free port of `address`, in a thread of its own.

    A line "ping" is sent back, so that a board can measure a round trip. Raises UserError when it cannot listen.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._partial: dict[socket.socket, bytes] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="board console")

    def __enter__(self) -> "Console":
        try:
            self._listener = socket.create_server((self._address, 0))
        except OSError as error:
            raise UserError(
                f"this machine cannot listen on {self._address} ({error.strerror}): name an address of its own"
            ) from None
        # By which the thread is woken to end.
        self._waking, self._wake = socket.socketpair()
        self.port: int = self._listener.getsockname()[1]
        for each in (self._waking, self._listener):
            self._selector.register(each, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._wake.send(b"x")
        self._thread.join()
        for each in (*self._partial, self._listener, self._waking, self._wake):
            each.close()
        self._selector.close()

    def mark(self) -> int:
        """The place behind the lines so far, for `since`."""
        with self._changed:
            return len(self._lines)

    def lines(self, since: int) -> list[str]:
        """The lines that came behind that `mark`."""
        with self._changed:
            return self._lines[since:]

    def wait_for(self, pattern: str, since: int, seconds: float) -> tuple[int, str] | None:
        """The first line behind `since` in which `pattern` is found, and the place behind it; None: there is none yet,
        `seconds` later."""
        deadline = time.monotonic() + seconds
        at = since
        with self._changed:
            while True:
                while at < len(self._lines):
                    at += 1
                    if re.search(pattern, self._lines[at - 1]):
                        return at, self._lines[at - 1]
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select():
                found = key.fileobj
                assert isinstance(found, socket.socket)
                if found is self._listener:
                    connection, _address = found.accept()
                    self._partial[connection] = b""
                    self._selector.register(connection, selectors.EVENT_READ)
                elif found is not self._waking:
                    self._read(found)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
            *lines, rest = (self._partial[connection] + data).split(b"\n")
            for line in lines:
                if line + b"\n" == PING:
                    connection.sendall(PING)
        except OSError:
            data, lines = b"", []
        if not data:
            self._selector.unregister(connection)
            del self._partial[connection]
            connection.close()
            return
        self._partial[connection] = rest
        with self._changed:
            self._lines += [line.decode("utf-8", "replace") for line in lines if line + b"\n" != PING]
            self._changed.notify_all()
