"""What every test keeps: no thread, process, descriptor or socket of ours is left behind it."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otalink_host.micropython import find_micropython

FIRMWARE = Path(__file__).parents[1] / "firmware"
LINUX = sys.platform == "linux"


def _descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the descriptor that lists them
            continue
        if not target.startswith(("/dev/null", "anon_inode:[eventpoll]:pytest")):
            found[number] = target
    return found


def _children() -> set[str]:
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found |= set(Path(f"/proc/self/task/{task}/children").read_text().split())
        except FileNotFoundError:
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fails the test that leaves a thread, a process or a descriptor (a socket is one)."""
    threads = set(threading.enumerate())
    children, descriptors = (_children(), _descriptors()) if LINUX else (set(), {})
    yield
    deadline = time.monotonic() + 5
    while True:
        left = [f"thread {thread.name}" for thread in set(threading.enumerate()) - threads]
        if LINUX:
            left += [f"process {number}" for number in _children() - children]
            left += [
                f"descriptor {number}: {target}"
                for number, target in _descriptors().items()
                if descriptors.get(number) != target
            ]
        if not left:
            return
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + ", ".join(left))
        gc.collect()
        time.sleep(0.02)


@pytest.fixture(scope="session")
def micropython() -> Path:
    """The MicroPython that board code is tested on. There is no test without it: not finding it is an error."""
    return find_micropython()


class Result:
    """What a run on MicroPython printed, and how it ended."""

    def __init__(self, completed: "subprocess.CompletedProcess[str]") -> None:
        self.output = completed.stdout
        self.returncode = completed.returncode

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


class BoardRunner:
    """Runs board code on MicroPython, with otalink importable, in a folder of its own."""

    def __init__(self, micropython: Path, folder: Path) -> None:
        self.micropython = micropython
        self.folder = folder

    def __call__(self, code: str, *arguments: str, heap: str = "512k", timeout: float = 60) -> Result:
        """Runs `code`; it must reach its end, or the test fails with what it printed."""
        script = self.folder / "script.py"
        script.write_text(f"import sys\nsys.path.insert(0, {str(FIRMWARE)!r})\n{code}\nprint('END')\n")
        completed = subprocess.run(
            [self.micropython, "-X", f"heapsize={heap}", script, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        # The exit status alone proves nothing: MicroPython gives 0 for a script that it never ran.
        assert completed.returncode == 0, completed.stdout
        assert completed.stdout.endswith("END\n"), completed.stdout
        result = Result(completed)
        result.output = result.output[: -len("END\n")]
        return result


@pytest.fixture
def on_board(micropython: Path, tmp_path: Path) -> BoardRunner:
    return BoardRunner(micropython, tmp_path)
