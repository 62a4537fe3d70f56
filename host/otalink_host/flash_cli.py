"""`otalink flash`: arguments and what is shown. The work is done by flash.py."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from otalink_host import accounts, peer_cli, server
from otalink_host.board_secrets import BOARD_SECRETS_NAME
from otalink_host.cli_options import Config, KeysFolder, check_private, public_keys
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME, account_of, load_settings
from otalink_host.terminal import print_line, print_table

# Seconds without a byte after which a board asks its host whether it is there.
LINK_HEARTBEAT = 30
FLASH_EXAMPLE = "Example: otalink flash my-application --name thermostat --version 1.0.0.1 --port /dev/ttyUSB0"
# Scripts give a network's password here; a command line is everybody's to read.
WIFI_VARIABLE = "OTALINK_WIFI_PASSWORD"


def flash(
    application: Annotated[
        Path,
        typer.Argument(metavar="DIR|FILE", help="The application, as for `release publish`; it becomes what runs."),
    ],
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="The board's serial device, when more than one is connected.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The application's name, where no file's name says it: NAME.py is its main file.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Its version, where no file's name says it.")] = None,
    config: Config = Path(CONFIG_NAME),
    account: Annotated[str | None, typer.Option(help="The account that the board uses; by default the first.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting of the board, as in interval=600."),
    ] = None,
    wifi: Annotated[
        str | None,
        typer.Option("--wifi", metavar="SSID", help=f"Its Wi-Fi network; {WIFI_VARIABLE} has the password, or ask."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="Link it to this host's `otalink peer`, under this name."),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option("--link", metavar="HOST[:PORT]", help="Where that peer is, if not where the server is."),
    ] = None,
    replace_boot: Annotated[
        bool, typer.Option("--replace-boot", help="Overwrite a /boot.py of the board's own, which is kept else.")
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Give it this key, by name or file, not all; repeat for more."),
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Give it no key: it then installs what nobody signed.")
    ] = False,
    keys: KeysFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and stop.")] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Have the board look on its server at the end.")
    ] = True,
) -> None:
    """Put otalink, an application, settings and keys on a board, by mpremote; it updates itself from then on.

    The board gets the public keys of the keys folder, and from then on installs only what one of them signed. Run
    again, it sends what is missing.
    """
    from otalink_host.board_secrets import secret_of
    from otalink_host.board_tree import name_of
    from otalink_host.connection import PORT
    from otalink_host.copying import shown_on
    from otalink_host.flash import Plan
    from otalink_host.flash import flash as flash_board
    from otalink_host.ports import find_port

    if key and unsigned:
        raise typer.BadParameter("it is either --key or --unsigned", param_hint="--unsigned")

    if link is not None and device is None:
        raise typer.BadParameter("name the board too, with --device", param_hint="--link")

    settings = load_settings(config)
    check_private(config, keys, [application])
    chosen = account_of(settings, account)
    values: dict[str, Any] = {
        "name": name or name_of(application),
        **server.board_settings(settings, chosen, settings.port),
    }
    values["password"] = accounts.load_passwords(settings)[chosen.name]
    for setting in set_ or ():
        setting_name, _, value = setting.partition("=")
        if setting_name == "keys":
            raise typer.BadParameter("the keys are chosen by --key and --unsigned", param_hint="--set")
        try:
            values[setting_name] = json.loads(value)
        except ValueError:
            values[setting_name] = value
    if wifi is not None:
        values["wifi"] = {"ssid": wifi, "password": _wifi_password(wifi)}
    known = {} if unsigned else public_keys(config, keys, key)
    if known:
        values["keys"] = known
    if device is not None:
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
            "board": device,
            "secret": secret_of(secrets, device),
        }

    def show(plan: Plan) -> None:
        table = Table("FILE", "BYTES", "", box=None, pad_edge=False)
        for file in plan.files:
            table.add_row(f"/{file.path}", f"{file.size:,}", "there already" if file.is_there else "to send")
        for path in plan.removed:
            table.add_row(f"/{path}", "", "to remove")
        print_table(table)

    with shown_on(Console(stderr=True), print_line) as copying:
        flash_board(
            port or find_port(()),
            application,
            values,
            version=version,
            replace_boot=replace_boot,
            unsigned=unsigned,
            dry_run=dry_run,
            check=check,
            say=print_line,
            copying=copying,
            show=show if dry_run else None,
        )
    if dry_run:
        print_line("That was to be seen; nothing was done.")
        return
    if device is not None:
        print_line(f"It is {device} to the peer at {host}:{link_port}: otalink peer --secrets {secrets}")
    print_line("Flashed; the board has been reset.")


def _wifi_password(ssid: str) -> str:
    if WIFI_VARIABLE in os.environ:
        return os.environ[WIFI_VARIABLE]
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {ssid} (none: it is open)", default="", hide_input=True, err=True))
    raise UserError(f"the network {ssid} has a password: give it in {WIFI_VARIABLE}, which is empty where it is open")
