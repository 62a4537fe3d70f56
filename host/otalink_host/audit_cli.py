"""`otalink audit`: arguments and printing. The work is done by audit_read.py."""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from otalink_host.cli_options import Config
from otalink_host.errors import UserError
from otalink_host.settings import CONFIG_NAME, AuditSettings, load_settings
from otalink_host.terminal import print_line

# Seconds between two looks of --follow.
TICK = 0.2

app = typer.Typer(
    no_args_is_help=True, help="Show who did what, when and from where, and check that nobody changed it."
)


@app.command(epilog="Example: otalink audit verify --expect-head server:812:3f9a0c…")
def verify(
    config: Config = Path(CONFIG_NAME),
    expect_head: Annotated[
        list[str] | None,
        typer.Option(
            "--expect-head", metavar="HEAD", help="A head that was printed before: its record must be in the log."
        ),
    ] = None,
) -> None:
    """Check the log: nothing in it was changed, removed, put in another order or cut off."""
    from otalink_host.audit import load_audit_key
    from otalink_host.audit_read import parse_expected_head, writers
    from otalink_host.audit_read import verify as check

    settings = _settings(config)
    expected = []
    for text in expect_head or ():
        try:
            expected.append(parse_expected_head(text))
        except ValueError as error:
            raise typer.BadParameter(f"{text}: it must be {error}", param_hint="--expect-head") from None
    if not writers(settings.folder) and not expected:
        raise UserError(f"{settings.folder} holds no audit log: a server that records begins one")
    found = check(settings.folder, load_audit_key(settings.key), expected)
    for each in found:
        if each.fault is None:
            span = f", {each.first} to {each.last}" if each.records else ""
            newer = f", {each.newer} of them newer than the head" if each.newer else ""
            torn = f", {each.torn} bytes of half a record behind them" if each.torn else ""
            print_line(f"{each.writer}: {each.records} records{newer}{torn}{span}; head {each.head}")
    faults = [each.fault for each in found if each.fault is not None]
    if faults:
        raise UserError("; ".join(faults))


@app.command(epilog="Example: otalink audit show --event login_failed --since 7d")
def show(
    config: Config = Path(CONFIG_NAME),
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this account, or this name.")] = None,
    address: Annotated[str | None, typer.Option(metavar="IP", help="Only from this address.")] = None,
    event: Annotated[str | None, typer.Option(metavar="EVENT", help="Only these, such as fetch.")] = None,
    outcome: Annotated[str | None, typer.Option(metavar="OUTCOME", help="Only with this outcome, such as ok.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="From then on: 2h or 7d ago, or a date and time in UTC.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Until then, a whole day if it is a date.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is recorded, until Ctrl-C.")] = False,
) -> None:
    """Show the records, the oldest first."""
    from otalink_host.audit import load_audit_key
    from otalink_host.audit_read import Filter, Reader, account_filter, as_row, row

    settings = _settings(config)
    accounts = None
    if account is not None:
        # The key tells which fingerprint a name has; who may not read it sees the accounts alone.
        key = None
        with contextlib.suppress(UserError):
            key = load_audit_key(settings.key)
        accounts = account_filter(account, key)
    now = time.time()
    wanted = Filter(
        accounts, address, event, outcome, _when(since, now, "--since"), _when(until, now, "--until", end_of_day=True)
    )
    reader = Reader(settings.folder, wanted)
    if not as_json:
        print(row("TIME", "EVENT", "OUTCOME", "ACCOUNT", "ADDRESS", "BYTES"), " PATH")
    try:
        while True:
            for record in reader.records():
                print(json.dumps(record) if as_json else as_row(record))
            sys.stdout.flush()
            if not follow:
                break
            time.sleep(TICK)
    except KeyboardInterrupt:
        if not follow:
            raise
    if reader.unreadable:
        raise UserError(f"{reader.unreadable} lines are no records: `otalink audit verify` says where")


def _settings(config: Path) -> AuditSettings:
    audit = load_settings(config).audit
    assert audit is not None
    return audit


def _when(text: str | None, now: float, option: str, end_of_day: bool = False) -> float | None:
    from otalink_host.audit_read import parse_when

    try:
        return None if text is None else parse_when(text, now, end_of_day)
    except ValueError as error:
        raise typer.BadParameter(f"{text}: it must be {error}", param_hint=option) from None
