"""The plain folder, note 18's form of a release, and its names. Pure; docs/release-format.md is its specification.

A release is named `NAME_VERSION.EXT` (note 18, made exact): NAME holds letters, digits, `.` and `-`, and no underscore;
VERSION is one to four decimal fields of 0 to 65535 with dots between; EXT begins with a letter.
One versioned file, such as `thermostat_1.0.0.2.py`, and any others beside it; on the board the versioned one loses its
`_1.0.0.2`. `SHA256SUMS`, where there is one, says which files belong to the release and what they contain.
"""

from otalink.errors import ReleaseError
from otalink.paths import check_digest, check_path
from otalink.version import DIGITS, LETTERS, check_name, format_version, parse_version

SUMS = "SHA256SUMS"


def parse_release_name(filename: str) -> tuple[str, tuple[int, ...], str]:
    """`filename` as (name, version, extension): "thermostat_1.0.0.2.py" is ("thermostat", (1, 0, 0, 2), "py").

    Raises ValueError with the reason when it is no release name.
    """
    parts = filename.split("_")
    if len(parts) != 2:
        raise ValueError(f"{filename}: a release name has exactly one underscore, as in thermostat_1.0.0.2.py")
    name, rest = parts
    try:
        check_name(name)
        version, _, extension = rest.rpartition(".")
        if not version or extension[:1] in DIGITS or extension.strip(LETTERS + DIGITS):
            raise ValueError("an extension must follow the version, as in thermostat_1.0.0.2.py")
        return name, parse_version(version), extension
    except ValueError as error:
        raise ValueError(f"{filename}: {error}")


def format_release_name(name: str, version: tuple[int, ...], extension: str) -> str:
    """The file name of a release: ("thermostat", (1, 0, 0, 2), "ota") is "thermostat_1.0.0.2.ota"."""
    filename = f"{name}_{format_version(version)}.{extension}"
    parse_release_name(filename)
    return filename


def choose(
    filenames: list[str], name: str, extensions: tuple[str, ...] | None = None
) -> tuple[str | None, tuple[int, ...] | None, list[str]]:
    """The newest release of the application `name` among `filenames`.

    `extensions` limits the choice, such as ("ota",); None takes any but "ota", the plain form of note 18.
    Returns (filename, version, passed_over): filename and version are None when there is none; passed_over is a list
    of lines about files that begin with `name` and an underscore and are no release names.
    Raises ValueError when two files are the newest version: which of them is meant, nobody can tell.
    """
    best = rival = None
    best_version: tuple[int, ...] = ()
    passed_over = []
    for filename in filenames:
        if not filename.startswith(name + "_"):
            continue
        try:
            _, version, extension = parse_release_name(filename)
        except ValueError as error:
            passed_over.append(f"passed over {error}")
            continue
        if (extension == "ota") if extensions is None else (extension not in extensions):
            continue
        if best is None or version > best_version:
            best, best_version, rival = filename, version, None
        elif version == best_version:
            rival = rival or filename
    if rival is not None:
        raise ValueError(f"{best} and {rival} are the same version: leave one of them in the folder")
    return best, best_version or None, passed_over


def application_of(filename: str) -> tuple[str, bool] | None:
    """The NAME of the application that `filename` is by its looks: (name, certain), or None when it is none.

    An application is a .py or .mpy release name. With one version field it may as well be an ordinary file, such as
    `font_8.py`: then it is not certain.
    """
    try:
        name, _, extension = parse_release_name(filename)
    except ValueError:
        return None
    if extension not in ("py", "mpy"):
        return None
    return name, filename.count(".") - name.count(".") > 1


def other_application(filenames: list[str], name: str) -> str | None:
    """The name of another application that is certainly among `filenames`, or None."""
    for filename in filenames:
        found = application_of(filename)
        if found is not None and found[1] and found[0] != name:
            return found[0]
    return None


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
