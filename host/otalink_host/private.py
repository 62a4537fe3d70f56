"""What no board may ever get, passwords, settings and private keys, and the one rule about where it may not lie.

Every command that serves a folder, publishes into one or makes a release of one asks here. It goes by what the system
says lies where: neither a symbolic link nor another spelling of a folder's name gets round it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from otalink_host.errors import UserError


def check_apart(private: Iterable[Path], folders: Iterable[Path]) -> None:
    """Raises UserError when a file or folder of `private` lies in one of `folders`, which boards get files from."""
    for path in private:
        # A link counts where it lies and where it leads.
        places = {path.resolve(), path.parent.resolve() / path.name}
        for folder in folders:
            if any(_is_in(place, folder.resolve()) for place in places):
                raise UserError(f"{path} lies in {folder}, which boards read: give one of them another folder")


def _is_in(place: Path, folder: Path) -> bool:
    return place.is_relative_to(folder) or any(_is_same(each, folder) for each in (place, *place.parents))


def _is_same(path: Path, folder: Path) -> bool:
    try:
        return os.path.samefile(path, folder)
    except OSError:  # one of them is not there yet
        return False
