"""What a benchmark found: tables with their aims. They are printed and saved; nothing here measures."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

# Of a file or a pipe, which has no width of its own.
WIDTH = 110


@dataclass(frozen=True)
class Aim:
    """What a table hopes for, and whether this run came up to it."""

    text: str
    met: bool

    def __str__(self) -> str:
        return f"Aim: {self.text}: {'met' if self.met else 'MISSED'}"


@dataclass
class Table:
    """A table as it is printed. `data` has the numbers behind it, for --json."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def make_console() -> Console:
    """The terminal; of a fixed width where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def show(console: Console, table: Table) -> None:
    """Prints a table, its aims and its notes."""
    # Not as the table's own title, which would be broken at the table's width.
    console.print(table.title, style="bold", markup=False)
    printed = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(table.columns):
        printed.add_column(column, justify="right" if number else "left", no_wrap=number > 0)
    for row in table.rows:
        printed.add_row(*row)
    console.print(printed)
    for aim in table.aims:
        console.print(str(aim), style="bold green" if aim.met else "bold red", markup=False)
    for note in table.notes:
        console.print(note, markup=False)
    console.print()


def save(path: Path, tables: Sequence[Table]) -> None:
    """Writes the tables and the numbers behind them as JSON."""
    path.write_text(json.dumps([asdict(table) for table in tables], indent=2) + "\n", encoding="utf-8")


def spread(values: Sequence[float], digits: int) -> str:
    """The median of `values`, and in parentheses the smallest and the largest."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
