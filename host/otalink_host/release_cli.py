"""`otalink release`: arguments and printing. The work is done by build.py, release_file.py, repository.py and
release_make.py.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from otalink.errors import OtaError
from otalink.version import check_name, format_version, parse_version
from otalink_host import publish_record, repository
from otalink_host.cli_options import (
    Ca,
    Channel,
    Config,
    Destination,
    KeysFolder,
    PassphraseFd,
    PasswordFd,
    PublicKeys,
    To,
    Unsigned,
    check_private,
    destination_of,
    keys_folder,
    only_key,
    parse_bytecode,
    passphrase_of,
    public_keys,
    settings_if_any,
)
from otalink_host.errors import UserError
from otalink_host.place import Place
from otalink_host.private import check_apart
from otalink_host.settings import CONFIG_NAME, load_settings
from otalink_host.terminal import print_line, print_table, progress_bar

app = typer.Typer(no_args_is_help=True, help="Build, verify and publish releases, and list what is published.")

Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Sign with this key, by name or file.")]
SignNothing = Annotated[bool, typer.Option("--unsigned", help="Sign with no key.")]
Platforms = Annotated[
    list[str] | None,
    typer.Option("--board", metavar="PLATFORM", help="Only for these, such as esp32; else for all."),
]
Compile = Annotated[bool, typer.Option("--compile/--no-compile", help="Make .mpy files of the modules.")]
ForBytecode = Annotated[
    str | None, typer.Option(metavar="MAJOR.MINOR", help="For boards that load this bytecode, such as 6.1.")
]


@app.command(
    "build",
    epilog="Example: otalink release build application --name thermostat --version 1.0.0.3 --board esp32",
)
def release_build(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the release's files.")],
    version: Annotated[str | None, typer.Option(help="The version, such as 1.0.0.3.")] = None,
    name: Annotated[str | None, typer.Option(help="The application, when no file NAME_VERSION.py says it.")] = None,
    key: Key = None,
    unsigned: SignNothing = False,
    board: Platforms = None,
    compile_modules: Compile = True,
    bytecode: ForBytecode = None,
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


@app.command("verify", epilog="Example: otalink release verify thermostat_1.0.0.3.ota --key release.pub")
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


@app.command(
    "publish",
    epilog="Example: otalink release publish thermostat_1.0.0.3.ota; "
    "otalink release publish build --to releases --name thermostat --version 1.0.0.2; "
    "otalink release publish thermostat_1.0.0.3.ota --to ftps://publisher@updates.example/releases",
)
def release_publish(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A release file, or a folder of plain files.")],
    to: To = None,
    channel: Channel = None,
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
    ca: Ca = None,
    password_fd: PasswordFd = None,
) -> None:
    """Publish a release file; or the files in DIR, one of them named with its version, as in thermostat_1.0.0.2.py."""
    is_file = source.suffix == ".ota" and not source.is_dir()
    if is_file and (name is not None or version is not None):
        raise typer.BadParameter("a release file has its name and version already", param_hint="--name, --version")
    if not is_file and (key is not None or unsigned):
        raise typer.BadParameter("a plain folder is never signed", param_hint="--key, --unsigned")
    destination = destination_of(to, config, ca, password_fd, channel)
    check_private(config, keys, [source, *destination.folders])
    known = public_keys(config, keys, key, destination.folder) if is_file else {}
    with destination.opened() as place:
        if is_file:
            done = _publish_file(source, place, known, unsigned, allow_older)
        else:
            done = _publish_folder(source, place, name, version, allow_older)
    if done is not None:
        _record(config, destination, "publish", *done)


def _record(config: Path, destination: Destination, event: str, name: str, size: int | None = None) -> None:
    try:
        publish_record.record(settings_if_any(config), destination.folder, event, name, size)
    except UserError as error:
        print_line(f"the audit log does not have it ({error}): run it as the server's user")


def _publish_folder(
    source: Path, place: Place, name: str | None, version: str | None, allow_older: bool
) -> tuple[str, int] | None:
    """The name of what was published, and its size in bytes; None when it was there already."""
    with progress_bar("Publishing") as progress:
        done = repository.publish(source, place, name=name, version=version, allow_older=allow_older, progress=progress)
    for line in done.skipped + done.notes:
        print_line(line)
    for path in done.written:
        print_line(f"wrote {path}")
    for path in done.removed:
        print_line(f"removed {path}")
    text = f"{done.name} {format_version(done.version)}"
    if done.written or done.removed:
        same = f", unchanged: {len(done.unchanged)}" if done.unchanged else ""
        print_line(f"Published {text} in {place}: {_bytes(done.written_size)} of {_bytes(done.size)} written{same}.")
        return done.versioned, done.written_size
    print_line(f"{text} is published in {place} already, with the same content: there was nothing to do.")
    return None


def _publish_file(
    source: Path, place: Place, keys: dict[str, str], unsigned: bool, allow_older: bool
) -> tuple[str, int] | None:
    """As _publish_folder."""
    with progress_bar("Verifying") as progress:
        done = repository.publish_file(
            source, place, keys, unsigned=unsigned, allow_older=allow_older, progress=progress
        )
    text = f"{done.release.name} {format_version(done.release.version)}"
    by = f"signed with key {done.release.key}" if done.release.key is not None else "unsigned"
    if done.written:
        print_line(f"Published {text} as {done.path}: {len(done.release.files)} files, {_bytes(done.size)}, {by}.")
        return str(done.path).replace("\\", "/").rpartition("/")[2], done.size
    print_line(f"{text} is published in {place} already, with the same content: there was nothing to do.")
    return None


@app.command("list", epilog="Example: otalink release list releases")
def release_list(
    folder: Annotated[
        str | None, typer.Argument(metavar="[FOLDER|URL]", help="The folder to look into, not the settings'.")
    ] = None,
    channel: Channel = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
    ca: Ca = None,
    password_fd: PasswordFd = None,
) -> None:
    """List the releases in a folder, who signed them, and say what is passed over."""
    from otalink_host.keys import for_boards, load_all

    if folder is not None or channel is not None:
        destinations = [destination_of(folder, config, ca, password_fd, channel)]
    else:
        texts = sorted(str(folder) for folder in load_settings(config).folders)
        destinations = [destination_of(text, config, ca, password_fd) for text in texts]
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
    for destination in destinations:
        with destination.opened() as place:
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
        print_line(f"No release in {', '.join(map(str, destinations))}.")
    for note in notes:
        print_line(note)


@app.command(
    "withdraw",
    epilog="Example: otalink release withdraw thermostat 1.0.0.3; "
    "otalink release withdraw thermostat_1.0.0.3.ota --undo",
)
def release_withdraw(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="The application, or the release's file.")],
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="The version, behind a NAME.")] = None,
    folder: Annotated[
        str | None, typer.Option("--from", metavar="FOLDER|URL", help="Withdraw it there, not in the settings' folder.")
    ] = None,
    channel: Channel = None,
    undo: Annotated[bool, typer.Option("--undo", help="Put it back.")] = False,
    config: Config = Path(CONFIG_NAME),
    ca: Ca = None,
    password_fd: PasswordFd = None,
) -> None:
    """Take a release out of the boards' sight, or put it back."""
    destination = destination_of(folder, config, ca, password_fd, channel)
    with destination.opened() as place:
        before, after = repository.withdraw(place, name, version, undo=undo)
        print_line(f"renamed {place.where(before)} to {after}")
    _record(config, destination, "publish" if undo else "withdraw", after if undo else before)
    if undo:
        print_line(f"Put {after} back: boards see it again.")
    else:
        print_line(
            f"Withdrew {before}: boards that have it keep it, unless their policy is differs. --undo puts it back."
        )


@app.command(
    "make",
    epilog='Example: otalink release make application --name thermostat --version 1.0.0.3 --test "pytest -q"',
)
def make(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the release's files.")],
    name: Annotated[str, typer.Option(help="The application.")],
    version: Annotated[str, typer.Option(help="The version, such as 1.0.0.3: newer than all that is published.")],
    test: Annotated[
        str | None, typer.Option("--test", metavar="COMMAND", help="Run this first; it must end with status 0.")
    ] = None,
    changelog: Annotated[
        Path | None,
        typer.Option(
            "--changelog", metavar="FILE", help="It must tell the version; by default CHANGELOG.md at the top of git's."
        ),
    ] = None,
    no_changelog: Annotated[bool, typer.Option("--no-changelog", help="There is no changelog.")] = False,
    to: To = None,
    channel: Channel = None,
    key: Key = None,
    unsigned: SignNothing = False,
    board: Platforms = None,
    compile_modules: Compile = True,
    bytecode: ForBytecode = None,
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
    passphrase_fd: PassphraseFd = None,
    ca: Ca = None,
    password_fd: PasswordFd = None,
) -> None:
    """Test, build, sign, verify and publish a release of what git holds in DIR.

    Refused before anything is built: changes that are not committed, a version that is not newer than those that are
    published, one that the changelog does not tell, and tests that fail.
    """
    from otalink_host import release_make
    from otalink_host.keys import load_signer

    if key is not None and unsigned:
        raise typer.BadParameter("it is either --key or --unsigned", param_hint="--unsigned")
    if changelog is not None and no_changelog:
        raise typer.BadParameter("it is either --changelog or --no-changelog", param_hint="--no-changelog")
    wanted = parse_bytecode(bytecode) if bytecode is not None else None
    try:
        check_name(name)
        number: tuple[int, ...] = parse_version(version)
    except ValueError as error:
        raise UserError(str(error)) from None
    destination = destination_of(to, config, ca, password_fd, channel)
    check_private(config, keys, [source, *destination.folders])
    checkout = release_make.checkout_of(source)
    release_make.check_tracked(source)
    tag = release_make.tag_of(checkout, name, number)
    with destination.opened() as place:
        repository.check_newer(place, name, number)
    if not no_changelog:
        release_make.check_changelog(changelog or checkout.root / release_make.CHANGELOG_NAME, number)
    signer = None
    if not unsigned:
        folder = keys_folder(config, keys, destination.folder)
        signer = load_signer(folder, key or only_key(folder), lambda path: passphrase_of(path, passphrase_fd))
        if signer.key.private is not None:
            check_apart([signer.key.private], [source, *destination.folders])
    if test is None:
        print_line("No tests are run: --test COMMAND runs them.")
    else:
        print_line(f"Testing: {test}")
        release_make.run_tests(test, checkout.root)
        if release_make.checkout_of(source) != checkout:
            raise UserError("another commit is checked out since the tests began: run it again")
    # The tests may have taken longer than a server lets a session rest.
    with destination.opened() as place, progress_bar("Building") as progress:
        made = release_make.make(
            source,
            place,
            signer=signer,
            name=name,
            version=number,
            boards=board or (),
            compiled=compile_modules,
            bytecode=wanted,
            progress=progress,
        )
    built, published = made.built, made.published
    _record(config, destination, "publish", built.path.name, published.size)
    for line in built.skipped:
        print_line(line)
    by = f"signed with key {built.key}" if built.key is not None else "unsigned"
    print_line(
        f"Built {name} {format_version(number)} of commit {checkout.commit}: {len(built.files)} files, "
        f"{built.compiled} compiled, {built.size:,} bytes, {by}."
    )
    print_line(f"Published it as {published.path}.")
    print_line(f"To mark the commit: git tag {tag} {checkout.commit}")


def _check_output(config: Path, output: Path) -> None:
    """Refuses to write a release where boards fetch it already."""
    settings = settings_if_any(config)
    for folder in settings.folders if settings is not None else ():
        if output.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"--output: boards fetch from {folder}: build it elsewhere, then publish it")


def _bytes(count: int) -> str:
    return f"{count:,} bytes"
