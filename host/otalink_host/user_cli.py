"""`otalink user`: arguments and printing. The work is done by accounts.py."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from otalink_host import accounts
from otalink_host.cli_options import Config, line_from
from otalink_host.errors import UserError
from otalink_host.passwords import PASSWORD_MAX, PASSWORD_MIN, is_password, new_password
from otalink_host.settings import (
    CONFIG_NAME,
    ROLES,
    TLS_LEVELS,
    Account,
    Settings,
    account_of,
    channel_of,
    check_network,
    check_virtual_path,
    folder_of,
    load_settings,
)
from otalink_host.terminal import print_line, print_table

app = typer.Typer(
    no_args_is_help=True, help="Make, change and remove the accounts that boards and publishers log in with."
)

# Scripts give an account's password here, or by a file descriptor; a command line is everybody's to read.
PASSWORD_VARIABLE = "OTALINK_PASSWORD"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account.")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the password, in place of making one.")]
PasswordFd = Annotated[
    int | None, typer.Option("--password-fd", metavar="N", min=0, help="Read the password from this file descriptor.")
]


@app.command("add", epilog="Example: otalink user add ci --role publisher --channel stable --tls full")
def user_add(
    name: Name,
    role: Annotated[str, typer.Option(metavar="|".join(ROLES), help="What it may do.")] = "board",
    folder: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The folder that it sees.")] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(metavar="CHANNEL", help="The channel that it sees; more than once: each as a folder."),
    ] = None,
    virtual_path: Annotated[str, typer.Option(metavar="PATH", help="Where it sees that.")] = "/",
    tls: Annotated[
        str | None, typer.Option(metavar="|".join(TLS_LEVELS), help="Where its sessions must have TLS.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Where it may log in from; more than once for more."),
    ] = None,
    ask: Ask = False,
    password_fd: PasswordFd = None,
    config: Config = Path(CONFIG_NAME),
) -> None:
    """Add an account. Its password is made, and printed this once."""
    if folder is not None and channel:
        raise typer.BadParameter("name a folder or channels, not both", param_hint="--channel")
    settings = load_settings(config)
    values: dict[str, object] = {"name": name, **_place(settings, folder, channel or [])}
    values["virtual_path"] = _checked(check_virtual_path, virtual_path, "--virtual-path")
    values["role"] = _one_of(ROLES, role, "--role")
    if tls is not None:
        values["tls"] = _one_of(TLS_LEVELS, tls, "--tls")
    if network:
        values["networks"] = [str(_checked(check_network, each, "--network")) for each in network]
    password, made = _password(name, ask, password_fd)
    kept = accounts.create_account(settings, values, password)
    print_line(f"Added {name} to {settings.path}, as a {role}.")
    _print_password(settings, name, password, made, kept)


@app.command("passwd", epilog="Example: otalink user passwd ci --ask")
def user_passwd(
    name: Name, ask: Ask = False, password_fd: PasswordFd = None, config: Config = Path(CONFIG_NAME)
) -> None:
    """Give an account another password, which is made, and printed this once."""
    settings = load_settings(config)
    role = account_of(settings, name).role
    password, made = _password(name, ask, password_fd)
    kept = accounts.set_password(settings, name, password)
    print_line(f"{name} has another password.")
    _print_password(settings, name, password, made, kept)
    if role == "board":
        print_line(f"A board that logs in as {name} needs it, too: `otalink flash`, or `otalink config set password`.")


@app.command("list", epilog="Example: otalink user list")
def user_list(config: Config = Path(CONFIG_NAME)) -> None:
    """List the accounts."""
    settings = load_settings(config)
    hashes = accounts.load_hashes(settings)
    table = Table("NAME", "ROLE", "SEES", "TLS", "NETWORKS", "STATE", box=None, pad_edge=False)
    for account in settings.accounts:
        state = "disabled" if account.disabled else "enabled" if account.name in hashes else "no password"
        networks = ", ".join(str(network) for network in account.networks) or "any"
        table.add_row(account.name, account.role, _sees(account), account.tls or "no", networks, state)
    print_table(table)


@app.command("remove", epilog="Example: otalink user remove shop-10")
def user_remove(name: Name, config: Config = Path(CONFIG_NAME)) -> None:
    """Remove an account and its password; a session of it ends at its next command."""
    settings = load_settings(config)
    account_of(settings, name)
    accounts.remove_account(settings, name)
    print_line(f"Removed {name} from {settings.path}, and its password.")


@app.command("disable", epilog="Example: otalink user disable shop-10")
def user_disable(name: Name, config: Config = Path(CONFIG_NAME)) -> None:
    """Keep an account from logging in; a session of it ends at its next command."""
    _set_disabled(config, name, True)
    print_line(f"{name} does not log in any more: `otalink user enable {name}` lets it again.")


@app.command("enable", epilog="Example: otalink user enable shop-10")
def user_enable(name: Name, config: Config = Path(CONFIG_NAME)) -> None:
    """Let a disabled account log in again."""
    _set_disabled(config, name, False)
    print_line(f"{name} may log in.")


def _set_disabled(config: Path, name: str, disabled: bool) -> None:
    settings = load_settings(config)
    account_of(settings, name)
    accounts.set_disabled(settings, name, disabled)


def _place(settings: Settings, folder: Path | None, channels: list[str]) -> dict[str, object]:
    """What the account sees, by the keys of an [[account]]."""
    assert settings.path is not None
    if channels:
        for channel in channels:
            channel_of(settings, channel)
        return {"channel": channels[0]} if len(channels) == 1 else {"channels": channels}
    if folder is None and len({each.resolve() for each in settings.folders}) > 1:
        raise UserError(f"{settings.path} has several folders: say which with --folder or --channel")
    place = folder_of(settings) if folder is None else folder
    if not place.is_dir():
        raise UserError(f"there is no folder {place}: make it with: mkdir {place}")
    try:
        relative = os.path.relpath(place.resolve(), settings.path.parent.resolve())
    except ValueError:  # another drive of Windows
        relative = str(place.resolve())
    return {"folder": Path(relative).as_posix()}


def _sees(account: Account) -> str:
    return ", ".join(f"{path} = {folder}" for path, folder in account.mounts.items())


def _password(name: str, ask: bool, descriptor: int | None) -> tuple[str, bool]:
    """(the password, whether it was made): from a descriptor, the environment, whoever sits there, or chance."""
    if descriptor is not None:
        password = line_from(descriptor, "password")
    elif PASSWORD_VARIABLE in os.environ:
        password = os.environ[PASSWORD_VARIABLE]
    elif not ask:
        return new_password(), True
    elif sys.stdin.isatty():
        password = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise UserError(f"there is no terminal to ask on: give it by --password-fd or in {PASSWORD_VARIABLE}")
    if not is_password(password) or len(password) < PASSWORD_MIN:
        raise UserError(f"the password of {name} must be text of {PASSWORD_MIN} to {PASSWORD_MAX} printable characters")
    return password, False


def _print_password(settings: Settings, name: str, password: str, made: bool, kept: bool) -> None:
    if made:
        print_line(f"Its password, which is shown this once: {password}")
    if kept:
        print_line(f"It is in {settings.secrets} as well, for `otalink flash`.")


def _one_of(allowed: tuple[str, ...], value: str, option: str) -> str:
    if value not in allowed:
        raise typer.BadParameter(f"{value}: it must be {' or '.join(allowed)}", param_hint=option)
    return value


def _checked(check: Any, value: str, option: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value}: it must be {error}", param_hint=option) from None
