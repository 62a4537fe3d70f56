"""`otalink flash`: arguments and what is shown. The work is done by flash.py."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otalink_host import accounts, peer_cli, server
from otalink_host.board_secrets import BOARD_SECRETS_NAME
from otalink_host.cli_options import Config, KeysFolder, check_private, public_keys
from otalink_host.settings import CONFIG_NAME, account_of, load_settings
from otalink_host.terminal import print_line

# Seconds without a byte after which a board asks its host whether it is there.
LINK_HEARTBEAT = 30
FLASH_EXAMPLE = "Example: otalink flash my-application --name thermostat --version 1.0.0.1"


def flash(
    port: Annotated[str, typer.Argument(metavar="PORT", help="The board: its serial device, or a virtual board's.")],
    application: Annotated[
        Path, typer.Argument(metavar="DIR", help="The application, as for `release publish`; it becomes what runs.")
    ],
    name: Annotated[str, typer.Option(help="The application's name: NAME.py in DIR is its main file.")],
    version: Annotated[str | None, typer.Option(help="Its version, where no file's name says it.")] = None,
    config: Config = Path(CONFIG_NAME),
    account: Annotated[str | None, typer.Option(help="The account that the board uses; by default the first.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting of the board, as in interval=600."),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", metavar="NAME", help="Link it to this host's `otalink peer`, under this name."),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option("--link", metavar="HOST[:PORT]", help="Where that peer is, if not where the server is."),
    ] = None,
    replace_boot: Annotated[
        bool, typer.Option("--replace-boot", help="Replace a /boot.py of the board's own by otalink's.")
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Give it this key, by name or file, not all; repeat for more."),
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Give it no key: it then installs what nobody signed.")
    ] = False,
    keys: KeysFolder = None,
) -> None:
    """Put otalink, an application, settings and keys on a board, by mpremote; it updates itself from then on.

    The board gets the public keys of the keys folder, and from then on installs only what one of them signed.
    """
    from otalink_host.board_secrets import secret_of
    from otalink_host.connection import PORT
    from otalink_host.copying import shown_on
    from otalink_host.flash import flash as flash_board

    if key and unsigned:
        raise typer.BadParameter("it is either --key or --unsigned", param_hint="--unsigned")

    if link is not None and board is None:
        raise typer.BadParameter("name the board too, with --board", param_hint="--link")

    settings = load_settings(config)
    check_private(config, keys, [application])
    chosen = account_of(settings, account)
    values = {"name": name, **server.board_settings(settings, chosen, settings.port)}
    values["password"] = accounts.load_passwords(settings)[chosen.name]
    for setting in set_ or ():
        setting_name, _, value = setting.partition("=")
        if setting_name == "keys":
            raise typer.BadParameter("the keys are chosen by --key and --unsigned", param_hint="--set")
        try:
            values[setting_name] = json.loads(value)
        except ValueError:
            values[setting_name] = value
    known = {} if unsigned else public_keys(config, keys, key)
    if known:
        values["keys"] = known
    if board is not None:
        secrets = config.with_name(BOARD_SECRETS_NAME)
        host, link_port = peer_cli.host_and_port(link or str(values["host"]), PORT, "--link")
        given = values.get("link", {})
        if not isinstance(given, dict):
            raise typer.BadParameter(f"link must be an object, not {given!r}", param_hint="--set")
        values["link"] = {
            "heartbeat": LINK_HEARTBEAT,
            **given,
            "host": host,
            "port": link_port,
            "board": board,
            "secret": secret_of(secrets, board),
        }
    with shown_on(Console(stderr=True), print_line) as copying:
        flash_board(
            port,
            application,
            values,
            version=version,
            replace_boot=replace_boot,
            unsigned=unsigned,
            say=print_line,
            copying=copying,
        )
    if board is not None:
        print_line(f"It is {board} to the peer at {host}:{link_port}: otalink peer --secrets {secrets}")
    print_line("Flashed; the board has been reset.")
