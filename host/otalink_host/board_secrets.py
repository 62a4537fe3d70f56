"""The secrets that boards share with their host: a file of mode 0600, its form and its checks. It prints nothing.

The file is TOML, one section: `[board]`, and below it a line NAME = "SECRET" for each board. A secret is in no message.
"""

import os
from pathlib import Path

from otalink_host.accounts import new_password
from otalink_host.errors import UserError
from otalink_host.secrets_file import append_secret, names_in, read_secrets

BOARD_SECRETS_NAME = "boards.secrets"
_HEAD = "# The boards' secrets, by which they and this host know each other: for your eyes only."
# Of 22 characters as `otalink init` makes passwords there is no guessing; below this there soon is.
SECRET_MIN = 8
SECRET_MAX = 128
NAME_MAX = 64


def load_board_secrets(path: Path) -> dict[str, str]:
    """The secret of each board in the file `path`. Raises UserError when it is wrong, or others can read it."""
    table = read_secrets(path, "board", 'NAME = "SECRET"')
    return {check_board_name(path, name): _secret(path, name, secret) for name, secret in table.items()}


def secret_of(path: Path, name: str) -> str:
    """The secret of the board `name` in the file `path`; where there is none, it gets one, and the file is made.

    Raises UserError when the file is wrong, or cannot be written.
    """
    check_board_name(path, name)
    try:
        # The mode is given as the file is made: at no moment can anybody else open it.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{_HEAD}\n\n[board]\n")
    except FileExistsError:
        known = load_board_secrets(path)
        if name in known:
            return known[name]
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None
    secret = new_password()
    append_secret(path, name, secret)
    return secret


def forget_board(path: Path, name: str) -> bool:
    """Removes the line of the board `name` from the file `path`; False when it has none. The other lines stay as they
    are. Raises UserError when the file is wrong, or cannot be written."""
    known = load_board_secrets(path)
    if name not in known:
        return False
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if names_in(line) != [name])
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="") as file:
            file.write(text)
        del known[name]
        if load_board_secrets(new) != known:
            new.unlink()
            raise UserError(f"{path}: {name} does not stand in a line of its own: remove it by hand")
        os.replace(new, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None
    return True


def is_board_name(name: object) -> bool:
    """True when `name` is one that a board may have: text of one line, that cannot be taken for what stands beside it.

    So it has no parentheses, as in "shop-1 (verified)", and no blanks at its ends.
    """
    return (
        isinstance(name, str)
        and 1 <= len(name) <= NAME_MAX
        and name.isprintable()
        and name == name.strip()
        and not set("()") & set(name)
    )


def check_board_name(path: Path, name: str) -> str:
    """`name`, when a board may have it. Raises UserError."""
    if not is_board_name(name):
        raise UserError(
            f"{path}: a board's name must be 1 to {NAME_MAX} printable characters, without ( and ), and without blanks "
            f"at its ends"
        )
    return name


def _secret(path: Path, name: str, secret: object) -> str:
    if not isinstance(secret, str) or not SECRET_MIN <= len(secret) <= SECRET_MAX or not secret.isprintable():
        raise UserError(
            f"{path}: the secret of {name} must be text of {SECRET_MIN} to {SECRET_MAX} printable characters"
        )
    return secret
