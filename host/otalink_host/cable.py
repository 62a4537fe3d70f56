"""A board at the end of a cable: runs the unmodified mpremote on its port. It knows nothing of releases."""

import subprocess
import sys
from pathlib import Path

from otalink_host.errors import UserError

TIMEOUT = 120.0


class Cable:
    """The board on `port`: a serial device, or the path of a virtual board's pseudo-terminal."""

    def __init__(self, port: str, timeout: float = TIMEOUT) -> None:
        self.port = port
        self._timeout = timeout

    def execute(self, code: str) -> str:
        """Runs `code` on the board and gives what it printed. Raises UserError when the board raised."""
        return self._mpremote("exec", code)

    def copy(self, sources: list[Path], folder: str) -> None:
        """Copies files and folders, with what is in them, into the board's `folder`, which must be there.

        Files that are there already with the same SHA-256 are not sent again.
        """
        self._mpremote("fs", "cp", "-r", *map(str, sources), f":{folder}")

    def reset(self) -> None:
        """Restarts the board, as its button does."""
        self._mpremote("reset")

    def _mpremote(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "mpremote", "connect", self.port, *arguments]
        try:
            completed = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"the board on {self.port} did not answer in {self._timeout:g} s: press its reset button, try again"
            ) from None
        if completed.returncode != 0:
            lines = [line for line in completed.stdout.splitlines() if line.strip()]
            raise UserError(f"the board on {self.port}: {lines[-1].strip() if lines else 'mpremote failed'}")
        return completed.stdout
