"""What a server says of a file when it is asked. Loaded where nothing else says it, as MLSD does; see phase.py."""

from otalink.errors import FtpError
from otalink.ftp_facts import parse_mdtm, parse_size


async def fact(session, command, path):
    """The SIZE of a file in bytes, or its MDTM as text, by an FtpSession; None when the server cannot tell."""
    line = f"{command} {path}"
    code, text = await session._command(line, (2, 5))
    # 500 to 504: the server does not have the command at all (RFC 959 section 4.2.2).
    if code == 550 or code > 504:
        raise session._refusal(line, code, text)
    if code != 213:
        return None
    return parse_size(text) if command == "SIZE" else parse_mdtm(text)


async def ask(client, filenames, by_row, tell):
    """Puts size and time of each file into the hash `by_row`. `tell` is as in fingerprint.py."""
    for filename in filenames:
        size = modify = None
        try:
            size = await client.size(filename)
            modify = await client.mdtm(filename)
        except FtpError as error:
            if error.code != 550:
                raise
            size = ""
        by_row.update(f"{size}/{modify}\n")
        if tell is not None:
            tell((filename, size))
