"""The release header: what a release is and which files it has. Pure; docs/release-format.md is its specification.

The same form heads a release file and records what is installed (`/.otalink/installed`). It is text, line by line,
so that a board reads it in constant memory: `Header` takes the lines ahead of the files, `Header.files` then gives one
file after the other, and what signed them is known at the end. `record.py` writes it, `admission.py` judges it.
"""

import hashlib
import io

from otalink.errors import ReleaseError
from otalink.layout import HEADER_FORMAT, HEADER_LENGTH_MAX, HEADER_MAGIC
from otalink.paths import check_digest, check_path
from otalink.version import DIGITS, LETTERS, check_name, parse_version

# Bounds what a hostile header can make a board hold.
LINE_MAX = 1024
SIZE_MAX = 0xFFFFFFFF


class Header:
    """A release header that is being read from `stream`, whose `readline(limit)` gives bytes.

    `name` is text, `version` a tuple of four ints, `length` the header's whole length in bytes. `boards` are the
    platforms that may install it, () for all of them; `bytecode` is (major, minor) of its .mpy files, minor 0 when no
    native code is among them, or None. Once `files()` came to its end, `signature` is (key id, base64) or None, and
    `digest` the SHA-256 that it signs.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        """Reads the lines ahead of the files. Raises ReleaseError when this is no header."""
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self._read = 0
        self._key = self._value = self._last = ""
        # The lengths of those beginnings of the last path that are paths of the header themselves.
        self._prefixes: list[int] = []
        self.length = LINE_MAX
        self.signature: tuple[str, str] | None = None
        self.digest = b""
        self._next()
        number, _, length = self._value.partition(" ")
        if self._key != HEADER_MAGIC:
            raise ReleaseError(f"this is no release header: it does not begin with {HEADER_MAGIC}")
        if number != HEADER_FORMAT:
            raise ReleaseError(f"release format {number[:20]!r} is not known here: update otalink first")
        self.length = _number(length, "length")
        if self.length > HEADER_LENGTH_MAX:
            raise ReleaseError(f"header: its length is over {HEADER_LENGTH_MAX}")
        self._next()
        self.name = self._take("name")
        version = self._take("version")
        try:
            check_name(self.name)
            self.version = parse_version(version)
        except ValueError as error:
            raise ReleaseError(f"header: {error}")
        self.boards: tuple[str, ...] = ()
        if self._key == "board":
            self.boards = tuple(self._take("board").split(" "))
            if "" in self.boards or "".join(self.boards).strip(LETTERS + DIGITS + "_-."):
                raise ReleaseError("header: board names platforms with one space between")
        self.bytecode: tuple[int, int] | None = None
        if self._key == "mpy":
            major, _, minor = self._take("mpy").partition(".")
            self.bytecode = _number(major, "mpy"), _number(minor, "mpy")

    def files(self) -> "Header":
        """Iterates over (path, digest, size, stored, encoding) of the files that are still to come, sorted by path.

        The digest is hexadecimal text, `size` counts the bytes of the content and `stored` those in a release file,
        `encoding` is "raw" or "deflate". Raises ReleaseError where the header is wrong, and then again each time.
        """
        return self

    def __iter__(self) -> "Header":
        return self

    def __next__(self) -> tuple[str, str, int, int, str]:
        if self._key == "sign":
            identity, _, text = self._value.partition(" ")
            if self._read != self.length:
                raise ReleaseError("header: sign is not its last line")
            if len(identity) != 16 or identity.strip("0123456789abcdef") or not text:
                raise ReleaseError("header: sign: a key's id has 16 lower-case hexadecimal digits, a signature follows")
            self.signature = identity, text
            self.digest = self._sha256.digest()
            self._key = ""
        if not self._key:
            raise StopIteration
        fields = self._value.split(" ", 4)
        if self._key != "file" or len(fields) != 5:
            raise ReleaseError(f"header: a line that is not understood: {self._key[:40]!r}")
        digest, size_text, stored_text, encoding, path = fields
        size = _number(size_text, "size")
        stored = _number(stored_text, "stored size")
        try:
            check_digest(digest)
            check_path(path)
        except ValueError as error:
            raise ReleaseError(f"header: {error}")
        fits = stored == size
        if encoding == "deflate":
            from otalink.chunks import CHUNK, chunk_count

            # A chunk takes its two bytes of the table, and at least one of its own.
            fits = 3 * chunk_count(size) <= stored <= (2 + CHUNK) * chunk_count(size)
        if not fits or encoding not in ("raw", "deflate"):
            raise ReleaseError(f"header: {path}: {size} bytes cannot be stored in {stored} as {encoding[:20]!r}")
        last = self._last
        if path <= last:
            raise ReleaseError(f"header: {path} is out of order or comes twice")
        # What begins with a path stands right behind it: that tells files that are folders too, without a list of all.
        self._prefixes = [length for length in self._prefixes if path.startswith(last[:length])]
        for length in self._prefixes:
            if path.startswith("/", length):
                raise ReleaseError(f"header: {path[:length]} is both a file and a folder")
        self._prefixes.append(len(path))
        self._last = path
        self._next()
        return path, digest, size, stored, encoding

    def _take(self, key: str) -> str:
        if self._key != key:
            raise ReleaseError(f"header: {key} is missing")
        value = self._value
        self._next()
        return value

    def _next(self) -> None:
        # Splits the next line into `_key` and `_value`; `_key` is empty at the end.
        self._key = "?"  # what stays when the line cannot be read: an error once is an error for good
        self._value = ""
        if self._read == self.length:
            self._key = ""
            return
        # A piece of 128 bytes at a time: readline makes room for as much as it may read.
        line = b""
        while len(line) < LINE_MAX:
            piece = self._stream.readline(128)
            line += piece
            if len(piece) < 128 or line[-1:] == b"\n":
                break
        self._read += len(line)
        if line[-1:] != b"\n" or self._read > self.length:
            raise ReleaseError("header: it is cut off, or a line is too long")
        if not line.startswith(b"sign "):
            self._sha256.update(line)
        try:
            key, _, value = line[:-1].decode().partition(" ")
        except UnicodeError:
            raise ReleaseError("header: it is not UTF-8")
        if not key or not value:
            raise ReleaseError("header: an empty line, or one that says nothing")
        self._key = key
        self._value = value


def _number(text: str, what: str) -> int:
    # Length first: a line of digits must not become an integer.
    if not text or len(text) > 10 or text.strip(DIGITS) or (text.startswith("0") and text != "0"):
        raise ReleaseError(f"header: {what} is no number: {text[:20]!r}")
    number = int(text)
    if number > SIZE_MAX:
        raise ReleaseError(f"header: {what} is over {SIZE_MAX}")
    return number
