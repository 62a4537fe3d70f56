"""The FTP client's listings, and the times of files: loaded when they are used. `FtpClient` says what each gives."""

from otalink.errors import FtpError, ProtocolError
from otalink.ftp_facts import parse_mdtm, parse_mlsd_line, parse_nlst_line
from otalink.ftp_reply import LineSplitter

# A listing without end stops here.
_LISTING_MAX = 131072
_ENTRIES_MAX = 500


async def rows(client, command, take):
    await client._open_data()
    try:
        final = await client._start(command)
    except FtpError as error:
        # A server that lacks the command, or calls an empty folder an error: the session goes on.
        client._data.close()
        client._data = None
        if command == "NLST" and error.code in (450, 550):
            # What several servers say of a folder with nothing in it.
            return
        raise
    splitter = LineSplitter()
    total = 0

    def sink(view):
        nonlocal total
        total += len(view)
        for row in splitter.feed(view):
            take(row)
        if total > _LISTING_MAX:
            raise ProtocolError(f"the server sent a listing of over {_LISTING_MAX} bytes: empty the folder")

    await client._receive(command, bytearray(512), sink, 0, None)
    await client._finish(command, final)
    rest = splitter.end()
    if rest:
        take(rest)


async def _entries(client, command, parse):
    # What `parse` makes of the lines of a listing, None left out.
    entries = []

    def take(row):
        entry = parse(row)
        if entry is not None:
            if len(entries) == _ENTRIES_MAX:
                raise ProtocolError(f"the folder holds over {_ENTRIES_MAX} names: move some to another")
            entries.append(entry)

    await rows(client, command, take)
    return entries


async def nlst(client):
    return await _entries(client, "NLST", parse_nlst_line)


async def mlsd(client):
    return await _entries(client, "MLSD", parse_mlsd_line)


async def mdtm(client, path):
    code, text = await client._command("MDTM " + path, (2, 5))
    return parse_mdtm(text) if client._can_tell("MDTM " + path, code, text) else None
