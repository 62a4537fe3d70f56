"""What an update has to do: installed files against offered ones. Pure; both sorted, one pass, constant memory."""

from otalink.errors import ReleaseError
from otalink.layout import parents

WANT = "want"
REMOVE = "remove"


def steps(installed, offered):  # type: ignore[no-untyped-def]  # boards have no name for what can be iterated
    """Yields (WANT, file) for each offered file and (REMOVE, file) for each installed one that is not offered.

    Both arguments yield files as (path, digest, size), sorted by path, without repeats. `installed` names what the
    release that runs brought, so that nothing else is ever removed. A wanted file may be there already: its content
    says so, not the record.
    """
    installed = iter(installed)
    old = next(installed, None)
    for new in offered:
        while old is not None and old[0] < new[0]:
            yield REMOVE, old
            old = next(installed, None)
        if old is not None and old[0] == new[0]:
            old = next(installed, None)
        yield WANT, new
    while old is not None:
        yield REMOVE, old
        old = next(installed, None)


def check_folders(paths: list[str] | dict[str, None]) -> None:
    """Raises ReleaseError when one of the sorted `paths` is a file in one place and a folder in another."""
    for path in paths:
        for folder in parents(path):
            if folder in paths:
                raise ReleaseError(f"{folder} is both a file and a folder of the release")


def hidden_by(path: str) -> str | None:
    """The path of the source file that would be imported in place of the compiled `path`, or None."""
    return path[:-3] + "py" if path.endswith(".mpy") else None
