"""Checks passwords outside of the event loop, in a few threads, and gives the results back inside of it.

Everything here but the hash itself runs in the loop's thread, so that nothing needs a lock. A login that was right is
remembered as an HMAC of account, hash and password under a random key of this process: the next one with the same three
takes microseconds, and a changed hash is another one. Nothing else of a password is kept.
"""

import hashlib
import hmac
import logging
import os
import secrets
import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from otalink_host import passwords

logger = logging.getLogger("otalink.server")

# So many different logins wait at the most; at 25 ms each, that is half a minute of one thread.
QUEUE_MAX = 1000
REMEMBERED_MAX = 10_000

# Called with whether the password is right; None: it was not checked, as the login is not allowed any more.
Done = Callable[[bool | None], None]
Allowed = Callable[[], bool]


def threads_for(cores: int | None) -> int:
    """How many threads check passwords: one core is the loop's, and each check takes 19 MiB."""
    return max(1, min(4, (cores or 1) - 1))


class LoopCalls:
    """Has other threads' calls made in the loop's thread; pyftpdlib's loop is woken through a pair of sockets."""

    def __init__(self, ioloop: Any) -> None:
        self._ioloop = ioloop
        self._calls: deque[Callable[[], None]] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # By these names pyftpdlib's loop knows what it watches.
        self._fileno = self._reader.fileno()
        ioloop.register(self._fileno, self, ioloop.READ)

    def call(self, function: Callable[[], None]) -> None:
        """Has `function` called soon. May be called from any thread."""
        self._calls.append(function)
        # When the buffer is full the loop is going to wake up anyway; a closed one has nobody to wake.
        with suppress(OSError):
            self._writer.send(b"\0")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        with suppress(BlockingIOError):
            self._reader.recv(4096)
        while self._calls:
            function = self._calls.popleft()
            try:
                function()
            except Exception:
                self.handle_error()

    def handle_error(self) -> None:
        logger.error("a fault of the server", exc_info=True)

    handle_close = handle_error

    def close(self) -> None:
        if self._fileno in self._ioloop.socket_map:
            self._ioloop.unregister(self._fileno)
        self._reader.close()
        self._writer.close()


@dataclass
class _Check:
    """A password that is to be checked against `hash_`, and who waits for it."""

    account: str
    fingerprint: bytes
    hash_: str
    password: str = field(repr=False)
    waiting: list[tuple[Allowed, Done]]


class Logins:
    """Checks logins for the sessions of one server. Close it when its loop has ended."""

    def __init__(
        self, calls: LoopCalls, rehashed: Callable[[str, str, str], None] | None = None, *, threads: int | None = None
    ) -> None:
        """`rehashed` is given an account, its hash and a new one, when the hash of a right password is outdated.

        It runs in a thread, may write to files, and raises nothing.
        """
        self._calls = calls
        self._rehashed = rehashed
        self._threads = threads or threads_for(os.cpu_count())
        self._pool = ThreadPoolExecutor(self._threads, "otalink login")
        self._running = 0
        self._queue: deque[_Check] = deque()
        self._checks: dict[bytes, _Check] = {}
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[str, bytes] = OrderedDict()
        self._closed = False

    def check(self, account: str, hash_: str, password: str, allowed: Allowed, done: Done) -> bool:
        """Has `done` called with whether `hash_` is that of `password`: at once, or later in the loop's thread.

        `allowed` is asked before the hash is computed: failures may have been counted meanwhile. Those who ask the same
        at the same time share an answer. False: too many wait already, and `done` is not called.
        """
        fingerprint = self._fingerprint(account, hash_, password)
        if hmac.compare_digest(fingerprint, self._remembered.get(account, b"")):
            self._remembered.move_to_end(account)
            done(True)
            return True
        check = self._checks.get(fingerprint)
        if check is None:
            if len(self._queue) >= QUEUE_MAX:
                return False
            check = self._checks[fingerprint] = _Check(account, fingerprint, hash_, password, [])
            self._queue.append(check)
        check.waiting.append((allowed, done))
        self._go_on()
        return True

    def close(self) -> None:
        """Ends the threads, after what they are at; nobody hears of it any more."""
        self._closed = True
        self._queue.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _go_on(self) -> None:
        while self._queue and self._running < self._threads and not self._closed:
            check = self._queue.popleft()
            refused = [each for each in check.waiting if not each[0]()]
            check.waiting = [each for each in check.waiting if each not in refused]
            if check.waiting:
                self._running += 1
                self._pool.submit(self._verify, check).add_done_callback(partial(self._told, check))
            else:
                del self._checks[check.fingerprint]
            for _, done in refused:
                done(None)

    def _verify(self, check: _Check) -> bool:
        """In a thread."""
        right = passwords.verify(check.hash_, check.password)
        if right and self._rehashed is not None and passwords.is_outdated(check.hash_):
            self._rehashed(check.account, check.hash_, passwords.hash_password(check.password))
        return right

    def _told(self, check: _Check, future: "Future[bool]") -> None:
        """In a thread."""
        self._calls.call(partial(self._end, check, future))

    def _end(self, check: _Check, future: "Future[bool]") -> None:
        if self._closed:
            return
        self._running -= 1
        del self._checks[check.fingerprint]
        fault = future.exception()
        if fault is not None:
            logger.error("a password could not be checked: %s", fault)
        right = fault is None and future.result()
        if right:
            self._remembered[check.account] = check.fingerprint
            self._remembered.move_to_end(check.account)
            while len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        self._go_on()
        for _, done in check.waiting:
            done(right)

    def _fingerprint(self, *texts: str) -> bytes:
        parts = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        return hmac.digest(self._key, b"".join(parts), "sha256")
