"""What the virtual board promises to the end-to-end tests: it is a board, as far as mpremote can tell."""

import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otalink_host.errors import UserError
from otalink_host.micropython import find_micropython
from otalink_host.vboard import MAX_SIZE, MpremoteError, VirtualBoard

TICKING = """\
import asyncio
async def main():
    n = 0
    while True:
        n += 1
        print("tick", n)
        await asyncio.sleep_ms(20)
asyncio.run(main())
"""


def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def put(board: VirtualBoard, name: str, text: str) -> None:
    board.mpremote("resume", "exec", f"f = open({name!r}, 'w'); f.write({text!r}); f.close()")


def restart(board: VirtualBoard) -> int:
    """A hard reset; returns where the console's text of the new run begins."""
    mark = board.mark()
    board.reset()
    return mark


# What mpremote does


def test_mpremote_executes_code(board: VirtualBoard) -> None:
    assert board.mpremote("exec", "print('hello', 6 * 7)") == "hello 42\n"
    with pytest.raises(MpremoteError, match="ZeroDivisionError"):
        board.mpremote("exec", "1 / 0")


def test_mpremote_runs_a_file(board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("x = 0\n" + "x += 1\n" * 1000 + "print(x)\n")
    assert board.mpremote("run", str(tmp_path / "long.py")) == "1000\n"


def test_mpremote_copies_lists_and_hashes_files(board: VirtualBoard, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "lib" / "deep").mkdir(parents=True)
    content = random.Random(1).randbytes(30_000)
    (source / "lib" / "deep" / "data.bin").write_bytes(content)
    (source / "main.txt").write_text("hello\n")
    board.mpremote("fs", "cp", "-r", f"{source}/", ":")
    assert re.search(r"6 main\.txt", board.mpremote("fs", "ls", ":tree"))
    hashed = board.mpremote("fs", "sha256sum", ":tree/lib/deep/data.bin")
    assert hashlib.sha256(content).hexdigest() in hashed
    board.mpremote("fs", "cp", ":tree/lib/deep/data.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == content


def test_mpremote_mounts_a_directory_of_the_host(board: VirtualBoard, tmp_path: Path) -> None:
    every_byte = bytes(range(256)) * 8  # Ctrl-C, line feeds and the protocol's own 0x18 among them
    (tmp_path / "app.py").write_text("print('from the host')\n")
    (tmp_path / "in.bin").write_bytes(every_byte)
    code = (
        "import app; d = open('in.bin', 'rb').read(); f = open('out.bin', 'wb'); f.write(d); f.close(); print(len(d))"
    )
    said = board.mpremote("mount", str(tmp_path), "exec", code)
    # mpremote says so too; whether before or after it is a matter of buffers.
    assert "from the host\n2048\n" in said
    assert (tmp_path / "out.bin").read_bytes() == every_byte


def test_mpremote_installs_a_package(board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(json.dumps({"urls": [["greet.py", "greet.py"]], "version": "1"}))
    (tmp_path / "greet.py").write_text("print('installed')\n")
    with web_server(tmp_path) as address:
        board.mpremote("mip", "install", "--no-mpy", f"{address}/package.json")
    assert board.mpremote("exec", "import greet; print(greet.__file__)") == "installed\n/lib/greet.py\n"


@contextlib.contextmanager
def web_server(directory: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_mpremote_repl_is_interactive_and_ends_lines_for_a_raw_terminal(board: VirtualBoard) -> None:
    master, slave = os.openpty()
    command = [sys.executable, "-m", "mpremote", "connect", board.pty, "repl"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as repl:
        os.close(slave)
        seen = b""

        def see(text: bytes) -> None:
            nonlocal seen
            while text not in seen:
                assert select.select([master], [], [], 10)[0], seen
                seen += os.read(master, 1000)

        see(b"Use Ctrl-] or Ctrl-x to exit")
        os.write(master, b"print('a\\nb')\r")
        see(b"\r\na\r\nb\r\n>>> ")
        os.write(master, b"while True: pass\r\r\r")
        time.sleep(0.1)
        os.write(master, b"\x03")
        see(b"KeyboardInterrupt")
        os.write(master, b"\x04")
        see(b"MPY: soft reboot\r\n")
        os.write(master, b"\x1d")
        assert repl.wait(10) == 0
    os.close(master)


# Resets


def test_resets_are_counted_apart_and_the_board_knows_their_cause(board: VirtualBoard) -> None:
    put(board, "boot.py", "import machine; print('cause', machine.reset_cause())\n")
    assert (board.soft_resets, board.hard_resets) == (0, 0)
    mark = board.mark()
    board.mpremote("soft-reset")
    board.wait_for("cause 5", since=mark)  # SOFT_RESET
    assert (board.soft_resets, board.hard_resets) == (1, 0)
    mark = board.mark()
    board.mpremote("resume", "reset")
    board.wait_for("cause 2", since=mark)  # HARD_RESET
    assert (board.soft_resets, board.hard_resets) == (1, 1)
    mark = board.mark()
    board.kill()
    board.start()
    board.wait_for("cause 1", since=mark)  # PWRON_RESET
    assert (board.soft_resets, board.hard_resets) == (1, 1)


def test_boot_and_main_run_after_a_hard_reset_and_only_boot_before_a_raw_repl(board: VirtualBoard) -> None:
    put(board, "boot.py", "print('this is boot')\n")
    put(board, "main.py", "print('this is main')\n")
    mark = restart(board)
    board.wait_for(re.compile(r"this is boot\nthis is main\nMicroPython .*\n.*\n>>> "), since=mark)
    mark = board.mark()
    board.mpremote("exec", "print('done')")
    board.wait_for(re.compile(r"soft reboot\nthis is boot\n(?s:.*)done"), since=mark)
    assert "this is main" not in board.output[-(board.mark() - mark) :]


def test_a_soft_reset_by_the_program_runs_main_again(board: VirtualBoard) -> None:
    put(
        board,
        "main.py",
        "import machine\nif machine.reset_cause() != machine.SOFT_RESET: machine.soft_reset()\nprint('2nd')",
    )
    mark = restart(board)
    board.wait_for("MPY: soft reboot\n2nd\n", since=mark)
    assert board.soft_resets == 1


def test_a_hard_reset_leaves_no_say_to_the_program(board: VirtualBoard) -> None:
    code = "import machine\ntry:\n machine.reset()\nfinally:\n print('cleaned' + ' up')"
    mark = board.mark()
    board.mpremote("exec", "--no-follow", code)
    until(lambda: board.hard_resets == 1)
    board.wait_for(">>> ", since=mark)
    assert "cleaned up" not in board.output


def test_a_crash_of_main_prints_its_traceback_and_gives_the_repl(board: VirtualBoard) -> None:
    put(board, "main.py", "kept = 7\ndef broken():\n    1 / 0\nbroken()\n")
    mark = restart(board)
    expected = """\
Traceback (most recent call last):
  File "main.py", line 4, in <module>
  File "main.py", line 3, in broken
ZeroDivisionError: divide by zero
MicroPython """
    board.wait_for(expected, since=mark)
    assert board.mpremote("resume", "exec", "print(kept)") == "7\n"


def test_main_does_not_run_after_a_boot_that_failed(board: VirtualBoard) -> None:
    put(board, "boot.py", "raise ValueError('bad boot')\n")
    put(board, "main.py", "print('this is main')\n")
    mark = restart(board)
    board.wait_for(re.compile(r"ValueError: bad boot\nMicroPython "), since=mark)


def test_a_program_without_end_gives_way_to_mpremote_and_starts_again_at_the_reset(
    board: VirtualBoard, tmp_path: Path
) -> None:
    put(board, "main.py", TICKING)
    board.wait_for("tick 3", since=restart(board))
    (tmp_path / "file.txt").write_text("content")
    board.mpremote("fs", "cp", str(tmp_path / "file.txt"), ":")
    assert board.mpremote("resume", "fs", "cat", ":file.txt") == "content"
    mark = board.mark()
    board.mpremote("reset")
    board.wait_for("tick 3", since=mark)


def test_ctrl_c_at_once_after_a_reset_is_not_lost(board: VirtualBoard) -> None:
    put(board, "main.py", TICKING)
    for _ in range(3):
        board.kill()
        board.start()
        assert board.mpremote("exec", "print('through')") == "through\n"


@pytest.mark.parametrize("program", ["while True: pass", "import time\ntime.sleep(1000)", "input()"])
def test_ctrl_c_reaches_the_program_as_an_exception(board: VirtualBoard, program: str) -> None:
    body = "\n ".join(program.split("\n"))
    put(board, "main.py", f"try:\n print('running')\n {body}\nexcept KeyboardInterrupt:\n print('caught it')\n")
    mark = restart(board)
    board.wait_for("running", since=mark)
    with open(board.pty, "wb", buffering=0) as terminal:
        terminal.write(b"\x03")
        board.wait_for("caught it", since=mark)
    assert board.hard_resets == 1


# Flash and heap


def test_the_flash_is_kept_over_a_kill_and_by_another_object(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path) as board:
        board.mpremote("exec", "f = open('kept.txt', 'w'); f.write('kept'); f.close()")
        terminal = board.pty
        board.kill()
        assert board.pid is None
        board.start()
        assert board.pty == terminal
        assert board.mpremote("exec", "print(open('kept.txt').read())") == "kept\n"
        identity = board.mpremote("exec", "import machine; print(machine.unique_id())")
    with VirtualBoard(tmp_path) as board:
        assert board.mpremote("exec", "print(open('kept.txt').read())") == "kept\n"
        assert board.mpremote("exec", "import machine; print(machine.unique_id())") == identity


def test_a_large_flash_takes_the_disk_only_where_something_is_written(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path / "board", size=MAX_SIZE) as board:
        put(board, "a.txt", "a")
        found = board.flash.stat()
        assert found.st_size == MAX_SIZE
        assert found.st_blocks * 512 < 1 << 20
        board.reset()
        assert board.mpremote("fs", "cat", ":a.txt") == "a"


def test_what_was_not_closed_is_lost_with_the_power(board: VirtualBoard) -> None:
    board.mpremote("exec", "f = open('open.txt', 'w'); f.write('never closed')")
    board.kill()
    board.start()
    assert board.mpremote("exec", "print(repr(open('open.txt').read()))") == "''\n"


def test_a_flash_full_of_garbage_is_reported_on_the_console_and_left_alone(board: VirtualBoard) -> None:
    garbage = random.Random(2).randbytes(board.size)
    board.kill()
    board.flash.write_bytes(garbage)
    mark = board.mark()
    board.start()
    board.wait_for("vboard: the flash holds no file system that mounts: ", since=mark)
    assert board.mpremote("exec", "import os; print(os.listdir('/'))") == "[]\n"
    assert board.flash.read_bytes() == garbage


def test_a_kill_at_any_moment_of_a_copy_leaves_a_file_system_that_mounts(board: VirtualBoard, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    source.mkdir()
    chance = random.Random(3)
    for number in range(30):
        (source / f"{number}.bin").write_bytes(chance.randbytes(chance.randrange(9000)))
    command = [sys.executable, "-m", "mpremote", "connect", board.pty, "fs", "cp", "-rf", f"{source}/", ":"]
    board.mpremote("fs", "mkdir", ":tree")
    for _ in range(6):
        mark = board.mark()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as copying:
            board.wait_for(re.compile(r"soft reboot\n(?s:.*)raw REPL"), since=mark)
            time.sleep(chance.random() * 0.5)
            board.kill()
            copying.kill()
        board.start()
        board.mpremote("exec", "import os; [open('/tree/' + n, 'rb').read() for n in os.listdir('/tree')]")
        assert "no file system" not in board.output
    board.mpremote("fs", "cp", "-r", f"{source}/", ":")


def test_the_heap_is_limited(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path / "small", heap="48k") as small, VirtualBoard(tmp_path / "large", heap="1m") as large:
        code = "b = bytearray(60_000); print(len(b))"
        with pytest.raises(MpremoteError, match="MemoryError"):
            small.mpremote("exec", code)
        assert large.mpremote("exec", code) == "60000\n"
        assert 30_000 < int(small.mpremote("exec", "import gc; gc.collect(); print(gc.mem_free())")) < 48 * 1024


@pytest.mark.parametrize("heap", ["128kw", "128wk", "", "big", "-1"])
def test_a_heap_that_micropython_would_misread_is_refused(tmp_path: Path, heap: str) -> None:
    with pytest.raises(UserError, match="no heap size"):
        VirtualBoard(tmp_path, heap=heap)


def test_a_heap_too_small_to_boot_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MemoryError.*is the heap of 4k enough"):
        VirtualBoard(tmp_path, heap="4k").start()


# What the program sees


def test_the_program_sees_the_board_and_never_the_host(board: VirtualBoard) -> None:
    code = """\
import os, sys
print(os.listdir('/'), os.getcwd(), sys.path)
for path in '/proc', '/tmp', '/etc', '/bin':
    try:
        os.stat(path)
        print(path, 'is there')
    except OSError:
        pass
print(sorted(globals()))
"""
    assert board.mpremote("exec", code) == (
        "[] / ['', '.frozen', '/lib']\n['__file__', '__name__', 'os', 'path', 'sys']\n"
    )


def test_machine_is_the_built_in_one_and_a_boards(board: VirtualBoard) -> None:
    code = """\
import machine
from machine import mem32, Signal, PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET
print(PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET, len(machine.unique_id()), machine.freq() > 0)
"""
    assert board.mpremote("exec", code) == "1 2 3 4 5 6 True\n"


TIMERS = """\
import time
from machine import Timer

def fire(timer):
    fired.append(timer)

fired = []
once = Timer(mode=Timer.ONE_SHOT, period=50, callback=fire)
again = Timer(-1)
again.init(mode=Timer.PERIODIC, period=100, callback=fire)
start = time.ticks_ms()
while time.ticks_diff(time.ticks_ms(), start) < 570:
    pass
again.deinit()
count = len(fired)
time.sleep_ms(300)
print(fired.count(once), 3 <= fired.count(again) <= 5, len(fired) == count)
"""


def test_a_timer_calls_back_in_the_midst_of_a_program_that_never_waits(board: VirtualBoard) -> None:
    assert board.mpremote("exec", TIMERS) == "1 True True\n"


def test_ctrl_c_reaches_the_program_while_a_timer_runs(board: VirtualBoard) -> None:
    put(board, "main.py", "import machine\nmachine.Timer(period=60000)\nprint('hangs')\nwhile True:\n    pass\n")
    for _ in range(5):
        mark = board.mark()
        board.reset()
        board.wait_for("hangs", since=mark)
        assert board.mpremote("exec", "print('here')", timeout=10) == "here\n"


def test_a_timer_ends_a_program_that_hangs(board: VirtualBoard) -> None:
    put(board, "boot.py", "import machine; print('cause', machine.reset_cause())\n")
    program = "import machine\nmachine.Timer(period=200, callback=lambda t: machine.reset())\nwhile True:\n    pass\n"
    put(board, "main.py", program)
    mark = board.mark()
    board.reset()
    for _ in range(3):
        mark = board.wait_for("cause 2", since=mark).end()


def test_a_watchdog_that_is_fed_waits_and_one_that_is_not_resets_the_board(board: VirtualBoard) -> None:
    put(board, "boot.py", "import machine; print('cause', machine.reset_cause())\n")
    program = """\
import machine, time
dog = machine.WDT(timeout=400)
for _ in range(8):
    time.sleep_ms(100)
    dog.feed()
print("well fed")
while True:
    pass
"""
    put(board, "main.py", program)
    mark = board.mark()
    board.reset()
    mark = board.wait_for("well fed", since=mark).end()
    mark = board.wait_for("cause 3", since=mark).end()  # WDT_RESET
    assert board.hard_resets == 2
    # It stops with the board, and goes on over a soft reset. That comes while it is fed: a bite in the middle of what
    # mpremote says would leave mpremote waiting.
    mark = board.wait_for("well fed", since=mark).end()
    board.wait_for("cause 3", since=mark)
    mark = board.mark()
    board.mpremote("soft-reset")
    board.wait_for(re.compile("cause 5(?s:.*)cause 3"), since=mark)


def test_a_program_reaches_servers_on_loopback(board: VirtualBoard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        accepted = pool.submit(server.accept)
        address = server.getsockname()
        code = f"import socket; s = socket.socket(); s.connect(socket.getaddrinfo(*{address})[0][-1]); s.send(b'ping')"
        board.mpremote("exec", code)
        connection = accepted.result(10)[0]
        with connection:
            assert connection.recv(4) == b"ping"


# The supervisor


def test_output_that_no_one_reads_does_not_hold_the_board_up(board: VirtualBoard) -> None:
    put(board, "main.py", "for n in range(20_000): print('line', n)\n")
    board.wait_for("line 19999", since=restart(board))


def test_a_client_that_does_not_read_does_not_hold_the_board_up_for_long(board: VirtualBoard) -> None:
    put(board, "main.py", "for n in range(20_000): print('line', n)\n")
    with open(board.pty, "rb", buffering=0):
        board.wait_for("line 19999", since=restart(board))


def test_five_boards_at_once(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(5) as pool:
        boards = [stack.enter_context(VirtualBoard(tmp_path / str(number))) for number in range(5)]
        jobs = [pool.submit(board.mpremote, "exec", f"print({number})") for number, board in enumerate(boards)]
        assert [job.result() for job in jobs] == [f"{number}\n" for number in range(5)]


def test_one_directory_holds_one_board(board: VirtualBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otalink_host.vboard.LOCK_TIMEOUT", 0.1)
    with pytest.raises(UserError, match="already runs"):
        VirtualBoard(board.directory).start()


def test_a_board_that_crashes_is_reset(board: VirtualBoard) -> None:
    put(board, "boot.py", "print('this is boot')\n")
    mark = board.mark()
    assert board.pid
    os.kill(board.pid, signal.SIGSEGV)
    board.wait_for("vboard: MicroPython was ended by signal 11\nthis is boot", since=mark)
    assert board.hard_resets == 1


def test_the_environment_names_another_micropython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.write_text(f'#!/bin/sh\necho the other one\nexec {find_micropython()} "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv("MICROPYTHON", str(other))
    with VirtualBoard(tmp_path / "board") as board:
        assert board.output.startswith("the other one\n")
    # It was one when it was asked, and is gone when it is to start.
    other.write_text("#!/no/such/interpreter\n")
    with pytest.raises(UserError, match="does not start"):
        VirtualBoard(tmp_path / "board").start()


def test_the_board_dies_with_its_supervisor(tmp_path: Path) -> None:
    with VirtualBoard(tmp_path) as board:
        put(board, "main.py", "while True: pass\n")
    code = f"""\
from pathlib import Path
from otalink_host.vboard import VirtualBoard
board = VirtualBoard(Path({str(tmp_path)!r}))
board.start()
print(board.pid, flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout
        pid = int(supervisor.stdout.readline())
        assert runs(pid)
        supervisor.kill()
    until(lambda: not runs(pid))
    with VirtualBoard(tmp_path):
        pass


def runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_says_how_to_connect_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""\
from pathlib import Path
from otalink_host.vboard import run_vboard
run_vboard(Path({str(tmp_path / "board")!r}), heap="64k", size=65536, echo=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="latin-1") as foreground:
        assert foreground.stdout
        said = ""
        while "Ctrl-C, and" not in said:
            line = foreground.stdout.readline()
            assert line
            said += line
        found = re.search(r"mpremote connect (\S+)$", said, re.MULTILINE)
        assert found
        done = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", found[1], "exec", "print('e' + 'choed')"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout == "echoed\n"
        foreground.send_signal(number)
        rest = foreground.stdout.read()
        assert foreground.wait(10) == 0
    assert "echoed" in rest


def test_what_lies_on_the_flash_is_told_while_the_board_is_off(board: VirtualBoard) -> None:
    board.mpremote("exec", "import os; os.mkdir('/lib'); f = open('/lib/a.txt', 'w'); f.write('a'); f.close()")
    with pytest.raises(RuntimeError, match="the virtual board is on"):
        board.files()
    board.kill()
    before = board.flash.read_bytes()
    assert board.files()["/lib/a.txt"] == hashlib.sha256(b"a").hexdigest()
    assert board.names() == set(board.files())
    assert board.flash.read_bytes() == before
