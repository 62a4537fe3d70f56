"""The command line: arguments, printing and exit statuses. The work is done by the modules that it calls.

Exit statuses: 0, 1 (it failed: one line on stderr, what and what to do), 2 (the command line is wrong).
Modules that not every system has are imported inside of the command that needs them.
"""

import io
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from otalink import __version__
from otalink.errors import OtaError
from otalink.version import format_version
from otalink_host import accounts, repository, server
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME, Settings, account_of, check_address, folder_of, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Updates for a fleet of MicroPython boards from an FTP server.",
    epilog="To begin: otalink init, then otalink serve.",
)
release_app = typer.Typer(no_args_is_help=True, help="Publish releases, and list what is published.")
app.add_typer(release_app, name="release")

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line `arguments`, by default the process's own, and returns the exit status."""
    # A file's name that the terminal cannot show must not end the command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
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
        _print(f"otalink {__version__}")
        raise typer.Exit


@app.command(epilog="Example: otalink init --directory update-server")
def init(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the server is to live.")
    ] = Path(),
) -> None:
    """Make a server: its settings, an account for the boards, and an empty release folder."""
    config, secrets, releases = accounts.create_server_folder(directory)
    _print(f"Made {config}: the settings, with what each means.")
    _print(f"Made {secrets}: the password of the account board. Keep it to yourself and out of version control.")
    _print(f"Made {releases}: the folder that boards are updated from.")
    option = "" if directory == Path() else f" --config {config}"
    _print("\nNext:")
    _print(f"  otalink release publish DIR{option}   puts the files in DIR there as a release")
    _print(f"  otalink serve{option}                 serves it to the boards")


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
    passwords = accounts.load_passwords(settings)
    with server.FtpServer(settings, passwords) as running, _stopped_by_signals(running):
        _print_addresses(settings, running.port)
        if firewall:
            for name, commands in server.firewall_commands(settings, running.port):
                _print(f"\n{name}:")
                for command in commands:
                    _print(f"  {command}")
        _print("\nCtrl-C ends it.")
        with _logged_to_stdout():
            running.run()
    _print("Stopped.")


@release_app.command(
    "publish",
    epilog="Example: otalink release publish build --to releases --name thermostat --version 1.0.0.2",
)
def release_publish(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the release's files.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Publish there, not to the settings' folder.")
    ] = None,
    config: Config = Path(CONFIG_NAME),
    name: Annotated[
        str | None, typer.Option(help="The application, when its main file NAME.py has no version in its name.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="The version to give that file, such as 1.0.0.2.")] = None,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Publish a lower version than the published one.")
    ] = False,
) -> None:
    """Publish the files in DIR as a release; one is named with its version, as in thermostat_1.0.0.2.py."""
    folder = to if to is not None else folder_of(load_settings(config))
    with _progress("Publishing") as progress:
        done = repository.publish(
            source, folder, name=name, version=version, allow_older=allow_older, progress=progress
        )
    for line in done.skipped + done.notes:
        _print(line)
    for path in done.written:
        _print(f"wrote {path}")
    for path in done.removed:
        _print(f"removed {path}")
    text = f"{done.name} {format_version(done.version)}"
    if done.written or done.removed:
        same = f", unchanged: {len(done.unchanged)}" if done.unchanged else ""
        _print(f"Published {text} in {folder}: {_bytes(done.written_size)} of {_bytes(done.size)} written{same}.")
    else:
        _print(f"{text} is published in {folder} already, with the same content: there was nothing to do.")


@release_app.command("list", epilog="Example: otalink release list releases")
def release_list(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="The folder to look into, not the settings'.")
    ] = None,
    config: Config = Path(CONFIG_NAME),
) -> None:
    """List the releases in a folder, and say what is passed over."""
    folders = [folder] if folder is not None else sorted({account.folder for account in load_settings(config).accounts})
    table = Table("NAME", "VERSION", "FORM", "FILES", "BYTES", "PUBLISHED", "FOLDER", box=None, pad_edge=False)
    notes: list[str] = []
    for place in folders:
        listing = repository.list_releases(place)
        notes += listing.notes
        for release in listing.releases:
            table.add_row(
                release.name,
                format_version(release.version),
                "plain" if release.has_sums else "plain, without SHA256SUMS",
                str(release.files),
                f"{release.size:,}",
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(release.when)),
                str(release.folder),
            )
    if table.row_count:
        console = _console()
        if not console.is_terminal:
            # In a file or a pipe there is no width that a folder's name must be cut to.
            console.width = 10_000
        console.print(table)
    else:
        _print(f"No release in {', '.join(str(place) for place in folders)}.")
    for note in notes:
        _print(note)


@app.command(epilog="Example: otalink flash /dev/ttyUSB0 my-application --name thermostat --version 1.0.0.1")
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
    replace_boot: Annotated[
        bool, typer.Option("--replace-boot", help="Replace a /boot.py of the board's own by otalink's.")
    ] = False,
) -> None:
    """Put otalink, an application and the settings on a board, by mpremote; it updates itself from then on."""
    from otalink_host.flash import flash as flash_board

    settings = load_settings(config)
    chosen = account_of(settings, account)
    board = {"name": name, **server.board_settings(settings, chosen, settings.port)}
    board["password"] = accounts.load_passwords(settings)[chosen.name]
    for setting in set_ or ():
        key, _, value = setting.partition("=")
        try:
            board[key] = json.loads(value)
        except ValueError:
            board[key] = value
    flash_board(port, application, board, version=version, replace_boot=replace_boot, say=_print)
    _print("Flashed; the board has been reset.")


@app.command(epilog="Example: otalink vboard board-1 --heap 128k --size 2m --console")
def vboard(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the board's flash is kept.")],
    heap: Annotated[str, typer.Option(metavar="SIZE", help="The board's memory.")] = "128k",
    size: Annotated[str, typer.Option(metavar="SIZE", help="The board's flash.")] = "2m",
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
    if not number.isdecimal() or unit not in units:
        raise typer.BadParameter(
            f"{text}: give bytes, or a number with k or m behind it, as in 2m", param_hint="--size"
        )
    return int(number) * units[unit]


def _print_addresses(settings: Settings, port: int) -> None:
    every = settings.address in ("0.0.0.0", "::")
    address = server.address_for_boards(settings)
    _print(f"Serving on {'every address of this machine' if every else settings.address}, port {port}.")
    if address is None:
        _print("This machine is in no network now: boards cannot reach it.")
    for account in settings.accounts:
        _print(f"\nA board uses (the password is in {settings.secrets}):")
        _print(f"  address       {address or '127.0.0.1'}")
        _print(f"  port          {port}")
        _print(f"  user          {account.name}")
        _print(f"  virtual path  {account.virtual_path}   which is the folder {account.folder}")
        _print(f"In its /otalink.json: {json.dumps(server.board_settings(settings, account, port))[1:-1]}")


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


@contextmanager
def _progress(what: str) -> Iterator[repository.Progress]:
    """A bar on a terminal, and nothing in a file or a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def _print(line: str) -> None:
    _console().print(line)
    # Whoever reads a pipe waits for the line that says that the server is ready.
    sys.stdout.flush()


def _fail(line: str) -> int:
    print(f"otalink: {line}", file=sys.stderr)
    return 1


def _bytes(count: int) -> str:
    return f"{count:,} bytes"
