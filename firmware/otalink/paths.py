"""Where otalink keeps what on a board's flash, and what a release may name there: paths and SHA-256 digests. Pure."""

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
# The boot guard, never missing, so replaced by copy; in this order, behind all other files.
GUARD = ("boot.py", "otaswap.py", "otaguard.py")
# Bounds what a hostile header can make a board hold. littlefs allows 255 bytes a name, and a suffix is added.
PATH_MAX = 240


def check_path(path: str) -> None:
    """Raises ValueError unless a release may name `path` (relative to the root of the flash, `/` between parts)."""
    if not path or len(path.encode()) > PATH_MAX:
        raise ValueError(f"path {path[:40]}: it must have 1 to {PATH_MAX} bytes")
    for byte in path.encode():
        if byte < 32 or byte in (92, 127):
            raise ValueError(f"path {path!r}: control characters and backslashes are not allowed")
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"path {path}: it must be relative, without empty parts, . and ..")
        if part.endswith((NEW_SUFFIX, OLD_SUFFIX)):
            raise ValueError(f"path {path}: {NEW_SUFFIX} and {OLD_SUFFIX} are otalink's own")
    if path in (CONFIG_PATH, STATE_FOLDER) or path.startswith(STATE_FOLDER + "/"):
        raise ValueError(f"path {path}: /{CONFIG_PATH} and /{STATE_FOLDER} belong to the board")


def check_digest(text: str) -> None:
    """Raises ValueError unless `text` is a SHA-256 as 64 lower-case hexadecimal digits."""
    if len(text) != 64 or text.strip("0123456789abcdef"):
        raise ValueError(f"{text[:70]}: a SHA-256 has 64 lower-case hexadecimal digits")


def parents(path: str) -> list[str]:
    """The folders that `path` lies in, the outermost first: "a/b/c.py" has ["a", "a/b"]."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]
