"""A board at the end of a cable: runs the unmodified mpremote on its port. It knows nothing of releases."""

import queue
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from otalink_host.errors import UserError
from otalink_host.program import running

# Seconds in which something must come from the board.
TIMEOUT = 120.0
# Files in one call of mpremote: Windows bounds a command line.
BATCH = 100
# It tells how far it is in a file only where it takes its output for a terminal.
_AS_ON_A_TERMINAL = "import sys; sys.stdout.isatty = lambda: True; from mpremote.main import main; sys.exit(main())"

# What mpremote is told to restart the board, as its button does.
RESET = ("reset",)

# Called with the index of the file that is copied, and how many percent of it are there.
Progress = Callable[[int, int], None]


class Cable:
    """The board on `port`: a serial device, or the path of a virtual board's pseudo-terminal."""

    def __init__(self, port: str, timeout: float = TIMEOUT) -> None:
        self.port = port
        self._timeout = timeout

    def execute(self, *scripts: str) -> str:
        """Runs `scripts` on the board in one session and gives what they printed. Raises UserError when one raised."""
        return self._mpremote(["-m", "mpremote"], _chain(["exec", script] for script in scripts), lambda line: None)

    def copy(
        self,
        files: list[tuple[Path, str]],
        progress: Progress,
        *,
        first: Sequence[str] = (),
        then: Sequence[str] = (),
    ) -> list[str]:
        """Copies each (source, path on the board), into folders that must be there. In the same session it runs the
        scripts `first`, each of which prints one line, and does what mpremote is told by `then` at the end.

        Files that are there already with the same SHA-256 are not sent again. Gives the lines that were printed.
        """
        printed: list[str] = []
        commands: list[Sequence[str]] = [("exec", script) for script in first]
        for start in range(0, len(files), BATCH):
            commands += [("fs", "cp", str(source), f":{target}") for source, target in files[start : start + BATCH]]
            if then and start + BATCH >= len(files):
                commands.append(then)
            output = self._mpremote(["-u", "-c", _AS_ON_A_TERMINAL], _chain(commands), _Follower(start, progress))
            printed = printed or output.split("\n")[: len(first)]
            commands = []
        return printed

    def enter_bootloader(self) -> None:
        """Starts the board's bootloader; the board then leaves its port."""
        self._mpremote(["-m", "mpremote"], ["bootloader"], lambda line: None)

    def _mpremote(self, python: list[str], arguments: list[str], follow: Callable[[str], None]) -> str:
        # `follow` is called with each line, and with each state of a line that is written over.
        command = [sys.executable, *python, "connect", self.port, *arguments]
        output = ""
        with running(command) as (process, pieces):
            while True:
                try:
                    piece = pieces.get(timeout=self._timeout)
                except queue.Empty:
                    raise UserError(
                        f"the board on {self.port} did not answer in {self._timeout:g} s: press its reset button, "
                        "try again"
                    ) from None
                if not piece:
                    break
                follow(piece.strip())
                output += piece
            status = process.wait()
        if status != 0:
            lines = [line for line in output.splitlines() if line.strip()]
            raise UserError(f"the board on {self.port}: {lines[-1].strip() if lines else 'mpremote failed'}")
        return output


def _chain(commands: Iterable[Sequence[str]]) -> list[str]:
    """The arguments by which one mpremote does all of the `commands`."""
    arguments: list[str] = []
    for command in commands:
        arguments += ["+", *command] if arguments else command
    return arguments


class _Follower:
    """Tells `progress` what mpremote's output tells of its copying; `index` is the first file's."""

    def __init__(self, index: int, progress: Progress) -> None:
        self._index = index - 1
        self._progress = progress

    def __call__(self, line: str) -> None:
        if line.startswith("cp "):
            self._index += 1
            self._progress(self._index, 0)
            return
        match = re.search(r"copying +(\d+)%", line)
        if match:
            self._progress(self._index, int(match[1]))
