"""A board at the end of a cable: runs the unmodified mpremote on its port. It knows nothing of releases."""

import queue
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from otalink_host.errors import UserError
from otalink_host.ports import listen, opening_error
from otalink_host.program import running

# Seconds in which something must come from the board.
TIMEOUT = 120.0
# Seconds in which a board must let go of what it runs. mpremote gives up after 10, but on a pseudo-terminal never.
ENTRY_TIMEOUT = 15.0
# How each try begins. A Ctrl-C can be lost, and a boot.py may restart the board each time: "resume" does not run it.
_TRIES: tuple[tuple[str, ...], ...] = ((), (), ("resume",), ("resume",))
# What mpremote says of a board that was in the middle of something else, as of a reset.
_NO_ENTRY = ("could not enter raw repl", "could not exec command")
# Seconds for which a board that does not let go is listened to, to say what is the matter with it.
_LISTEN = 3.0
# Files in one call of mpremote: Windows bounds a command line.
BATCH = 100
# It tells how far it is in a file only where it takes its output for a terminal.
_AS_ON_A_TERMINAL = "import sys; sys.stdout.isatty = lambda: True; from mpremote.main import main; sys.exit(main())"
# What a board prints once it listens to mpremote.
_READY = "otalink: ready"

# What mpremote is told to restart the board, as its button does; it ends a tenth of a second before the board does so,
# and who types then types into nothing.
RESET = ("reset",)
_RESET_TIME = 0.3

# Called with the index of the file that is copied, and how many percent of it are there.
Progress = Callable[[int, int], None]


class _NoEntryError(Exception):
    """The board did not begin to listen to mpremote; nothing was done on it."""


class Cable:
    """The board on `port`: a serial device, or the path of a virtual board's pseudo-terminal.

    Every method raises UserError, one line, when the board does not do what it is told to.
    """

    def __init__(self, port: str, timeout: float = TIMEOUT, entry_timeout: float = ENTRY_TIMEOUT) -> None:
        self.port = port
        self._timeout = timeout
        self._entry_timeout = entry_timeout
        self._first_try = 0  # what let us in before lets us in again

    def execute(
        self, *scripts: str, then: Sequence[str] = (), follow: Callable[[str], None] = lambda line: None
    ) -> str:
        """Runs `scripts` on the board in one session and gives what they printed, which `follow` is told line by line.

        At the end mpremote does what `then` tells it. Raises UserError also when a script raised.
        """
        commands: list[Sequence[str]] = [("exec", script) for script in scripts]
        return self._mpremote(["-u", "-m", "mpremote"], [*commands, *([then] if then else [])], follow)

    def copy(
        self,
        files: list[tuple[Path, str]],
        progress: Progress,
        *,
        first: Sequence[str] = (),
        then: Sequence[str] = (),
    ) -> list[str]:
        """Copies each (source, path on the board), into folders that must be there. In the same session it runs the
        scripts `first` before that, each of which prints one line, and does what mpremote is told by `then` at the end.
        Gives the lines that were printed.

        Files that are there already with the same SHA-256 are not sent again.
        """
        printed: list[str] = []
        commands: list[Sequence[str]] = [("exec", script) for script in first]
        for start in range(0, max(len(files), 1), BATCH):
            commands += [("fs", "cp", str(source), f":{target}") for source, target in files[start : start + BATCH]]
            if then and start + BATCH >= len(files):
                commands.append(then)
            output = self._mpremote(["-u", "-c", _AS_ON_A_TERMINAL], commands, _Follower(start, progress))
            printed = printed or output.split("\n")[: len(first)]
            commands = []
        return printed

    def enter_bootloader(self) -> None:
        """Starts the board's bootloader; the board then leaves its port."""
        self._mpremote(["-m", "mpremote"], [("bootloader",)], lambda line: None)

    def _mpremote(self, python: list[str], commands: list[Sequence[str]], follow: Callable[[str], None]) -> str:
        heard = ""
        for number, options in enumerate(_TRIES):
            if number < self._first_try:
                continue
            if number == len(_TRIES) - 1:
                # Whoever types Ctrl-C by hand may get in where mpremote does not; the last try finds the prompt then.
                heard = listen(self.port, b"\r\x03\x03", _LISTEN)
                if ">>>" not in heard:
                    break
            try:
                output = self._try([sys.executable, *python, "connect", self.port, *options], commands, follow)
            except _NoEntryError:
                continue
            self._first_try = min(number, len(_TRIES) - 2)
            if commands[-1:] == [RESET]:
                time.sleep(_RESET_TIME)
            return output
        raise UserError(f"{self.port}: {_diagnosis(heard)}")

    def _try(self, command: list[str], commands: list[Sequence[str]], follow: Callable[[str], None]) -> str:
        # `follow` is called with each line, and with each state of a line that is written over.
        arguments = _chain([("exec", f"print({_READY!r})"), *commands])
        output, before = "", ""
        ready = False
        deadline = time.monotonic() + self._entry_timeout
        with running([*command, *arguments]) as (process, pieces):
            while True:
                try:
                    left = self._timeout if ready else max(0.0, deadline - time.monotonic())
                    piece = pieces.get(timeout=left)
                except queue.Empty:
                    if not ready:
                        raise _NoEntryError from None
                    raise UserError(
                        f"the board on {self.port} did not answer in {self._timeout:g} s: press its reset button, "
                        "try again"
                    ) from None
                if not piece:
                    break
                if ready:
                    follow(piece.strip())
                    output += piece
                elif piece.strip() == _READY:
                    ready = True
                else:
                    before += piece
            status = process.wait()
        if status != 0 and not ready and any(sign in before for sign in _NO_ENTRY):
            raise _NoEntryError
        if status != 0:
            raise UserError(f"{self.port}: {_complaint(self.port, output if ready else before)}")
        return output


def _complaint(port: str, output: str) -> str:
    """What a failed mpremote's `output` means, and what to do."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if "failed to access" in last:
        return opening_error(port) or last
    broke = ("SerialException", "termios.error", "device disconnected", "OSError: [Errno 5]", "BrokenPipeError")
    if not last or any(sign in output for sign in broke):
        return "the connection broke: plug the board in again, and run the same command again; it goes on from there"
    return last


def _diagnosis(text: str) -> str:
    """What may be the matter with a board that lets nobody in, by the `text` that it sends, and what to do."""
    restarts = len(re.findall(r"MPY: soft reboot|\brst:0x|^ets ", text, re.MULTILINE))
    if "invalid header" in text or "waiting for download" in text or "No bootable" in text:
        return "there is no MicroPython on it: write it first, with --image FILE"
    if restarts > 1:
        return (
            "it restarts again and again, too quickly to be stopped: write MicroPython anew, with --image FILE and "
            "--erase"
        )
    if ">>>" in text:
        return "it answers only now: run the same command again"
    if text.strip():
        return (
            "it does not stop what it runs on Ctrl-C: press its reset button and run the same command at once; or "
            "write MicroPython anew, with --image FILE and --erase"
        )
    return (
        "nothing answers there: press the board's reset button, try again; if it is no MicroPython that it runs, write "
        "that first, with --image FILE"
    )


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
