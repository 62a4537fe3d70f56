"""Options that several commands have, and what they lead to: settings, keys, a passphrase."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from otalink_host.board_secrets import BOARD_SECRETS_NAME
from otalink_host.errors import UserError
from otalink_host.private import check_apart
from otalink_host.settings import CONFIG_NAME, Settings, load_settings

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
Unsigned = Annotated[bool, typer.Option("--unsigned", help="Take a release that nobody signed.")]


def keys_folder(config: Path, keys: Path | None, served: Path | None = None) -> Path:
    """The keys folder, which is in no folder that boards get files from: those of the settings, and `served`."""
    folder = place_of_keys(config, keys)
    settings = settings_if_any(config)
    places = [served] if served is not None else []
    places += [account.folder for account in settings.accounts] if settings is not None else []
    check_apart([folder], places)
    return folder


def place_of_keys(config: Path, keys: Path | None) -> Path:
    from otalink_host.keys import FOLDER_NAME

    return keys if keys is not None else config.parent / FOLDER_NAME


def check_private(config: Path, keys: Path | None, folders: list[Path]) -> None:
    """Refuses `folders`, which boards get files from, when the settings, the passwords or a private key lie in one."""
    from otalink_host.keys import PRIVATE

    settings = settings_if_any(config)
    folder = place_of_keys(config, keys)
    private = [config, config.with_name(BOARD_SECRETS_NAME), folder, *sorted(folder.glob(f"*{PRIVATE}"))]
    if settings is not None and settings.secrets is not None:
        private.insert(0, settings.secrets)
    if settings is not None:
        tls = settings.tls
        private += [path for path in (tls.key, tls.ca and tls.ca.with_name("ca.key")) if path is not None]
    check_apart([path for path in private if os.path.lexists(path)], folders)


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


def passphrase_of(path: Path, descriptor: int | None, confirm: bool = False) -> bytes:
    """The passphrase of the private key in `path`: from a descriptor, the environment, or whoever sits there."""
    if descriptor is not None:
        try:
            with open(descriptor, "rb") as file:
                text = file.readline().rstrip(b"\r\n").decode()
        except (OSError, UnicodeError) as error:
            raise UserError(f"file descriptor {descriptor} gives no passphrase ({error})") from None
    elif PASSPHRASE_VARIABLE in os.environ:
        text = os.environ[PASSPHRASE_VARIABLE]
    elif sys.stdin.isatty():
        text = typer.prompt(f"Passphrase of {path}", hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        raise UserError(f"{path} needs a passphrase: give it by --passphrase-fd or in {PASSPHRASE_VARIABLE}")
    if not text:
        raise UserError(f"the passphrase of {path} is empty: give one")
    return text.encode()


def parse_bytecode(text: str) -> tuple[int, int]:
    """The bytecode version that `text` names, such as "6.3"."""
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 8):
        raise typer.BadParameter(f"{text}: give it as in 6.3", param_hint="--bytecode")
    return int(major), int(minor)
