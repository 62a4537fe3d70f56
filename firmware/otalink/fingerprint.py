"""Whether a folder on a server is still what it was: its listing and its SHA256SUMS, as they come, under one hash.

A download looks when it begins and when it ends. This knows no rule about releases, only which names cannot matter, so
that a look in mid-download takes little memory.
"""

import hashlib

from otalink.errors import FtpError, ProtocolError, ReleaseError
from otalink.ftp_reply import text_of

_ROWS_MAX = 500
# Some 400 files: more than that, no board can hold in its head.
_SUMS_MAX = 32768
_SUMS = "SHA256SUMS"


async def rows_of(client):
    """The current folder as (command, lines): the lines of MLSD, or those of NLST where the server knows no MLSD."""
    rows = []

    def take(row):
        if len(rows) == _ROWS_MAX:
            raise ProtocolError(f"the folder holds over {_ROWS_MAX} names: move some to another")
        rows.append(row)

    try:
        await client.rows("MLSD", take)
        return "MLSD", rows
    except FtpError as error:
        if not 500 <= error.code <= 504:
            raise
    await client.rows("NLST", take)
    return "NLST", rows


async def look(client, name, versioned, buffer):
    """The fingerprint of the current folder."""
    return await fingerprint(client, name, versioned, await rows_of(client), buffer)


async def fingerprint(client, name, versioned, listing, buffer, take=None, told=None):
    """The fingerprint of the folder for the application `name` with its file `versioned`.

    `listing` is what `rows_of` gave. `take` is called with SHA256SUMS, piece by piece. Where there is none and the
    server tells only names, `told` is called with each file's name and size (None: not told, False: refused).
    """
    command, rows = listing
    # Where SHA256SUMS says what the files are, only its content and the application's versions count.
    by_name, by_row = hashlib.sha256(), hashlib.sha256()
    names = []
    has_sums = False
    for row in rows:
        filename = name_of(command, row)
        if filename == _SUMS:
            has_sums = True
            continue
        if filename.startswith(name + "_"):
            by_name.update(filename + "\n")
            if filename != versioned:
                continue
        # Hidden files are uploads under way.
        if filename[:1] not in ("", ".") and not filename.endswith(".ota") and b"type=dir;" not in row.lower():
            by_row.update(row + b"\n")
            names.append(filename)
    if has_sums:
        total = 0

        def sink(view):
            nonlocal total
            total += len(view)
            if total > _SUMS_MAX:
                raise ReleaseError(f"{_SUMS} is over {_SUMS_MAX} bytes: a board cannot hold so many files")
            by_name.update(view)
            if take is not None:
                take(view)

        await client.retrieve(_SUMS, buffer, sink)
        return by_name.digest()
    for filename in names if command == "NLST" else ():
        size = modify = None
        try:
            size = await client.size(filename)
            modify = await client.mdtm(filename)
        except FtpError as error:
            if error.code != 550:
                raise
            size = False
        by_row.update(f"{size}/{modify}\n")
        if told is not None:
            told(filename, size)
    by_row.update(by_name.digest())
    return by_row.digest()


def name_of(command, row):
    """The file name in a line of a listing; "" where there is none."""
    text = text_of(row if command == "NLST" else row.partition(b" ")[2])
    return text[text.rfind("/") + 1 :]
