"""`otalink keys`: arguments and printing. The work is done by keys.py."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from otalink_host.cli_options import (
    PASSPHRASE_VARIABLE,
    Config,
    KeysFolder,
    PassphraseFd,
    keys_folder,
    passphrase_of,
    public_keys,
)
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME
from otalink_host.terminal import print_line, print_table

app = typer.Typer(no_args_is_help=True, help="Make the keys that sign releases, and give them to boards.")


@app.command("new", epilog="Example: otalink keys new --name release --passphrase")
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


@app.command("list", epilog="Example: otalink keys list")
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


@app.command("export", epilog="Example: otalink keys export release")
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
