"""`otalink release make`: arguments and printing. The work is done by release_make.py."""

from pathlib import Path
from typing import Annotated

import typer

from otalink.version import check_name, format_version, parse_version
from otalink_host import repository
from otalink_host.cli_options import (
    Config,
    KeysFolder,
    PassphraseFd,
    check_private,
    keys_folder,
    only_key,
    parse_bytecode,
    passphrase_of,
)
from otalink_host.errors import UserError
from otalink_host.private import check_apart
from otalink_host.settings import CONFIG_NAME, folder_of, load_settings
from otalink_host.terminal import print_line, progress_bar

MAKE_EXAMPLE = (
    'Example: otalink release make application --name thermostat --version 1.0.0.3 --test "pytest -q" --key release'
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
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Publish there, not to the settings' folder.")
    ] = None,
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
    config: Config = Path(CONFIG_NAME),
    keys: KeysFolder = None,
    passphrase_fd: PassphraseFd = None,
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
    folder = to if to is not None else folder_of(load_settings(config))
    check_private(config, keys, [source, folder])
    checkout = release_make.checkout_of(source)
    release_make.check_tracked(source)
    tag = release_make.tag_of(checkout, name, number)
    repository.check_newer(folder, name, number)
    if not no_changelog:
        release_make.check_changelog(changelog or checkout.root / release_make.CHANGELOG_NAME, number)
    signer = None
    if not unsigned:
        place = keys_folder(config, keys, folder)
        signer = load_signer(place, key or only_key(place), lambda path: passphrase_of(path, passphrase_fd))
        if signer.key.private is not None:
            check_apart([signer.key.private], [source, folder])
    if test is None:
        print_line("No tests are run: --test COMMAND runs them.")
    else:
        print_line(f"Testing: {test}")
        release_make.run_tests(test, checkout.root)
        if release_make.checkout_of(source) != checkout:
            raise UserError("another commit is checked out since the tests began: run it again")
    with progress_bar("Building") as progress:
        made = release_make.make(
            source,
            folder,
            signer=signer,
            name=name,
            version=number,
            boards=board or (),
            compiled=compile_modules,
            bytecode=wanted,
            progress=progress,
        )
    built, published = made.built, made.published
    for line in built.skipped:
        print_line(line)
    by = f"signed with key {built.key}" if built.key is not None else "unsigned"
    print_line(
        f"Built {name} {format_version(number)} of commit {checkout.commit}: {len(built.files)} files, "
        f"{built.compiled} compiled, {built.size:,} bytes, {by}."
    )
    print_line(f"Published it as {published.path}.")
    print_line(f"To mark the commit: git tag {tag} {checkout.commit}")
