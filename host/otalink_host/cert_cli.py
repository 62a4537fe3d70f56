"""`otalink cert`: the server's certificate and the CA that signs it. The work is done by certificates.py."""

from pathlib import Path
from typing import Annotated

import typer

from otalink_host import certificates
from otalink_host.cli_options import Config, check_private
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME, Settings, Tls, load_settings
from otalink_host.terminal import print_line

app = typer.Typer(no_args_is_help=True, help="Make, show and renew the server's certificate.")

Names = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="HOST", help="A name or address that boards use; more than once for more."),
]


@app.command(epilog="Example: otalink cert new --name updates.example.com")
def new(config: Config = Path(CONFIG_NAME), name: Names = None) -> None:
    """Make a CA and a certificate for a server that has none, and name them in its settings."""
    settings = load_settings(config)
    check_private(config, None, settings.folders)
    make(settings, name)
    print_line("TLS counts when the server is started again, or after SIGHUP.")


@app.command(epilog="Example: otalink cert show")
def show(config: Config = Path(CONFIG_NAME)) -> None:
    """Say whom the certificate is for, and until when."""
    tls = tls_of(load_settings(config))
    assert tls.certificate is not None
    for path in (tls.certificate, tls.ca):
        if path is None:
            continue
        found = certificates.describe(certificates.load(path))
        print_line(f"{path}: {found.subject}")
        if found.names:
            print_line(f"  for      {', '.join(found.names)}")
        print_line(f"  ends     {found.ends:%Y-%m-%d}, in {found.days_left()} days")
        print_line(f"  SHA-256  {found.fingerprint}")


@app.command(epilog="Example: otalink cert renew --ca-key /media/stick/ca.key")
def renew(
    config: Config = Path(CONFIG_NAME),
    name: Names = None,
    ca_key: Annotated[
        Path | None, typer.Option("--ca-key", metavar="FILE", help="The CA's key; by default beside the CA.")
    ] = None,
) -> None:
    """Make the certificate anew, by the same CA: boards take it, and so does a server that runs, within a minute."""
    tls = tls_of(load_settings(config))
    key = ca_key if ca_key is not None else (tls.ca or Path("ca.der")).with_name("ca.key")
    made = certificates.renew(tls, _checked(name), key)
    print_line(f"Made {tls.certificate}, for {', '.join(made.names)}: it ends on {made.ends:%Y-%m-%d}.")
    print_line("A server that runs takes it over within a minute.")


def make(settings: Settings, names: list[str] | None) -> None:
    """Makes the CA and the certificate for this machine and for `names`, and prints what was made."""
    everything = list(dict.fromkeys([*_checked(names), *certificates.usual_names(settings)]))
    certificate, key, ca, ca_key = certificates.create(settings, everything)
    print_line(f"Made {certificate} and {key.name}: the server's certificate, for {', '.join(everything)}.")
    print_line(f"Made {ca}: what boards check it by.")
    print_line(f"Made {ca_key}: signs such certificates. The server does not need it: keep it elsewhere if you can.")


def tls_of(settings: Settings) -> Tls:
    if settings.tls.certificate is None or settings.tls.key is None:
        raise UserError(f"{settings.path} names no certificate: make one with `otalink cert new`")
    return settings.tls


def _checked(names: list[str] | None) -> list[str]:
    checked = []
    for name in names or []:
        try:
            checked.append(certificates.check_name(name))
        except ValueError as error:
            raise typer.BadParameter(f"{name}: it must be {error}", param_hint="--name") from None
    return checked
