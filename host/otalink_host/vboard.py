"""The virtual board: MicroPython's Unix port behind a pseudo-terminal, with littlefs in a file as its flash.

It takes an unmodified `mpremote connect PTY`, resets softly and hard, and may be killed at any moment. It is
the rig of the end-to-end tests and knows nothing of otalink: whatever runs on it comes from its flash. Linux
only (it needs /proc, epoll and pidfd); elsewhere the module imports, and starting a board raises UserError.
"""

import codecs
import ctypes
import io
import json
import os
import queue
import re
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from types import TracebackType

from otalink_host.errors import UserError
from otalink_host.micropython import find_micropython

if sys.platform == "linux":
    import fcntl
    import tty

BLOCK_SIZE = 4096  # an ESP32's erase block
DEFAULT_HEAP = "128k"  # stands for an ESP32's: pointers are twice as wide here
DEFAULT_SIZE = 2 * 1024 * 1024
MAX_SIZE = 256 * 1024 * 1024  # more than any board has

PWRON_RESET, HARD_RESET, WDT_RESET, SOFT_RESET = 1, 2, 3, 5  # `machine.reset_cause()` of the ESP32 port

BOOT_SCRIPT = Path(__file__).with_name("vboard_boot.py")
LOOK_SCRIPT = Path(__file__).with_name("vboard_look.py")
CTRL_C = b"\x03"
RAW_REPL = b"\x01"
QUEUE_LIMIT = 64 * 1024  # bytes that wait for the board, or for the client, before the other end has to wait
OUTPUT_LIMIT = 1024 * 1024  # characters of console text that are kept
CLIENT_PATIENCE = 1.0  # seconds for which a client that does not read holds the board up, as on USB
INTERRUPT_PATIENCE = 0.1  # seconds to wait for a moment at which a Ctrl-C breaks nothing
START_TIMEOUT = 30.0
LOCK_TIMEOUT = 5.0  # seconds in which a board whose supervisor was killed must have died, too


class MpremoteError(Exception):
    """mpremote failed or did not end in time; the text holds its output and the end of the board's console."""


class _Output:
    """The console's text so far, bounded, for whoever waits for something in it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decode, translate=True)
        self._pieces: list[str] = []
        self._length = 0
        self._dropped = 0

    def add(self, data: bytes) -> None:
        with self._changed:
            piece = self._decoder.decode(data)
            self._pieces.append(piece)
            self._length += len(piece)
            if self._length > OUTPUT_LIMIT + OUTPUT_LIMIT // 4:
                self._pieces = [self.text()[-OUTPUT_LIMIT:]]
                self._dropped += self._length - OUTPUT_LIMIT
                self._length = OUTPUT_LIMIT
            self._changed.notify_all()

    def text(self) -> str:
        with self._changed:
            self._pieces = ["".join(self._pieces)]
            return self._pieces[0]

    def end(self) -> int:
        with self._changed:
            return self._dropped + self._length

    def wait_for(self, pattern: "re.Pattern[str]", since: int, timeout: float) -> "re.Match[str] | None":
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                match = pattern.search(self.text(), max(0, since - self._dropped))
                left = deadline - time.monotonic()
                if match or left <= 0:
                    return match
                self._changed.wait(left)


class _LineEnds:
    """Ends lines as a board does, with CR LF: the Unix port leaves that to a terminal.

    The messages of `mpremote mount` are binary, begin with 0x18 and pass as they are.
    """

    # What follows each message's number: b a byte, i four bytes, s a length of four bytes and as much again.
    LAYOUTS = {1: "s", 2: "s", 3: "", 4: "ss", 5: "b", 6: "bi", 7: "b", 8: "bs", 9: "bib", 10: "s"}
    LAYOUTS |= {11: "ss", 12: "s", 13: "s"}

    def __init__(self) -> None:
        self._message = bytearray()
        self._after_cr = False

    def convert(self, data: bytes) -> bytes:
        result = bytearray()
        position = 0
        while position < len(data):
            if self._message:
                self._message.append(data[position])
                result.append(data[position])
                position += 1
                if self._complete():
                    self._message.clear()
                continue
            end = data.find(b"\x18", position)
            end = len(data) if end < 0 else end
            result += self._convert_text(data[position:end])
            if end < len(data):
                self._message.append(0x18)
                result.append(0x18)
                end += 1
            position = end
        return bytes(result)

    def _convert_text(self, text: bytes) -> bytes:
        if not text:
            return text
        if self._after_cr:  # the LF may have come in the next read
            text = b"\r" + text
        converted = re.sub(rb"(?<!\r)\n", b"\r\n", text)
        if self._after_cr:
            converted = converted[1:]
        self._after_cr = text.endswith(b"\r")
        return converted

    def _complete(self) -> bool:
        message = self._message
        position = 2
        for kind in self.LAYOUTS.get(message[1], ""):
            if kind == "s":
                if len(message) < position + 4:
                    return False
                position += int.from_bytes(message[position : position + 4], "little")
            position += 1 if kind == "b" else 4
        return len(message) >= position


class _Process:
    """One run of MicroPython, from a reset to the next. Belongs to the supervisor's thread."""

    def __init__(self, command: list[str], arguments: list[str], flash: int, lock: int, directory: Path) -> None:
        """Starts COMMAND with the boot script, the descriptors that it needs, and ARGUMENTS behind them."""
        self.flash = flash
        self.ready = False
        self.request: str | None = None  # the reset that the board asked for
        self._unread, self.stdin = os.pipe2(os.O_CLOEXEC)
        self.stdout, stdout = os.pipe2(os.O_CLOEXEC)
        self.control, control = os.pipe2(os.O_CLOEXEC)
        life, self._life = os.pipe2(os.O_CLOEXEC)
        for descriptor in (self.stdin, self.stdout, self.control):
            os.set_blocking(descriptor, False)
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        blocks = os.fstat(flash).st_size // BLOCK_SIZE
        try:
            self._process = subprocess.Popen(
                [*command, str(BOOT_SCRIPT), str(flash), str(blocks), str(control), *arguments],
                stdin=self._unread,
                stdout=stdout,
                stderr=stdout,
                pass_fds=(flash, lock, control, life),
                cwd=directory,
                env=environment,
                start_new_session=True,  # a Ctrl-C in our terminal is not the board's
            )
        except OSError:
            for descriptor in (self._unread, self.stdin, self.stdout, self.control, self._life):
                os.close(descriptor)
            raise
        else:
            # The kernel kills the board when the last writing end of this pipe goes, that is when we die,
            # however we die. (PR_SET_PDEATHSIG would need code between fork and exec.)
            fcntl.fcntl(life, fcntl.F_SETOWN, self._process.pid)
            fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
            self.pidfd = os.pidfd_open(self._process.pid)
        finally:
            for descriptor in (stdout, control, life):
                os.close(descriptor)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> tuple[int, bytes]:
        """The exit status, negative for a signal, and the input that was not read. Closes everything."""
        status = self._process.wait()
        os.set_blocking(self._unread, False)
        unread = _read(self._unread)
        for descriptor in (self._unread, self.stdin, self.stdout, self.control, self._life, self.pidfd):
            os.close(descriptor)
        return status, unread

    def catches_interrupts(self) -> bool:
        """Whether Ctrl-C is to be a signal: MicroPython catches SIGINT while it runs a program.

        The REPL and `micropython.kbd_intr(-1)` leave it to the default action, and want the byte.
        """
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        caught = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGINT - 1)

    def interrupt(self, at_any_moment: bool) -> bool:
        """Sends SIGINT to a program that catches it. False: not now, for it is not waiting for anything.

        MicroPython raises KeyboardInterrupt right out of the signal handler, wherever it is, so that in the
        middle of littlefs or of the heap it would leave ruins: a moment in a system call is a safe one.
        The process is stopped meanwhile: a SIGINT that came after the program's end would end the board.
        """
        self._process.send_signal(signal.SIGSTOP)
        if self._process.returncode is not None:
            return True  # it had ended, and send_signal was the first to see it
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            if not self.catches_interrupts():
                return True
            if not at_any_moment and not self._waits():
                return False
            _signal_main_thread(self.pid, signal.SIGINT)
            return True
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _waits(self) -> bool:
        try:
            fields = Path(f"/proc/{self.pid}/syscall").read_text().split()
        except OSError:
            return True  # not ours to see
        return fields[0].isdigit() and int(fields[1], 16) != self.flash


class VirtualBoard:
    """A board in DIRECTORY, which holds its flash and its identity from one run to the next.

    `start` is power on, `kill` is a power cut, `stop` takes everything down; as a context manager it starts
    and stops. The pseudo-terminal lives from `start` to `stop`, over resets and kills. Not for use by
    several threads at once.
    """

    def __init__(
        self,
        directory: Path,
        *,
        heap: str = DEFAULT_HEAP,
        size: int = DEFAULT_SIZE,
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        """HEAP limits MicroPython's heap, in bytes or with k or m behind; SIZE is the flash's, in bytes.

        ECHO is called from another thread with all that the board writes to its console.
        """
        if not re.fullmatch(r"\d+[kKmM]?", heap):
            raise UserError(f"{heap} is no heap size: give bytes, or a number with k or m behind, as in 128k")
        if size % BLOCK_SIZE or not 8 * BLOCK_SIZE <= size <= MAX_SIZE:
            raise UserError(
                f"{size} is no flash size: give a multiple of {BLOCK_SIZE} from {8 * BLOCK_SIZE} to {MAX_SIZE}, "
                "as in 2m"
            )
        self.directory = directory
        self.heap = heap
        self.size = size
        self.soft_resets = 0
        self.hard_resets = 0
        self._echo = echo
        self._output = _Output()
        self._supervisor: _Supervisor | None = None

    @property
    def flash(self) -> Path:
        """The file that is the flash. Change it only while the board is off."""
        return self.directory / "flash.bin"

    def files(self) -> dict[str, str]:
        """What lies on the flash: the SHA-256 of each file, by its path. Only while the board is off."""
        return self._look()

    def names(self) -> set[str]:
        """The paths of the files on the flash. Only while the board is off."""
        return set(self._look("names"))

    def _look(self, *arguments: str) -> dict[str, str]:
        if self.pid is not None:
            raise RuntimeError("the virtual board is on")
        command = [str(find_micropython()), str(LOOK_SCRIPT), str(self.flash), str(BLOCK_SIZE), *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
        found: dict[str, str] = json.loads(done.stdout)
        return found

    @property
    def pty(self) -> str:
        """What mpremote connects to."""
        return self._running().pty

    @property
    def tty(self) -> str:
        """The same under a name that no other board gets, and that is there only while the pseudo-terminal is."""
        return str(self._running().tty)

    @property
    def pid(self) -> int | None:
        """The board's process, or None while it is off; a reset starts another."""
        process = self._supervisor.process if self._supervisor else None
        return process.pid if process else None

    @property
    def output(self) -> str:
        """The console's text so far, its last million characters at least, with lines ending in LF."""
        return self._output.text()

    def mark(self) -> int:
        """The place where the console's text ends now, for `wait_for`'s SINCE."""
        return self._output.end()

    def wait_for(self, pattern: "str | re.Pattern[str]", timeout: float = 10.0, since: int = 0) -> "re.Match[str]":
        """Waits until PATTERN (plain text, or a compiled regular expression) is in the console's text.

        SINCE leaves out what came before that `mark`. Raises TimeoutError after TIMEOUT seconds.
        """
        compiled = re.compile(re.escape(pattern)) if isinstance(pattern, str) else pattern
        match = self._output.wait_for(compiled, since, timeout)
        if match is None:
            raise TimeoutError(f"no {pattern!r} on the console in {timeout} s; it ends: {self._tail()}")
        return match

    def start(self) -> None:
        """Powers the board on and returns when boot.py is about to run. Raises UserError if it cannot."""
        if sys.platform != "linux":
            raise UserError("the virtual board runs on Linux only: connect a board, or use a Linux machine")
        if self._supervisor is None:
            self._supervisor = _Supervisor(self, self._output, self._echo)
        elif self._supervisor.process:
            return
        try:
            self._supervisor.request("on")
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """Cuts the power: SIGKILL. The flash keeps what was written, and the pseudo-terminal stays."""
        self._running().request("off")

    def reset(self) -> None:
        """Pulls the reset line, and returns when boot.py is about to run."""
        self._running().request("reset")

    def stop(self) -> None:
        """Cuts the power and closes everything; no process, thread or descriptor stays. May be called twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            supervisor.end()

    def __enter__(self) -> "VirtualBoard":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def mpremote(self, *arguments: str, timeout: float = 60.0) -> str:
        """Runs `mpremote connect PTY ARGUMENTS` and returns what it printed. Raises MpremoteError.

        Note that it enters the raw REPL by a soft reset, which `resume` as the first argument leaves out.
        """
        command = [sys.executable, "-m", "mpremote", "connect", self.pty, *arguments]
        try:
            try:
                done = _run(command, timeout / 2)
            except subprocess.TimeoutExpired as error:
                if error.stdout:
                    raise
                # A Ctrl-C may be lost, as in the moment of a reset or in a finaliser: a user types it again.
                done = _run(command, timeout / 2)
        except subprocess.TimeoutExpired as error:
            said = error.stdout.decode("utf-8", "replace") if isinstance(error.stdout, bytes) else ""
            text = f"mpremote {' '.join(arguments)} did not end in {timeout} s, and said: {said}"
            raise MpremoteError(f"{text}\nThe console ends: {self._tail()}") from None
        if done.returncode:
            text = f"mpremote {' '.join(arguments)} ended with status {done.returncode}, and said: {done.stdout}"
            raise MpremoteError(f"{text}\nThe console ends: {self._tail()}")
        return done.stdout

    def _running(self) -> "_Supervisor":
        if self._supervisor is None:
            raise RuntimeError("the virtual board is not started")
        return self._supervisor

    def _tail(self) -> str:
        return repr(self.output[-1000:])


def _run(command: list[str], timeout: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        encoding="utf-8",
        errors="replace",
    )


class _Supervisor(threading.Thread):
    """The thread between the pseudo-terminal and the board's process, which it starts again at each reset."""

    def __init__(self, board: VirtualBoard, output: _Output, echo: Callable[[bytes], None] | None) -> None:
        super().__init__(name="virtual board", daemon=True)
        self._board = board
        self._output = output
        self._echo = echo
        self._command = [str(find_micropython()), "-X", f"heapsize={board.heap}"]
        self._home = board.directory / "empty"  # the board's working directory, should it ever see one
        self._home.mkdir(parents=True, exist_ok=True)
        self._unique_id = _identity(board.directory / "unique_id")
        self._lock = _lock(board.directory)
        self._flash = -1
        self._formats = False  # the flash is new, and this start formats it
        self.process: _Process | None = None
        self._raw = False  # the REPL's mode, which a soft reset keeps
        self._to_board = bytearray()
        self._to_client = bytearray()
        self._line_ends = _LineEnds()
        self._tail = b""
        self._interrupt_since: float | None = None
        self._stalled_since: float | None = None
        self._bite_at: float | None = None  # when the watchdog resets the board that has not fed it
        self._requests: queue.SimpleQueue[tuple[str, Future[None]]] = queue.SimpleQueue()
        self._starting: Future[None] | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # We keep no slave open: a master without one says so (POLLHUP), and what a board writes while
        # no one listens is lost, as on a wire, instead of filling the terminal's buffer.
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.pty = os.ttyname(slave)
        os.close(slave)
        self.tty = board.directory / "tty"
        self.tty.unlink(missing_ok=True)
        self.tty.symlink_to(self.pty)
        os.set_blocking(self._master, False)
        self._client = select.poll()
        self._client.register(self._master, 0)
        # Edge-triggered, because a master without a slave reports POLLHUP for ever.
        self._epoll = select.epoll()
        self._watch(self._master, select.EPOLLIN | select.EPOLLOUT)
        self._watch(self._wake_read, select.EPOLLIN)
        self.start()

    def request(self, what: str) -> None:
        """Has the thread do "on", "off", "reset" or "quit", and waits for it. Raises what went wrong."""
        done: Future[None] = Future()
        self._requests.put((what, done))
        os.write(self._wake_write, b"x")
        try:
            done.result(START_TIMEOUT)
        except FutureTimeoutError:
            raise UserError(
                f"the virtual board did not answer within {START_TIMEOUT} s: is the machine busy?"
            ) from None

    def run(self) -> None:
        try:
            while self._serve_requests():
                events = self._epoll.poll(self._patience())
                self._pump()
                if self._bite_at is not None and time.monotonic() >= self._bite_at and self.process:
                    self._bite_at = None
                    self.process.request = "watchdog"
                    self.process.kill()
                if self.process and any(descriptor == self.process.pidfd for descriptor, _ in events):
                    self._take_end(self.process)
        finally:
            self._cut_power()
            self._epoll.close()
            for descriptor in (self._master, self._lock):
                os.close(descriptor)

    def end(self) -> None:
        """Ends the thread, and closes what is left."""
        self.tty.unlink(missing_ok=True)  # while the directory is ours: another board's name may stand there
        self.request("quit")
        self.join()
        # Not by the thread: it may have done what is asked before `request` wakes it.
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _watch(self, descriptor: int, events: int) -> None:
        self._epoll.register(descriptor, events | select.EPOLLET)

    def _patience(self) -> float | None:
        if self._interrupt_since is not None:
            return 0.002
        patience = 0.1 if self._stalled_since is not None else None
        if self._bite_at is not None:
            left = max(0.0, self._bite_at - time.monotonic())
            patience = left if patience is None else min(left, patience)
        return patience

    # What the API asks for

    def _serve_requests(self) -> bool:
        """Does what is asked for; False after "quit"."""
        _read(self._wake_read)
        while True:
            try:
                what, done = self._requests.get_nowait()
            except queue.Empty:
                return True
            try:
                if what == "quit":
                    self._cut_power()
                    done.set_result(None)
                    return False
                if what == "off":
                    self._cut_power()
                    done.set_result(None)
                elif what == "on":
                    self._starting = done
                    self._open_flash()
                    self._power_up(PWRON_RESET)
                elif self.process is None:
                    raise RuntimeError("the virtual board is off")
                else:
                    self._starting = done
                    self._kill()
                    self._reset_hard()
            except Exception as error:
                self._starting = None
                done.set_exception(error)

    def _open_flash(self) -> None:
        """Opens the flash's image. One that is new gets its name only when the board has formatted it."""
        path, new = self._board.flash, self._new_flash
        if not path.exists():
            path = new
            # It takes the host's disk only where something is written. littlefs erases each block before that.
            with path.open("wb") as image:
                image.truncate(self._board.size)
        size = path.stat().st_size
        if size != self._board.size:
            raise UserError(f"{path} has {size} bytes, not {self._board.size}: give its size, or remove it")
        self._formats = path == new
        self._flash = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @property
    def _new_flash(self) -> Path:
        return self._board.directory / "flash.new"

    def _cut_power(self) -> None:
        if self.process:
            self._kill()
        self._bite_at = None
        self._to_board.clear()
        if self._flash >= 0:
            os.close(self._flash)
            self._flash = -1

    # Resets

    def _power_up(self, cause: int) -> None:
        arguments = [str(cause), self._unique_id, *(["format"] if self._formats else []), "boot.py"]
        if self._raw:
            # As on a board: a soft reset in the raw REPL stays in it and runs no main.py.
            self._to_board[:0] = RAW_REPL
        else:
            arguments.append("main.py")
        try:
            process = _Process(self._command, arguments, self._flash, self._lock, self._home)
        except OSError as error:
            raise UserError(f"{self._command[0]} does not start: {error}") from None
        self._tail = b""
        self.process = process
        self._watch(process.stdin, select.EPOLLOUT)
        for descriptor in (process.stdout, process.control, process.pidfd):
            self._watch(descriptor, select.EPOLLIN)

    def _reset_hard(self, cause: int = HARD_RESET) -> None:
        self._board.hard_resets += 1
        self._raw = False
        self._bite_at = None
        self._to_board.clear()
        self._power_up(cause)

    def _reset_soft(self) -> None:
        self._board.soft_resets += 1
        self._put(b"MPY: soft reboot\r\n")
        self._power_up(SOFT_RESET)

    def _kill(self) -> None:
        assert self.process
        self.process.kill()
        self._bury(self.process)
        self._raw = False

    def _bury(self, process: _Process) -> tuple[int, bytes]:
        """Takes what a dead process left: its last output, its exit status, the input that it did not read."""
        while data := _read(process.stdout):
            self._put(data)
        status, unread = process.wait()
        self.process = None
        self._interrupt_since = None
        self._line_ends = _LineEnds()
        return status, unread

    def _take_end(self, process: _Process) -> None:
        self._take_control()
        status, unread = self._bury(process)
        if not process.ready:
            reason = f"the board's MicroPython ended with status {status} before boot.py: {self._tail!r}"
            self._put(f"vboard: {reason}\r\n".encode())
            self._cut_power()
            if self._starting:
                self._starting.set_exception(UserError(f"{reason}; is the heap of {self._board.heap} enough?"))
                self._starting = None
            return
        try:
            if process.request in ("hard", "watchdog"):
                self._reset_hard(HARD_RESET if process.request == "hard" else WDT_RESET)
            elif status < 0 and process.request is None:
                self._put(f"vboard: MicroPython was ended by signal {-status}\r\n".encode())
                self._reset_hard()
            else:
                self._to_board[:0] = unread
                if process.request is None:
                    # The raw REPL's answers to Ctrl-D and to a SystemExit, which the other REPL never gives.
                    self._raw = self._tail.endswith((b"OK\r\n", b"\x04\x04"))
                self._reset_soft()
        except UserError as error:
            self._put(f"vboard: the board is off: {error}\r\n".encode())
            self._cut_power()

    # Bytes

    def _pump(self) -> None:
        """Moves all that can be moved without waiting."""
        while any(
            [self._take_input(), self._feed_board(), self._take_control(), self._take_output(), self._feed_client()]
        ):
            pass

    def _take_input(self) -> bool:
        if len(self._to_board) >= QUEUE_LIMIT:
            return False
        data = _read(self._master)
        if self.process:
            self._to_board += data
        return bool(data)

    def _feed_board(self) -> bool:
        # What comes while the board boots waits: a Ctrl-C that a starting interpreter swallows would
        # leave mpremote waiting behind a main.py that never ends.
        process = self.process
        if not self._to_board or not process or not process.ready:
            return False
        if self._interrupt_since is not None or (self._to_board[:1] == CTRL_C and process.catches_interrupts()):
            return self._interrupt(process)
        end = self._to_board.find(CTRL_C, 1)
        written = _write(process.stdin, self._to_board[: end if end > 0 else None])
        del self._to_board[:written]
        return written > 0

    def _interrupt(self, process: _Process) -> bool:
        now = time.monotonic()
        if self._interrupt_since is None:
            self._interrupt_since = now
        if not process.interrupt(at_any_moment=now > self._interrupt_since + INTERRUPT_PATIENCE):
            return False
        self._interrupt_since = None
        del self._to_board[:1]
        return True

    def _take_control(self) -> bool:
        process = self.process
        lines = _read(process.control).split() if process else []
        for line in lines:
            assert process
            if line == b"ready":
                process.ready = True
                if self._formats:
                    self._new_flash.rename(self._board.flash)
                    self._formats = False
                if self._starting:
                    self._starting.set_result(None)
                    self._starting = None
            elif line.startswith(b"wdt"):
                # It starts, or is fed. Nothing but a hard reset stops it: it goes on over a soft one.
                self._bite_at = time.monotonic() + int(line[3:]) / 1000
            else:
                process.request = line.decode()
                process.kill()
        return bool(lines)

    def _take_output(self) -> bool:
        if not self.process or len(self._to_client) >= QUEUE_LIMIT:
            return False
        data = _read(self.process.stdout)
        self._put(data)
        return bool(data)

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._tail = (self._tail + data)[-400:]
        self._output.add(data)
        if self._echo:
            self._echo(data)
        self._to_client += self._line_ends.convert(data)

    def _feed_client(self) -> bool:
        if self._client.poll(0):  # no one is connected
            self._to_client.clear()
        if not self._to_client:
            self._stalled_since = None
            return False
        written = _write(self._master, self._to_client)
        del self._to_client[:written]
        if written:
            self._stalled_since = None
            return True
        now = time.monotonic()
        if self._stalled_since is None:
            self._stalled_since = now
        if now > self._stalled_since + CLIENT_PATIENCE:
            self._to_client.clear()
            return True
        return False


def _signal_main_thread(pid: int, number: int) -> None:
    """Sends a signal to a process's first thread: the Ctrl-C of a program must not end up in that of a timer."""
    if ctypes.CDLL(None, use_errno=True).tgkill(pid, pid, number):
        raise OSError(ctypes.get_errno(), "tgkill")


def _read(descriptor: int) -> bytes:
    """What there is to read; nothing at the end, too, and from a pseudo-terminal without a client."""
    try:
        return os.read(descriptor, QUEUE_LIMIT)
    except OSError:
        return b""


def _write(descriptor: int, data: bytearray) -> int:
    """Writes as much as goes, and returns how much."""
    try:
        return os.write(descriptor, data)
    except OSError:
        return 0


def _identity(path: Path) -> str:
    """The board's unique id in hexadecimal digits, six bytes as in a MAC address; made on the first start."""
    if not path.exists():
        new = path.with_suffix(".new")
        new.write_text(secrets.token_hex(6))
        new.rename(path)
    return path.read_text()


def _lock(directory: Path) -> int:
    """A descriptor that keeps every other board out of DIRECTORY. The board's process inherits it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise UserError(f"a virtual board already runs in {directory}: stop it, or name another") from None
            time.sleep(0.02)


def run_vboard(directory: Path, *, heap: str = DEFAULT_HEAP, size: int = DEFAULT_SIZE, echo: bool = False) -> None:
    """Runs a board in the foreground until Ctrl-C or SIGTERM: `otalink vboard`. Main thread only.

    ECHO prints the board's console, too.
    """
    ended = threading.Event()
    # What the board prints before it has been announced comes after that.
    early: list[bytes] = []
    announced = threading.Event()
    lock = threading.Lock()

    def show(data: bytes) -> None:
        with lock:
            if not announced.is_set():
                early.append(data)
                return
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    handlers = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with VirtualBoard(directory, heap=heap, size=size, echo=show if echo else None) as board:
            print(f"A virtual board runs in {directory} with {heap} of heap and {size // 1024} KiB of flash.")
            print(f"Connect to it with: mpremote connect {board.tty}")
            print("It ends with Ctrl-C, and keeps its flash.", flush=True)
            with lock:
                sys.stdout.buffer.write(b"".join(early))
                sys.stdout.buffer.flush()
                announced.set()
            ended.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
