"""Versions, release names and the update policy. Pure: the board and the host use this same file.

A release is named `NAME_VERSION.EXT` (note 18, made exact):
NAME holds letters, digits, `.` and `-`, and no underscore; VERSION is one to four decimal fields of 0 to 65535
with dots between; EXT begins with a letter. A version is a tuple of four ints; missing fields count as 0, and
tuples compare as the versions do.
"""

FIELD_MAX = 65535
POLICIES = ("newer", "differs")


def parse_version(text: str) -> tuple[int, ...]:
    """The version that `text` writes, such as "1.0.0.2", as a tuple of four ints. Raises ValueError."""
    fields = text.split(".")
    if len(fields) > 4:
        raise ValueError(f"version {text}: more than four fields")
    version = []
    for field in fields:
        if not field or not all(_is_digit(c) for c in field):
            raise ValueError(f"version {text}: each field must be a number, as in 1.0.0.2")
        # Length first: a field of a million digits must not become an integer.
        if len(field) > 10 or int(field) > FIELD_MAX:
            raise ValueError(f"version {text}: a field is over {FIELD_MAX}")
        version.append(int(field))
    return tuple(version + [0] * (4 - len(version)))


def format_version(version: tuple[int, ...]) -> str:
    """The text of a version, always four fields: (1, 2, 0, 0) is "1.2.0.0"."""
    return "{}.{}.{}.{}".format(*version)


def check_name(name: str) -> None:
    """Raises ValueError unless `name` can be the NAME of a release."""
    if not name:
        raise ValueError("a release needs a name before the underscore, as in thermostat_1.0.0.2.py")
    if name[0] == "." or not all(_is_letter(c) or _is_digit(c) or c in ".-" for c in name):
        raise ValueError(f"name {name}: only letters, digits, . and - may stand in it, and no . first")


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
        if not version or not _is_letter(extension[:1]) or not all(_is_letter(c) or _is_digit(c) for c in extension):
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
            rival = filename
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


def is_wanted(policy: str, installed: tuple[int, ...] | None, offered: tuple[int, ...]) -> bool:
    """True when `policy` takes a board that runs version `installed` (None: no release yet) to version `offered`."""
    if policy not in POLICIES:
        raise ValueError(f"policy {policy}: it is newer or differs")
    if installed is None:
        return True
    return offered > installed if policy == "newer" else offered != installed


def _is_letter(c: str) -> bool:
    return "a" <= c <= "z" or "A" <= c <= "Z"


def _is_digit(c: str) -> bool:
    return "0" <= c <= "9"
