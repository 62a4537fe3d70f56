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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from otalink import __version__
from otalink.errors import OtaError
from otalink.version import format_version
from otalink_host import accounts, attached_cli, boards_cli, flash_cli, peer_cli, release_cli, repository, server
from otalink_host.cli_options import (
    PASSPHRASE_VARIABLE,
    Config,
    KeysFolder,
    PassphraseFd,
    PublicKeys,
    Unsigned,
    check_private,
    keys_folder,
    only_key,
    parse_bytecode,
    passphrase_of,
    public_keys,
    settings_if_any,
)
from otalink_host.errors import UserError
from otalink_host.private import check_apart
from otalink_host.settings import CONFIG_NAME, Settings, check_address, folder_of, load_settings
from otalink_host.terminal import print_line, print_table, progress_bar

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Updates for a fleet of MicroPython boards from an FTP server.",
    epilog="To begin: otalink init, then otalink serve.",
)
release_app = typer.Typer(no_args_is_help=True, help="Build, verify and publish releases, and list what is published.")
app.add_typer(release_app, name="release")
keys_app = typer.Typer(no_args_is_help=True, help="Make the keys that sign releases, and give them to boards.")
app.add_typer(keys_app, name="keys")


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


@release_app.command(
    "build",
    epilog="Example: otalink release build application --name thermostat --version 1.0.0.3 --board esp32",
)
def release_build(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the release's files.")],
    version: Annotated[str | None, typer.Option(help="The version, such as 1.0.0.3.")] = None,
    name: Annotated[str | None, typer.Option(help="The application, when no file NAME_VERSION.py says it.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Sign with this key, by name or file.")
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Sign with no key.")] = False,
    board: Annotated[
        list[str] | None,
        typer.Option("--board", metavar="PLATFORM", help="Only for these, such as esp32; else for all."),
    ] = None,
    compile_modules: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Make .mpy files of the modules.")
    ] = True,
    bytecode: Annotated[
        str | None, typer.Option(metavar="MAJOR.MINOR", help="For boards that load this bytecode, such as 6.1.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="The release file, or the folder for it.")
    ] = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Build a release file, NAME_VERSION.ota, from the files in DIR: compiled, compressed and signed."""
    from otalink_host.build import build
    from otalink_host.keys import load_signer

    if key is not None and unsigned:
        raise typer.BadParameter("it is either --key or --unsigned", param_hint="--unsigned")
    wanted = parse_bytecode(bytecode) if bytecode is not None else None
    folder = keys_folder(config, keys)
    # A release of everything that lies around must not carry the passwords, or the key that signs it.
    check_private(config, keys, [source])
    _check_output(config, output if output is not None else Path())
    signer = None
    if not unsigned:
        signer = load_signer(folder, key or only_key(folder), lambda path: passphrase_of(path, passphrase_fd))
        if signer.key.private is not None:
            check_apart([signer.key.private], [source])
    with progress_bar("Building") as progress:
        built = build(
            source,
            signer=signer,
            name=name,
            version=version,
            boards=board or (),
            compiled=compile_modules,
            bytecode=wanted,
            output=output,
            progress=progress,
        )
    for line in built.skipped:
        print_line(line)
    table = Table("FILE", "BYTES", "STORED", box=None, pad_edge=False)
    for file in built.files:
        table.add_row(file.path, f"{file.size:,}", f"{file.stored:,}")
    print_table(table)
    by = f"signed with key {built.key}" if built.key is not None else "unsigned"
    print_line(
        f"Built {built.path}: {len(built.files)} files, {built.compiled} compiled, "
        f"{_bytes(built.source_size)} before, {_bytes(built.size)} after, {by}."
    )


@release_app.command("verify", epilog="Example: otalink release verify thermostat_1.0.0.3.ota --key release.pub")
def release_verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The release file.")],
    key: PublicKeys = None,
    unsigned: Unsigned = False,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
) -> None:
    """Read a release file wholly: its form, its signature, and every byte of its files."""
    from otalink_host.release_file import verify
    from otalink_host.startup import check_release

    known = public_keys(config, keys, key)
    try:
        with progress_bar("Verifying") as progress:
            release = verify(file, known, unsigned=unsigned, progress=progress)
        check_release(file, release)
    except (OtaError, UserError) as error:
        raise UserError(f"{file}: {error}") from None
    table = Table("FILE", "BYTES", "STORED", "FORM", "SHA-256", box=None, pad_edge=False)
    for entry in release.files:
        table.add_row(entry.path, f"{entry.size:,}", f"{entry.stored:,}", entry.encoding, entry.digest)
    print_table(table)
    print_line(f"for     {', '.join(release.boards) or 'every board'}")
    if release.bytecode is not None:
        major, minor = release.bytecode
        print_line(f"loads   on bytecode {major}{f'.{minor}' if minor else ', any minor version'}")
    print_line(f"signed  {f'with key {release.key}' if release.key is not None else 'by nobody'}")
    print_line(f"{file} is whole: {release.name} {format_version(release.version)}, {len(release.files)} files.")


@release_app.command(
    "publish",
    epilog="Example: otalink release publish thermostat_1.0.0.3.ota; "
    "otalink release publish build --to releases --name thermostat --version 1.0.0.2",
)
def release_publish(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A release file, or a folder of plain files.")],
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
    key: PublicKeys = None,
    unsigned: Unsigned = False,
    keys: KeysFolder = None,
) -> None:
    """Publish a release file; or the files in DIR, one of them named with its version, as in thermostat_1.0.0.2.py."""
    folder = to if to is not None else folder_of(load_settings(config))
    check_private(config, keys, [source, folder])
    if source.suffix == ".ota" and not source.is_dir():
        if name is not None or version is not None:
            raise typer.BadParameter("a release file has its name and version already", param_hint="--name, --version")
        _publish_file(source, folder, public_keys(config, keys, key, folder), unsigned, allow_older)
        return
    if key is not None or unsigned:
        raise typer.BadParameter("a plain folder is never signed", param_hint="--key, --unsigned")
    with progress_bar("Publishing") as progress:
        done = repository.publish(
            source, folder, name=name, version=version, allow_older=allow_older, progress=progress
        )
    for line in done.skipped + done.notes:
        print_line(line)
    for path in done.written:
        print_line(f"wrote {path}")
    for path in done.removed:
        print_line(f"removed {path}")
    text = f"{done.name} {format_version(done.version)}"
    if done.written or done.removed:
        same = f", unchanged: {len(done.unchanged)}" if done.unchanged else ""
        print_line(f"Published {text} in {folder}: {_bytes(done.written_size)} of {_bytes(done.size)} written{same}.")
    else:
        print_line(f"{text} is published in {folder} already, with the same content: there was nothing to do.")


def _publish_file(source: Path, folder: Path, keys: dict[str, str], unsigned: bool, allow_older: bool) -> None:
    with progress_bar("Verifying") as progress:
        done = repository.publish_file(
            source, folder, keys, unsigned=unsigned, allow_older=allow_older, progress=progress
        )
    text = f"{done.release.name} {format_version(done.release.version)}"
    by = f"signed with key {done.release.key}" if done.release.key is not None else "unsigned"
    if done.written:
        print_line(f"Published {text} as {done.path}: {len(done.release.files)} files, {_bytes(done.size)}, {by}.")
    else:
        print_line(f"{text} is published in {folder} already, with the same content: there was nothing to do.")


@release_app.command("list", epilog="Example: otalink release list releases")
def release_list(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="The folder to look into, not the settings'.")
    ] = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
) -> None:
    """List the releases in a folder, who signed them, and say what is passed over."""
    from otalink_host.keys import for_boards, load_all

    folders = [folder] if folder is not None else sorted({account.folder for account in load_settings(config).accounts})
    notes: list[str] = []
    try:
        known = load_all(keys_folder(config, keys))
    except UserError as error:
        # What is published can be told without them.
        known = []
        notes.append(f"no key is known: {error}")
    names = {key.id: key.name for key in known}
    columns = ("NAME", "VERSION", "FORM", "SIGNED", "FILES", "BYTES", "PUBLISHED", "FOLDER")
    table = Table(*columns, box=None, pad_edge=False)
    for place in folders:
        listing = repository.list_releases(place, for_boards(known))
        notes += listing.notes
        for release in listing.releases:
            form = "release file" if release.is_file else "plain" if release.has_sums else "plain, without SHA256SUMS"
            signed = "no" if release.key is None else f"{release.key} ({names.get(release.key, 'not known here')})"
            table.add_row(
                release.name,
                format_version(release.version),
                f"{form}, withdrawn" if release.withdrawn else form,
                signed,
                str(release.files),
                f"{release.size:,}",
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(release.when)),
                str(release.folder),
            )
    if table.row_count:
        print_table(table)
    else:
        print_line(f"No release in {', '.join(str(place) for place in folders)}.")
    for note in notes:
        print_line(note)


@release_app.command(
    "withdraw",
    epilog="Example: otalink release withdraw thermostat 1.0.0.3; "
    "otalink release withdraw thermostat_1.0.0.3.ota --undo",
)
def release_withdraw(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="The application, or the release's file.")],
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="The version, behind a NAME.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="Withdraw it there, not in the settings' folder.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Put it back.")] = False,
    config: Config = Path(CONFIG_NAME),
) -> None:
    """Take a release out of the boards' sight, or put it back."""
    place = folder if folder is not None else folder_of(load_settings(config))
    before, after = repository.withdraw(place, name, version, undo=undo)
    print_line(f"renamed {before} to {after.name}")
    if undo:
        print_line(f"Put {after.name} back: boards see it again.")
    else:
        print_line(
            f"Withdrew {before.name}: boards that have it keep it, unless their policy is differs. --undo puts it back."
        )


@keys_app.command("new", epilog="Example: otalink keys new --name release --passphrase")
def keys_new(
    name: Annotated[str, typer.Option(help="What to call it.")] = "release",
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Protect it with a passphrase, which is asked for.")
    ] = False,
    passphrase_fd: PassphraseFd = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
) -> None:
    """Make a key that signs releases: RSA with 3,072 bits."""
    from otalink_host.keys import PRIVATE, PUBLIC, create

    folder = keys_folder(config, keys)
    secret = None
    if passphrase or passphrase_fd is not None or PASSPHRASE_VARIABLE in os.environ:
        secret = passphrase_of(folder / (name + PRIVATE), passphrase_fd, confirm=True)
    key = create(folder, name, secret)
    protection = "with a passphrase" if key.encrypted else "without a passphrase"
    print_line(f"Made {key.private}: the private key, {protection}. Keep it to yourself, and a copy in a safe place.")
    print_line(f"Made {folder / (name + PUBLIC)}: the public key, for whoever verifies releases.")
    print_line(f"Key {key.id}. Next: otalink keys export {name}   prints what boards need")


@keys_app.command("list", epilog="Example: otalink keys list")
def keys_list(config: Config = Path(CONFIG_NAME), keys: KeysFolder = None) -> None:
    """List the keys."""
    from otalink_host.keys import load_all

    folder = keys_folder(config, keys)
    table = Table("NAME", "ID", "BITS", "PRIVATE KEY", box=None, pad_edge=False)
    for key in load_all(folder):
        private = "elsewhere" if key.private is None else "here, with a passphrase" if key.encrypted else "here"
        table.add_row(key.name, key.id, str(key.bits), private)
    if table.row_count:
        print_table(table)
    else:
        print_line(f"No key in {folder}: make one with `otalink keys new`.")


@keys_app.command("export", epilog="Example: otalink keys export release")
def keys_export(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys by name or file, not all of them.")
    ] = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
) -> None:
    """Print what goes into a board's /otalink.json: the public keys, one of which must have signed a release."""
    known = public_keys(config, keys, names)
    if not known:
        raise UserError(f"no key in {keys_folder(config, keys)}: make one with `otalink keys new`")
    print(json.dumps({"keys": known}, indent=2))


def _check_output(config: Path, output: Path) -> None:
    """Refuses to write a release where boards fetch it already."""
    settings = settings_if_any(config)
    for account in settings.accounts if settings is not None else ():
        if output.resolve().is_relative_to(account.folder.resolve()):
            raise UserError(f"--output: boards fetch from {account.folder}: build it elsewhere, then publish it")


app.command(help=peer_cli.PEER_HELP, epilog=peer_cli.PEER_EXAMPLE)(peer_cli.peer)
app.command(epilog="Example: otalink fleet fleet.db")(peer_cli.fleet)
app.command(epilog=flash_cli.FLASH_EXAMPLE)(flash_cli.flash)
app.command(help=boards_cli.HELP, epilog=boards_cli.EXAMPLE)(boards_cli.boards)
release_app.command("make", epilog=release_cli.MAKE_EXAMPLE)(release_cli.make)
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


def _bytes(count: int) -> str:
    return f"{count:,} bytes"
