"""Gives up the way back to the release before the confirmed one, when its space is needed (docs/update.md)."""

from otalink.files import prune, remove
from otalink.flash import on_flash
from otalink.journal import become, state
from otalink.layout import OLD_SUFFIX, STATE_FOLDER


def forget(root="/"):
    """Removes what is kept of the release before. True when there was something. Raises InstallError."""
    found = state(root)
    if found == "confirmed":
        become(root, "confirmed", "forgetting")
    elif found != "forgetting":
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
