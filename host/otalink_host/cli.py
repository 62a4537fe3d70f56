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
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from otalink import __version__
from otalink.errors import OtaError
from otalink.version import format_version
from otalink_host import accounts, boards_cli, peer_cli, repository, server
from otalink_host.board_secrets import BOARD_SECRETS_NAME
from otalink_host.errors import UserError
from otalink_host.private import check_apart
from otalink_host.settings import CONFIG_NAME, Settings, account_of, check_address, folder_of, load_settings

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

# Seconds without a byte after which a board asks its host whether it is there.
LINK_HEARTBEAT = 30
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
    _check_apart(config, None, [account.folder for account in settings.accounts])
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
    wanted = _bytecode(bytecode) if bytecode is not None else None
    folder = _keys_folder(config, keys)
    # A release of everything that lies around must not carry the passwords, or the key that signs it.
    _check_apart(config, keys, [source])
    _check_output(config, output if output is not None else Path())
    signer = None
    if not unsigned:
        signer = load_signer(folder, key or _only_key(folder), lambda path: _passphrase(path, passphrase_fd))
        if signer.key.private is not None:
            check_apart([signer.key.private], [source])
    with _progress("Building") as progress:
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
        _print(line)
    table = Table("FILE", "BYTES", "STORED", box=None, pad_edge=False)
    for file in built.files:
        table.add_row(file.path, f"{file.size:,}", f"{file.stored:,}")
    _print_table(table)
    by = f"signed with key {built.key}" if built.key is not None else "unsigned"
    _print(
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

    known = _public_keys(config, keys, key)
    try:
        with _progress("Verifying") as progress:
            release = verify(file, known, unsigned=unsigned, progress=progress)
        check_release(file, release)
    except (OtaError, UserError) as error:
        raise UserError(f"{file}: {error}") from None
    table = Table("FILE", "BYTES", "STORED", "FORM", "SHA-256", box=None, pad_edge=False)
    for entry in release.files:
        table.add_row(entry.path, f"{entry.size:,}", f"{entry.stored:,}", entry.encoding, entry.digest)
    _print_table(table)
    _print(f"for     {', '.join(release.boards) or 'every board'}")
    if release.bytecode is not None:
        major, minor = release.bytecode
        _print(f"loads   on bytecode {major}{f'.{minor}' if minor else ', any minor version'}")
    _print(f"signed  {f'with key {release.key}' if release.key is not None else 'by nobody'}")
    _print(f"{file} is whole: {release.name} {format_version(release.version)}, {len(release.files)} files.")


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
    _check_apart(config, keys, [source, folder])
    if source.suffix == ".ota" and not source.is_dir():
        if name is not None or version is not None:
            raise typer.BadParameter("a release file has its name and version already", param_hint="--name, --version")
        _publish_file(source, folder, _public_keys(config, keys, key, folder), unsigned, allow_older)
        return
    if key is not None or unsigned:
        raise typer.BadParameter("a plain folder is never signed", param_hint="--key, --unsigned")
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


def _publish_file(source: Path, folder: Path, keys: dict[str, str], unsigned: bool, allow_older: bool) -> None:
    with _progress("Verifying") as progress:
        done = repository.publish_file(
            source, folder, keys, unsigned=unsigned, allow_older=allow_older, progress=progress
        )
    text = f"{done.release.name} {format_version(done.release.version)}"
    by = f"signed with key {done.release.key}" if done.release.key is not None else "unsigned"
    if done.written:
        _print(f"Published {text} as {done.path}: {len(done.release.files)} files, {_bytes(done.size)}, {by}.")
    else:
        _print(f"{text} is published in {folder} already, with the same content: there was nothing to do.")


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
        known = load_all(_keys_folder(config, keys))
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
        _print_table(table)
    else:
        _print(f"No release in {', '.join(str(place) for place in folders)}.")
    for note in notes:
        _print(note)


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
    _print(f"renamed {before} to {after.name}")
    if undo:
        _print(f"Put {after.name} back: boards see it again.")
    else:
        _print(
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

    folder = _keys_folder(config, keys)
    secret = None
    if passphrase or passphrase_fd is not None or PASSPHRASE_VARIABLE in os.environ:
        secret = _passphrase(folder / (name + PRIVATE), passphrase_fd, confirm=True)
    key = create(folder, name, secret)
    protection = "with a passphrase" if key.encrypted else "without a passphrase"
    _print(f"Made {key.private}: the private key, {protection}. Keep it to yourself, and a copy in a safe place.")
    _print(f"Made {folder / (name + PUBLIC)}: the public key, for whoever verifies releases.")
    _print(f"Key {key.id}. Next: otalink keys export {name}   prints what boards need")


@keys_app.command("list", epilog="Example: otalink keys list")
def keys_list(config: Config = Path(CONFIG_NAME), keys: KeysFolder = None) -> None:
    """List the keys."""
    from otalink_host.keys import load_all

    folder = _keys_folder(config, keys)
    table = Table("NAME", "ID", "BITS", "PRIVATE KEY", box=None, pad_edge=False)
    for key in load_all(folder):
        private = "elsewhere" if key.private is None else "here, with a passphrase" if key.encrypted else "here"
        table.add_row(key.name, key.id, str(key.bits), private)
    if table.row_count:
        _print_table(table)
    else:
        _print(f"No key in {folder}: make one with `otalink keys new`.")


@keys_app.command("export", epilog="Example: otalink keys export release")
def keys_export(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys by name or file, not all of them.")
    ] = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
) -> None:
    """Print what goes into a board's /otalink.json: the public keys, one of which must have signed a release."""
    known = _public_keys(config, keys, names)
    if not known:
        raise UserError(f"no key in {_keys_folder(config, keys)}: make one with `otalink keys new`")
    print(json.dumps({"keys": known}, indent=2))


def _keys_folder(config: Path, keys: Path | None, served: Path | None = None) -> Path:
    """The keys folder, which is in no folder that boards get files from: those of the settings, and `served`."""
    folder = _place_of_keys(config, keys)
    settings = _settings_if_any(config)
    places = [served] if served is not None else []
    places += [account.folder for account in settings.accounts] if settings is not None else []
    check_apart([folder], places)
    return folder


def _place_of_keys(config: Path, keys: Path | None) -> Path:
    from otalink_host.keys import FOLDER_NAME

    return keys if keys is not None else config.parent / FOLDER_NAME


def _check_apart(config: Path, keys: Path | None, folders: list[Path]) -> None:
    """Refuses `folders`, which boards get files from, when the settings, the passwords or a private key lie in one."""
    from otalink_host.keys import PRIVATE

    settings = _settings_if_any(config)
    folder = _place_of_keys(config, keys)
    private = [config, config.with_name(BOARD_SECRETS_NAME), folder, *sorted(folder.glob(f"*{PRIVATE}"))]
    if settings is not None and settings.secrets is not None:
        private.insert(0, settings.secrets)
    check_apart([path for path in private if os.path.lexists(path)], folders)


def _check_output(config: Path, output: Path) -> None:
    """Refuses to write a release where boards fetch it already."""
    settings = _settings_if_any(config)
    for account in settings.accounts if settings is not None else ():
        if output.resolve().is_relative_to(account.folder.resolve()):
            raise UserError(f"--output: boards fetch from {account.folder}: build it elsewhere, then publish it")


def _settings_if_any(config: Path) -> Settings | None:
    """The settings; None where there are none: a machine that builds releases needs keys, and no server."""
    return load_settings(config) if config.exists() or config != Path(CONFIG_NAME) else None


def _public_keys(
    config: Path, keys: Path | None, names: list[str] | None, served: Path | None = None
) -> dict[str, str]:
    from otalink_host.keys import for_boards, load_all, load_public

    folder = _keys_folder(config, keys, served)
    return for_boards([load_public(folder, name) for name in names] if names else load_all(folder))


def _only_key(folder: Path) -> str:
    """The name of the one private key in `folder`."""
    from otalink_host.keys import load_all

    names = [key.name for key in load_all(folder) if key.private is not None]
    if not names:
        raise UserError(f"no key in {folder}: make one with `otalink keys new`, or build with --unsigned")
    if len(names) > 1:
        raise UserError(f"{folder} has several keys: say which with --key ({', '.join(names)})")
    return names[0]


def _passphrase(path: Path, descriptor: int | None, confirm: bool = False) -> bytes:
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


def _bytecode(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 8):
        raise typer.BadParameter(f"{text}: give it as in 6.3", param_hint="--bytecode")
    return int(major), int(minor)


app.command(help=peer_cli.PEER_HELP, epilog=peer_cli.PEER_EXAMPLE)(peer_cli.peer)
app.command(epilog="Example: otalink fleet fleet.db")(peer_cli.fleet)
app.command(help=boards_cli.HELP, epilog=boards_cli.EXAMPLE)(boards_cli.boards)


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
    _check_apart(config, keys, [application])
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
    known = {} if unsigned else _public_keys(config, keys, key)
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
    with shown_on(Console(stderr=True), _print) as copying:
        flash_board(
            port,
            application,
            values,
            version=version,
            replace_boot=replace_boot,
            unsigned=unsigned,
            say=_print,
            copying=copying,
        )
    if board is not None:
        _print(f"It is {board} to the peer at {host}:{link_port}: otalink peer --secrets {secrets}")
    _print("Flashed; the board has been reset.")


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


def _print_table(table: Table) -> None:
    console = _console()
    if not console.is_terminal:
        # In a file or a pipe there is no width that a folder's name must be cut to.
        console.width = 10_000
    console.print(table)


def _print(line: str) -> None:
    _console().print(line)
    # Whoever reads a pipe waits for the line that says that the server is ready.
    sys.stdout.flush()


def _fail(line: str) -> int:
    print(f"otalink: {line}", file=sys.stderr)
    return 1


def _bytes(count: int) -> str:
    return f"{count:,} bytes"
