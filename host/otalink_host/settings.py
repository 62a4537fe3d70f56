"""The settings in `otalink.toml`: their form, their checks, and the file that `otalink init` writes.

No password is ever read from or written to this file (accounts.py has those), and nothing here opens a socket.
Every wrong value is a UserError of one line: the file, its line, the key, and what is allowed.
"""

import ipaddress
import os
import re
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otalink_host.errors import UserError
from otalink_host.toml_file import REQUIRED, Check, TomlFile, number, one_of, text

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
TLS_MODES = ("off", "optional", "required")
LOG_FORMATS = ("text", "json")
# Seconds, and KiB a second: a day, and 10 GiB.
SECONDS_MAX = 86_400
BANDWIDTH_MAX = 10 * 1024 * 1024
WORKERS_MAX = 64


@dataclass(frozen=True)
class Account:
    """Who may log in: `folder` on this machine appears to it as `virtual_path` on the server (note 18)."""

    name: str
    folder: Path
    virtual_path: str = "/"
    role: str = "board"


@dataclass(frozen=True)
class Tls:
    """FTP over TLS (RFC 4217). `mode` is "off", "optional": a client may, or "required": for login and data.

    `certificate` and `key` are the server's own, in PEM; unless `mode` is "off" they are there. `ca` is the certificate
    that boards check them by, in DER or PEM.
    """

    mode: str = "off"
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


@dataclass(frozen=True)
class Settings:
    """What `otalink serve` needs to know, apart from the passwords.

    `addresses` are IP addresses of this machine ("0.0.0.0": all of them), `port` 0 a free one that the system chooses.
    `passive_ports` None leaves the data connections' ports to the system. `sessions` counts the boards that are served
    at once, each with a control and a data connection; `sessions_per_address` and `sessions_per_account` those of one
    address and one account. `bandwidth` is KiB a second for one session, `bandwidth_total` for all of them together;
    0, here and before, is no limit. The timeouts are seconds: `idle_timeout` without a command, `data_timeout` without
    a byte on a data connection, `login_timeout` until a client has logged in, `stop_timeout` for transfers when the
    server is ended. `workers` is how many processes serve. `metrics_port` None is no page of counters. `secrets` is the
    file that holds the passwords, `path` the otalink.toml that this came from, or None.
    """

    accounts: tuple[Account, ...]
    addresses: tuple[str, ...] = ("0.0.0.0",)
    port: int = DEFAULT_PORT
    passive_ports: range | None = DEFAULT_PASSIVE_PORTS
    masquerade_address: str | None = None
    sessions: int = DEFAULT_SESSIONS
    sessions_per_address: int = 0
    sessions_per_account: int = 0
    bandwidth: int = 0
    bandwidth_total: int = 0
    idle_timeout: int = 300
    data_timeout: int = 120
    login_timeout: float = 60
    stop_timeout: int = 30
    workers: int = 1
    tls: Tls = Tls()
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None
    log_format: str = "text"
    secrets: Path | None = None
    path: Path | None = None


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


# Of [server], what is a number with the name that it has in Settings.
LIMITS = {
    **dict.fromkeys(("sessions_per_address", "sessions_per_account"), number(0, SESSIONS_MAX)),
    **dict.fromkeys(("bandwidth", "bandwidth_total"), number(0, BANDWIDTH_MAX)),
    **dict.fromkeys(("idle_timeout", "data_timeout", "login_timeout", "stop_timeout"), number(1, SECONDS_MAX)),
}
SERVER_KEYS = ("address", "port", "passive_ports", "masquerade_address", "sessions", *LIMITS, "workers")


class _Reader(TomlFile):
    """Takes an otalink.toml apart."""

    def settings(self) -> Settings:
        self.check_keys(self.document, ("secrets", "server", "account", "tls", "metrics", "log"), "")
        server = self.section("server", SERVER_KEYS)
        metrics = self.section("metrics", ("address", "port"))
        log = self.section("log", ("format",))

        def value(key: str, default: Any, check: Check) -> Any:
            return self.value(server, key, "server", default, check)

        settings = Settings(
            addresses=value("address", Settings.addresses, _addresses),
            port=value("port", Settings.port, number(0, 65535)),
            passive_ports=value("passive_ports", Settings.passive_ports, _ports),
            masquerade_address=value("masquerade_address", None, text(_masquerade)),
            sessions=value("sessions", Settings.sessions, number(1, SESSIONS_MAX)),
            **{key: value(key, getattr(Settings, key), check) for key, check in LIMITS.items()},
            workers=value("workers", Settings.workers, _workers),
            tls=self._tls(),
            metrics_address=self.value(metrics, "address", "metrics", Settings.metrics_address, text(check_address)),
            metrics_port=self.value(metrics, "port", "metrics", 0, number(0, 65535)) or None,
            log_format=self.value(log, "format", "log", Settings.log_format, text(one_of(LOG_FORMATS))),
            secrets=self.value(self.document, "secrets", "", self._under(SECRETS_NAME), text(self._file)),
            accounts=self._accounts(),
            path=self.path,
        )
        if settings.workers > settings.sessions:
            raise self.wrong("workers", "server", "is more than sessions: each needs at least one")
        if settings.workers > len(settings.passive_ports or range(WORKERS_MAX)):
            raise self.wrong("workers", "server", "is more than passive_ports has: each needs at least one")
        return settings

    def _tls(self) -> Tls:
        tls = self.section("tls", ("mode", "certificate", "key", "ca"))

        def value(key: str, default: Any, check: Check) -> Any:
            return self.value(tls, key, "tls", default, check)

        mode = value("mode", Tls.mode, text(one_of(TLS_MODES)))
        needed = None if mode == "off" else REQUIRED
        return Tls(
            mode=mode,
            certificate=value("certificate", needed, text(self._file)),
            key=value("key", needed, text(self._file)),
            ca=value("ca", None, text(self._file)),
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


def _addresses(value: Any) -> tuple[str, ...]:
    addresses = [text(check_address)(each) for each in (value if isinstance(value, list) and value else [value])]
    if len(set(addresses)) < len(addresses):
        raise ValueError('each address once, such as ["0.0.0.0", "::"]')
    return tuple(addresses)


def _workers(value: Any) -> int:
    count: int = number(1, WORKERS_MAX)(value)
    if count > 1 and not hasattr(os, "fork"):
        raise ValueError("1 on this system: several processes need Linux or macOS")
    return count


def _ports(value: Any) -> range:
    first, last = value if isinstance(value, list) and len(value) == 2 else (None, None)
    # A bool is an int to Python; in a list of ports it is a mistake.
    if type(first) is not int or type(last) is not int or not 1024 <= first <= last <= 65535:
        raise ValueError("the first and the last port, from 1024 to 65535, such as [30000, 30099]")
    return range(first, last + 1)


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
# Several go in brackets: address = ["0.0.0.0", "::"]
address = "0.0.0.0"

# FTP's own port is 21, which needs an administrator's rights; {DEFAULT_PORT} does not. Boards are told which it is.
port = {DEFAULT_PORT}

# Data connections come in on these ports, so the firewall opens them too (`otalink serve --firewall` prints how).
passive_ports = [{DEFAULT_PASSIVE_PORTS[0]}, {DEFAULT_PASSIVE_PORTS[-1]}]

# Behind a router that forwards the ports above: the address at which boards reach it.
# masquerade_address = "203.0.113.7"

# How many boards are served at once; the others are told to come back later.
sessions = {DEFAULT_SESSIONS}

# And how many of one address or account, and KiB a second for one session and for all of them; 0 is no limit.
# sessions_per_address = {Settings.sessions_per_address}
# sessions_per_account = {Settings.sessions_per_account}
# bandwidth = {Settings.bandwidth}
# bandwidth_total = {Settings.bandwidth_total}

[[account]]
name = "board"

# The folder that holds the release: `otalink release publish` writes to it.
folder = "releases"

# Where that folder appears to the boards: "/", or for example "/test".
virtual_path = "/"

# A board may list and read, nothing else.
role = "board"
"""
