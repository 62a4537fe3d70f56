"""The plain folder, note 18's form of a release. Pure; docs/release-format.md is its specification.

One versioned file, such as `thermostat_1.0.0.2.py`, and any others beside it; on the board the versioned one loses its
`_1.0.0.2`. `SHA256SUMS`, where there is one, says which files belong to the release and what they contain.
"""

from otalink.errors import ReleaseError
from otalink.paths import check_path
from otalink.version import choose, other_application, parse_release_name


def select(filenames: list[str], name: str) -> tuple[str | None, tuple[int, int, int, int] | None, list[str]]:
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
