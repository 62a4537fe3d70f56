"""Whether a board can commit what is staged: its guard, its file system, its space for the guard's copy."""

from otalink.boot_rule import calls_guard
from otalink.errors import InstallError, ReleaseError
from otalink.files import kind_of, size_of
from otalink.layout import GUARD, NEW_SUFFIX, PLAN_FORMAT, STATE_FOLDER


def check(root):
    """Raises InstallError as `check_board` does, or when the board has no space for the guard's copy; ReleaseError for
    a staged `boot.py` that would not start the guard. `root` ends in a slash."""
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
        _check(root, replaced)


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


def _check(root, replaced):
    # The guard keeps copies of these.
    from otalink.space import space_of

    block, free = space_of(root)
    needed = sum((size_of(root, path) or 0) // block + 2 for path in replaced)
    if needed > free:
        from otalink.forget import forget

        forget(root)
        if needed > space_of(root)[1]:
            raise InstallError("the flash is too full for the boot guard's copy: remove files")
