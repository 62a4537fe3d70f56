"""The settings in `otalink.toml`: their form, their checks, and the file that `otalink init` writes.

No password is ever read from or written to this file (accounts.py has those), and nothing here opens a socket.
Every wrong value is a UserError of one line: the file, its line, the key, and what is allowed.
"""

import ipaddress
import re
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otalink_host.errors import UserError
from otalink_host.toml_file import REQUIRED, Check, TomlFile, number, one_of, text

CONFIG_NAME = "otalink.toml"
SECRETS_NAME = "otalink.secrets"
REPORTS_NAME = "reports"
DEFAULT_PORT = 2121
# Below every system's range of ports for outgoing connections (Linux from 32768, Windows and macOS from 49152), so that
# no other program happens to sit on one of them.
DEFAULT_PASSIVE_PORTS = range(30000, 30100)
DEFAULT_SESSIONS = 250
# Where the system offers only select(), Python takes 512 sockets: two a session, and the one that listens.
SESSIONS_MAX = 10_000 if hasattr(select, "poll") else 250
ROLES = ("board", "publisher")
# What one upload may have, in bytes: a release for a board with 16 MB of flash, several times over.
DEFAULT_UPLOAD_MAX = 64 << 20


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
    otalink.toml that this came from, or None. `unsigned` lets publishers upload what nobody signed, though there are
    keys; `upload_max` is how many bytes one file of theirs may have; `reports` the folder for the boards' reports.
    """

    accounts: tuple[Account, ...]
    address: str = "0.0.0.0"
    port: int = DEFAULT_PORT
    passive_ports: range | None = DEFAULT_PASSIVE_PORTS
    masquerade_address: str | None = None
    sessions: int = DEFAULT_SESSIONS
    secrets: Path | None = None
    path: Path | None = None
    unsigned: bool = False
    upload_max: int = DEFAULT_UPLOAD_MAX
    reports: Path | None = None


def load_settings(path: Path) -> Settings:
    """The settings in the file `path`, all of them checked. Raises UserError for the first that is wrong."""
    return _Reader(path, "make one with `otalink init`, or name one with --config").settings()


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


def check_address(address: str) -> str:
    """`address`, when it is an IP address that a server may listen on. Raises ValueError."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError("an IP address of this machine, such as 192.168.0.10, or 0.0.0.0 for all of them") from None


class _Reader(TomlFile):
    """Takes an otalink.toml apart."""

    def settings(self) -> Settings:
        self.check_keys(self.document, ("secrets", "reports", "server", "publishing", "account"), "")
        server = self.section("server", ("address", "port", "passive_ports", "masquerade_address", "sessions"))

        def value(key: str, default: Any, check: Check) -> Any:
            return self.value(server, key, "server", default, check)

        publishing = self.section("publishing", ("unsigned", "upload_max"))

        def publishing_value(key: str, default: Any, check: Check) -> Any:
            return self.value(publishing, key, "publishing", default, check)

        return Settings(
            unsigned=publishing_value("unsigned", Settings.unsigned, _yes_or_no),
            upload_max=publishing_value("upload_max", Settings.upload_max, number(1, 1 << 40)),
            reports=self.value(self.document, "reports", "", self._under(REPORTS_NAME), text(self._file)),
            address=value("address", Settings.address, text(check_address)),
            port=value("port", Settings.port, number(0, 65535)),
            passive_ports=value("passive_ports", Settings.passive_ports, _ports),
            masquerade_address=value("masquerade_address", None, text(_masquerade)),
            sessions=value("sessions", Settings.sessions, number(1, SESSIONS_MAX)),
            secrets=self.value(self.document, "secrets", "", self._under(SECRETS_NAME), text(self._file)),
            accounts=self._accounts(),
            path=self.path,
        )

    def _accounts(self) -> tuple[Account, ...]:
        tables = self.document.get("account", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self.wrong("account", "", "must be sections that each begin with the line [[account]]")
        if not tables:
            raise UserError(f"{self.path}: there is no [[account]]: without one nobody can log in")
        accounts: list[Account] = []
        for index, table in enumerate(tables):
            self.check_keys(table, ("name", "folder", "virtual_path", "role"), "account", index)

            def value(key: str, default: Any, check: Check, table: Any = table, index: int = index) -> Any:
                return self.value(table, key, "account", default, check, index)

            account = Account(
                name=value("name", REQUIRED, text(check_account_name)),
                folder=value("folder", REQUIRED, text(self._folder)),
                virtual_path=value("virtual_path", "/", text(check_virtual_path)),
                role=value("role", "board", text(one_of(ROLES))),
            )
            if any(account.name == other.name for other in accounts):
                raise self.wrong("name", "account", f"is {account.name!r} twice: give each account its own", index)
            accounts.append(account)
        return tuple(accounts)

    def _under(self, name: str) -> Path:
        return self.path.parent / name

    def _file(self, name: str) -> Path:
        if not name or "\0" in name:
            raise ValueError("the name of a file, relative to this one's folder")
        return self._under(name)

    def _folder(self, name: str) -> Path:
        folder = self._file(name)
        if not folder.is_dir():
            raise ValueError(f"a folder that is there, relative to this file's; make it with: mkdir {folder}")
        return folder


def _ports(value: Any) -> range:
    first, last = value if isinstance(value, list) and len(value) == 2 else (None, None)
    # A bool is an int to Python; in a list of ports it is a mistake.
    if type(first) is not int or type(last) is not int or not 1024 <= first <= last <= 65535:
        raise ValueError("the first and the last port, from 1024 to 65535, such as [30000, 30099]")
    return range(first, last + 1)


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false, without quotes")
    return value


def _masquerade(address_text: str) -> str:
    try:
        address = ipaddress.IPv4Address(address_text)
    except ValueError:
        address = ipaddress.IPv4Address(0)
    if address.is_unspecified:
        raise ValueError("the IPv4 address at which boards reach this machine, such as 203.0.113.7")
    return str(address)


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

# [publishing]
# Publishers upload release files that one of the keys beside this file has signed; here, unsigned ones and plain
# folders as well. Where there is no key, they always may.
# unsigned = true
# How many bytes one file of theirs may have.
# upload_max = {DEFAULT_UPLOAD_MAX}

[[account]]
name = "board"

# The folder that holds the release: `otalink release publish` writes to it.
folder = "releases"

# Where that folder appears to the boards: "/", or for example "/test".
virtual_path = "/"

# A board may list and read, and leave its report; a publisher may publish and withdraw releases as well.
role = "board"
"""
