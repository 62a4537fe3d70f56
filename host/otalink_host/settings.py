"""The settings in `otalink.toml`: their form, their checks, and the file that `otalink init` writes.

No password is ever read from or written to this file (accounts.py has those), and nothing here opens a socket.
Every wrong value is a UserError of one line: the file, its line, the key, and what is allowed.
"""

import ipaddress
import os
import posixpath
import re
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otalink_host.errors import UserError
from otalink_host.toml_file import REQUIRED, Check, TomlFile, list_of, number, one_of, text, truth

CONFIG_NAME = "otalink.toml"
SECRETS_NAME = "otalink.secrets"
REPORTS_NAME = "reports"
AUDIT_NAME = "audit"
AUDIT_KEY_NAME = "otalink.audit-key"
HASHES_NAME = "otalink.hashes"
TO_MAKE = "make one with `otalink init`, or name one with --config"
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
# Where a session of the account must have TLS: on the control connection, where the password goes, or on all of them.
TLS_LEVELS = ("control", "full")
ACCOUNT_KEYS = ("name", "folder", "channel", "channels", "virtual_path", "role", "tls", "networks", "disabled")
TLS_MODES = ("off", "optional", "required")
LOG_FORMATS = ("text", "json")
# Seconds, and KiB a second: a day, and 10 GiB.
SECONDS_MAX = 86_400
BANDWIDTH_MAX = 10 * 1024 * 1024
WORKERS_MAX = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Account:
    """Who may log in: `folder` on this machine appears to it as `virtual_path` on the server (note 18).

    With several `channels`, (name, folder on this machine), each appears under its name below `virtual_path`, in place
    of `folder`. `tls` is one of TLS_LEVELS, or None where none is asked for; `networks` are those that it logs in from,
    none named: from anywhere. Who is `disabled` does not log in.
    """

    name: str
    folder: Path
    virtual_path: str = "/"
    role: str = "board"
    channels: tuple[tuple[str, Path], ...] = ()
    tls: str | None = None
    networks: tuple[Network, ...] = ()
    disabled: bool = False

    @property
    def mounts(self) -> dict[str, Path]:
        """What it sees: the folders on this machine, by the virtual path of each."""
        if not self.channels:
            return {self.virtual_path: self.folder}
        return {posixpath.join(self.virtual_path, name): folder for name, folder in self.channels}

    @property
    def folders(self) -> list[Path]:
        """The folders on this machine that it sees."""
        return list(self.mounts.values())

    def may_come_from(self, address: Address) -> bool:
        """True when it may log in from this address, as `plain_address` gives it."""
        return not self.networks or any(address in network for network in self.networks)


@dataclass(frozen=True)
class LockoutSettings:
    """After `failures` wrong logins one waits `delay` seconds, after each further one twice that, up to `delay_max`."""

    failures: int = 5
    delay: int = 1
    delay_max: int = 900


@dataclass(frozen=True)
class AuditSettings:
    """Where the audit log lies and how much of it is kept: in days, and in files of `file_mib` MiB (docs/audit.md)."""

    folder: Path
    key: Path
    keep_days: int = 180
    file_mib: int = 4


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
    server is ended. `workers` is how many processes serve. `metrics_port` None is no page of counters.

    `hashes` is the file with the hashes of the passwords, `secrets` the one with the boards' passwords as they are,
    which flashing needs; `path` is the otalink.toml that this came from, or None. `channels` are folders by the names
    that accounts use for them. Without `audit` nothing is recorded.

    `unsigned` lets publishers upload what nobody signed, though there are keys; `upload_max` is how many bytes one file
    of theirs may have; `reports` the folder for the boards' reports.
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
    hashes: Path | None = None
    channels: tuple[tuple[str, Path], ...] = ()
    lockout: LockoutSettings = LockoutSettings()
    path: Path | None = None
    audit: AuditSettings | None = None
    unsigned: bool = False
    upload_max: int = DEFAULT_UPLOAD_MAX
    reports: Path | None = None

    @property
    def folders(self) -> list[Path]:
        """Every folder that an account sees, each once."""
        return list(dict.fromkeys(folder for account in self.accounts for folder in account.folders))


def load_settings(path: Path) -> Settings:
    """The settings in the file `path`, all of them checked. Raises UserError for the first that is wrong."""
    return _Reader(path, TO_MAKE).settings()


def account_of(settings: Settings, name: str | None = None) -> Account:
    """The account `name`, or the first. Raises UserError when there is none of that name."""
    for account in settings.accounts:
        if name in (None, account.name):
            return account
    raise UserError(f"{settings.path} has no account {name}: it has {', '.join(a.name for a in settings.accounts)}")


def folder_of(settings: Settings) -> Path:
    """The only folder that the settings' accounts have. Raises UserError when there are several."""
    if len({folder.resolve() for folder in settings.folders}) > 1:
        raise UserError(f"{settings.path} has several folders: say which with --channel or --to")
    return settings.folders[0]


def channel_of(settings: Settings, name: str) -> Path:
    """The folder of the channel `name`. Raises UserError when there is none of that name."""
    channels = dict(settings.channels)
    if name not in channels:
        raise UserError(
            f"{settings.path} has no channel {name}: "
            + (f"it has {', '.join(channels)}" if channels else 'write a section [channels] with NAME = "FOLDER"')
        )
    return channels[name]


def plain_address(text: str) -> Address:
    """The IP address that a socket gives as `text`; one of IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2) is IPv4."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def check_account_name(name: str) -> str:
    """`name`, when an account may have it. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", name):
        raise ValueError("1 to 32 letters, digits, . _ and -, a letter or digit first")
    return name


def check_channel_name(name: str) -> str:
    """`name`, when a channel may have it. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", name):
        raise ValueError("1 to 32 letters, digits, . _ and -, a letter or digit first")
    return name


def check_network(text: str) -> Network:
    """The network that `text` names. Raises ValueError."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            "networks by address and prefix, no bit set behind it, such as 192.168.0.0/16 or fd00::/8"
        ) from None
    if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
        return ipaddress.ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}")
    return network


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
        known = (
            *("secrets", "hashes", "reports", "server", "publishing", "tls", "lockout", "audit", "metrics", "log"),
            *("channels", "account"),
        )
        self.check_keys(self.document, known, "")
        server = self.section("server", SERVER_KEYS)
        metrics = self.section("metrics", ("address", "port"))
        log = self.section("log", ("format",))
        channels = self._channels()

        def value(key: str, default: Any, check: Check) -> Any:
            return self.value(server, key, "server", default, check)

        publishing = self.section("publishing", ("unsigned", "upload_max"))

        def publishing_value(key: str, default: Any, check: Check) -> Any:
            return self.value(publishing, key, "publishing", default, check)

        settings = Settings(
            unsigned=publishing_value("unsigned", Settings.unsigned, _yes_or_no),
            upload_max=publishing_value("upload_max", Settings.upload_max, number(1, 1 << 40)),
            reports=self.value(self.document, "reports", "", self._under(REPORTS_NAME), text(self._file)),
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
            hashes=self.value(self.document, "hashes", "", self._under(HASHES_NAME), text(self._file)),
            channels=tuple(channels.items()),
            lockout=self._lockout(),
            accounts=self._accounts(channels),
            path=self.path,
            audit=self._audit(),
        )
        if settings.workers > settings.sessions:
            raise self.wrong("workers", "server", "is more than sessions: each needs at least one")
        if settings.workers > len(settings.passive_ports or range(WORKERS_MAX)):
            raise self.wrong("workers", "server", "is more than passive_ports has: each needs at least one")
        for index, account in enumerate(settings.accounts):
            if account.tls is not None and settings.tls.mode == "off":
                raise self.wrong("tls", "account", "needs a section [tls], whose mode is not off", index)
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

    def _audit(self) -> AuditSettings:
        audit = self.section("audit", ("folder", "key", "keep_days", "file_mib"))

        def value(key: str, default: Any, check: Check) -> Any:
            return self.value(audit, key, "audit", default, check)

        return AuditSettings(
            folder=value("folder", self._under(AUDIT_NAME), text(self._file)),
            key=value("key", self._under(AUDIT_KEY_NAME), text(self._file)),
            keep_days=value("keep_days", AuditSettings.keep_days, number(1, 3650)),
            file_mib=value("file_mib", AuditSettings.file_mib, number(1, 1024)),
        )

    def _lockout(self) -> LockoutSettings:
        table = self.section("lockout", ("failures", "delay", "delay_max"))

        def value(key: str, default: int, last: int) -> Any:
            return self.value(table, key, "lockout", default, number(1, last))

        return LockoutSettings(
            failures=value("failures", LockoutSettings.failures, 1000),
            delay=value("delay", LockoutSettings.delay, 86_400),
            delay_max=value("delay_max", LockoutSettings.delay_max, 86_400),
        )

    def _channels(self) -> dict[str, Path]:
        table = self.section("channels", None)
        for name in table:
            try:
                check_channel_name(name)
            except ValueError as error:
                raise self.wrong(name, "channels", f"is no name for a channel: {error}") from None
        return {name: self.value(table, name, "channels", REQUIRED, text(self._folder)) for name in table}

    def _accounts(self, channels: dict[str, Path]) -> tuple[Account, ...]:
        tables = self.document.get("account", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self.wrong("account", "", "must be sections that each begin with the line [[account]]")
        if not tables:
            raise UserError(f"{self.path}: there is no [[account]]: without one nobody can log in")
        accounts: list[Account] = []
        for index, table in enumerate(tables):
            self.check_keys(table, ACCOUNT_KEYS, "account", index)
            account = self._account(table, index, channels)
            if any(account.name == other.name for other in accounts):
                raise self.wrong("name", "account", f"is {account.name!r} twice: give each account its own", index)
            accounts.append(account)
        return tuple(accounts)

    def _account(self, table: dict[str, Any], index: int, channels: dict[str, Path]) -> Account:
        def value(key: str, default: Any, check: Check) -> Any:
            return self.value(table, key, "account", default, check, index)

        def channel(name: str) -> tuple[str, Path]:
            if name not in channels:
                raise ValueError(
                    "a channel of the section [channels]" + (f": {', '.join(channels)}" if channels else "")
                )
            return name, channels[name]

        name = value("name", REQUIRED, text(check_account_name))
        places = [key for key in ("folder", "channel", "channels") if key in table]
        if len(places) > 1:
            raise self.wrong(places[1], "account", f"is one too many: {places[0]} says already what it sees", index)
        several: tuple[tuple[str, Path], ...] = ()
        if places == ["channel"]:
            _, folder = value("channel", REQUIRED, text(channel))
        elif places == ["channels"]:
            several = value("channels", REQUIRED, list_of(text(channel)))
            folder = several[0][1]
        else:
            folder = value("folder", REQUIRED, text(self._folder))
        return Account(
            name=name,
            folder=folder,
            virtual_path=value("virtual_path", "/", text(check_virtual_path)),
            role=value("role", "board", text(one_of(ROLES))),
            channels=several,
            tls=value("tls", None, text(one_of(TLS_LEVELS))),
            networks=value("networks", (), list_of(text(check_network))),
            disabled=value("disabled", False, truth),
        )

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

# Where boards are flashed: their passwords as they are. Only its owner may read it; keep it out of version control.
secrets = "{SECRETS_NAME}"

# What the server knows of the passwords: their hashes, which `otalink user` writes.
hashes = "{HASHES_NAME}"

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

# After so many wrong logins one waits so many seconds, then twice as long each time, up to the most.
# [lockout]
# failures = {LockoutSettings.failures}
# delay = {LockoutSettings.delay}
# delay_max = {LockoutSettings.delay_max}

[audit]
# Who did what, when and from where: see `otalink audit --help`. Records are destroyed after so many days.
folder = "{AUDIT_NAME}"
keep_days = {AuditSettings.keep_days}

# Folders by name: an account then says channel = "beta", or channels = ["stable", "beta"], in place of a folder.
# [channels]
# stable = "releases"
# beta = "releases-beta"

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
# `otalink user --help` says how more accounts are made.
role = "board"
"""
