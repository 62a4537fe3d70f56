"""The settings in `otalink.toml`: their form, their checks, and the file that `otalink init` writes.

No password is ever read from or written to this file (accounts.py has those), and nothing here opens a socket.
Every wrong value is a UserError of one line: the file, its line, the key, and what is allowed.
"""

import difflib
import ipaddress
import re
import select
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otalink_host.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_NAME = "otalink.toml"
SECRETS_NAME = "otalink.secrets"
DEFAULT_PORT = 2121
# Below every system's range of ports for outgoing connections (Linux from 32768, Windows and macOS from 49152), so that
# no other program happens to sit on one of them.
DEFAULT_PASSIVE_PORTS = range(30000, 30100)
DEFAULT_SESSIONS = 250
# Where the system offers only select(), Python takes 512 sockets: two a session, and the one that listens.
SESSIONS_MAX = 10_000 if hasattr(select, "poll") else 250
ROLES = ("board",)


@dataclass(frozen=True)
class Account:
    """Who may log in: `folder` on this machine appears to it as `virtual_path` on the server (note 18)."""

    name: str
    folder: Path
    virtual_path: str = "/"
    role: str = "board"


@dataclass(frozen=True)
class Settings:
    """What `otalink serve` needs to know, apart from the passwords.

    `address` is an IP address of this machine ("0.0.0.0": all of them), `port` 0 a free one that the system chooses.
    `passive_ports` None leaves the data connections' ports to the system. `sessions` counts the boards that are served
    at once, each with a control and a data connection. `secrets` is the file that holds the passwords, `path` the
    otalink.toml that this came from, or None.
    """

    accounts: tuple[Account, ...]
    address: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    passive_ports: range | None = DEFAULT_PASSIVE_PORTS
    masquerade_address: str | None = None
    sessions: int = DEFAULT_SESSIONS
    secrets: Path | None = None
    path: Path | None = None


def load_settings(path: Path) -> Settings:
    """The settings in the file `path`, all of them checked. Raises UserError for the first that is wrong."""
    try:
        # Windows' editors put a mark of UTF-8 ahead.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no {path}: make one with `otalink init`, or name one with --config") from None
    except (OSError, UnicodeError) as error:
        raise UserError(f"{path} cannot be read ({_reason(error)})") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: this is not TOML: {error}") from None
    return _Reader(path, text).settings(document)


def account_of(settings: Settings, name: str | None = None) -> Account:
    """The account `name`, or the first. Raises UserError when there is none of that name."""
    for account in settings.accounts:
        if name in (None, account.name):
            return account
    raise UserError(f"{settings.path} has no account {name}: it has {', '.join(a.name for a in settings.accounts)}")


def folder_of(settings: Settings) -> Path:
    """The only folder that the settings' accounts have. Raises UserError when there are several."""
    if len({account.folder.resolve() for account in settings.accounts}) > 1:
        raise UserError(f"{settings.path} has several folders: say which with --to")
    return settings.accounts[0].folder


def check_account_name(name: str) -> str:
    """`name`, when an account may have it. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", name):
        raise ValueError("1 to 32 letters, digits, . _ and -, a letter or digit first")
    return name


def check_virtual_path(path: str) -> str:
    """`path` without doubled and trailing slashes, when a folder may appear under it. Raises ValueError."""
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or not all(re.fullmatch(r"[A-Za-z0-9._-]+", p) and p.strip(".") for p in parts):
        raise ValueError("/ or a path like /test: names of letters, digits, . _ and - behind slashes")
    return "/" + "/".join(parts)


def check_address(text: str) -> str:
    """`text`, when it is an IP address that a server may listen on. Raises ValueError."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("an IP address of this machine, such as 192.168.0.10, or 0.0.0.0 for all of them") from None


def suggestion(key: str, known: Collection[str]) -> str:
    """What to write in the place of `key`, which is none of those that are `known`."""
    close = difflib.get_close_matches(key, known, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


class _Reader:
    """Takes a parsed otalink.toml apart, and finds the lines of what is wrong."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def settings(self, document: dict[str, Any]) -> Settings:
        self._check_keys(document, ("secrets", "server", "account"), "", 0)
        server = document.get("server", {})
        if not isinstance(server, dict):
            raise self._wrong("server", "", 0, "must be a section that begins with the line [server]")
        known = ("address", "port", "passive_ports", "masquerade_address", "sessions")
        self._check_keys(server, known, "server", 0)

        def value(key: str, default: Any, check: Callable[[Any], Any]) -> Any:
            return self._value(server, key, "server", 0, default, check)

        return Settings(
            address=value("address", Settings.address, _text(check_address)),
            port=value("port", Settings.port, _number(0, 65535)),
            passive_ports=value("passive_ports", Settings.passive_ports, _ports),
            masquerade_address=value("masquerade_address", None, _text(_masquerade)),
            sessions=value("sessions", Settings.sessions, _number(1, SESSIONS_MAX)),
            secrets=self._value(document, "secrets", "", 0, self._under(SECRETS_NAME), _text(self._file)),
            accounts=self._accounts(document),
            path=self._path,
        )

    def _accounts(self, document: dict[str, Any]) -> tuple[Account, ...]:
        tables = document.get("account", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._wrong("account", "", 0, "must be sections that each begin with the line [[account]]")
        if not tables:
            raise UserError(f"{self._path}: there is no [[account]]: without one nobody can log in")
        accounts: list[Account] = []
        for number, table in enumerate(tables):
            self._check_keys(table, ("name", "folder", "virtual_path", "role"), "account", number)

            def value(
                key: str, default: Any, check: Callable[[Any], Any], table: Any = table, number: int = number
            ) -> Any:
                return self._value(table, key, "account", number, default, check)

            account = Account(
                name=value("name", _REQUIRED, _text(check_account_name)),
                folder=value("folder", _REQUIRED, _text(self._folder)),
                virtual_path=value("virtual_path", "/", _text(check_virtual_path)),
                role=value("role", "board", _text(_role)),
            )
            if any(account.name == other.name for other in accounts):
                raise self._wrong("name", "account", number, f"is {account.name!r} twice: give each account its own")
            accounts.append(account)
        return tuple(accounts)

    def _value(
        self,
        table: dict[str, Any],
        key: str,
        section: str,
        number: int,
        default: Any,
        check: Callable[[Any], Any],
    ) -> Any:
        if key not in table:
            if default is _REQUIRED:
                raise self._wrong(key, section, number, "is missing")
            return default
        try:
            return check(table[key])
        except ValueError as error:
            raise self._wrong(key, section, number, f"is {table[key]!r}; allowed: {error}") from None

    def _check_keys(self, table: dict[str, Any], known: tuple[str, ...], section: str, number: int) -> None:
        for key in table:
            if key not in known:
                raise self._wrong(key, section, number, f"is not known: {suggestion(key, known)}")

    def _wrong(self, key: str, section: str, number: int, what: str) -> UserError:
        line = self._line(key, section, number)
        place = f"{self._path}:{line}" if line else f"{self._path}"
        where = {"": "", "server": " in [server]", "account": f" in [[account]] number {number + 1}"}[section]
        return UserError(f"{place}: {key}{where} {what}")

    def _line(self, key: str, section: str, number: int) -> int | None:
        """The line of `key` in the `number`th of the sections named `section`, else of that section's head."""
        current, head, counted = "", None, -1
        for index, line in enumerate(self._lines, 1):
            heading = re.match(r"\s*\[\[?\s*([^\]]*?)\s*\]", line)
            if heading:
                current = heading[1]
                counted += current == section
                if current == section and counted == number:
                    head = index
                if not section and current == key:
                    return index
            elif current == section and (not section or counted == number) and re.match(rf'\s*"?{key}"?\s*=', line):
                return index
        return head

    def _under(self, text: str) -> Path:
        return self._path.parent / text

    def _file(self, text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError("the name of a file, relative to this one's folder")
        return self._under(text)

    def _folder(self, text: str) -> Path:
        folder = self._file(text)
        if not folder.is_dir():
            raise ValueError(f"a folder that is there, relative to this file's; make it with: mkdir {folder}")
        return folder


_REQUIRED = object()


def _text(check: Callable[[str], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError('text in quotes, such as "board"')
        return check(value)

    return checked


def _number(first: int, last: int) -> Callable[[Any], int]:
    def checked(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not first <= value <= last:
            raise ValueError(f"a whole number from {first} to {last}, without quotes")
        return value

    return checked


def _ports(value: Any) -> range:
    first, last = value if isinstance(value, list) and len(value) == 2 else (None, None)
    # A bool is an int to Python; in a list of ports it is a mistake.
    if type(first) is not int or type(last) is not int or not 1024 <= first <= last <= 65535:
        raise ValueError("the first and the last port, from 1024 to 65535, such as [30000, 30099]")
    return range(first, last + 1)


def _masquerade(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        address = ipaddress.IPv4Address(0)
    if address.is_unspecified:
        raise ValueError("the IPv4 address at which boards reach this machine, such as 203.0.113.7")
    return str(address)


def _role(text: str) -> str:
    if text not in ROLES:
        raise ValueError(" or ".join(f'"{role}"' for role in ROLES))
    return text


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"


TEMPLATE = f"""\
# The settings of `otalink serve`. Paths are relative to this file's folder. No password stands in here.

# The file with the accounts' passwords. Only its owner may read it; keep it out of version control.
secrets = "{SECRETS_NAME}"

[server]
# The address of this machine to listen on; 0.0.0.0 is all of them.
address = "{Settings.address}"

# FTP's own port is 21, which needs an administrator's rights; {DEFAULT_PORT} does not. Boards are told which it is.
port = {DEFAULT_PORT}

# Data connections come in on these ports, so the firewall opens them too (`otalink serve --firewall` prints how).
passive_ports = [{DEFAULT_PASSIVE_PORTS[0]}, {DEFAULT_PASSIVE_PORTS[-1]}]

# Behind a router that forwards the ports above: the address at which boards reach it.
# masquerade_address = "203.0.113.7"

# How many boards are served at once; the others are told to come back later.
sessions = {DEFAULT_SESSIONS}

[[account]]
name = "board"

# The folder that holds the release: `otalink release publish` writes to it.
folder = "releases"

# Where that folder appears to the boards: "/", or for example "/test".
virtual_path = "/"

# A board may list and read, nothing else.
role = "board"
"""
