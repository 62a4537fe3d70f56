"""Where staging begins and where it is given up: what an earlier download has left beside the files is removed."""

from otalink.errors import ReleaseError
from otalink.files import kind_of, recorded, remove, remove_staged, rename
from otalink.journal import BUSY, check_idle, state
from otalink.layout import INCOMING, INSTALLED, NEW_SUFFIX, PLAN, STATE_FOLDER, parents
from otalink.plan import REMOVE, steps


def begin_release(job):
    """Begins to stage `job.release`; see `begin`."""
    begin(job.root + "/", (file[0] for file in job.release.files))


def begin(root, paths):
    """Begins to stage the files `paths`, which yields them sorted: what an earlier try left beside others goes.

    `root`, which ends in a slash, stands before every path. It takes constant memory if `paths` does. Raises
    ReleaseError when a file would take a folder's place or a folder a file's, InstallError while another update is on
    or when the flash fails.
    """
    check_idle(root)
    _retrieve(root)
    folders = []
    for step, found in steps(recorded(root, INCOMING), ((path,) for path in paths)):
        path = found[0]
        if step == REMOVE:
            remove_staged(root, path)
            continue
        if kind_of(root, path) == "folder":
            folders.append(path)
        for folder in parents(path):
            if kind_of(root, folder) == "file":
                raise ReleaseError(f"{folder} is a file on the board and a folder of the release: remove one")
    for path in folders:
        # Only what an earlier try left may have been in it.
        if kind_of(root, path) == "folder":
            raise ReleaseError(f"{path} is a folder on the board and a file of the release: remove one of them")


def discard(job):
    """Removes everything that is staged; nothing while a committed update is on. Raises InstallError."""
    job.is_ready = False
    root = job.root + "/"
    if state(root) in BUSY:
        return
    _retrieve(root)
    for file in recorded(root, INCOMING):
        remove_staged(root, file[0])
    remove(root, PLAN)
    remove(root, INCOMING + NEW_SUFFIX)
    remove(root, INCOMING)


def _retrieve(root):
    # A commit that was cut short has given the record its new name already.
    staged = INSTALLED + NEW_SUFFIX
    if kind_of(root, staged) is not None and kind_of(root, INCOMING) is None:
        rename(root, staged, INCOMING)
    remove(root, STATE_FOLDER + "/broken")
