"""Files of secrets that an operator edits: TOML with one section, readable by nobody else. It prints nothing, and no
message of it holds a line of the file, which may be a secret.
"""

import json
import os
import stat
import sys
from pathlib import Path

from otalink_host.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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
            # In quotes, TOML has printable text as JSON has it.
            file.write("" if whole else "\n")
            file.write(f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(secret)}\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def names_in(line: str) -> list[str]:
    """The names that this one line of such a file gives values to."""
    try:
        return list(tomllib.loads(line))
    except tomllib.TOMLDecodeError:
        return []


def check_mode(path: Path, mode: int) -> None:
    """Raises UserError when a file of this `mode` is for others' eyes too: `path` holds secrets."""
    # Windows has no such bits: there the folder's permissions count.
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{path} can be read by others: chmod 600 {path}")
