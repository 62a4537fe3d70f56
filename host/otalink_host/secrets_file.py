"""Files of secrets that an operator may edit: TOML with one section, readable by nobody else. It prints nothing, and no
message of it holds a line of the file, which may be a secret.
"""

import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otalink_host import file_lock
from otalink_host.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# So long another command, or the server, may take to write, in seconds.
LOCK_TIMEOUT = 10


def read_secrets(path: Path, section: str, example: str) -> dict[str, object]:
    """What stands in the one `section` of the file `path`; `example` is a line of it.

    Raises UserError when it is wrong, or others can read it.
    """
    try:
        with path.open("rb") as file:
            check_mode(path, os.fstat(file.fileno()).st_mode)
            document = tomllib.loads(file.read().decode("utf-8-sig"))
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}: make it, readable by you alone, with the lines [{section}] and {example}"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (UnicodeError, tomllib.TOMLDecodeError):
        raise UserError(f"{path}: this is not TOML: each line under [{section}] reads {example}") from None
    table = document.get(section)
    if not isinstance(table, dict) or len(document) != 1:
        raise UserError(f"{path}: it must hold one section, [{section}], and nothing else")
    return table


def append_secret(path: Path, name: str, secret: str) -> None:
    """Writes `name`'s secret behind the last line of the file `path`, whose one section it is in. Raises UserError."""
    try:
        whole = path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("" if whole else "\n")
            file.write(_line(name, secret))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def create_secrets(path: Path, section: str, head: str) -> None:
    """Makes the file `path` with `head`, a comment, and an empty `section`. Raises FileExistsError and OSError."""
    # The mode is given as the file is made: at no moment can anybody else open it.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="\n") as file:
        file.write(f"# {head}\n\n[{section}]\n")


def change_secrets(path: Path, section: str, example: str, changes: dict[str, str | None]) -> None:
    """Gives the names in `changes` these secrets in the file `path`, or, None, takes their lines out.

    The other lines stay as they are, and the file is replaced as a whole. Raises UserError when it is wrong, or cannot
    be written. Whoever reads before and writes here holds the `lock`.
    """
    known = read_secrets(path, section, example)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        text = "".join(line for line in lines if not (_names_in(line) & changes.keys()))
        text += "" if text.endswith("\n") else "\n"
        text += "".join(_line(name, secret) for name, secret in changes.items() if secret is not None)
        wanted = {name: secret for name, secret in {**known, **changes}.items() if secret is not None}
        target = path.resolve()
        new = target.with_name(f"{target.name}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="") as file:
            file.write(text)
        if _parsed(text) != {section: wanted}:
            new.unlink()
            raise UserError(f"{path}: {', '.join(changes)} does not stand in a line of its own: remove it by hand")
        os.replace(new, target)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keeps other processes from writing what lies beside `path`, in which the same is done. Raises UserError."""
    place = path.with_name(".otalink.lock")
    try:
        file = place.open("ab")
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror})") from None
    with file:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not file_lock.lock(file):
            if time.monotonic() > deadline:
                raise UserError(f"{place} is held by another otalink command: try again when that has ended")
            time.sleep(0.02)
        yield


def check_mode(path: Path, mode: int) -> None:
    """Raises UserError when a file of this `mode` is for others' eyes too: `path` holds secrets."""
    # Windows has no such bits: there the folder's permissions count.
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{path} can be read by others: chmod 600 {path}")


def _line(name: str, secret: str) -> str:
    # In quotes, TOML has printable text as JSON has it.
    key = name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
    return f"{key} = {json.dumps(secret, ensure_ascii=False)}\n"


def _names_in(line: str) -> set[str]:
    """The names that this one line of such a file gives values to."""
    # A section's head gives none: its value is a table.
    return {name for name, value in (_parsed(line) or {}).items() if isinstance(value, str)}


def _parsed(text: str) -> dict[str, object] | None:
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return None
