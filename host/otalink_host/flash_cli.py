"""`otalink flash`: arguments and what is shown. The work is done by flash.py."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from otalink_host import accounts, board_tls, ftp_addresses, peer_cli
from otalink_host.board_secrets import BOARD_SECRETS_NAME
from otalink_host.cli_options import Config, KeysFolder, check_private, public_keys
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME, Account, Settings, account_of, load_settings
from otalink_host.terminal import print_line, print_table, progress_bar

if TYPE_CHECKING:
    from otalink_host.boards import BoardType
    from otalink_host.flash import Plan

# Seconds without a byte after which a board asks its host whether it is there.
LINK_HEARTBEAT = 30
FLASH_EXAMPLE = (
    "Example: otalink flash my-application --name thermostat --version 1.0.0.1 --port /dev/ttyUSB0; "
    "otalink flash thermostat_1.0.0.3.ota --devices shops.csv"
)
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
    board: Annotated[
        str | None, typer.Option(metavar="BOARD", help="What it must be, as `otalink boards` lists it.")
    ] = None,
    boards: Annotated[
        Path | None, typer.Option("--boards", metavar="DIR", help="A folder of boards of your own.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="First write this MicroPython, a .bin or .uf2 file."),
    ] = None,
    erase: Annotated[bool, typer.Option("--erase", help="With --image: erase the whole flash before.")] = False,
    drive: Annotated[
        Path | None,
        typer.Option("--drive", metavar="DIR", help="With --image: the drive of a bootloader that runs."),
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
    tls: Annotated[
        str | None,
        typer.Option(
            "--tls",
            metavar="DATA",
            help="Over TLS: private, all of it; clear, the login alone; or off. By default what the server asks for.",
        ),
    ] = None,
    keys: KeysFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and stop.")] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Have the board look on its server at the end.")
    ] = True,
    every: Annotated[
        bool,
        typer.Option("--all", help="All boards that are connected, each with a name, account and secret of its own."),
    ] = False,
    devices: Annotated[
        Path | None,
        typer.Option("--devices", metavar="CSV", help="The boards in this list: name, and port, id or settings."),
    ] = None,
) -> None:
    """Put otalink, an application, settings and keys on a board, by mpremote; it updates itself from then on.

    The board gets the public keys of the keys folder, and from then on installs only what one of them signed. Run
    again, it sends what is missing.
    """
    from otalink_host.board_tree import name_of
    from otalink_host.boards import board_named, load_boards, usb_ids
    from otalink_host.copying import shown_on
    from otalink_host.flash import flash as flash_board
    from otalink_host.ports import find_port, usb_ports

    many = every or devices is not None
    types = load_boards(boards)
    expected = board_named(types, board).name if board is not None else None
    for is_wrong, option, why in (
        (tls not in (None, *board_tls.CHOICES), "--tls", f"it is one of {', '.join(board_tls.CHOICES)}"),
        (bool(key) and unsigned, "--unsigned", "it is either --key or --unsigned"),
        (link is not None and device is None and not many, "--link", "name the board too, with --device"),
        (many and port is not None, "--port", "with several boards, the list names the ports: --devices"),
        (many and image is not None, "--image", "MicroPython is written to one board at a time"),
        (image is None and (erase or drive is not None), "--image", "that goes with --image FILE alone"),
        (many and device is not None, "--device", "with several boards, the list names them: --devices"),
    ):
        if is_wrong:
            raise typer.BadParameter(why, param_hint=option)
    settings = load_settings(config)
    check_private(config, keys, [application])
    chosen = account_of(settings, account)
    values: dict[str, Any] = {
        "name": name or name_of(application),
        **ftp_addresses.board_settings(settings, chosen, settings.port),
    }
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
    tls = tls if tls is not None else board_tls.needed(settings, chosen, bool(known))
    ca = None
    if tls != "off":
        ca = board_tls.ca_for(settings, str(values["host"]))
        values["tls"] = {"ca": board_tls.CA_PATH, "data": tls}
    peer = _Peer(config.with_name(BOARD_SECRETS_NAME), *_peer_place(values, link))
    options: dict[str, Any] = {
        "version": version,
        "replace_boot": replace_boot,
        "unsigned": unsigned,
        "ca": ca,
        "dry_run": dry_run,
        "check": check,
        "boards": types,
        "expected": expected,
    }
    if many:
        ports = [found.device for found in usb_ports()] if every else None
        _flash_many(application, values, _Accounts(settings, chosen, account is None), peer, devices, ports, options)
        return
    values["password"] = accounts.password_of(settings, chosen.name)
    if device is not None:
        values["link"] = peer.link(values, device)
    if image is not None:
        port = _write_image(image, types, expected, port, drive, erase, dry_run)
        if dry_run:
            return
    with shown_on(Console(stderr=True), print_line) as copying:
        flash_board(
            port or find_port(usb_ids(types)),
            application,
            values,
            say=print_line,
            copying=copying,
            show=_show if dry_run else None,
            **options,
        )
    if dry_run:
        print_line("That was to be seen; nothing was done.")
        return
    if device is not None:
        print_line(f"It is {device} to the peer at {peer.host}:{peer.port}: otalink peer --secrets {peer.secrets}")
    print_line("Flashed; the board has been reset.")


@dataclass(frozen=True)
class _Peer:
    """Where boards report to, and the file with the secrets by which they are known there."""

    secrets: Path
    host: str
    port: int

    def link(self, values: dict[str, Any], device: str) -> dict[str, Any]:
        """The setting "link" of the board `device`, which gets a secret if it has none."""
        from otalink_host.board_secrets import secret_of

        given = values.get("link") or {}
        return {
            "heartbeat": LINK_HEARTBEAT,
            **given,
            "host": self.host,
            "port": self.port,
            "board": device,
            "secret": secret_of(self.secrets, device),
        }


def _peer_place(values: dict[str, Any], link: str | None) -> tuple[str, int]:
    from otalink_host.connection import PORT

    given = values.get("link", {})
    if not isinstance(given, dict):
        raise typer.BadParameter(f"link must be an object, not {given!r}", param_hint="--set")
    return peer_cli.host_and_port(link or str(values["host"]), PORT, "--link")


@dataclass(frozen=True)
class _Accounts:
    """The account that boards share, `shared`, or that each one's is made like, if `each_its_own`."""

    settings: Settings
    shared: Account
    each_its_own: bool

    def of(self, device: str) -> dict[str, str]:
        """What the board `device` logs in with."""
        if self.each_its_own:
            return {"user": device, "password": accounts.add_account(self.settings, device, self.shared)}
        return {"password": accounts.password_of(self.settings, self.shared.name)}


def _flash_many(
    application: Path,
    values: dict[str, Any],
    logins: _Accounts,
    peer: _Peer,
    list_: Path | None,
    ports: list[str] | None,
    options: dict[str, Any],
) -> None:
    """Flashes each device of `list_`, or each board on `ports`; raises UserError when one of them failed."""
    from otalink_host import provision
    from otalink_host.board_settings import check_link, check_settings
    from otalink_host.flash import flash as flash_board
    from otalink_host.ports import usb_ports

    devices = provision.load_devices(list_) if list_ is not None else None
    # What is wrong with a line is told before a board is touched.
    for device in devices or ():
        own = {**values, **device.settings, "password": "x"}
        link = own.get("link") or {}
        try:
            check_settings(own)
            check_link({"link": {**link, "host": peer.host, "port": peer.port} if isinstance(link, dict) else link})
        except UserError as error:
            raise UserError(f"{list_}: {device.name}: {error}") from None
    if ports is None and any(device.port is None for device in devices or ()):
        ports = [found.device for found in usb_ports()]
    matches = provision.match(devices, ports or [], values["name"])
    if not matches:
        raise UserError(
            "no board is connected: plug them in, with cables that carry data, or list their ports in a CSV"
        )
    table = Table("DEVICE", "PORT", "ID", "", box=None, pad_edge=False)
    for each in matches:
        identity = each.board.identity if each.board is not None else None
        table.add_row(each.device.name, each.port or "", identity or "", each.why or "")
    print_table(table)
    # One after the other: each is written to the same files.
    ready: dict[str, dict[str, Any]] = {}
    if not options["dry_run"]:
        for each in matches:
            if each.board is not None:
                own = {**values, **each.device.settings, **logins.of(each.device.name)}
                ready[each.device.name] = {**own, "link": peer.link(own, each.device.name)}

    def run(each: provision.Match) -> Any:
        name = each.device.name
        assert each.port is not None
        wanted = ready.get(name, {**values, "password": "x"})
        return flash_board(each.port, application, wanted, say=lambda line: print_line(f"{name}: {line}"), **options)

    outcomes = provision.provision(matches, run)
    failed = [each for each in outcomes if each.why is not None]
    done = "planned" if options["dry_run"] else "flashed"
    table = Table("DEVICE", "PORT", "ID", "RESULT", box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(outcome.device.name, outcome.port or "", outcome.identity or "", outcome.why or done)
    print_table(table)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(outcomes)} boards failed (the table says why): mend that, and run the same command "
            "again; it sends what is missing"
        )
    count = "1 board is" if len(outcomes) == 1 else f"{len(outcomes)} boards are"
    print_line(f"{count} {done}. Their peer is: otalink peer --secrets {peer.secrets}")


def _write_image(
    image: Path,
    types: "dict[str, BoardType]",
    expected: str | None,
    port: str | None,
    drive: Path | None,
    erase: bool,
    dry_run: bool,
) -> str:
    """Writes MicroPython to the board at `port` or `drive`, and gives the port at which it answers then."""
    from otalink_host.boards import recognise, usb_ids
    from otalink_host.cable import Cable
    from otalink_host.image import check_image, write_image
    from otalink_host.ports import await_port, find_port, usb_ports
    from otalink_host.survey import survey

    known = usb_ids(types)
    if port is None and drive is None:
        port = find_port(known)
    if expected is not None:
        kind = types[expected]
    else:
        if port is None:
            raise typer.BadParameter("name the board, with --board", param_hint="--drive")
        try:
            found = survey(Cable(port))
        except UserError as error:
            raise UserError(f"{error} (or say what board it is, with --board: `otalink boards` lists them)") from None
        recognised = recognise(types, found.platform, found.build, found.machine)
        if recognised is None:
            raise UserError(f"{port}: {found.build or found.machine} is not listed: name the board with --board")
        kind = recognised
    if dry_run:
        print_line(f"{image.name} for {kind.name}: SHA-256 {check_image(image, kind)}")
        print_line("That was to be seen; nothing was done.")
        return port or ""
    before = [found.device for found in usb_ports()]
    with progress_bar("Writing MicroPython") as progress:
        write_image(image, kind, port, drive=drive, erase=erase, say=print_line, progress=progress)
    return await_port(port, before)


def _show(plan: "Plan") -> None:
    table = Table("FILE", "BYTES", "", box=None, pad_edge=False)
    for file in plan.files:
        table.add_row(f"/{file.path}", f"{file.size:,}", "there already" if file.is_there else "to send")
    for path in plan.removed:
        table.add_row(f"/{path}", "", "to remove")
    print_table(table)


def _wifi_password(ssid: str) -> str:
    if WIFI_VARIABLE in os.environ:
        return os.environ[WIFI_VARIABLE]
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {ssid} (none: it is open)", default="", hide_input=True, err=True))
    raise UserError(f"the network {ssid} has a password: give it in {WIFI_VARIABLE}, which is empty where it is open")
