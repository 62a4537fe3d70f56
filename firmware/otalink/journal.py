"""Where an update is once it has been committed, and what an application does about it: confirm, or go back.

The name of a file in `/.otalink` is the state; docs/update.md is its specification. `root`, which ends in a slash,
stands before every path. Every function raises InstallError when the flash fails.
"""

import os

from otalink.errors import InstallError
from otalink.layout import OLD_SUFFIX, STATE_FOLDER
from otalink.staging import on_flash, prune, remove
from otalink.version import parse_version

# In the order in which they count: those of an update that is on come first.
_STATES = (
    "committed",
    "swapping",
    "reverting",
    "trial-0",
    "trial-1",
    "trial-2",
    "trial-3",
    "forgetting",
    "confirmed",
    "reverted",
    "broken",
)
# States in which an update is on: nothing is staged, and nothing committed.
BUSY = ("committed", "swapping", "trial", "reverting")


def state(root="/"):
    """Where an update is: "committed", "swapping", "trial", "confirmed", "reverting", "reverted", "forgetting" or
    "broken" (docs/update.md); None when there was none."""
    found = _file(root)
    return found if found is None else found.partition("-")[0]


def confirm(root="/"):
    """Keeps the release that is on trial. True when there was a trial."""
    started(root)
    if state(root) != "trial":
        return False
    _become(root, _file(root), "confirmed")
    return True


def rollback(root="/"):
    """Goes back to the release before the confirmed one when the board restarts. Raises InstallError when there is
    none."""
    if state(root) != "confirmed":
        raise InstallError("there is no release to go back to")
    _become(root, "confirmed", "reverting")


def started(root="/"):
    """Says that the application's updater runs: the evidence of earlier failed starts is removed."""
    for n in (1, 2, 3):
        remove(root, f"{STATE_FOLDER}/crash-{n}")


def failed(root="/"):
    """The release that this board went back from as (name, version), or None."""
    if state(root) != "reverted":
        return None
    with on_flash("reverted", "read", open, f"{root}{STATE_FOLDER}/reverted") as file:
        file.readline()
        name = file.readline()[5:-1]
        version = file.readline()[8:-1]
    try:
        return name, parse_version(version)
    except ValueError:
        return None


def forget(root="/"):
    """Gives up the way back to the release before: its files are removed. True when there was one."""
    if state(root) == "confirmed":
        _become(root, "confirmed", "forgetting")
    elif state(root) != "forgetting":
        return False
    path = STATE_FOLDER + "/forgetting"
    with on_flash(path, "read", open, root + path) as file:
        for line in file:
            action, _, target = line[:-1].partition(" ")
            if action in ("replace", "add", "delete", "copy"):
                remove(root, target + OLD_SUFFIX)
                prune(root, target)
    remove(root, path)
    return True


def check_idle(root="/"):
    """Raises InstallError while an update is on."""
    found = state(root)
    if found == "trial":
        raise InstallError("a release is on trial: confirm it, or let it go back, before the next one")
    if found in BUSY:
        raise InstallError("an update waits for a restart: restart the board")


def _file(root):
    try:
        names = os.listdir(root + STATE_FOLDER)
    except OSError:
        return None
    for name in _STATES:
        if name in names:
            return name
    return None


def _become(root, old, new):
    old = f"{STATE_FOLDER}/{old}"
    on_flash(old, "renamed", os.rename, root + old, f"{root}{STATE_FOLDER}/{new}")
