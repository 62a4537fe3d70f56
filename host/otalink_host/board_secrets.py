"""The secrets that boards share with their host: a file of mode 0600, its form and its checks. It prints nothing.

The file is TOML, one section: `[board]`, and below it a line NAME = "SECRET" for each board. A secret is in no message.
"""

from pathlib import Path

from otalink_host.errors import UserError
from otalink_host.passwords import new_password
from otalink_host.secrets_file import append_secret, change_secrets, create_secrets, read_secrets

BOARD_SECRETS_NAME = "boards.secrets"
_EXAMPLE = 'NAME = "SECRET"'
_HEAD = "The boards' secrets, by which they and this host know each other: for your eyes only."
# Of 22 characters as `otalink init` makes passwords there is no guessing; below this there soon is.
SECRET_MIN = 8
SECRET_MAX = 128
NAME_MAX = 64


def load_board_secrets(path: Path) -> dict[str, str]:
    """The secret of each board in the file `path`. Raises UserError when it is wrong, or others can read it."""
    table = read_secrets(path, "board", _EXAMPLE)
    return {check_board_name(path, name): _secret(path, name, secret) for name, secret in table.items()}


def secret_of(path: Path, name: str) -> str:
    """The secret of the board `name` in the file `path`; where there is none, it gets one, and the file is made.

    Raises UserError when the file is wrong, or cannot be written.
    """
    check_board_name(path, name)
    try:
        create_secrets(path, "board", _HEAD)
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
    if name not in load_board_secrets(path):
        return False
    change_secrets(path, "board", _EXAMPLE, {name: None})
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
