"""The release header: what a release is and which files it has. Pure; docs/release-format.md is its specification.

The same form heads a release file and records what is installed (`/.otalink/installed`). It is text, line by line,
so that a board reads it in constant memory: `Header.read` takes the lines ahead of the files, `Header.files` then
gives one file after the other.
"""

import io

from otalink.errors import ReleaseError
from otalink.paths import check_digest, check_path
from otalink.version import DIGITS, check_name, format_version, parse_version

MAGIC = "otalink"
FORMAT = "1"
# Bounds what a hostile header can make a board hold.
LINE_MAX = 512
_PIECE = 128


def format_header(name: str, version: tuple[int, ...], files: list[tuple[str, str, int]]) -> list[bytes]:
    """The lines of an unsigned header, as bytes with their line ends.

    `files` is a list of (path, digest, size), the digest as hexadecimal text and the size in bytes, in any order.
    Raises ValueError for a name, path or digest that no header may hold, or a path that comes twice.
    """
    check_name(name)
    lines = [f"name {name}\n".encode(), f"version {format_version(version)}\n".encode()]
    last = None
    for path, digest, size in sorted(files):
        check_path(path)
        check_digest(digest)
        if path == last:
            raise ValueError(f"path {path} comes twice")
        last = path
        lines.append(f"file {digest} {size} {size} raw {path}\n".encode())
    length = sum(len(line) for line in lines) + len(f"{MAGIC} {FORMAT} \n")
    digits = 1
    while len(str(length + digits)) > digits:
        digits += 1
    lines.insert(0, f"{MAGIC} {FORMAT} {length + digits}\n".encode())
    return lines


class Header:
    """A release header that is being read from `stream`, whose `readline(limit)` gives bytes.

    `name` is text, `version` a tuple of four ints, `length` the header's whole length in bytes.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        """Reads the lines ahead of the files. Raises ReleaseError when this is no header."""
        self._stream = stream
        self._read = 0
        self.length = LINE_MAX
        magic, _, rest = self._line().partition(" ")
        number, _, length = rest.partition(" ")
        if magic != MAGIC:
            raise ReleaseError(f"this is no release header: it does not begin with {MAGIC}")
        if number != FORMAT:
            raise ReleaseError(f"release format {number} is not known here: update otalink first")
        self.length = _number(length, "length")
        self.name = self._field("name")
        version = self._field("version")
        try:
            check_name(self.name)
            self.version = parse_version(version)
        except ValueError as error:
            raise ReleaseError(f"header: {error}")

    def files(self):  # type: ignore[no-untyped-def]  # boards have no name for what can be iterated
        """Yields (path, digest, size) for each file, sorted by path. Raises ReleaseError where the header is wrong."""
        last = ""
        while self._read < self.length:
            kind, _, rest = self._line().partition(" ")
            fields = rest.split(" ", 4)
            if kind != "file" or len(fields) != 5:
                raise ReleaseError(f"header: a line that is not understood: {kind[:40]}")
            digest, size, stored_size, encoding, path = fields
            if encoding != "raw" or stored_size != size:
                raise ReleaseError(f"header: {path[:40]} is stored in an unknown way: update otalink first")
            try:
                check_digest(digest)
                check_path(path)
            except ValueError as error:
                raise ReleaseError(f"header: {error}")
            if path <= last:
                raise ReleaseError(f"header: {path} is out of order or comes twice")
            last = path
            yield path, digest, _number(size, "size")

    def _field(self, key: str) -> str:
        found, _, value = self._line().partition(" ")
        if found != key:
            raise ReleaseError(f"header: {key} is missing")
        return value

    def _line(self) -> str:
        # A piece at a time: readline makes room for as much as it may read.
        line = b""
        while len(line) < LINE_MAX:
            piece = self._stream.readline(_PIECE)
            line += piece
            if len(piece) < _PIECE or line[-1:] == b"\n":
                break
        self._read += len(line)
        if line[-1:] != b"\n" or self._read > self.length:
            raise ReleaseError("header: it is cut off, or a line is too long")
        try:
            return line[:-1].decode()
        except UnicodeError:
            raise ReleaseError("header: it is not UTF-8")


def _number(text: str, what: str) -> int:
    if not text or len(text) > 10 or text.strip(DIGITS):
        raise ReleaseError(f"header: {what} is no number: {text[:20]}")
    return int(text)
