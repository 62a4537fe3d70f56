"""Reading release files: the header, the signature, and every stored byte. docs/release-format.md specifies them.

The header, its signature and the tables of chunks are read by the board's own code; only the inflating is the host's.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from otalink.admission import check_filename, check_signature
from otalink.chunks import CHUNK, WINDOW_BITS, chunk, chunk_count
from otalink.errors import ReleaseError
from otalink.release import Header
from otalink_host.compiler import bytecode_of, common_bytecode

EXTENSION = "ota"
_PIECE = 1 << 20

Version = tuple[int, ...]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StoredFile:
    """A file of a release: `size` bytes of content with this SHA-256, `stored` bytes in the release file."""

    path: str
    digest: str
    size: int
    stored: int
    encoding: str


@dataclass(frozen=True)
class ReleaseFile:
    """What the header of a release file says. `length` is the header's, `size` that of all files' content.

    `key` is the id of the key that signed it, or None.
    """

    name: str
    version: Version
    boards: tuple[str, ...]
    bytecode: tuple[int, int] | None
    length: int
    files: tuple[StoredFile, ...]
    key: str | None

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def stored(self) -> int:
        return sum(file.stored for file in self.files)


def read_header(path: Path, keys: dict[str, str], *, filename: str | None = None) -> ReleaseFile:
    """What the header of the release file `path` says. Its signature is checked if one of `keys` is to have made it.

    Raises ReleaseError. `filename` is the name that it is to have, by default its own.
    """
    with path.open("rb") as stream:
        return read_header_stream(stream, keys, filename or path.name)


def read_header_stream(stream: BufferedIOBase, keys: dict[str, str], filename: str) -> ReleaseFile:
    """As `read_header`, for the release file that `stream` is at the beginning of."""
    header, found = _header(stream, filename)
    check_signature(header, {found.key: keys[found.key]} if found.key is not None and found.key in keys else {})
    return found


def verify(
    path: Path,
    keys: dict[str, str],
    *,
    filename: str | None = None,
    unsigned: bool = False,
    progress: Progress | None = None,
) -> ReleaseFile:
    """Reads the release file `path` wholly and raises ReleaseError at the first fault.

    `keys` are the known ones, as in `/otalink.json`. What is signed must be signed by one of them; what is not must be
    allowed as `unsigned`, or there must be no key. `filename` is the name that it is to have, by default its own.
    """
    with path.open("rb") as stream:
        return verify_stream(stream, keys, filename or path.name, unsigned=unsigned, progress=progress)


def verify_stream(
    stream: BufferedIOBase,
    keys: dict[str, str] | None,
    filename: str,
    *,
    unsigned: bool = False,
    progress: Progress | None = None,
) -> ReleaseFile:
    """As `verify`, for the release file that `stream` is at the beginning of. With `keys` None no signature counts."""
    header, found = _header(stream, filename)
    if keys is not None:
        _check_signer(header, keys, unsigned)
    done = 0
    beginnings: dict[str, bytes] = {}
    for file in found.files:
        beginnings[file.path] = b""
        for piece in _content(stream, file):
            # Only the last piece can have less than four bytes.
            beginnings[file.path] = beginnings[file.path] or piece[:4]
            done += len(piece)
            if progress is not None:
                progress(done, found.size)
    if stream.read(1):
        raise ReleaseError("there is more in the release file than its header says")
    _check_bytecode(found, beginnings)
    return found


def unpack(path: Path, names: Container[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yields (path, content) of each file in the release file `path`, or of those that are among `names`.

    Raises ReleaseError; knows no signature.
    """
    with path.open("rb") as stream:
        yield from unpack_stream(stream, names)


def unpack_stream(stream: BufferedIOBase, names: Container[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """As `unpack`, for the release file that `stream` is at the beginning of."""
    files = [StoredFile(*file) for file in Header(stream).files()]
    for file in files:
        if names is None or file.path in names:
            yield file.path, b"".join(_content(stream, file))
        else:
            stream.seek(file.stored, os.SEEK_CUR)


def compress(content: bytes) -> bytes:
    """`content` as `deflate` stores it: the table, then each chunk compressed by itself."""
    table = bytearray()
    chunks = []
    for start in range(0, len(content), CHUNK):
        share = content[start : start + CHUNK]
        packer = zlib.compressobj(9, zlib.DEFLATED, -WINDOW_BITS)
        packed = packer.compress(share) + packer.flush()
        as_it_is = len(packed) >= len(share)
        chunks.append(share if as_it_is else packed)
        table += (len(chunks[-1]) | as_it_is << 15).to_bytes(2, "big")
    return b"".join([table, *chunks])


def _header(stream: BufferedIOBase, filename: str) -> tuple[Header, ReleaseFile]:
    header = Header(stream)
    files = tuple(StoredFile(*file) for file in header.files())
    check_filename(header, filename)
    key = None if header.signature is None else header.signature[0]
    return header, ReleaseFile(header.name, header.version, header.boards, header.bytecode, header.length, files, key)


def _check_signer(header: Header, keys: dict[str, str], unsigned: bool) -> None:
    if header.signature is not None and not keys:
        raise ReleaseError(f"it is signed with key {header.signature[0]}, and no key is known here: give --key")
    if header.signature is not None or not unsigned:
        check_signature(header, keys)


def _check_bytecode(release: ReleaseFile, beginnings: dict[str, bytes]) -> None:
    """Boards go by the header: it must say of the .mpy files, which have these first four bytes, what they are."""
    versions = {}
    for path, beginning in beginnings.items():
        if path.endswith(".mpy"):
            try:
                versions[path] = bytecode_of(beginning)
            except ValueError as error:
                raise ReleaseError(f"{path}: {error}") from None
    try:
        loads = common_bytecode(versions)
    except ValueError as error:
        raise ReleaseError(str(error)) from None
    if loads != release.bytecode:
        said, found = ("none" if each is None else f"{each[0]}.{each[1]}" for each in (release.bytecode, loads))
        raise ReleaseError(f"the header says that bytecode {said} is in it, and the files say {found}: build it anew")


def _content(stream: BufferedIOBase, file: StoredFile) -> Iterator[bytes]:
    """Yields the content of `file`, whose stored bytes come next. Raises ReleaseError when it is not the right one."""
    digest = hashlib.sha256()
    for piece in _raw(stream, file) if file.encoding == "raw" else _inflated(stream, file):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != file.digest:
        raise ReleaseError(f"{file.path}: its SHA-256 is not the one in the header")


def _raw(stream: BufferedIOBase, file: StoredFile) -> Iterator[bytes]:
    left = file.size
    while left:
        piece = _exactly(stream, min(left, _PIECE), file)
        left -= len(piece)
        yield piece


def _inflated(stream: BufferedIOBase, file: StoredFile) -> Iterator[bytes]:
    table = _exactly(stream, 2 * chunk_count(file.size), file)
    left = file.stored - len(table)
    for index in range(chunk_count(file.size)):
        try:
            stored, share, compressed = chunk(table, index, file.size)
        except ReleaseError as error:
            raise ReleaseError(f"{file.path}: {error}") from None
        left -= stored
        if left < 0:
            break
        data = _exactly(stream, stored, file)
        yield _inflate(data, share, f"{file.path}: chunk {index}") if compressed else data
    if left:
        raise ReleaseError(f"{file.path}: its chunks do not have the {file.stored} bytes that the header says")


def _inflate(data: bytes, share: int, what: str) -> bytes:
    inflater = zlib.decompressobj(-WINDOW_BITS)
    try:
        content = inflater.decompress(data, share + 1)
    except zlib.error:
        raise ReleaseError(f"{what} is no raw deflate stream") from None
    if len(content) != share or not inflater.eof or inflater.unused_data:
        raise ReleaseError(f"{what} does not give exactly its {share} bytes")
    return content


def _exactly(stream: BufferedIOBase, count: int, file: StoredFile) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ReleaseError(f"{file.path}: the release file ends in the middle of it")
    return data
