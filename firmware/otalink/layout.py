"""Where otalink keeps what on a board's flash. Pure."""

# Suffixes of the files that an update keeps beside their targets.
NEW_SUFFIX = ".ota-new"
OLD_SUFFIX = ".ota-old"
CONFIG_PATH = "otalink.json"
STATE_FOLDER = ".otalink"
INSTALLED = STATE_FOLDER + "/installed"
INCOMING = STATE_FOLDER + "/incoming"
# The plan of an update until it is committed; from then on its name is the state.
PLAN = STATE_FOLDER + "/plan" + NEW_SUFFIX


def parents(path: str) -> list[str]:
    """The folders that `path` lies in, the outermost first: "a/b/c.py" has ["a", "a/b"]."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]
