"""The FTP client's commands and transfers (RFC 959, RFC 2428, RFC 3659); the application goes on while they work.

Rules that it keeps:
- A transfer has succeeded when the data has ended *and* the server said 226 *and* the promised length came. Each of
  them alone lies. After anything else the session is dropped, and the next command logs in anew.
- Data may take its time, but not stall.
- Data connections go to the address of the control connection, whatever the server says.
- Moving data allocates nothing: one buffer of the caller's, filled in place and handed to a callable.
"""

import asyncio
from time import ticks_diff, ticks_ms

from otalink.errors import FtpError, OtaError, ProtocolError, ResumeError
from otalink.ftp_reply import (
    LineSplitter,
    check_argument,
    parse_epsv,
    parse_mdtm,
    parse_mlsd_line,
    parse_nlst_line,
    parse_pasv,
    parse_size,
)
from otalink.ftp_session import FtpSession, connect_socket, explain

# A transfer that never waits for the network must still let the application run: at the least this often.
_YIELD_MS = 10
# A listing without end stops here.
_LISTING_MAX = 131072
_ENTRIES_MAX = 500
# How often a full connection is tried again.
_FULL_MS = 5
# The server's word on a broken data connection is worth a short wait, no more.
_LAST_WORD_MS = 2000


class FtpClient(FtpSession):
    """A client of one FTP server, which logs in when a command needs it, and anew when the session was dropped.

    `timeout` bounds each stage (connection, banner, each reply), `stall` the time without a byte of data; seconds.
    One command at a time. The errors are TransferError (trying again may help; FtpError has the server's code) and
    ProtocolError; a path that would smuggle in a second command is a ValueError.
    """

    async def noop(self):
        """Asks the server for nothing; the session lives on."""
        await self._run(self._command, "NOOP")

    async def cwd(self, folder):
        """Makes `folder` the one that later paths are relative to, in later sessions too."""
        check_argument(folder)
        await self._run(self._cwd, folder)

    async def size(self, path):
        """The size of a file in bytes, or None when the server cannot tell. FtpError (550) when there is none."""
        check_argument(path)
        return await self._run(self._size, path)

    async def mdtm(self, path):
        """The time at which a file changed, as YYYYMMDDHHMMSS in UTC, or None when the server cannot tell."""
        check_argument(path)
        return await self._run(self._mdtm, path)

    async def nlst(self):
        """The names in the current folder, as a list; folders' names too, which NLST cannot tell apart."""
        return await self._run(self._nlst)

    async def mlsd(self):
        """The current folder as a list of (name, type, size, modify); see ftp_reply.parse_mlsd_line.

        FtpError when the server lacks MLSD (code 500 to 504): `nlst` is what is left.
        """
        return await self._run(self._mlsd)

    async def retrieve(self, path, buffer, sink, offset=0, size=None):
        """Fetches a file from byte `offset` on: `sink(view)` takes it piece by piece. Returns the bytes it took.

        `buffer` is the caller's bytearray; a view of it is good only while `sink` runs. `sink` is no coroutine, and
        what it raises ends the transfer. `size` is the length that the file must have, in bytes; None asks the server.
        A server without REST is read from the start, and what comes before `offset` is dropped.
        ResumeError: the file is now shorter than `offset`, or the server ignored REST, so that `sink` took the wrong
        bytes: start this file over.
        """
        check_argument(path)
        return await self._run(self._retrieve, path, buffer, sink, offset, size)

    async def store(self, path, source, buffer):
        """Sends what `source.readinto(buffer)` gives until it gives 0, as the file `path`. Returns its bytes."""
        check_argument(path)
        return await self._run(self._store, path, source, buffer)

    async def _cwd(self, folder):
        await self._command("CWD " + folder)
        self.folder = folder if folder[:1] == "/" or self.folder is None else f"{self.folder}/{folder}"

    async def _size(self, path):
        code, text = await self._command("SIZE " + path, (2, 5))
        return parse_size(text) if self._can_tell("SIZE " + path, code, text) else None

    async def _mdtm(self, path):
        code, text = await self._command("MDTM " + path, (2, 5))
        return parse_mdtm(text) if self._can_tell("MDTM " + path, code, text) else None

    def _can_tell(self, line, code, text):
        # 500 to 504: the server does not have the command at all (RFC 959 section 4.2.2).
        if code == 550 or code > 504:
            raise self._refusal(line, code, text)
        return code == 213

    # Data connections

    async def _open_data(self):
        address = self._session.address
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
            port = parse_pasv(text)
        self._arm(2 * self._timeout_ms)
        try:
            self._data = await connect_socket(address, port, self._timeout_ms)
        except OSError as error:
            raise self._failure(f"no data connection to its port {port}: {explain(error)}", error.errno)
        self._has_epsv = had_epsv

    async def _start(self, line):
        # Sends the command that moves data; gives the final reply, if the server sent it at once.
        code, text = await self._command(line, (1, 2))
        return None if code < 200 else (code, text)

    async def _finish(self, line, final):
        # The data has ended: what does the server say? What it still has to write may take its time.
        self._data.close()
        self._arm(max(self._timeout_ms, self._stall_ms))
        while final is None or final[0] < 200:
            final = await self._reply()
        if final[0] not in (226, 250):
            raise self._refusal(line, *final)
        self._data = None

    async def _broken_data(self, line, error):
        # The data connection broke; the server's reply, if it still comes, says why.
        self._arm(min(self._timeout_ms, _LAST_WORD_MS))
        try:
            code, text = await self._reply()
        except OtaError:
            code = 0
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            code = 0
        return self._refusal(line, code, text) if code >= 400 else self._broken(error)

    async def _receive(self, line, buffer, sink, skip, promised):
        # Moves the data into `sink`, but for the first `skip` bytes. Gives the bytes that came, the skipped included.
        data = self._data
        stream = asyncio.StreamReader(data)
        view = memoryview(buffer)
        size = len(buffer)
        got = 0
        yielded = ticks_ms()
        self._arm(self._stall_ms)
        while True:
            try:
                n = data.readinto(buffer)
                if n is None:
                    n = await stream.readinto(buffer)
                    yielded = ticks_ms()
                    if n is None:
                        continue
            except OSError as error:
                raise await self._broken_data(line, error)
            if n == 0:
                return got
            if promised is not None and got + n > promised:
                return got + n
            if skip < got + n:
                start = max(0, skip - got)
                sink(buffer if start == 0 and n == size else view[start:n])
            got += n
            # From here on, so that a slow sink counts as no stall.
            self._arm(self._stall_ms)
            if ticks_diff(ticks_ms(), yielded) >= _YIELD_MS:
                await asyncio.sleep_ms(0)
                yielded = ticks_ms()

    async def _retrieve(self, path, buffer, sink, offset, size):
        if size is None:
            size = await self._size(path)
        if size is not None and 0 < offset >= size:
            if offset > size:
                raise ResumeError(f"{path} has {size} bytes on the server, and {offset} are here: it was replaced")
            return 0
        await self._open_data()
        skip = offset
        if offset and self._has_rest:
            # Right before RETR, as RFC 3659 section 5.3 has it.
            code, _ = await self._command(f"REST {offset}", (3, 5))
            if code == 350:
                skip = 0
            else:
                self._has_rest = code > 504
        line = "RETR " + path
        final = await self._start(line)
        promised = None if size is None else size - offset + skip
        got = await self._receive(line, buffer, sink, skip, promised)
        if promised is not None and got > promised:
            if offset > skip:
                self._has_rest = False
                raise ResumeError(f"{path}: more came from byte {offset} on than there is: the server ignores REST")
            raise self._failure(f"{path} is longer than the {size} bytes it promised: was it replaced?")
        await self._finish(line, final)
        if promised is not None and got < promised:
            raise self._failure(
                f"{path} ended after {offset - skip + got} of {size} bytes although the server says it is whole"
            )
        if got < skip:
            raise ResumeError(f"{path} has {got} bytes on the server, and {offset} are here: it was replaced")
        return got - skip

    async def _store(self, path, source, buffer):
        await self._open_data()
        line = "STOR " + path
        final = await self._start(line)
        data = self._data
        view = memoryview(buffer)
        sent = 0
        while True:
            size = source.readinto(buffer)
            if not size:
                break
            # From here on, and after every piece: neither a slow source nor a slow reader is a stall.
            self._arm(self._stall_ms)
            start = 0
            while start < size:
                try:
                    n = data.write(view[start:size])
                except OSError as error:
                    raise await self._broken_data(line, error)
                if n:
                    start += n
                    self._arm(self._stall_ms)
                await asyncio.sleep_ms(0 if n else _FULL_MS)
            sent += size
        await self._finish(line, final)
        size = await self._size(path)
        if size is not None and size != sent:
            raise self._failure(f"{path} has {size} bytes there although {sent} were sent")
        return sent

    async def _listing(self, line, parse):
        # What `parse` makes of the lines of a listing, None left out.
        await self._open_data()
        try:
            final = await self._start(line)
        except FtpError:
            # A server that lacks the command, or calls an empty folder an error: the session goes on.
            self._data.close()
            self._data = None
            raise
        splitter = LineSplitter()
        entries = []
        total = 0

        def take(view):
            nonlocal total
            total += len(view)
            for row in splitter.feed(view):
                add(row)
            if total > _LISTING_MAX:
                raise ProtocolError(f"the server sent a listing of over {_LISTING_MAX} bytes: empty the folder")

        def add(row):
            entry = parse(row)
            if entry is not None:
                if len(entries) == _ENTRIES_MAX:
                    raise ProtocolError(f"the folder holds over {_ENTRIES_MAX} names: move some to another")
                entries.append(entry)

        await self._receive(line, bytearray(512), take, 0, None)
        await self._finish(line, final)
        rest = splitter.end()
        if rest:
            add(rest)
        return entries

    async def _nlst(self):
        try:
            return await self._listing("NLST", parse_nlst_line)
        except FtpError as error:
            # What several servers say of a folder with nothing in it: a plain refusal, not the end of a transfer.
            if error.code not in (450, 550) or self._data is not None:
                raise
            return []

    async def _mlsd(self):
        return await self._listing("MLSD", parse_mlsd_line)
