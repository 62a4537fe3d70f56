"""Versions, the NAME of a release and the update policy. Pure: the board and the host use this same file.

A version is a tuple of four ints; missing fields count as 0, and tuples compare as the versions do. `plain.py` has the
names of releases.
"""

# What may stand in a text is asked by `text.strip(DIGITS)`, which leaves nothing if it has nothing else: on MicroPython
# each character that a loop over a text or an index into it meets takes heap for ever.
DIGITS = "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
POLICIES = ("newer", "differs")


def parse_version(text: str) -> tuple[int, ...]:
    """The version that `text` writes, such as "1.0.0.2", as a tuple of four ints. Raises ValueError."""
    fields = text.split(".")
    if len(fields) > 4:
        raise ValueError(f"version {text}: more than four fields")
    version = []
    for field in fields:
        if not field or field.strip(DIGITS):
            raise ValueError(f"version {text}: each field must be a number, as in 1.0.0.2")
        # Length first: a field of a million digits must not become an integer.
        if len(field) > 10 or int(field) > 65535:
            raise ValueError(f"version {text}: a field is over 65535")
        version.append(int(field))
    return tuple(version + [0] * (4 - len(version)))


def format_version(version: tuple[int, ...]) -> str:
    """The text of a version, always four fields: (1, 2, 0, 0) is "1.2.0.0"."""
    return "{}.{}.{}.{}".format(*version)


def check_name(name: str) -> None:
    """Raises ValueError unless `name` can be the NAME of a release."""
    if not name:
        raise ValueError("a release needs a name before the underscore, as in thermostat_1.0.0.2.py")
    if name.startswith(".") or name.strip(LETTERS + DIGITS + ".-"):
        raise ValueError(f"name {name}: only letters, digits, . and - may stand in it, and no . first")


def is_wanted(policy: str, installed: tuple[int, ...] | None, offered: tuple[int, ...]) -> bool:
    """True when `policy` takes a board that runs version `installed` (None: no release yet) to version `offered`."""
    if policy not in POLICIES:
        raise ValueError(f"policy {policy}: it is newer or differs")
    if installed is None:
        return True
    return offered > installed if policy == "newer" else offered != installed
