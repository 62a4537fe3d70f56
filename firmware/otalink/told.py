"""What a server that tells only names says when it is asked about each file. Loaded where nothing else says it: where
there is neither MLSD nor SHA256SUMS; see phase.py."""

from otalink.errors import FtpError


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
