"""What commands print: lines, tables, and a bar on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from otalink_host import release_file


@contextmanager
def progress_bar(what: str) -> Iterator[release_file.Progress]:
    """A bar on a terminal, and nothing in a file or a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def plain_console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_table(table: Table) -> None:
    console = plain_console()
    if not console.is_terminal:
        # In a file or a pipe there is no width that a folder's name must be cut to.
        console.width = 10_000
    console.print(table)


def print_line(line: str) -> None:
    plain_console().print(line)
    # Whoever reads a pipe waits for the line that says that the server is ready.
    sys.stdout.flush()
