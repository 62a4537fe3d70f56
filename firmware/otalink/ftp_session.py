"""A session with an FTP server (RFC 959, RFC 2428, RFC 3659): login, commands and replies, and files fetched by it.

It has what a download needs, and no more; `ftp.py` has the other commands, `ftp_tls.py` TLS. The application goes on
while it works.

Rules that it keeps:
- Every stage has a deadline, the banner included. One task a command watches the clock, so that no read needs a
  timeout of its own.
- A transfer has succeeded when the data has ended *and* the server said 226 *and* the promised length came. Each of
  them alone lies.
- After anything unexpected the session is dropped, and the next command logs in anew.
- Data may take its time, but not stall.
- Data connections go to the address of the control connection, whatever the server says.
- Moving data allocates nothing: one buffer of the caller's, filled in place and handed to a callable. A socket is read
  by itself first, and waited for by asyncio's stream when nothing is there, which allocates.

`connect.py` makes every socket. ftp_tls.py takes the control connection over to TLS in mid-stream,
ftp_tls_data.py those for data.
"""

import asyncio
from time import ticks_add, ticks_diff, ticks_ms

from micropython import const

from otalink.connect import connect_socket
from otalink.errors import FtpError, OtaError, ProtocolError, TransferError
from otalink.ftp_reply import ReplyParser, check_argument, parse_epsv
from otalink.phase import call, run, start

# How long the watch task sleeps at the most: how late it can notice a deadline.
_WATCH_MS = const(100)
# A transfer that never waits for the network must still let the application run: at the least this often.
_YIELD_MS = const(10)
# So many bytes of the control connection are read at once.
_REPLY = const(64)


class FtpSession:
    """A session with one server, which logs in when a command needs it, and anew when it was dropped.

    `timeout` bounds each stage (connection, banner, each reply), `stall` the time without a byte of data; seconds.
    `tls` is None, or what tls_setup.check gives. One command at a time. The errors are TransferError (trying again may
    help; FtpError has the server's code) and ProtocolError; a path that would smuggle in a second command is a
    ValueError.

    A subclass runs each of its commands by `_run`, and calls `_arm` at each stage.
    """

    # A subclass may know how to ask for the size of a file, and whether to.
    asks_size = False

    def __init__(self, host, port=21, user="anonymous", password="otalink", timeout=10, stall=30, tls=None):
        for text in (host, user, password):
            check_argument(text)
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._timeout_ms = int(timeout * 1000)
        self._stall_ms = int(stall * 1000)
        self.tls = tls
        # The control connection: its socket, the address that it goes to, the replies that came over it.
        self._control = self._address = self._replies = None
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
        self._is_leaving = False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await self.quit()

    def connect(self):
        """Connects and logs in, unless that has been done. Await it."""
        return self._run(asyncio.sleep_ms, 0)

    def retrieve(self, path, buffer, sink, offset=0, size=None):
        """Fetches a file from byte `offset` on: `sink(view)` takes it piece by piece. Gives the bytes it took.

        `buffer` is the caller's bytearray; a view of it is good only while `sink` runs. `sink` is no coroutine, and
        what it raises ends the transfer. When it returns True it has all that it wants: the transfer stops there, and
        nothing is promised about the rest. `size` is the length that the file must have, in bytes; None: it is not
        known (an FtpClient asks for it).
        Await it. A server without REST is read from the start, and what comes before `offset` is dropped.
        ResumeError: the file is now shorter than `offset`, or the server ignored REST, so that `sink` took the wrong
        bytes: start this file over.
        """
        return self._run(self._retrieve, path, buffer, sink, offset, size)

    async def quit(self):
        """Says goodbye, if there is a session, and closes it. Raises nothing."""
        if self._control is not None and self._task is None:
            self._is_leaving = True
            try:
                await self._run(self._command, "QUIT")
            except OtaError:
                pass
            finally:
                self._is_leaving = False
        self.close()

    def close(self):
        """Drops the session at once. The client can be used again: the next command logs in.

        A command that another task has under way ends with a TransferError.
        """
        if self._task is not None:
            self._answered, self._epsv_asked = True, False  # no second try
            self._stopped = self._failure("closed")
            self._task.cancel()
            return
        if self._data is not None:
            self._data.close()
            self._data = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def suspend(self, link):
        """Puts the session into the list `link`, for `resume`: so it goes to another object, as data alone.

        Whoever has the list closes the socket in it, its first element, unless that is None.
        """
        if self._control is not None and not self._replies.is_idle():
            self.close()
        link[:] = self._control, self._address, self._addresses, self.folder, self._has_epsv, self._has_rest, self.tls
        self._control = None

    def resume(self, link):
        """Takes the session out of `link`."""
        control, address, self._addresses, self.folder, self._has_epsv, self._has_rest, self.tls = link
        link.clear()
        if control is not None:
            self._take(control, address)

    # The frame around every command: its session, its watch, its errors

    async def _run(self, function, *arguments):
        if self._task is not None:
            raise ValueError("one FTP command at a time")
        for argument in arguments:
            if isinstance(argument, str):
                check_argument(argument)
        while True:
            fresh = self._control is None
            self._stopped = None
            self._answered = self._epsv_asked = False
            self._arm(self._timeout_ms)
            self._task = asyncio.current_task()
            watch = logged_in = in_step = None
            try:
                try:
                    watch = start(self._watch())
                    if fresh:
                        await run("ftp_login.log_in", self)
                        self._answered = False
                    logged_in = True
                    result = await function(*arguments)
                    in_step = True
                    return result
                except FtpError as error:
                    # A plain refusal leaves the session in step; one in the middle of a transfer does not, and 4xx may
                    # be the late end of the transfer before.
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
            except TransferError:
                # Two failures are none of this command's: a session that had died while it was idle, and a server that
                # never answers EPSV.
                alive = fresh or self._answered or self._is_leaving
                if alive and not self._epsv_asked:
                    raise
                if alive:
                    self._has_epsv = False

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
                self._stopped = self._failure("silent", self._patience_ms / 1000)
                self._task.cancel()
                return

    def _arm(self, timeout_ms):
        self._patience_ms = timeout_ms
        self._deadline = ticks_add(ticks_ms(), timeout_ms)

    def _failure(self, key, *arguments):
        return call("ftp_errors.failure", self, key, arguments)

    def _refusal(self, line, code, text):
        return call("ftp_errors.refusal", self, line, code, text)

    # The control connection

    def _take(self, sock, address):
        self._control = sock
        self._address = address
        self._replies = ReplyParser()

    async def _command(self, line, good=(2,)):
        # Sends a command; gives its reply as (code, text). The first digit must be among `good`.
        self._arm(self._timeout_ms)
        # Before it nothing may have come: that would be taken for the answer.
        self._hear(bytearray(_REPLY))
        reply = self._replies.next()
        if reply is not None or not self._replies.is_idle():
            raise call("ftp_errors.unasked", self, reply)
        stream = asyncio.StreamReader(self._control)  # it writes as well
        try:
            stream.write((line + "\r\n").encode())
            await stream.drain()
        except OSError as error:
            raise self._failure("broken", error)
        code, text = await self._reply()
        # 226 is the late end of the transfer before, unless this is a transfer itself.
        if code == 421 or code // 100 not in good or (code == 226 and 1 not in good):
            raise self._refusal(line, code, text)
        return code, text

    async def _reply(self):
        # The next reply as (code, text), by the deadline that is set.
        buffer = bytearray(_REPLY)
        while True:
            reply = self._replies.next()
            if reply is not None:
                self._answered = reply[0] != 421
                self._epsv_asked = False
                return reply
            if self._hear(buffer):
                await asyncio.sleep_ms(0)  # a server that never pauses must not hold up the watch
            else:
                await readable(self._control)

    def _hear(self, buffer):
        # Takes what is there of the control connection; gives the bytes, or None.
        try:
            n = self._control.readinto(buffer)
        except OSError as error:
            raise self._failure("broken", error)
        if n == 0:
            raise self._failure("ended")
        if n:
            try:
                self._replies.hear(buffer[:n])
            except ProtocolError as error:
                raise call("ftp_errors.nonsense", self, error)
        return n

    # Data connections

    async def _open_data(self, size=None):
        # `size` is that of the file, if it is known: then its data needs no end.
        address = self._address
        only_epsv = ":" in address  # PASV knows no IPv6
        port = None
        if self._has_epsv or only_epsv:
            self._epsv_asked = not only_epsv
            code, text = await self._command("EPSV", (2,) if only_epsv else (2, 5))
            if code < 300:
                port = parse_epsv(text)
        # Some routers let only PASV through: unless this connection is made, the next one goes that way.
        had_epsv, self._has_epsv = port is not None, False
        if port is None:
            code, text = await self._command("PASV")
            port = call("ftp_facts.parse_pasv", text)
        self._arm(2 * self._timeout_ms)
        try:
            self._data = await connect_socket(address, port, self._timeout_ms)
        except OSError as error:
            raise self._failure("no data", port, error)
        self._has_epsv = had_epsv
        if self.tls and self.tls[-1]:
            self._data = call("ftp_tls_data.wrap", self, size)

    async def _finish(self, line, final):
        # The data has ended: what does the server say? What it still has to write may take its time.
        self._data.close()
        self._arm(max(self._timeout_ms, self._stall_ms))
        while final[0] < 200:
            final = await self._reply()
        if final[0] not in (226, 250):
            raise self._refusal(line, *final)
        self._data = None

    async def _receive(self, line, buffer, sink, offset, size):
        # Moves the data into `sink`, but for the first `offset` bytes. Gives the bytes that came, those included, and
        # whether `sink` stopped it.
        data = self._data
        view = memoryview(buffer)
        room = len(buffer)
        got = 0
        yielded = ticks_ms()
        # Armed right before each wait: a slow sink counts as no stall.
        while True:
            try:
                n = data.readinto(buffer)
                if n is None:
                    self._arm(self._stall_ms)
                    await readable(data)
                    yielded = ticks_ms()
                    continue
            except OSError as error:
                raise await run("ftp_errors.broken_data", self, line, error)
            if n == 0 or (size is not None and got + n > size):
                return got + n, False
            if offset < got + n:
                start = max(0, offset - got)
                if sink(buffer if start == 0 and n == room else view[start:n]) is True:
                    return got + n, True
            got += n
            # Under TLS nothing may come behind it, not even the end.
            if got == size and hasattr(data, "readable"):
                return got, False
            if ticks_diff(ticks_ms(), yielded) >= _YIELD_MS:
                self._arm(self._stall_ms)
                await asyncio.sleep_ms(0)
                yielded = ticks_ms()

    async def _retrieve(self, path, buffer, sink, offset, size):
        if size is None and self.asks_size:
            size = await self._fact("SIZE", path)
        if size is not None and 0 < offset >= size:
            if offset > size:
                raise self._failure("replaced", path, size, offset)
            return 0
        await self._open_data(size)
        skip = offset
        if offset and self._has_rest and size is not None:
            # Right before RETR, as RFC 3659 section 5.3 has it. Where the length is not known, nothing would tell that
            # a server which says yes does not heed it.
            code, _ = await self._command(f"REST {offset}", (3, 5))
            if code == 350:
                skip = 0
            else:
                self._has_rest = code > 504
        line = "RETR " + path
        final = await self._command(line, (1, 2))
        promised = None if size is None else size - offset + skip
        got, stopped = await self._receive(line, buffer, sink, skip, promised)
        if stopped:
            await run("ftp_stop.stop", self, final)
            return max(0, got - skip)
        if promised is None or got <= promised:
            await self._finish(line, final)
            if got >= skip and promised in (None, got):
                return got - skip
        raise call("ftp_errors.wrong_length", self, path, got - skip, offset, size, skip)


def readable(sock):
    """Await it: until there is something to read on the socket, or an end or an error of the connection."""
    # A data connection over TLS knows best by itself (ftp_tls_data.py).
    return sock.readable() if hasattr(sock, "readable") else asyncio.StreamReader(sock).read(0)
