"""The commit of what is staged: the plan of the update, which the boot guard carries out when the board restarts.

It takes constant memory, however many files there are: the record of what is installed and that of what is staged are
read side by side, and the plan (docs/update.md) is written line by line. What differs is what is staged: the download
that came to its end has left `PATH.ota-new` of exactly those files. `root`, which ends in a slash, stands before every
path.
"""

from otalink.boot_rule import calls_guard
from otalink.errors import InstallError, ReleaseError
from otalink.files import kind_of, recorded, rename, size_of
from otalink.journal import check_idle
from otalink.paths import INCOMING, INSTALLED, NEW_SUFFIX, PLAN, STATE_FOLDER
from otalink.plan import REMOVE, hidden_by, steps
from otalink.release import Header
from otalink.space import space_of
from otalink.staging import on_flash
from otalink.version import format_version

# The form of the plans that are written here: a guard of the same or a newer one carries them out.
PLAN_FORMAT = 1
# Never missing, so replaced by copy; in this order, the guard last of all files.
_GUARD = ("boot.py", "otaguard.py")


def commit(root, deadline, say):
    """Commits what is staged by one rename.

    `deadline` is how many seconds a boot of the trial may last without being confirmed; 0 for ever. `say` takes lines
    for the user. Gives up the way back to the release before this one. Raises InstallError, with nothing committed,
    while another update is on, on a FAT file system, without a boot guard, or when the flash fails; ReleaseError for a
    `boot.py` that would not start the guard; ValueError when nothing has been staged.
    """
    check_idle(root)
    if kind_of(root, INCOMING) != "file":
        raise ValueError("nothing is staged: download a release first")
    _refuse_fat(root)
    if kind_of(root, "boot.py" + NEW_SUFFIX) is not None:
        check_boot(root + "boot.py" + NEW_SUFFIX)
    _check_guard(root)
    file = on_flash(PLAN, "written", open, root + PLAN, "wb")
    try:
        for line in _plan(root, deadline, say):
            on_flash(PLAN, "written", file.write, line.encode())
    finally:
        on_flash(PLAN, "written", file.close)
    rename(root, INCOMING, INSTALLED + NEW_SUFFIX)
    rename(root, PLAN, STATE_FOLDER + "/committed")


def check_boot(path):
    """Raises ReleaseError unless the file `path` is a boot.py that starts the guard before anything else."""
    try:
        source = _read(path)
        compile(source, "boot.py", "exec")
    except (SyntaxError, UnicodeError):
        raise ReleaseError("boot.py: it does not compile")
    if not calls_guard(source):
        raise ReleaseError("boot.py: it does not begin by calling the boot guard, as otalink's own does")


def _refuse_fat(root):
    # Only FAT finds a name in other letters.
    if kind_of(root, STATE_FOLDER.upper()) is not None:
        raise InstallError("the flash is FAT, where a power cut breaks an update: format it as littlefs")


def _plan(root, deadline, say):
    # Yields the plan's lines.
    with on_flash(INCOMING, "read", open, root + INCOMING, "rb") as file:
        header = Header(file)
        yield f"otalink-plan {PLAN_FORMAT}\nname {header.name}\nversion {format_version(header.version)}\n"
        yield f"deadline {deadline}\n{_action(root, INSTALLED)} {INSTALLED}\n"
        # Sources that stand beside compiled files, until it is known whether they stay.
        sources = []
        for step, found in steps(recorded(root, INSTALLED), header.files()):
            path = found[0]
            while sources and sources[0] < path:
                _say_hidden(say, sources.pop(0))
            if path in _GUARD:
                continue
            if step == REMOVE:
                if path in sources:
                    sources.remove(path)
                if kind_of(root, path) == "file":
                    yield f"delete {path}\n"
                continue
            source = hidden_by(path)
            if source is not None and kind_of(root, source) is not None:
                sources.append(source)
            if kind_of(root, path + NEW_SUFFIX) is not None:
                yield f"{_action(root, path)} {path}\n"
    for source in sources:
        _say_hidden(say, source)
    for path in _GUARD:
        if kind_of(root, path + NEW_SUFFIX) is not None:
            yield f"copy {path}\n"
    yield "end\n"


def _say_hidden(say, source):
    say(f"{source} hides {source[:-2]}mpy: MicroPython imports the source; remove it")


def _action(root, path):
    return "add" if kind_of(root, path) is None else "replace"


def _check_guard(root):
    try:
        known = _guard_format(root) if calls_guard(_read(root + "boot.py")) else None
    except (OSError, ValueError):
        known = None
    if known is None:
        raise InstallError("/boot.py does not start the boot guard: run `otalink flash` once over the cable")
    if known < PLAN_FORMAT:
        raise InstallError("the boot guard is too old for this otalink: run `otalink flash` over the cable")
    # The guard keeps copies of these two.
    needed = sum(
        (size_of(root, path) or 0) // space_of(root)[0] + 2
        for path in _GUARD
        if kind_of(root, path + NEW_SUFFIX) is not None
    )
    if needed > space_of(root)[1]:
        from otalink.forget import forget

        forget(root)
        if needed > space_of(root)[1]:
            raise InstallError("the flash is too full for the boot guard's copy: remove files")


def _guard_format(root):
    # It is compiled at boot only: what it can do is said in a line of its own.
    with open(root + "otaguard.py") as file:
        for line in file:
            if line.startswith("FORMAT = "):
                return int(line[9:])
    return None


def _read(path):
    with open(path) as file:
        return file.read()
