"""Runs another program and follows what it prints."""

import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def running(command: list[str]) -> "Iterator[tuple[subprocess.Popen[str], queue.SimpleQueue[str]]]":
    """Runs `command`, whose output comes in the queue as lines, an empty one last. It does not outlive the block."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        # Text without colours is what is read here, whatever a terminal is to get.
        env={**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", "FORCE_COLOR": "", "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    pieces: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A pipe can be waited for with a timeout on every system only so.
    reader = threading.Thread(target=_read, args=(process.stdout, pieces), daemon=True)
    reader.start()
    try:
        yield process, pieces
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _read(stream: IO[str], pieces: "queue.SimpleQueue[str]") -> None:
    # Line ends are translated, so that "\r" ends a line, too.
    for line in stream:
        pieces.put(line)
    pieces.put("")
