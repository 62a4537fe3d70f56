"""The plan of an update, written by the commit: the boot guard carries it out when the board restarts (docs/update.md).

`root`, which ends in a slash, stands before every path.
"""

import os

from otalink.boot_rule import calls_guard
from otalink.errors import InstallError, ReleaseError
from otalink.journal import check_idle, forget
from otalink.layout import INCOMING, INSTALLED, NEW_SUFFIX, PLAN, STATE_FOLDER
from otalink.plan import REMOVE, steps
from otalink.release import Header
from otalink.space import space_of
from otalink.staging import kind_of, on_flash, remove, size_of
from otalink.version import format_version

# The form of the plans that are written here: a guard of the same or a newer one carries them out.
PLAN_FORMAT = 1
# Never missing, so replaced by copy; in this order, the guard last of all files.
_GUARD = ("boot.py", "otaguard.py")


def commit(root, recorded, staged, deadline):
    """Commits what is staged by one rename; Installation.commit says when it does not.

    `recorded` yields the files of the installed release, `staged` are the paths that are staged and whole.
    """
    check_idle(root)
    _check_flash(root)
    _check_guard(root, staged)
    # First, so that a flash that fails leaves no file open.
    lines = list(_plan(root, recorded, set(staged), deadline))
    file = on_flash(PLAN, "written", open, root + PLAN, "wb")
    try:
        for line in lines:
            on_flash(PLAN, "written", file.write, line.encode())
    finally:
        on_flash(PLAN, "written", file.close)
    _rename(root, INCOMING, INSTALLED + NEW_SUFFIX)
    _rename(root, PLAN, STATE_FOLDER + "/committed")


def check_boot(path):
    """Raises ReleaseError unless the file `path` is a boot.py that starts the guard before anything else."""
    try:
        source = _read(path)
        compile(source, "boot.py", "exec")
    except (SyntaxError, UnicodeError):
        raise ReleaseError("boot.py: it does not compile")
    if not calls_guard(source):
        raise ReleaseError("boot.py: it does not begin by calling the boot guard, as otalink's own does")


def _plan(root, recorded, staged, deadline):
    # Yields the plan's lines. A path that is staged differs; one that is not stays as it is.
    with open(root + INCOMING, "rb") as file:
        header = Header(file)
        yield f"otalink-plan {PLAN_FORMAT}\nname {header.name}\nversion {format_version(header.version)}\n"
        yield f"deadline {deadline}\n{_action(root, INSTALLED)} {INSTALLED}\n"
        for action, found in steps(recorded, header.files()):
            path = found[0]
            if path in _GUARD:
                continue
            if action == REMOVE:
                if kind_of(root, path) == "file":
                    yield f"delete {path}\n"
            elif path in staged:
                yield f"{_action(root, path)} {path}\n"
            else:
                # What an abandoned download left of it.
                remove(root, path + NEW_SUFFIX)
    for path in _GUARD:
        if path in staged:
            yield f"copy {path}\n"
        else:
            remove(root, path + NEW_SUFFIX)
    yield "end\n"


def _action(root, path):
    return "add" if kind_of(root, path) is None else "replace"


def _check_flash(root):
    # Only FAT finds a name in other letters.
    if kind_of(root, STATE_FOLDER.upper()) is not None:
        raise InstallError("the flash is FAT, where a power cut breaks an update: format it as littlefs")


def _check_guard(root, staged):
    if "boot.py" in staged:
        check_boot(root + "boot.py" + NEW_SUFFIX)
    try:
        known = __import__("otaguard").FORMAT if calls_guard(_read(root + "boot.py")) else None
    except (ImportError, OSError, UnicodeError):
        known = None
    if known is None:
        raise InstallError("/boot.py does not start the boot guard: run `otalink flash` once over the cable")
    if known < PLAN_FORMAT:
        raise InstallError("the boot guard is too old for this otalink: run `otalink flash` over the cable")
    # The guard keeps copies of these two.
    block, free = space_of(root)
    needed = sum((size_of(root, path) or 0) // block + 2 for path in _GUARD if path in staged)
    if needed > free:
        forget(root)
        if needed > space_of(root)[1]:
            raise InstallError("the flash is too full for the boot guard's copy: remove files")


def _read(path):
    with open(path) as file:
        return file.read()


def _rename(root, path, target):
    on_flash(target, "put in place", os.rename, root + path, root + target)
