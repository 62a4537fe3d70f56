"""The release header, written; `release.py` reads it, docs/release-format.md is its specification. Pure."""

from otalink.layout import HEADER_FORMAT, HEADER_LENGTH_MAX, HEADER_MAGIC
from otalink.paths import check_digest, check_path
from otalink.version import check_name, format_version


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
    Raises ValueError for a name, path or digest that no header may hold, a path that comes twice, or too many files.
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
            stored, encoding = size, "raw"
        else:
            path, digest, size, stored, encoding = file
        check_path(path)
        check_digest(digest)
        if path == last:
            raise ValueError(f"path {path} comes twice")
        last = path
        lines.append(f"file {digest} {size} {stored} {encoding} {path}\n")
    length = sum(len(line.encode()) for line in lines) + len(f"{HEADER_MAGIC} {HEADER_FORMAT} \n") + reserve
    digits = 1
    while len(str(length + digits)) > digits:
        digits += 1
    if length + digits > HEADER_LENGTH_MAX:
        raise ValueError(f"the header has {length + digits} bytes, {HEADER_LENGTH_MAX} is the most: leave files out")
    lines.insert(0, f"{HEADER_MAGIC} {HEADER_FORMAT} {length + digits}\n")
    return [line.encode() for line in lines]
