"""A plain folder on a server (note 18's form of a release): which of its files belong to the release that it offers.

It fetches SHA256SUMS, never the files themselves.
"""

from otalink.errors import FtpError, ProtocolError, ReleaseError, TransferError
from otalink.fingerprint import fingerprint, name_of
from otalink.ftp_facts import parse_mlsd_line
from otalink.ftp_reply import LineSplitter
from otalink.sums import SUMS, is_ordinary, parse_sums_line


async def read(client, name, versioned, listing, buffer, say):
    """Learns which files belong to the release of `name` whose versioned file is `versioned`.

    Gives (files, fingerprint): a list of [filename, digest or None, size in bytes or None], and what tells whether the
    folder has changed. Raises TransferError or ReleaseError.
    """
    command, rows = listing
    found = {}
    sizes = {}
    folders = []
    splitter = LineSplitter()

    def belongs(filename):
        return filename == versioned or is_ordinary(filename, name)

    def take(view):
        try:
            lines = splitter.feed(view)
        except ProtocolError:
            raise ReleaseError(f"{SUMS} is no list of files: it has a line without end")
        for line in lines:
            enter(line)

    def enter(line):
        entry = parse_sums_line(line)
        if entry is not None and belongs(entry[0]):
            filename, digest = entry
            if filename in found:
                raise ReleaseError(f"{SUMS} lists {filename} twice")
            found[filename] = [filename, digest, sizes.get(filename)]

    def told(filename, size):
        sizes[filename] = size

    has_sums = False
    for row in rows:
        if name_of(command, row) == SUMS:
            has_sums = True
        elif command == "MLSD":
            entry = parse_mlsd_line(row)
            if entry is not None and entry[1] == "dir":
                folders.append(entry[0])
            elif entry is not None and entry[1] not in ("cdir", "pdir"):
                sizes[entry[0]] = entry[2]
    # First of all: what changes from here on will be seen at the end.
    mark = await fingerprint(client, name, versioned, listing, buffer, take, told)
    if has_sums:
        enter(splitter.end() or b"")
        if versioned not in found:
            # Published files come first, the versioned one last: somebody is at it.
            raise TransferError(f"{SUMS} does not list {versioned}: the folder is being published, or left half done")
        return list(found.values()), mark
    for filename, size in sizes.items():
        if belongs(filename):
            if command == "NLST" and (size is None or size is False) and await _is_folder(client, filename, size):
                folders.append(filename)
            else:
                found[filename] = [filename, None, size]
    for filename in sorted(folders):
        if filename == versioned:
            raise ReleaseError(f"{filename} is a folder: a release is a file of that name")
        if belongs(filename):
            say(f"passed over {filename}: folders need a {SUMS} beside them")
    return list(found.values()), mark


async def _is_folder(client, filename, size):
    # NLST gives folders' names too. A folder has no size, and can be entered.
    folder = client.folder
    try:
        await client.cwd(filename)
    except FtpError as error:
        if error.code != 550:
            raise
        if size is False:
            raise ReleaseError(f"{filename} is in the listing and cannot be read: check its permissions")
        return False
    # Back by a new session: the folder may be relative to where a login begins.
    client.folder = folder
    client.close()
    return True
