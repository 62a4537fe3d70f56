"""The processes that serve the benchmarks. They end when this one does, however it ends: their input ends then."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 20


class Child:
    """A module of this package that runs in a process of its own; `port` is where it listens."""

    def __init__(self, module: str, *arguments: object) -> None:
        # In a session of its own: a Ctrl-C reaches this process alone, which then ends the others.
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.{module}", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self.port = int(self._read())
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self) -> Any:
        """What the child has to report since it was last asked."""
        _stream(self._process.stdin).write("report\n")
        _stream(self._process.stdin).flush()
        return json.loads(self._read())

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):
            _stream(self._process.stdin).close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _stream(self._process.stdout).close()

    def _read(self) -> str:
        timer = threading.Timer(START_TIMEOUT, self._process.kill)
        timer.start()
        try:
            line = _stream(self._process.stdout).readline()
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError("a server of the benchmarks did not start, or ended")
        return line


@contextlib.contextmanager
def child(module: str, *arguments: object) -> Iterator[Child]:
    """Runs a module of this package in a process of its own, for as long as the block lasts."""
    running = Child(module, *arguments)
    try:
        yield running
    finally:
        running.close()


def end_with_parent(report: Any = None) -> None:
    """In a child: ends the process with its input. `report()` answers each line that comes before."""

    def watch() -> None:
        for _ in sys.stdin:
            if report is not None:
                print(json.dumps(report()), flush=True)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
