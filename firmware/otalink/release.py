"""The release header: what a release is and which files it has. Pure; docs/release-format.md is its specification.

The same form heads a release file and records what is installed (`/.otalink/installed`). It is text, line by line,
so that a board reads it in constant memory: `Header` takes the lines ahead of the files, `Header.files` then gives one
file after the other, and what signed them is known at the end. `check` says whether a board may install the release.
Tuples for files are (path, digest, size, stored, encoding): the digest as hexadecimal text, sizes in bytes.
"""

import hashlib
import io

from otalink.errors import ReleaseError
from otalink.layout import CONFIG_PATH, NEW_SUFFIX, OLD_SUFFIX, STATE_FOLDER
from otalink.version import check_name, format_version, parse_release_name, parse_version

MAGIC = "otalink"
FORMAT = "1"
# Bounds what a hostile header can make a board hold. littlefs allows 255 bytes a name, and a suffix is added.
PATH_MAX = 240
LINE_MAX = 1024
SIZE_MAX = 0xFFFFFFFF
RAW = "raw"
DEFLATE = "deflate"
# Content is compressed in chunks of so many bytes, each by itself: one buffer, on a board.
CHUNK = 4096
STORED_AS_IS = 0x8000


def check_path(path: str) -> None:
    """Raises ValueError unless a release may name `path` (relative to the root of the flash, `/` between parts)."""
    if not path or len(path.encode()) > PATH_MAX:
        raise ValueError(f"path {path[:40]}: it must have 1 to {PATH_MAX} bytes")
    for c in path:
        if c < " " or c == "\x7f" or c == "\\":
            raise ValueError(f"path {path!r}: control characters and backslashes are not allowed")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"path {path}: it must be relative, without empty parts, . and ..")
        if part.endswith((NEW_SUFFIX, OLD_SUFFIX)):
            raise ValueError(f"path {path}: {NEW_SUFFIX} and {OLD_SUFFIX} are otalink's own")
    if path in (CONFIG_PATH, STATE_FOLDER) or path.startswith(STATE_FOLDER + "/"):
        raise ValueError(f"path {path}: /{CONFIG_PATH} and /{STATE_FOLDER} belong to the board")


def check_digest(text: str) -> None:
    """Raises ValueError unless `text` is a SHA-256 as 64 lower-case hexadecimal digits."""
    if not _is_hexadecimal(text, 64):
        raise ValueError(f"{text[:70]}: a SHA-256 has 64 lower-case hexadecimal digits")


def format_header(
    name: str,
    version: tuple[int, ...],
    files: list[tuple[str, str, int]] | list[tuple[str, str, int, int, str]],
    boards: tuple[str, ...] = (),
    bytecode: tuple[int, int] | None = None,
    reserve: int = 0,
) -> list[bytes]:
    """The lines of an unsigned header, as bytes with their line ends.

    `files` is a list of (path, digest, size, stored, encoding), or of (path, digest, size) where nothing is stored, in
    any order. `boards` and `bytecode` are as in Header. `reserve` is the length of the `sign` line that is to follow.
    Raises ValueError for a name, path or digest that no header may hold, or a path that comes twice.
    """
    check_name(name)
    lines = [f"name {name}\n", f"version {format_version(version)}\n"]
    if boards:
        lines.append(f"board {' '.join(boards)}\n")
    if bytecode is not None:
        lines.append(f"mpy {bytecode[0]}.{bytecode[1]}\n")
    last = None
    ordered: list[tuple[str, str, int] | tuple[str, str, int, int, str]] = list(files)
    ordered.sort()
    for file in ordered:
        if len(file) == 3:
            path, digest, size = file
            stored, encoding = size, RAW
        else:
            path, digest, size, stored, encoding = file
        check_path(path)
        check_digest(digest)
        if path == last:
            raise ValueError(f"path {path} comes twice")
        last = path
        lines.append(f"file {digest} {size} {stored} {encoding} {path}\n")
    length = sum(len(line.encode()) for line in lines) + len(f"{MAGIC} {FORMAT} \n") + reserve
    digits = 1
    while len(str(length + digits)) > digits:
        digits += 1
    lines.insert(0, f"{MAGIC} {FORMAT} {length + digits}\n")
    return [line.encode() for line in lines]


class Header:
    """A release header that is being read from `stream`, whose `readline(limit)` gives bytes.

    `name` is text, `version` a tuple of four ints, `length` the header's whole length in bytes. `boards` are the
    platforms that may install it, () for all of them; `bytecode` is (major, minor) of its .mpy files, minor 0 when no
    native code is among them, or None. Once `files()` came to its end, `signature` is (key id, bytes) or None, and
    `digest` the SHA-256 that it signs.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        """Reads the lines ahead of the files. Raises ReleaseError when this is no header."""
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self._read = 0
        self._key = ""
        self._value = ""
        self._last = ""
        # The lengths of those beginnings of the last path that are paths of the header themselves.
        self._prefixes: list[int] = []
        self.length = LINE_MAX
        self.signature: tuple[str, bytes] | None = None
        self.digest = b""
        self._next()
        number, _, length = self._value.partition(" ")
        if self._key != MAGIC:
            raise ReleaseError(f"this is no release header: it does not begin with {MAGIC}")
        if number != FORMAT:
            raise ReleaseError(f"release format {number[:20]!r} is not known here: update otalink first")
        self.length = _number(length, "length")
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
            if not all(_is_word(board) for board in self.boards):
                raise ReleaseError("header: board names platforms with one space between")
        self.bytecode: tuple[int, int] | None = None
        if self._key == "mpy":
            major, _, minor = self._take("mpy").partition(".")
            self.bytecode = (_number(major, "mpy"), _number(minor, "mpy"))

    def files(self) -> "Header":
        """Iterates over (path, digest, size, stored, encoding) of the files that are still to come, sorted by path.

        Raises ReleaseError where the header is wrong, and then again each time.
        """
        return self

    def __iter__(self) -> "Header":
        return self

    def __next__(self) -> tuple[str, str, int, int, str]:
        if self._key == "sign":
            self._end()
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
        if encoding == RAW:
            fits = stored == size
        else:
            chunks = chunk_count(size)
            # A chunk takes its two bytes of the table, and at least one of its own.
            fits = encoding == DEFLATE and 3 * chunks <= stored <= (2 + CHUNK) * chunks
        if not fits:
            raise ReleaseError(f"header: {path}: {size} bytes cannot be stored in {stored} as {encoding[:20]!r}")
        self._check_order(path)
        self._next()
        return path, digest, size, stored, encoding

    def _check_order(self, path: str) -> None:
        last = self._last
        if path <= last:
            raise ReleaseError(f"header: {path} is out of order or comes twice")
        # What begins with a path stands right behind it: that tells files that are folders too, without a list of all.
        self._prefixes = [length for length in self._prefixes if path.startswith(last[:length])]
        for length in self._prefixes:
            if path[length] == "/":
                raise ReleaseError(f"header: {path[:length]} is both a file and a folder")
        self._prefixes.append(len(path))
        self._last = path

    def _end(self) -> None:
        from otalink.signature import decode

        identity, _, text = self._value.partition(" ")
        if self._read != self.length:
            raise ReleaseError("header: sign is not its last line")
        try:
            if not _is_hexadecimal(identity, 16):
                raise ValueError("a key's id has 16 lower-case hexadecimal digits")
            signature = decode(text)
            if not 256 <= len(signature) <= 512:
                raise ValueError("a signature has 2048 to 4096 bits")
        except ValueError as error:
            raise ReleaseError(f"header: sign: {error}")
        self.signature = (identity, signature)
        self.digest = self._sha256.digest()
        self._key = ""

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
        line = self._stream.readline(LINE_MAX)
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


def check(
    header: Header,
    name: str,
    platform: str,
    bytecode: tuple[int, int] | None,
    keys: dict[str, str],
    filename: str | None = None,
) -> None:
    """Reads the rest of `header` and raises ReleaseError unless this board may install the release.

    `name` is the application that the board runs, `platform` its sys.platform, `bytecode` the version that it loads as
    (major, minor), or None; `keys` are as in `/otalink.json`, and `filename` is what the release file is called.
    """
    check_signature(header, keys)
    if header.name != name:
        raise ReleaseError(f"the release is {header.name}, and this board runs {name}")
    if filename is not None:
        check_filename(header, filename)
    if header.boards and platform not in header.boards:
        raise ReleaseError(f"the release is for {' '.join(header.boards)}, and this board is {platform}")
    if header.bytecode is not None:
        major, minor = header.bytecode
        if bytecode is None or major != bytecode[0] or minor not in (0, bytecode[1]):
            own = "none" if bytecode is None else f"{bytecode[0]}.{bytecode[1]}"
            raise ReleaseError(f"the release is bytecode {major}.{minor}, and this board loads {own}: build it anew")


def check_signature(header: Header, keys: dict[str, str]) -> None:
    """Reads the rest of `header` and raises ReleaseError unless one of `keys` signed it. Without keys all will do."""
    for _ in header.files():
        pass
    if not keys:
        return
    if header.signature is None:
        raise ReleaseError(f"the release is not signed, and there is a key: sign it with {' or '.join(sorted(keys))}")
    from otalink.signature import decode_key, verify

    identity, signature = header.signature
    if identity not in keys:
        raise ReleaseError(f"the release is signed with key {identity}, which is unknown or retired here")
    try:
        modulus = decode_key(identity, keys[identity])
    except ValueError as error:
        raise ReleaseError(str(error))
    if not verify(modulus, header.digest, signature):
        raise ReleaseError(f"the signature is wrong: the release was changed after key {identity} signed it")


def check_filename(header: Header, filename: str) -> None:
    """Raises ReleaseError unless `filename` is a name for the release file with this `header`."""
    try:
        named, version, extension = parse_release_name(filename)
    except ValueError as error:
        raise ReleaseError(str(error))
    if (named, version, extension) != (header.name, header.version, "ota"):
        raise ReleaseError(f"{filename} holds {header.name} {format_version(header.version)}: its name must say so")


def chunk_count(size: int) -> int:
    """How many chunks `size` bytes of content have: so many entries of two bytes has their table."""
    return (size + CHUNK - 1) // CHUNK


def chunk(table: bytes, index: int, size: int) -> tuple[int, int, bool]:
    """Chunk `index` of a file of `size` bytes as (stored bytes, bytes of content, whether it is compressed).

    `table` is the whole table that stands before the chunks. Raises ReleaseError when it cannot be one.
    """
    entry = table[2 * index] << 8 | table[2 * index + 1]
    share = min(CHUNK, size - index * CHUNK)
    stored = entry & (STORED_AS_IS - 1)
    compressed = entry < STORED_AS_IS
    if not 1 <= stored <= CHUNK or (stored != share and not compressed):
        raise ReleaseError(f"chunk {index}: {share} bytes cannot be stored in {stored}")
    return stored, share, compressed


def _number(text: str, what: str) -> int:
    # Length first: a line of digits must not become an integer.
    if not text or len(text) > 10 or not all("0" <= c <= "9" for c in text) or (text[0] == "0" and text != "0"):
        raise ReleaseError(f"header: {what} is no number: {text[:20]!r}")
    number = int(text)
    if number > SIZE_MAX:
        raise ReleaseError(f"header: {what} is over {SIZE_MAX}")
    return number


def _is_word(text: str) -> bool:
    return bool(text) and all("!" <= c <= "~" for c in text)


def _is_hexadecimal(text: str, length: int) -> bool:
    return len(text) == length and all("0" <= c <= "9" or "a" <= c <= "f" for c in text)
