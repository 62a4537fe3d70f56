"""The accounts and their passwords, in files: `otalink.toml` says who there is, `otalink.hashes` holds the hash of each
password, and `otalink.secrets`, where boards are flashed, the boards' passwords as they are. It opens no socket and
prints nothing.

A server reads the first two alone. Flashing writes a password onto the board, so it needs it as it is; a publisher's is
nowhere but in its hash. Who writes holds the lock, and replaces a file as a whole: a server that runs reads either the
old one or the new one.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from otalink_host.errors import UserError
from otalink_host.passwords import PASSWORD_MAX, hash_password, is_hash, is_password, new_password, verify
from otalink_host.secrets_file import change_secrets, create_secrets, lock, read_secrets
from otalink_host.settings import (
    CONFIG_NAME,
    HASHES_NAME,
    SECRETS_NAME,
    TEMPLATE,
    TO_MAKE,
    Account,
    Settings,
    account_of,
    check_account_name,
    load_settings,
)
from otalink_host.toml_file import TomlFile

logger = logging.getLogger("otalink.server")

SECRETS_EXAMPLE = 'NAME = "PASSWORD"'
HASHES_EXAMPLE = 'NAME = "HASH"'
SECRETS_HEAD = "The boards' passwords, for `otalink flash`: for your eyes only. `otalink user passwd` changes one."
HASHES_HEAD = "The hashes of the accounts' passwords: `otalink user` writes them."


def load_hashes(settings: Settings) -> dict[str, str]:
    """The hash of each account's password in `settings`, of those that have one.

    Raises UserError when others can read the file, or it holds what is no hash.
    """
    if settings.hashes is None or not settings.hashes.exists():
        return {}
    table = read_secrets(settings.hashes, "hash", HASHES_EXAMPLE)
    names = {account.name for account in settings.accounts}
    return {name: _hash(settings.hashes, name, text) for name, text in table.items() if name in names}


def load_passwords(settings: Settings) -> dict[str, str]:
    """The passwords of the accounts in `settings` as they are, of those that have one in the secrets file.

    Raises UserError when others can read the file, or it holds what is no password.
    """
    if settings.secrets is None or not settings.secrets.exists():
        return {}
    table = read_secrets(settings.secrets, "password", SECRETS_EXAMPLE)
    names = {account.name for account in settings.accounts}
    return {name: _password(settings.secrets, name, text) for name, text in table.items() if name in names}


def password_of(settings: Settings, name: str) -> str:
    """The password of the account `name` as it is, as a board needs it. Raises UserError when it is not known here."""
    assert settings.secrets is not None
    known = read_secrets(settings.secrets, "password", SECRETS_EXAMPLE)
    if name not in known:
        raise UserError(
            f"{settings.secrets} has no password for account {name}, which a board needs: "
            f"give it one with `otalink user passwd {name}`"
        )
    hash_ = load_hashes(settings).get(name)
    # Where there is no hash yet, the server makes it of that password.
    password = _password(settings.secrets, name, known[name])
    if hash_ is not None and not verify(hash_, password):
        raise UserError(
            f"{settings.secrets} has another password for account {name} than the server: "
            f"give both a new one with `otalink user passwd {name}`"
        )
    return password


def adopt_passwords(settings: Settings) -> list[str]:
    """Hashes the passwords of the secrets file that have no hash, as in the folder of an earlier version.

    Returns the names of their accounts. Raises UserError.
    """
    hashes, known = load_hashes(settings), load_passwords(settings)
    found = [name for name in known if name not in hashes]
    if not found:
        return []
    with lock(_path(settings)):
        _write_hashes(settings, {name: hash_password(known[name]) for name in found})
    return found


def require_hashes(settings: Settings) -> dict[str, str]:
    """The hash of each account's password. Raises UserError when an account that may log in has none."""
    hashes = load_hashes(settings)
    for account in settings.accounts:
        if account.name not in hashes and not account.disabled:
            raise UserError(
                f"account {account.name} has no password: give it one with `otalink user passwd {account.name}`"
            )
    return hashes


def add_account(settings: Settings, name: str, like: Account) -> str:
    """The password of the account `name`; where there is none, it is made, a board's, with the place of `like`.

    A server that runs takes the account over at its first login. Raises UserError.
    """
    _check_name(name)
    assert settings.secrets is not None
    # Without that file the password would be on the board alone.
    read_secrets(settings.secrets, "password", SECRETS_EXAMPLE)
    with lock(_path(settings)):
        known = load_settings(_path(settings))
        there = any(account.name == name for account in known.accounts)
        if not there:
            known = replace(known, accounts=(*known.accounts, replace(like, name=name)))
        # Each may be there already, when an addition was cut off.
        password = load_passwords(known).get(name)
        made = name not in load_hashes(known)
        if made:
            password = password or new_password()
            _write_password(known, name, "board", password)
        if not there:
            written = _raw_account(_path(settings), like.name)
            kept = ("folder", "channel", "channels", "virtual_path", "role", "tls", "networks")
            _append_account(_path(settings), {"name": name, **{key: written[key] for key in kept if key in written}})
    # One that was there already may be another one to the server.
    return password if made and password is not None else password_of(known, name)


def create_account(settings: Settings, values: dict[str, object], password: str) -> bool:
    """Adds the account that `values` describe, by the keys of an [[account]], with this password.

    Returns True when the password, a board's, went to the secrets file as well: where there is one. Raises UserError.
    """
    name = str(values["name"])
    _check_name(name)
    with lock(_path(settings)):
        if any(account.name == name for account in load_settings(_path(settings)).accounts):
            raise UserError(f"there is an account {name}: choose another name, or `otalink user passwd {name}`")
        # The password first: a server that runs finds it as soon as it finds the account.
        kept = _write_password(settings, name, str(values["role"]), password)
        _append_account(_path(settings), values)
    return kept


def set_password(settings: Settings, name: str, password: str) -> bool:
    """Gives the account `name` this password. Returns and raises what create_account does."""
    with lock(_path(settings)):
        return _write_password(settings, name, account_of(settings, name).role, password)


def remove_account(settings: Settings, name: str) -> None:
    """Removes the account `name`, its hash and its password. Raises UserError, as when it is the only one."""
    if [account.name for account in settings.accounts] == [name]:
        raise UserError(f"{name} is the only account: add another one first, or `otalink user disable {name}`")

    def remove(accounts: list[dict[str, object]], index: int) -> None:
        del accounts[index]

    with lock(_path(settings)):
        _change_account(_path(settings), name, remove)
        if name in load_hashes(settings):
            _write_hashes(settings, {name: None})
        if name in load_passwords(settings):
            assert settings.secrets is not None
            change_secrets(settings.secrets, "password", SECRETS_EXAMPLE, {name: None})


def set_disabled(settings: Settings, name: str, disabled: bool) -> None:
    """Keeps the account `name` from logging in, or lets it again. Raises UserError."""

    def change(accounts: list[dict[str, object]], index: int) -> None:
        if disabled:
            accounts[index]["disabled"] = True
        else:
            accounts[index].pop("disabled", None)

    with lock(_path(settings)):
        _change_account(_path(settings), name, change)


class Rehash:
    """Writes a hash with today's parameters in the place of an outdated one; for logins.Logins."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, name: str, before: str, after: str) -> None:
        try:
            with lock(_path(self._settings)):
                # Somebody may have given it another password meanwhile.
                if load_hashes(self._settings).get(name) == before:
                    _write_hashes(self._settings, {name: after})
        except UserError as error:
            logger.warning("the hash of %s stays as it was: %s", name, error)


class ChangedAccounts:
    """Gives the accounts and their hashes anew when one of the files has changed since; for server.FtpServer."""

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
            hashes = load_hashes(settings)
        except UserError as error:
            logger.warning("the accounts stay as they were: %s", error)
            return None
        for account in settings.accounts:
            if account.name not in hashes and not account.disabled:
                logger.warning("%s has no password: `otalink user passwd %s` gives it one", account.name, account.name)
        return settings.accounts, hashes

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(path) for path in (self._settings.path, self._settings.hashes)]


def _state_of(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found is not None else None


def create_server_folder(directory: Path) -> list[Path]:
    """Makes `directory` a server's: settings, passwords, hashes and an empty release folder. Returns what it made.

    Raises UserError when it is one already; nothing that exists is ever overwritten.
    """
    config, secrets, hashes, releases = (directory / n for n in (CONFIG_NAME, SECRETS_NAME, HASHES_NAME, "releases"))
    for path in (config, secrets, hashes):
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: edit it, or choose another folder with --directory")
    try:
        releases.mkdir(parents=True, exist_ok=True)
        create_secrets(secrets, "password", SECRETS_HEAD)
        create_secrets(hashes, "hash", HASHES_HEAD)
        with config.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        raise UserError(f"{error.filename or directory} cannot be made ({error.strerror})") from None
    _write_password(load_settings(config), "board", "board", new_password())
    return [config, secrets, hashes, releases]


def _check_name(name: str) -> None:
    try:
        check_account_name(name)
    except ValueError as error:
        raise UserError(f"no account can be called {name!r}: it must be {error}") from None


def _path(settings: Settings) -> Path:
    assert settings.path is not None
    return settings.path


def _write_password(settings: Settings, name: str, role: str, password: str) -> bool:
    secrets = settings.secrets
    kept = role == "board" and secrets is not None and secrets.exists()
    if kept:
        assert secrets is not None
        change_secrets(secrets, "password", SECRETS_EXAMPLE, {name: password})
    _write_hashes(settings, {name: hash_password(password)})
    return kept


def _write_hashes(settings: Settings, changes: dict[str, str | None]) -> None:
    assert settings.hashes is not None
    try:
        create_secrets(settings.hashes, "hash", HASHES_HEAD)
    except FileExistsError:
        pass
    except OSError as error:
        raise UserError(f"{settings.hashes} cannot be written ({error.strerror})") from None
    change_secrets(settings.hashes, "hash", HASHES_EXAMPLE, changes)


def _raw_account(path: Path, name: str) -> dict[str, object]:
    """The [[account]] called `name` as it is written."""
    tables = TomlFile(path, TO_MAKE).document["account"]
    found: dict[str, object] = next(table for table in tables if table["name"] == name)
    return found


def _append_account(path: Path, values: dict[str, object]) -> None:
    # In quotes, TOML has printable text as JSON has it, and lists of texts.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
    text = _read(path)
    _replace(path, text + ("" if text.endswith("\n") else "\n") + "\n[[account]]\n" + "".join(lines))


def _change_account(path: Path, name: str, change: Callable[[list[dict[str, object]], int], None]) -> None:
    """Has `change` change one of the accounts in the file `path`; comments and order stay."""
    try:
        document = tomlkit.parse(_read(path))
        accounts = document["account"]
        change(accounts, [each["name"] for each in accounts].index(name))
        text = tomlkit.dumps(document)
    except (TOMLKitError, ValueError) as error:
        raise UserError(f"{path} cannot be changed ({error}): edit it by hand") from None
    _replace(path, text)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except (OSError, UnicodeError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None


def _replace(path: Path, text: str) -> None:
    """Writes `text` in the place of the settings file `path`, if it is one that can be read."""
    target = path.resolve()
    new = target.with_name(f"{target.name}.new")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        try:
            _check(path, new)
            shutil.copymode(target, new)
            os.replace(new, target)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def _check(path: Path, new: Path) -> None:
    try:
        load_settings(new)
    except UserError as error:
        raise UserError(str(error).replace(str(new), str(path))) from None


def _password(path: Path, name: str, password: object) -> str:
    if not is_password(password):
        raise UserError(f"{path}: the password of {name} must be text of 1 to {PASSWORD_MAX} printable characters")
    return str(password)


def _hash(path: Path, name: str, text: object) -> str:
    if not is_hash(text):
        raise UserError(f"{path}: the hash of {name} is none: give it a password with `otalink user passwd {name}`")
    return str(text)
