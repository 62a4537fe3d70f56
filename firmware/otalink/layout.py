"""Where otalink keeps what on a board's flash, and how its files begin. Pure; docs/update.md has the whole."""

# How a release header begins, and how long it may be, in bytes: it lies on the flash of a board.
HEADER_MAGIC = "otalink"
HEADER_FORMAT = "1"
HEADER_LENGTH_MAX = 1048576

# Suffixes of the files that an update keeps beside their targets.
NEW_SUFFIX = ".ota-new"
OLD_SUFFIX = ".ota-old"
CONFIG_PATH = "otalink.json"
STATE_FOLDER = ".otalink"
INSTALLED = STATE_FOLDER + "/installed"
INCOMING = STATE_FOLDER + "/incoming"
# The plan of an update until it is committed; from then on its name is the state.
PLAN = STATE_FOLDER + "/plan" + NEW_SUFFIX
# The form of the plans that are written: a guard of the same or a newer one carries them out.
PLAN_FORMAT = 1
# The names that a committed plan can have, in the order in which they count: those of an update that is on come first.
STATES = "committed swapping reverting trial-0 trial-1 trial-2 trial-3 forgetting confirmed reverted broken"
# The boot guard, never missing, so replaced by copy; in this order, behind all other files.
GUARD = ("boot.py", "otaswap.py", "otaguard.py")


def parents(path: str) -> list[str]:
    """The folders that `path` lies in, the outermost first: "a/b/c.py" has ["a", "a/b"]."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]
