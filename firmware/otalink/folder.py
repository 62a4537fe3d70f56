"""A plain folder on a server (note 18's form of a release), as a board sees it: what it offers, and what changed.

It fetches listings and SHA256SUMS, never the files themselves; `plain.py` has the rules.
"""

import hashlib

from otalink.errors import FolderChangedError, FtpError, ProtocolError, ReleaseError, TransferError
from otalink.ftp_reply import LineSplitter
from otalink.plain import SUMS, is_ordinary, parse_sums_line, select, target_path
from otalink.plan import check_folders

# Some 400 files: more than that, no board can hold in its head.
_SUMS_MAX = 32768


class FolderRelease:
    """What a plain folder offers: `name`, `version` (four ints), and its files.

    `messages` are lines about what the last look passed over. `files` is None until `read_files` has been awaited, then
    a list of [path, filename on the server, digest or None, size in bytes or None], sorted by path.
    """

    def __init__(self, name, version, versioned, messages):
        self.name = name
        self.version = version
        self.messages = messages
        self.files = None
        self._versioned = versioned
        self._fingerprint = None

    async def read_files(self, client, buffer):
        """Learns from the server which files belong to the release.

        Raises FolderChangedError when it offers another one by now, else TransferError or ReleaseError.
        """
        found = {}
        self.messages = []
        self._fingerprint = await self._look(client, buffer, found, self.messages)
        if self._fingerprint is None:
            raise FolderChangedError("the folder on the server offers another release by now")
        self.files = []
        by_path = {}
        for filename, (digest, size) in found.items():
            path = target_path(filename, self._versioned)
            if path in by_path:
                raise ReleaseError(f"{by_path[path]} and {filename} would both be {path} on the board: remove one")
            by_path[path] = filename
            self.files.append([path, filename, digest, size])
        self.files.sort(key=lambda file: file[0])
        check_folders([file[0] for file in self.files])

    async def changed(self, client, buffer):
        """True when the folder is no longer what `read_files` saw."""
        return await self._look(client, buffer, None, []) != self._fingerprint

    async def _look(self, client, buffer, found, messages):
        # Gives a fingerprint of the release, None when it is no longer the one that is offered. Fills the dict `found`,
        # unless it is None, with (digest, size) by filename.
        listing = await _list(client)
        if _select(listing, self.name)[0] != self._versioned:
            return None
        sha256 = hashlib.sha256(self._versioned.encode())
        if SUMS in listing:
            await self._read_sums(client, buffer, sha256, listing, found)
        else:
            await self._read_listing(client, sha256, listing, found, messages)
        return sha256.digest()

    async def _read_sums(self, client, buffer, sha256, listing, found):
        splitter = LineSplitter()
        total = 0

        def take(view):
            nonlocal total
            total += len(view)
            if total > _SUMS_MAX:
                raise ReleaseError(f"{SUMS} is over {_SUMS_MAX} bytes: a board cannot hold so many files")
            sha256.update(view)
            if found is not None:
                try:
                    lines = splitter.feed(view)
                except ProtocolError:
                    raise ReleaseError(f"{SUMS} is no list of files: it has a line without end")
                for line in lines:
                    enter(line)

        def enter(line):
            entry = parse_sums_line(line)
            if entry is None or not self._belongs(entry[0]):
                return
            filename, digest = entry
            if filename in found:
                raise ReleaseError(f"{SUMS} lists {filename} twice")
            found[filename] = (digest, listing.get(filename, ("", None))[1])

        await client.retrieve(SUMS, buffer, take)
        if found is None:
            return
        enter(splitter.end() or b"")
        if self._versioned not in found:
            # Published files come first, the versioned one last: somebody is at it.
            raise TransferError(
                f"{SUMS} does not list {self._versioned}: the folder is being published, or left half done"
            )

    async def _read_listing(self, client, sha256, listing, found, messages):
        for filename in sorted(listing):
            if not self._belongs(filename):
                continue
            kind, size, modify = listing[filename]
            if kind is None:  # NLST gives folders' names too
                kind, size = await _probe(client, filename)
            if kind == "dir":
                if filename == self._versioned:
                    raise ReleaseError(f"{filename} is a folder: a release is a file of that name")
                messages.append(f"passed over {filename}: folders need a {SUMS} beside them")
                continue
            if not modify:
                modify = await client.mdtm(filename)
            sha256.update(f"{filename}/{size}/{modify}\n".encode())
            if found is not None:
                found[filename] = (None, size)

    def _belongs(self, filename):
        return filename == self._versioned or is_ordinary(filename, self.name)


async def offered(client, name):
    """The FolderRelease that the client's current folder offers for the application `name`; None when there is none.

    Raises ReleaseError when the folder does not say clearly what is offered.
    """
    versioned, version, messages = _select(await _list(client), name)
    if versioned is None:
        if messages:
            raise ReleaseError(f"no release of {name} in the folder: {messages[0]}")
        return None
    return FolderRelease(name, version, versioned, messages)


def _select(listing, name):
    return select([filename for filename, (kind, _, _) in listing.items() if kind != "dir"], name)


async def _list(client):
    # The folder as a dict: (kind, size, modify) by filename; None and "" stand for what the server does not tell.
    listing = {}
    try:
        for filename, kind, size, modify in await client.mlsd():
            if kind not in ("cdir", "pdir"):
                listing[filename] = ("dir" if kind == "dir" else "file", size, modify)
    except FtpError as error:
        if not 500 <= error.code <= 504:
            raise
        for filename in await client.nlst():
            listing[filename] = (None, None, "")
    return listing


async def _probe(client, filename):
    # (kind, size) of what NLST named. A folder has no size, and can be entered.
    size = None
    try:
        size = await client.size(filename)
    except FtpError as error:
        if error.code != 550:
            raise
        refusal = error
    else:
        if size is not None:
            return "file", size
        refusal = None
    folder = client.folder
    try:
        await client.cwd(filename)
    except FtpError as error:
        if error.code != 550:
            raise
        if refusal is not None:
            raise ReleaseError(f"{filename} is in the listing and cannot be read: check its permissions")
        return "file", None
    # Back by a new session: the folder may be relative to where a login begins.
    client.folder = folder
    client.close()
    return "dir", None
