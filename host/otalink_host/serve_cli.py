"""`otalink init` and `otalink serve`: arguments, printing, signals. The work is done by accounts.py and server.py."""

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from otalink_host import accounts, ftp_addresses, server
from otalink_host.cli_options import Config, check_private
from otalink_host.settings import CONFIG_NAME, Settings, check_address, load_settings
from otalink_host.terminal import print_line

INIT_EXAMPLE = "Example: otalink init --directory update-server"
SERVE_EXAMPLE = "Example: otalink serve --address 192.168.0.10 --port 2121 --firewall"


def init(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the server is to live.")
    ] = Path(),
) -> None:
    """Make a server: its settings, an account for the boards, and an empty release folder."""
    config, secrets, hashes, releases = accounts.create_server_folder(directory)
    print_line(f"Made {config}: the settings, with what each means.")
    print_line(f"Made {secrets}: the password of the account board. Keep it to yourself and out of version control.")
    print_line(f"Made {hashes}: the hash of that password, which is all that the server reads.")
    print_line(f"Made {releases}: the folder that boards are updated from.")
    option = "" if directory == Path() else f" --config {config}"
    print_line("\nNext:")
    print_line(f"  otalink release publish DIR{option}   puts the files in DIR there as a release")
    print_line(f"  otalink serve{option}                 serves it to the boards")


def serve(
    config: Config = Path(CONFIG_NAME),
    address: Annotated[
        str | None, typer.Option(metavar="IP", help="Listen on this address of the machine instead.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Listen on this port instead; 0 takes a free one.")
    ] = None,
    firewall: Annotated[bool, typer.Option("--firewall", help="Print what opens the ports in the firewall.")] = False,
) -> None:
    """Serve releases to boards by FTP, until Ctrl-C."""
    settings = load_settings(config)
    if address is not None:
        try:
            settings = replace(settings, address=check_address(address))
        except ValueError as error:
            raise typer.BadParameter(f"{address}: it must be {error}", param_hint="--address") from None
    if port is not None:
        settings = replace(settings, port=port)

    def check(served: Settings) -> None:
        check_private(config, None, served.folders)

    check(settings)
    if adopted := accounts.adopt_passwords(settings):
        count = "the password" if len(adopted) == 1 else f"{len(adopted)} passwords"
        print_line(f"Hashed {count} of {settings.secrets} into {settings.hashes}, which is all that the server reads.")
    hashes = accounts.require_hashes(settings)
    reread, rehashed = accounts.ChangedAccounts(settings, check), accounts.Rehash(settings)
    with server.FtpServer(settings, hashes, reread=reread, rehashed=rehashed) as running, _stopped_by_signals(running):
        _print_addresses(settings, running.port)
        if firewall:
            for name, commands in ftp_addresses.firewall_commands(settings, running.port):
                print_line(f"\n{name}:")
                for command in commands:
                    print_line(f"  {command}")
        print_line("\nCtrl-C ends it.")
        with _logged_to_stdout():
            running.run()
    print_line("Stopped.")


def _print_addresses(settings: Settings, port: int) -> None:
    every = settings.address in ("0.0.0.0", "::")
    address = ftp_addresses.address_for_boards(settings)
    print_line(f"Serving on {'every address of this machine' if every else settings.address}, port {port}.")
    if address is None:
        print_line("This machine is in no network now: boards cannot reach it.")
    for account in settings.accounts:
        print_line(f"\nA board uses (the password is in {settings.secrets}):")
        print_line(f"  address       {address or '127.0.0.1'}")
        print_line(f"  port          {port}")
        print_line(f"  user          {account.name}")
        print_line(f"  virtual path  {account.virtual_path}   which is the folder {account.folder}")
        print_line(f"In its /otalink.json: {json.dumps(ftp_addresses.board_settings(settings, account, port))[1:-1]}")


@contextmanager
def _stopped_by_signals(running: server.FtpServer) -> Iterator[None]:
    """Ctrl-C and SIGTERM end `running` in good order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        running.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _logged_to_stdout() -> Iterator[None]:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    server.logger.setLevel(logging.INFO)
    # What pyftpdlib itself has to complain about is worth a line as well.
    loggers = (server.logger, logging.getLogger("pyftpdlib"))
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
