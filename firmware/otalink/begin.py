"""Whether a board can be updated; where staging begins and where it is given up.

What an earlier download has left beside the files is removed. `root`, which ends in a slash, stands before every path.
"""

from otalink.boot_rule import calls_guard
from otalink.errors import InstallError, ReleaseError
from otalink.files import kind_of, recorded, remove, remove_staged, rename, size_of
from otalink.journal import BUSY, check_idle, state
from otalink.layout import GUARD, INCOMING, INSTALLED, NEW_SUFFIX, PLAN, PLAN_FORMAT, STATE_FOLDER, parents
from otalink.plan import REMOVE, steps


def begin_release(job):
    """Begins to stage `job.release`, if the board can be updated; see `begin` and `check_board`."""
    check_board(job.root + "/")
    begin(job.root + "/", (file[0] for file in job.release.files))


def begin(root, paths):
    """Begins to stage the files `paths`, which yields them sorted: what an earlier try left beside others goes.

    It takes constant memory if `paths` does. Raises ReleaseError when a file would take a folder's place or a folder a
    file's, or when the main.py that a release brought would go; InstallError while another update is on or when the
    flash fails.
    """
    check_idle(root)
    _retrieve(root)
    folders = []
    starts = False
    for step, found in steps(recorded(root, INCOMING), ((path,) for path in paths)):
        path = found[0]
        if step == REMOVE:
            remove_staged(root, path)
            continue
        if path == "main.py":
            starts = True
        if kind_of(root, path) == "folder":
            folders.append(path)
        for folder in parents(path):
            if kind_of(root, folder) == "file":
                raise ReleaseError(f"{folder} is a file on the board and a folder of the release: remove one")
    for path in folders:
        # Only what an earlier try left may have been in it.
        if kind_of(root, path) == "folder":
            raise ReleaseError(f"{path} is a folder on the board and a file of the release: remove one of them")
    if not starts and kind_of(root, "main.py") == "file":
        for file in recorded(root, INSTALLED):
            if file[0] == "main.py":
                raise ReleaseError(
                    "the release has no main.py, and would remove the one that starts the application: "
                    "publish main.py with it"
                )


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


def check(root):
    """Raises InstallError as `check_board` does, or when the board has no space for the guard's copy; ReleaseError for
    a staged `boot.py` that would not start the guard. It comes ahead of the commit."""
    check_board(root)
    replaced = [path for path in GUARD if kind_of(root, path + NEW_SUFFIX) is not None]
    if "boot.py" in replaced:
        try:
            with open(root + "boot.py" + NEW_SUFFIX) as file:
                source = file.read()
            compile(source, "boot.py", "exec")
        except (SyntaxError, UnicodeError, RuntimeError):
            raise ReleaseError("boot.py: it does not compile")
        if not calls_guard(source):
            raise ReleaseError("boot.py: it does not begin by calling the boot guard, as otalink's own does")
    if replaced:
        # The guard keeps copies of these.
        from otalink.space import forget, space_of

        block, free = space_of(root)
        needed = sum((size_of(root, path) or 0) // block + 2 for path in replaced)
        if needed > free:
            forget(root)
            if needed > space_of(root)[1]:
                raise InstallError("the flash is too full for the boot guard's copy: remove files")


def check_board(root):
    """Raises InstallError when the board has no boot guard, one that is too old, or a FAT file system."""
    # Only FAT finds a name in other letters.
    if kind_of(root, STATE_FOLDER.upper()) is not None:
        raise InstallError("the flash is FAT, where a power cut breaks an update: format it as littlefs")
    known = None
    try:
        with open(root + "boot.py") as file:
            starts = calls_guard(file.read())
        # The guard is compiled at boot only: what it can do is said in a line of its own.
        with open(root + "otaswap.py") as file:
            for line in file:
                if line.startswith("FORMAT = ") and starts:
                    known = int(line[9:])
                    break
    except (OSError, ValueError):
        pass
    if known is None:
        raise InstallError("/boot.py does not start the boot guard: run `otalink flash` once over the cable")
    if known < PLAN_FORMAT:
        raise InstallError("the boot guard is too old for this otalink: run `otalink flash` over the cable")
