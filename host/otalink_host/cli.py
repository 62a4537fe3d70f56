"""The command line: arguments, printing and exit statuses. The work is done by the modules that it calls.

Exit statuses: 0, 1 (it failed: one line on stderr, what and what to do), 2 (the command line is wrong), 128 and a
signal's number (143: SIGTERM).
Modules that not every system has are imported inside of the command that needs them.
"""

import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from otalink import __version__
from otalink.errors import OtaError
from otalink_host import (
    accounts,
    attached_cli,
    audit_cli,
    boards_cli,
    flash_cli,
    keys_cli,
    peer_cli,
    release_cli,
    server,
)
from otalink_host.cli_options import Config, check_private
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME, Settings, check_address, load_settings
from otalink_host.terminal import print_line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Updates for a fleet of MicroPython boards from an FTP server.",
    epilog="To begin: otalink init, then otalink serve.",
)
app.add_typer(release_cli.app, name="release")
app.add_typer(keys_cli.app, name="keys")
app.add_typer(audit_cli.app, name="audit")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line `arguments`, by default the process's own, and returns the exit status."""
    # A file's name that the terminal cannot show must not end the command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _ended_in_good_order():
            app(arguments, prog_name="otalink")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except (UserError, OtaError) as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has gone; what is still in the buffers has nowhere to go either.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _fail("interrupted: run it again to complete it")
    return 0


@app.callback(invoke_without_command=True)
def _otalink(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print_line(f"otalink {__version__}")
        raise typer.Exit


@app.command(epilog="Example: otalink init --directory update-server")
def init(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the server is to live.")
    ] = Path(),
) -> None:
    """Make a server: its settings, an account for the boards, and an empty release folder."""
    config, secrets, releases = accounts.create_server_folder(directory)
    print_line(f"Made {config}: the settings, with what each means.")
    print_line(f"Made {secrets}: the password of the account board. Keep it to yourself and out of version control.")
    print_line(f"Made {releases}: the folder that boards are updated from.")
    option = "" if directory == Path() else f" --config {config}"
    print_line("\nNext:")
    print_line(f"  otalink release publish DIR{option}   puts the files in DIR there as a release")
    print_line(f"  otalink serve{option}                 serves it to the boards")


@app.command(epilog="Example: otalink serve --address 192.168.0.10 --port 2121 --firewall")
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
        check_private(config, None, [account.folder for account in served.accounts])

    check(settings)
    passwords = accounts.load_passwords(settings)
    reread = accounts.ChangedAccounts(settings, check)
    with server.FtpServer(settings, passwords, reread=reread) as running, _stopped_by_signals(running):
        _print_addresses(settings, running.port)
        if firewall:
            for name, commands in server.firewall_commands(settings, running.port):
                print_line(f"\n{name}:")
                for command in commands:
                    print_line(f"  {command}")
        print_line("\nCtrl-C ends it.")
        with _logged_to_stdout():
            running.run()
    print_line("Stopped.")


app.command(help=peer_cli.PEER_HELP, epilog=peer_cli.PEER_EXAMPLE)(peer_cli.peer)
app.command(epilog="Example: otalink fleet fleet.db")(peer_cli.fleet)
app.command(epilog=flash_cli.FLASH_EXAMPLE)(flash_cli.flash)
app.command(help=boards_cli.HELP, epilog=boards_cli.EXAMPLE)(boards_cli.boards)
app.command(epilog=attached_cli.STATUS_EXAMPLE)(attached_cli.status)
app.command(epilog=attached_cli.ROLLBACK_EXAMPLE)(attached_cli.rollback)
app.add_typer(attached_cli.config_app, name="config")
app.command(epilog=attached_cli.UNPROVISION_EXAMPLE)(attached_cli.unprovision)


@app.command(epilog="Example: otalink vboard board-1 --heap 128k --size 2m --console")
def vboard(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the board's flash is kept.")],
    heap: Annotated[str, typer.Option(metavar="SIZE", help="The board's memory.")] = "128k",
    size: Annotated[str, typer.Option(metavar="SIZE", help="The board's flash, at most 256m.")] = "2m",
    console: Annotated[bool, typer.Option("--console", help="Print what the board prints.")] = False,
) -> None:
    """Run a virtual board: MicroPython on this machine, with a flash and a reset of its own (Linux)."""
    from otalink_host.vboard import run_vboard

    run_vboard(directory, heap=heap, size=_size(size), echo=console)


@app.command(epilog="Example: otalink demo")
def demo() -> None:
    """Watch a virtual board update itself from a real server; exit status 1 if anything was not seen (Linux)."""
    from otalink_host.demo import run_demo

    if not run_demo(Console()):
        raise typer.Exit(1)


def _size(text: str) -> int:
    """The bytes that "512k" or "2m" are."""
    units = {"": 1, "k": 1 << 10, "m": 1 << 20}
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    if not number.isdecimal() or len(number) > 20 or unit not in units:
        raise typer.BadParameter(
            f"{text}: give bytes, or a number with k or m behind it, as in 2m", param_hint="--size"
        )
    return int(number) * units[unit]


def _print_addresses(settings: Settings, port: int) -> None:
    every = settings.address in ("0.0.0.0", "::")
    address = server.address_for_boards(settings)
    print_line(f"Serving on {'every address of this machine' if every else settings.address}, port {port}.")
    if address is None:
        print_line("This machine is in no network now: boards cannot reach it.")
    for account in settings.accounts:
        print_line(f"\nA board uses (the password is in {settings.secrets}):")
        print_line(f"  address       {address or '127.0.0.1'}")
        print_line(f"  port          {port}")
        print_line(f"  user          {account.name}")
        print_line(f"  virtual path  {account.virtual_path}   which is the folder {account.folder}")
        print_line(f"In its /otalink.json: {json.dumps(server.board_settings(settings, account, port))[1:-1]}")


@contextmanager
def _ended_in_good_order() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, end a command as an exception does: nothing of its own is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        # A second one must not end what the first one has begun.
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    numbers = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {number: signal.signal(number, end) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _fail(line: str) -> int:
    print(f"otalink: {line}", file=sys.stderr)
    return 1
