"""The accounts' passwords: the secrets file, its mode, and the comparison. It opens no socket and prints nothing.

The file holds the passwords as they are, not hashed: an operator needs a board's password again for each board that is
flashed, and plain FTP sends it in the clear anyway. What protects it is the file's mode, and that `otalink init` makes
passwords of 128 random bits. For the same reason a login costs one SHA-256 and no slow hash: it runs inside the
server's event loop, which a slow one would stop for every board.
"""

import difflib
import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from otalink_host.errors import UserError
from otalink_host.secrets_file import append_secret, read_secrets
from otalink_host.settings import (
    CONFIG_NAME,
    SECRETS_NAME,
    TEMPLATE,
    Account,
    Settings,
    check_account_name,
    load_settings,
)

logger = logging.getLogger("otalink.server")

PASSWORD_MAX = 128


def new_password() -> str:
    """A password of 128 random bits, of characters that need no quoting anywhere."""
    while True:
        password = secrets.token_urlsafe(16)
        # A leading dash would be an option to every command line that it is pasted into.
        if not password.startswith("-"):
            return password


def load_passwords(settings: Settings) -> dict[str, str]:
    """The password of each account in `settings`. Raises UserError when one is missing or others can read the file."""
    path = settings.secrets
    if path is None:
        raise UserError("the settings name no file with passwords")
    table = read_secrets(path, "password", f'{settings.accounts[0].name} = "…"')
    return {account.name: _password(path, table, account.name) for account in settings.accounts}


def add_account(settings: Settings, name: str, like: Account) -> str:
    """The password of the account `name`; where there is none, it is made, with the folder and the rest of `like`.

    Both files are appended to; a server that runs takes the account over at its first login. Raises UserError.
    """
    try:
        check_account_name(name)
    except ValueError as error:
        raise UserError(f"no account can be called {name!r}: it must be {error}") from None
    assert settings.path is not None
    assert settings.secrets is not None
    passwords = read_secrets(settings.secrets, "password", f'{like.name} = "…"')
    if name in passwords:
        password = _password(settings.secrets, passwords, name)
    else:
        password = new_password()
        append_secret(settings.secrets, name, password)
    if not any(account.name == name for account in load_settings(settings.path).accounts):
        folder = os.path.relpath(like.folder.resolve(), settings.path.parent.resolve())
        values = {"name": name, "folder": Path(folder).as_posix(), "virtual_path": like.virtual_path, "role": like.role}
        # In quotes, TOML has printable text as JSON has it.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
        try:
            with settings.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write("\n[[account]]\n" + "".join(lines))
        except OSError as error:
            raise UserError(f"{settings.path} cannot be written ({error.strerror})") from None
    return password


class ChangedAccounts:
    """Gives the accounts and their passwords anew when one of the files has changed since; for server.FtpServer."""

    def __init__(self, settings: Settings, check: Callable[[Settings], None]) -> None:
        """`check` raises UserError for settings that are not to be served."""
        self._settings = settings
        self._check = check
        self._seen = self._state()

    def __call__(self) -> tuple[tuple[Account, ...], dict[str, str]] | None:
        state = self._state()
        if state == self._seen or self._settings.path is None:
            return None
        self._seen = state
        try:
            settings = load_settings(self._settings.path)
            self._check(settings)
            return settings.accounts, load_passwords(settings)
        except UserError as error:
            logger.warning("the accounts stay as they were: %s", error)
            return None

    def _state(self) -> list[tuple[int, int] | None]:
        return [_state_of(path) for path in (self._settings.path, self._settings.secrets)]


def _state_of(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found is not None else None


def password_matches(given: str, expected: str | None) -> bool:
    """True when the passwords are the same. `expected` None, no such account, takes the same time and is never true."""
    # Digests have one length, so that the time tells nothing about the password's.
    same = hmac.compare_digest(_digest(given), _digest(expected or ""))
    return same and expected is not None and expected != ""


def create_server_folder(directory: Path) -> list[Path]:
    """Makes `directory` a server's: settings, passwords and an empty release folder. Returns what it made.

    Raises UserError when it is one already; nothing that exists is ever overwritten.
    """
    config, secrets_file, releases = (directory / name for name in (CONFIG_NAME, SECRETS_NAME, "releases"))
    for path in (config, secrets_file):
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: edit it, or choose another folder with --directory")
    try:
        releases.mkdir(parents=True, exist_ok=True)
        lines = "# The accounts' passwords: for your eyes only.\n\n[password]\n" + f'board = "{new_password()}"\n'
        # The mode is given as the file is made: at no moment can anybody else open it.
        descriptor = os.open(secrets_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(lines)
        with config.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        raise UserError(f"{error.filename or directory} cannot be made ({error.strerror})") from None
    return [config, secrets_file, releases]


def _password(path: Path, table: dict[str, object], name: str) -> str:
    if name not in table:
        close = difflib.get_close_matches(name, table, 1)
        hint = f"it has one for {close[0]}" if close else f'add the line {name} = "…"'
        raise UserError(f"{path}: there is no password for account {name}: {hint}")
    password = table[name]
    if not isinstance(password, str) or not 1 <= len(password) <= PASSWORD_MAX or not password.isprintable():
        raise UserError(f"{path}: the password of {name} must be text of 1 to {PASSWORD_MAX} printable characters")
    return password


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
