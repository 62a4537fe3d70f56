"""Options that several commands have, and what they lead to: settings, keys, a passphrase, a place for releases."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from otalink_host.audit import head_path, writers
from otalink_host.board_secrets import BOARD_SECRETS_NAME
from otalink_host.errors import UserError
from otalink_host.place import Place
from otalink_host.place_ftp import Address, connected, is_address, parse_address
from otalink_host.place_local import LocalPlace
from otalink_host.private import check_apart
from otalink_host.secrets_file import read_secrets
from otalink_host.settings import CONFIG_NAME, Settings, channel_of, folder_of, load_settings

# Scripts give an FTP server's password here, or by a file descriptor.
PASSWORD_VARIABLE = "OTALINK_PASSWORD"
# Scripts give a private key's passphrase here, or by a file descriptor; a command line is everybody's to read.
PASSPHRASE_VARIABLE = "OTALINK_KEY_PASSPHRASE"

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")]
KeysFolder = Annotated[
    Path | None,
    typer.Option("--keys", metavar="FOLDER", help="Where the keys are; by default keys beside the settings."),
]
PassphraseFd = Annotated[
    int | None,
    typer.Option("--passphrase-fd", metavar="N", min=0, help="Read the key's passphrase from this file descriptor."),
]
PublicKeys = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KEY", help="Only this key, by name or file; more than once for more."),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="FOLDER|URL", help="Publish there, as to ftps://publisher@host/folder."),
]
Channel = Annotated[
    str | None, typer.Option("--channel", metavar="NAME", help="The folder of this channel in the settings.")
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="Trust the certificates in FILE for ftps, not the system's."),
]
PasswordFd = Annotated[
    int | None,
    typer.Option("--password-fd", metavar="N", min=0, help="Read the server's password from this file descriptor."),
]
Unsigned = Annotated[bool, typer.Option("--unsigned", help="Take a release that nobody signed.")]


def keys_folder(config: Path, keys: Path | None, served: Path | None = None) -> Path:
    """The keys folder, which is in no folder that boards get files from: those of the settings, and `served`."""
    folder = place_of_keys(config, keys)
    settings = settings_if_any(config)
    places = [served] if served is not None else []
    places += settings.folders if settings is not None else []
    check_apart([folder], places)
    return folder


def place_of_keys(config: Path, keys: Path | None) -> Path:
    from otalink_host.keys import FOLDER_NAME

    return keys if keys is not None else config.parent / FOLDER_NAME


def check_private(config: Path, keys: Path | None, folders: list[Path]) -> None:
    """Refuses `folders`, which boards get files from, when settings, passwords, private keys or audit log lie there."""
    from otalink_host.keys import PRIVATE

    settings = settings_if_any(config)
    folder = place_of_keys(config, keys)
    private = [config, config.with_name(BOARD_SECRETS_NAME), folder, *sorted(folder.glob(f"*{PRIVATE}"))]
    if settings is not None:
        private[:0] = [path for path in (settings.secrets, settings.hashes) if path is not None]
        tls = settings.tls
        private += [path for path in (tls.key, tls.ca and tls.ca.with_name("ca.key")) if path is not None]
    private = [path for path in private if os.path.lexists(path)]
    if settings is not None and settings.audit is not None:
        # The server makes these when it needs them.
        audit = settings.audit
        private += [audit.key, audit.folder, *(head_path(audit.folder, writer) for writer in writers(settings))]
    if settings is not None and settings.reports is not None:
        # As above; and no board writes where boards read.
        private.append(settings.reports)
    check_apart(private, folders)


def settings_if_any(config: Path) -> Settings | None:
    """The settings; None where there are none: a machine that builds releases needs keys, and no server."""
    return load_settings(config) if config.exists() or config != Path(CONFIG_NAME) else None


def public_keys(config: Path, keys: Path | None, names: list[str] | None, served: Path | None = None) -> dict[str, str]:
    from otalink_host.keys import for_boards, load_all, load_public

    folder = keys_folder(config, keys, served)
    return for_boards([load_public(folder, name) for name in names] if names else load_all(folder))


def only_key(folder: Path) -> str:
    """The name of the one private key in `folder`."""
    from otalink_host.keys import load_all

    names = [key.name for key in load_all(folder) if key.private is not None]
    if not names:
        raise UserError(f"no key in {folder}: make one with `otalink keys new`, or build with --unsigned")
    if len(names) > 1:
        raise UserError(f"{folder} has several keys: say which with --key ({', '.join(names)})")
    return names[0]


@dataclass(frozen=True)
class Destination:
    """Where releases are or go to: a `folder` of this machine, or else an `address` with its password."""

    folder: Path | None
    address: Address | None = None
    password: str = field(default="", repr=False)
    ca: Path | None = None

    def __str__(self) -> str:
        return str(self.folder or self.address)

    @property
    def folders(self) -> list[Path]:
        """The folder of this machine, if it is one."""
        return [self.folder] if self.folder is not None else []

    @contextmanager
    def opened(self) -> Iterator[Place]:
        """The place, while the block lasts. Raises UserError when a server cannot be reached or refuses."""
        if self.address is not None:
            with connected(self.address, self.password, self.ca) as place:
                yield place
        elif self.folder is not None:
            yield LocalPlace(self.folder)


def destination_of(
    to: str | None, config: Path, ca: Path | None, password_fd: int | None, channel: str | None = None
) -> Destination:
    """What `to` names, a folder or an FTP server's address; None stands for the settings' `channel` or only folder."""
    if to is not None and channel is not None:
        raise typer.BadParameter("it is either a channel or a place", param_hint="--channel")
    if to is not None and is_address(to):
        address = parse_address(to)
        if ca is not None and not address.is_tls:
            raise typer.BadParameter("it says whom to trust behind ftps://, not behind ftp://", param_hint="--ca")
        return Destination(None, address, password_of(address, config, password_fd), ca)
    if ca is not None or password_fd is not None:
        raise typer.BadParameter("a folder of this machine needs neither", param_hint="--ca, --password-fd")
    if to is not None:
        return Destination(Path(to))
    settings = load_settings(config)
    return Destination(channel_of(settings, channel) if channel is not None else folder_of(settings))


def password_of(address: Address, config: Path, descriptor: int | None) -> str:
    """The password for the FTP server at `address`: from a descriptor, the environment, the secrets file, or a prompt.

    The secrets file's counts for an account of that name, where there are settings.
    """
    settings = settings_if_any(config)
    if descriptor is not None:
        return _read_line(descriptor, "password")
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if settings is not None and settings.secrets is not None and settings.secrets.exists():
        password = read_secrets(settings.secrets, "password", f'{address.user} = "…"').get(address.user)
        # A hash of the password is of no use here.
        if isinstance(password, str) and not password.startswith("$"):
            return password
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {address.user} at {address.host}", hide_input=True, err=True))
    raise UserError(f"{address} needs a password: give it by --password-fd or in {PASSWORD_VARIABLE}")


def _read_line(descriptor: int, what: str) -> str:
    try:
        with open(descriptor, "rb") as file:
            return file.readline().rstrip(b"\r\n").decode()
    except (OSError, UnicodeError) as error:
        raise UserError(f"file descriptor {descriptor} gives no {what} ({error})") from None


def passphrase_of(path: Path, descriptor: int | None, confirm: bool = False) -> bytes:
    """The passphrase of the private key in `path`: from a descriptor, the environment, or whoever sits there."""
    if descriptor is not None:
        text = line_from(descriptor, "passphrase")
    elif PASSPHRASE_VARIABLE in os.environ:
        text = os.environ[PASSPHRASE_VARIABLE]
    elif sys.stdin.isatty():
        text = typer.prompt(f"Passphrase of {path}", hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        raise UserError(f"{path} needs a passphrase: give it by --passphrase-fd or in {PASSPHRASE_VARIABLE}")
    if not text:
        raise UserError(f"the passphrase of {path} is empty: give one")
    return text.encode()


def line_from(descriptor: int, what: str) -> str:
    """The first line that comes from this file descriptor, which is to be a secret. Raises UserError."""
    try:
        with open(descriptor, "rb") as file:
            return file.readline().rstrip(b"\r\n").decode()
    except (OSError, UnicodeError) as error:
        raise UserError(f"file descriptor {descriptor} gives no {what} ({error})") from None


def parse_bytecode(text: str) -> tuple[int, int]:
    """The bytecode version that `text` names, such as "6.3"."""
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 8):
        raise typer.BadParameter(f"{text}: give it as in 6.3", param_hint="--bytecode")
    return int(major), int(minor)
