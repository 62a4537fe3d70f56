"""`otalink reports`: arguments and printing."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from otalink_host.cli_options import Config
from otalink_host.log_text import printable
from otalink_host.reports import read_reports
from otalink_host.settings import CONFIG_NAME, load_settings
from otalink_host.terminal import print_line, print_table

EXAMPLE = "Example: otalink reports; otalink reports --json"


def reports(
    config: Config = Path(CONFIG_NAME),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that the boards said.")] = False,
) -> None:
    """List what the boards said last of themselves, by their accounts: those whose settings have "report": true."""
    folder = load_settings(config).reports
    assert folder is not None
    found = read_reports(folder)
    if as_json:
        print(
            json.dumps(
                [{"account": each.account, "when": each.when, "report": each.fields} for each in found], indent=2
            )
        )
        return
    if not found:
        print_line(f'No report in {folder} yet: boards send them whose settings have "report": true.')
        return
    table = Table("ACCOUNT", "APPLICATION", "VERSION", "STATE", "REPORTED", "LAST MESSAGE", box=None, pad_edge=False)
    for each in found:
        state = each.text("state")
        if each.text("failed"):
            state += f" from {each.text('failed')}: {each.text('reason')}"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.when))
        cells = (each.account, each.text("name"), each.text("version"), state, when, each.last_message)
        table.add_row(*map(printable, cells))
    print_table(table)
