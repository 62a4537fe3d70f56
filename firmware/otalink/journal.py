"""Where an update is once it has been committed: the name of a file in `/.otalink` is the state (docs/update.md).

`root`, which ends in a slash, stands before every path.
"""

import os

from otalink.errors import InstallError
from otalink.layout import STATE_FOLDER, STATES

# States in which an update is on: nothing is staged, and nothing committed.
BUSY = ("committed", "swapping", "trial", "reverting")


def state(root="/"):
    """Where an update is: "committed", "swapping", "trial", "confirmed", "reverting", "reverted", "forgetting" or
    "broken"; None when there was none."""
    found = plan_name(root)
    return found if found is None else found.partition("-")[0]


def plan_name(root):
    """The name of the plan in `/.otalink`, or None."""
    try:
        names = os.listdir(root + STATE_FOLDER)
    except OSError:
        return None
    for name in STATES.split(" "):
        if name in names:
            return name
    return None


def become(root, old, new):
    """Takes the plan from one state to the next. Raises InstallError when the flash fails."""
    from otalink.flash import on_flash

    folder = f"{root}{STATE_FOLDER}/"
    on_flash(f"{STATE_FOLDER}/{old}", "renamed", os.rename, folder + old, folder + new)


def release_of(root, plan):
    """The release that a plan or a record in `/.otalink` is about, as "NAME VERSION"; what cannot be read is empty."""
    try:
        with open(f"{root}{STATE_FOLDER}/{plan}") as file:
            file.readline()
            return file.readline()[5:-1] + " " + file.readline()[8:-1]
    except (OSError, ValueError):
        return " "


def failed(root="/"):
    """The release that this board went back from, as "NAME VERSION", or None."""
    return release_of(root, "reverted") if state(root) == "reverted" else None


def check_idle(root="/"):
    """Raises InstallError while an update is on."""
    found = state(root)
    if found == "trial":
        raise InstallError("a release is on trial: confirm it, or let it go back, before the next one")
    if found in BUSY:
        raise InstallError("an update waits for a restart: restart the board")
