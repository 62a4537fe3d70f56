"""An FTP session that can list a folder and ask about its files (RFC 959, RFC 3659)."""

from micropython import const

from otalink.errors import FtpError, ProtocolError
from otalink.ftp_reply import LineSplitter
from otalink.ftp_session import FtpSession
from otalink.phase import run

# A listing without end stops here.
_LISTING_MAX = const(131072)
_ENTRIES_MAX = const(500)


class FtpListing(FtpSession):
    """An FtpSession that has more commands. While `asks_size`, `retrieve` asks for a size that is not given."""

    asks_size = True

    def size(self, path):
        """The size of a file in bytes, or None when the server cannot tell. FtpError (550) when there is none."""
        return self._run(self._fact, "SIZE", path)

    def mdtm(self, path):
        """The time at which a file changed, as YYYYMMDDHHMMSS in UTC, or None when the server cannot tell."""
        return self._run(self._fact, "MDTM", path)

    def rows(self, command, parse=bytes):
        """The lines of a listing, as bytes, or what `parse` makes of them; `command` is MLSD or NLST."""
        return self._run(self._entries, command, parse)

    def _fact(self, command, path):
        return run("told.fact", self, command, path)

    async def _entries(self, command, parse, chunk=64):
        # What `parse` makes of the lines of a listing, None left out; `chunk` is the size of the buffer.
        await self._open_data()
        try:
            final = await self._command(command, (1, 2))
        except FtpError as error:
            # A server that lacks the command, or calls an empty folder an error: the session goes on.
            self._data.close()
            self._data = None
            if command == "NLST" and error.code in (450, 550):
                # What several servers say of a folder with nothing in it.
                return []
            raise
        splitter = LineSplitter()
        entries = []
        total = 0

        def sink(view):
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

        await self._receive(command, bytearray(chunk), sink, 0, None)
        await self._finish(command, final)
        rest = splitter.end()
        if rest:
            add(rest)
        return entries
