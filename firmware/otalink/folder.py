"""A plain folder on a server (note 18's form of a release), as a board sees it: what it offers, and what changed.

It fetches listings and SHA256SUMS, never the files themselves; `py` has the rules.
"""

import hashlib

from otalink.errors import FtpError, ProtocolError, ReleaseError, TransferError
from otalink.ftp_reply import LineSplitter
from otalink.plain import SUMS, is_ordinary, parse_sums_line, select, target_path
from otalink.plan import check_folders

_SUMS_MAX = 65536


class FolderRelease:
    """What a plain folder offers: `name`, `version` (four ints), and its files.

    `messages` are lines about what was passed over. `files` is None until `read_files` has been awaited, then a list
    of [path, filename on the server, digest or None, size in bytes or None], sorted by path.
    """

    def __init__(self, name, version, versioned, messages, listing):
        self.name = name
        self.version = version
        self.messages = messages
        self.files = None
        self._versioned = versioned
        self._listing = listing
        self._fingerprint = None

    async def read_files(self, client, buffer):
        """Learns from the server which files belong to the release. Raises TransferError or ReleaseError."""
        sha256 = hashlib.sha256(self._versioned.encode())
        if SUMS in self._listing:
            found = await self._read_sums(client, buffer, sha256)
            if self._versioned not in found:
                # Published files come first, the versioned one last: somebody is at it.
                raise TransferError(
                    f"{SUMS} does not list {self._versioned}: the folder is being published, or left half done"
                )
        else:
            found = await self._read_listing(client, sha256)
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
        self._fingerprint = sha256.digest()

    async def changed(self, client, buffer):
        """True when the folder is no longer what `read_files` saw."""
        now = await offered(client, self.name)
        if now is None or now._versioned != self._versioned:
            return True
        await now.read_files(client, buffer)
        return now._fingerprint != self._fingerprint

    async def _read_sums(self, client, buffer, sha256):
        splitter = LineSplitter()
        lines = []
        total = 0

        def take(view):
            nonlocal total
            total += len(view)
            if total > _SUMS_MAX:
                raise ProtocolError(f"{SUMS} is over {_SUMS_MAX} bytes")
            sha256.update(view)
            lines.extend(splitter.feed(view))

        await client.retrieve(SUMS, buffer, take)
        lines.append(splitter.end() or b"")
        found = {}
        for line in lines:
            entry = parse_sums_line(line)
            if entry is None or not self._belongs(entry[0]):
                continue
            filename, digest = entry
            if filename in found:
                raise ReleaseError(f"{SUMS} lists {filename} twice")
            found[filename] = (digest, self._listing.get(filename, ("", None))[1])
        return found

    async def _read_listing(self, client, sha256):
        found = {}
        for filename in sorted(self._listing):
            if not self._belongs(filename):
                continue
            kind, size, modify = self._listing[filename]
            if kind is None:  # NLST gives folders' names too
                kind, size = await self._probe(client, filename)
            if kind == "dir":
                self.messages.append(f"passed over {filename}: folders need a {SUMS} beside them")
                continue
            if not modify:
                modify = await client.mdtm(filename)
            sha256.update(f"{filename}/{size}/{modify}\n".encode())
            found[filename] = (None, size)
        return found

    def _belongs(self, filename):
        return filename == self._versioned or is_ordinary(filename, self.name)

    async def _probe(self, client, filename):
        # (kind, size) of what NLST named. A folder has no size, and can be entered.
        try:
            return "file", await client.size(filename)
        except FtpError as error:
            if error.code != 550:
                raise
        back = client.folder
        try:
            await client.cwd(filename)
        except FtpError:
            raise ReleaseError(f"{filename} is in the listing and cannot be read: check its permissions")
        await client.cwd(back)
        return "dir", None


async def offered(client, name):
    """The FolderRelease that the client's current folder offers for the application `name`; None when there is none.

    Raises ReleaseError when the folder does not say clearly what is offered.
    """
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
    versioned, version, messages = select(listing, name)
    if versioned is None:
        if messages:
            raise ReleaseError(f"no release of {name} in the folder: {messages[0]}")
        return None
    return FolderRelease(name, version, versioned, messages, listing)
