"""The plain folder, note 18's form of a release. Pure; docs/release-format.md is its specification.

One versioned file, such as `thermostat_1.0.0.2.py`, and any others beside it; on the board the versioned one loses its
`_1.0.0.2`. `SHA256SUMS`, where there is one, says which files belong to the release and what they contain.
"""

from otalink.errors import ReleaseError
from otalink.release import check_digest, check_path
from otalink.version import choose, other_application, parse_release_name

SUMS = "SHA256SUMS"


def select(filenames: list[str], name: str) -> tuple[str | None, tuple[int, ...] | None, list[str]]:
    """Finds the application `name` in a plain folder that holds the files `filenames`.

    Returns (versioned, version, messages): the versioned file and its version, both None when there is none, and lines
    about files that were passed over. Raises ReleaseError when the folder does not say clearly what is offered.
    """
    try:
        versioned, version, messages = choose(filenames, name)
    except ValueError as error:
        raise ReleaseError(str(error))
    other = other_application(filenames, name)
    if other is not None and versioned is None:
        raise ReleaseError(f"the folder holds {other} and no release of {name}: check the name and the folder")
    if other is not None:
        raise ReleaseError(f"the folder holds two applications, {name} and {other}: give each a folder of its own")
    return versioned, version, messages


def target_path(filename: str, versioned: str) -> str:
    """The path on the board of the release's file `filename`: the versioned file loses its version.

    Raises ReleaseError when a release may not name it.
    """
    try:
        if filename == versioned:
            name, _, extension = parse_release_name(filename)
            filename = f"{name}.{extension}"
        check_path(filename)
    except ValueError as error:
        raise ReleaseError(str(error))
    return filename


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
