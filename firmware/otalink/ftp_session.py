"""A session with an FTP server: connection, login, commands and replies (RFC 959), on asyncio streams.

Rules that it keeps:
- Every stage has a deadline, the banner included. One task a command watches the clock, so that no read needs a
  timeout of its own.
- After anything unexpected the session is dropped, and the next command logs in anew.

`connect_socket` makes every socket, and `ControlConnection` alone holds the control connection's: that is where TLS
takes hold in mid-stream.
"""

import asyncio
import errno
import select
import socket
from time import ticks_add, ticks_diff, ticks_ms

from otalink.errors import FtpError, OtaError, ProtocolError, TransferError
from otalink.ftp_reply import ReplyParser, check_argument

# How long the watch task sleeps at the most: how late it can notice a deadline.
_WATCH_MS = 100

_REASONS = {
    errno.ECONNREFUSED: "connection refused: is the server running, and is this its port?",
    errno.ECONNRESET: "the server broke the connection",
    errno.EHOSTUNREACH: "no route to it: is the network up, and is this its address?",
    errno.ETIMEDOUT: "no answer: is the network up, and is this its address?",
}


class ControlConnection:
    """A control connection: its socket, the address that it goes to and the replies that came over it."""

    def __init__(self, sock, address):
        self.address = address
        self.socket = sock
        self.stream = asyncio.StreamReader(sock)
        self.replies = ReplyParser()


def explain(error):
    """What an OSError of a connection means, as text."""
    return _REASONS.get(error.errno) or f"the connection broke (error {error.errno})"


class FtpSession:
    """What FtpClient is built on; see there for the arguments.

    A subclass runs each of its commands by `_run`, and calls `_arm` at each stage.
    """

    def __init__(self, host, port=21, user="anonymous", password="otalink", timeout=10, stall=30):
        for text in (host, user, password):
            check_argument(text)
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._timeout_ms = int(timeout * 1000)
        self._stall_ms = int(stall * 1000)
        self._session = None
        self._data = None
        # The addresses that the name has; the one that answered, from then on.
        self._addresses = None
        self.folder = None
        # What this server turned out to lack.
        self._has_epsv = True
        self._has_rest = True
        # The command that runs: its task, its deadline, what stopped it, and how far it came.
        self._task = None
        self._deadline = 0
        self._patience_ms = 0
        self._stopped = None
        self._answered = False
        self._epsv_asked = False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await self.quit()

    async def connect(self):
        """Connects and logs in, unless that has been done."""
        await self._run(self._nothing)

    async def quit(self):
        """Says goodbye, if there is a session, and closes it. Raises nothing."""
        if self._session is not None and self._task is None:
            try:
                await self._attempt(self._command, ("QUIT",))
            except OtaError:
                pass
        self.close()

    def close(self):
        """Drops the session at once. The client can be used again: the next command logs in.

        A command that another task has under way ends with a TransferError.
        """
        if self._task is not None:
            self._answered, self._epsv_asked = True, False  # no second try
            self._stop(self._failure("the session was closed"))
            return
        if self._data is not None:
            self._data.close()
            self._data = None
        if self._session is not None:
            self._session.socket.close()
            self._session = None

    # The frame around every command: its session, its watch, its errors

    async def _run(self, operation, *arguments):
        if self._task is not None:
            raise ValueError("one FTP command at a time")
        while True:
            fresh = self._session is None
            try:
                return await self._attempt(operation, arguments)
            except TransferError:
                # Two failures are none of this command's: a session that had died while it was idle, and a server that
                # never answers EPSV.
                alive = fresh or self._answered
                if alive and not self._epsv_asked:
                    raise
                if alive:
                    self._has_epsv = False

    async def _attempt(self, operation, arguments):
        self._stopped = None
        self._answered = self._epsv_asked = False
        self._arm(self._timeout_ms)
        self._task = asyncio.current_task()
        watch = logged_in = in_step = None
        try:
            watch = asyncio.create_task(self._watch())
            if self._session is None:
                await self._log_in()
                self._answered = False
            logged_in = True
            result = await operation(*arguments)
            in_step = True
            return result
        except FtpError as error:
            # A plain refusal leaves the session in step; one in the middle of a transfer does not, and 4xx may be the
            # late end of the transfer before.
            in_step = logged_in and self._data is None and error.code >= 500
            raise
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            raise self._stopped
        finally:
            if watch is not None:
                watch.cancel()
            self._task = None
            if not in_step:
                self.close()

    async def _watch(self):
        # Stops the command when its deadline has passed.
        while True:
            left = ticks_diff(self._deadline, ticks_ms())
            if left > 0:
                await asyncio.sleep_ms(min(left, _WATCH_MS))
                continue
            # The application may have held up the loop itself: let what has arrived meanwhile count first.
            deadline = self._deadline
            await asyncio.sleep_ms(_WATCH_MS)
            if self._deadline == deadline:
                seconds = self._patience_ms / 1000
                self._stop(self._failure(f"nothing came for {seconds:g} s: is the network up?", errno.ETIMEDOUT))
                return

    def _stop(self, error):
        self._stopped = error
        self._task.cancel()

    def _arm(self, timeout_ms):
        self._patience_ms = timeout_ms
        self._deadline = ticks_add(ticks_ms(), timeout_ms)

    def _failure(self, what, number=None):
        return TransferError(f"FTP server {self._host}:{self._port}: {what}", number)

    def _broken(self, error):
        return self._failure(explain(error), error.errno)

    def _refusal(self, line, code, text):
        # The error that the server's reply to `line` makes.
        if line.startswith(("USER ", "PASS ")):
            line = f"the login of {self._user} (check user and password)"
        answer = "refused" if code >= 400 else "gave no fitting answer to"
        text = self._quote(f"{code} {text}")
        text = f"FTP server {self._host}:{self._port} {answer} {line}: {text}"
        return FtpError(text, code) if code >= 400 else ProtocolError(text)

    def _quote(self, text):
        # The server's words for one line of an error, without the password if it sends that back.
        if self._password and self._user != "anonymous":
            text = text.replace(self._password, "***")
        return "".join(c if c >= " " else " " for c in text[:200])

    # The control connection

    async def _log_in(self):
        await self._open_session()
        code, text = await self._reply()
        while code == 120:  # it will be ready in a while; the deadline holds
            code, text = await self._reply()
        if code != 220:
            raise self._refusal("a session", code, text)
        code, text = await self._command("USER " + self._user, (2, 3))
        if code == 331:
            code, text = await self._command("PASS " + self._password, (2, 3))
        if code >= 300:
            raise self._refusal("a login with user and password alone", code, text)
        # Many servers speak UTF-8 without being asked, and refuse the question (RFC 2640).
        await self._command("OPTS UTF8 ON", (2, 3, 4, 5))
        await self._command("TYPE I")
        if self.folder is not None:
            await self._command("CWD " + self.folder)
        self._addresses = [self._session.address]

    async def _open_session(self):
        # Until the login has come through, no address counts as the right one.
        addresses, self._addresses = self._addresses or self._resolve(), None
        failure = None
        for address in addresses:
            self._arm(2 * self._timeout_ms)
            try:
                sock = await connect_socket(address, self._port, self._timeout_ms)
            except OSError as error:
                failure = error
                continue
            self._session = ControlConnection(sock, address)
            self._arm(self._timeout_ms)
            return
        raise self._broken(failure)

    def _resolve(self):
        # Blocks: MicroPython has no other name look-up.
        try:
            found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)
        except OSError as error:
            # The Unix port puts text where others put a number.
            number = error.errno if isinstance(error.errno, int) else None
            raise self._failure("its name cannot be looked up: is it right, is the network up?", number)
        addresses = []
        for entry in found:
            address = _numeric(entry[-1])
            if address not in addresses:
                addresses.append(address)
        return addresses

    async def _command(self, line, good=(2,)):
        # Sends a command; gives its reply as (code, text). The first digit must be among `good`.
        session = self._session
        self._arm(self._timeout_ms)
        self._check_in_step()
        try:
            session.stream.write((line + "\r\n").encode())
            await session.stream.drain()
        except OSError as error:
            raise self._broken(error)
        code, text = await self._reply()
        # 226 is the late end of the transfer before, unless this is a transfer itself.
        if code == 421 or code // 100 not in good or (code == 226 and 1 not in good):
            raise self._refusal(line, code, text)
        return code, text

    def _check_in_step(self):
        # Before a command nothing may have come: it would be taken for the answer.
        session = self._session
        buffer = bytearray(128)
        try:
            n = session.socket.readinto(buffer)
        except OSError as error:
            raise self._broken(error)
        self._hear(buffer, n)
        reply = session.replies.next()
        if reply is not None and reply[0] == 421:
            raise self._refusal("to go on", *reply)
        if reply is not None or not session.replies.is_idle():
            raise self._failure("it sent a reply that nothing had asked for")

    async def _reply(self):
        # The next reply as (code, text), by the deadline that is set.
        session = self._session
        buffer = bytearray(128)
        while True:
            reply = session.replies.next()
            if reply is not None:
                self._answered = reply[0] != 421
                self._epsv_asked = False
                return reply
            try:
                n = session.socket.readinto(buffer)
                if n is None:
                    n = await session.stream.readinto(buffer)
            except OSError as error:
                raise self._broken(error)
            self._hear(buffer, n)
            await asyncio.sleep_ms(0)  # a server that never pauses must not hold up the watch

    def _hear(self, buffer, n):
        # Takes what a read of the control connection gave.
        if n == 0:
            raise self._failure("it closed the session without an answer: try again later")
        if n:
            try:
                self._session.replies.feed(buffer[:n])
            except ProtocolError as error:
                raise ProtocolError(f"FTP server {self._host}:{self._port}: {self._quote(str(error))}")

    async def _nothing(self):
        pass


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
            await asyncio.sleep_ms(5)
        if events[0][1] & (select.POLLERR | select.POLLHUP):
            sock.read(1)  # raises the error that the connection ended in
            raise OSError(errno.ECONNREFUSED)
        return sock
    except BaseException:
        sock.close()
        raise


def _numeric(target):
    # The address in what getaddrinfo gives: a tuple on boards, a packed sockaddr on the Unix port.
    if isinstance(target, tuple):
        return target[0]
    family, packed = socket.sockaddr(target)[:2]
    return socket.inet_ntop(family, packed)
