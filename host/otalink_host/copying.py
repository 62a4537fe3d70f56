"""Shows a copy to a board as it goes: a bar on a terminal, and elsewhere a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# Seconds between two lines, at the least.
PAUSE = 1.0

# Called with the path on the board of the file that is copied, its number, how many files there are, and how many
# percent of it are there.
Copying = Callable[[str, int, int, int], None]


@contextmanager
def shown_on(console: Console, say: Callable[[str], None]) -> Iterator[Copying]:
    """Gives what shows a copy: on `console` if that is a terminal, else by lines to `say`."""
    if not console.is_terminal:
        yield _Lines(say)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("getting ready", total=None)

        def show(path: str, number: int, count: int, percent: int) -> None:
            text = f"copying {number} of {count}: {path}"
            bar.update(task, description=text, completed=100 * (number - 1) + percent, total=100 * count)

        yield show


class _Lines:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = 0.0

    def __call__(self, path: str, number: int, count: int, percent: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PAUSE
            self._say(f"copying {number} of {count}: {path}" + (f", {percent} %" if percent else ""))
