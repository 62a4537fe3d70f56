"""What lies on the flash: what a path is, folders, removal, the files that a record names.

Each path is relative to `root`, which ends in a slash. Every function raises InstallError when the flash fails.
"""

import os

from micropython import const

from otalink.errors import InstallError
from otalink.flash import on_flash
from otalink.layout import NEW_SUFFIX, STATE_FOLDER, parents

_FOLDER_BIT = const(0x4000)


def kind_of(root, path):
    """What `path` is: "file", "folder" or None."""
    try:
        return "folder" if os.stat(root + path)[0] & _FOLDER_BIT else "file"
    except OSError:
        return None


def size_of(root, path):
    """The bytes of a file; None when there is no such file."""
    return os.stat(root + path)[6] if kind_of(root, path) == "file" else None


def recorded(root, path, whole=False):
    """Yields (path, digest, size, stored, encoding) of each file of the record `path`; none when it is not there.

    It was checked before it was put there (release.py has the rules): here it is only taken apart. A damaged one ends
    early, or is an InstallError where it must be `whole`.
    """
    if kind_of(root, path) != "file":
        return
    with on_flash(path, "read", open, root + path, "rb") as file:
        try:
            line = file.readline()
            left = int(line.split(b" ")[2]) - len(line)
            while left > 0:
                line = file.readline()
                left -= len(line)
                key, digest, size, stored, encoding, name = (line[:-1].decode().split(" ", 5) + [""] * 5)[:6]
                if key == "file":
                    # The worst that a damaged one could do.
                    if "/../" in f"/{name}/" or f"{name}/".startswith(("/", STATE_FOLDER + "/")):
                        raise ValueError
                    yield name, digest, int(size), int(stored), encoding
                elif line[-1:] != b"\n":
                    raise ValueError
        except (ValueError, IndexError, OSError):
            if whole:
                raise InstallError(f"/{path} is damaged: the next check mends it")


def make_folder(root, path):
    """Makes a folder, unless it is there."""
    kind = kind_of(root, path)
    if kind == "file":
        raise InstallError(f"/{path} is a file where a folder must be: remove it")
    if kind is None:
        on_flash(path, "made", os.mkdir, root + path)


def rename(root, path, target):
    """Renames a file; what `target` was is replaced."""
    on_flash(target, "put in place", os.rename, root + path, root + target)


def remove(root, path):
    """Removes a file, if it is there."""
    if kind_of(root, path) == "file":
        on_flash(path, "removed", os.remove, root + path)


def remove_staged(root, path):
    """Removes what is staged of `path`, and the folders that this empties."""
    remove(root, path + NEW_SUFFIX)
    prune(root, path)


def prune(root, path):
    """Removes the folders of `path` that have nothing in them any more."""
    for folder in reversed(parents(path)):
        if kind_of(root, folder) == "folder":
            if on_flash(folder, "read", os.listdir, root + folder):
                return
            on_flash(folder, "removed", os.rmdir, root + folder)
