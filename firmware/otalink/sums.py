"""Which files of a plain folder belong to its release, and SHA256SUMS, which says what they contain. Pure."""

from otalink.errors import ReleaseError
from otalink.paths import check_digest, check_path

SUMS = "SHA256SUMS"


def is_ordinary(filename: str, name: str) -> bool:
    """True when `filename`, found in a folder without SHA256SUMS, belongs to the release of `name` beside its versioned
    file: not hidden (uploads under way are), no release file, no other version, not SHA256SUMS."""
    return not (filename[:1] == "." or filename == SUMS or filename.endswith(".ota") or filename.startswith(name + "_"))


def parse_sums_line(line: bytes) -> tuple[str, str] | None:
    """One line of SHA256SUMS (bytes) as (filename, digest); None for an empty line.

    Takes what `sha256sum` writes: `DIGEST  NAME` or `DIGEST *NAME`, and the `./` that `find` puts first.
    Raises ReleaseError when it is anything else.
    """
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeError:
        raise ReleaseError(f"{SUMS}: it is not UTF-8")
    try:
        if not text:
            return None
        digest, filename = text[:64].lower(), text[66:]
        if text[64:66] not in ("  ", " *"):
            raise ValueError(f"{text[:80]}: not a line of sha256sum")
        check_digest(digest)
        if filename.startswith("./"):
            filename = filename[2:]
        check_path(filename)
    except ValueError as error:
        raise ReleaseError(f"{SUMS}: {error}")
    return filename, digest


def format_sums_line(filename: str, digest: str) -> bytes:
    """The line of SHA256SUMS for a file, as bytes. Raises ValueError for what no release may name."""
    check_digest(digest)
    check_path(filename)
    return f"{digest}  {filename}\n".encode()
