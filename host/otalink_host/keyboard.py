"""What is typed or piped into a command that does something else meanwhile: its standard input, line by line.

A thread reads it, as no event loop can on every system. It uses the descriptor itself: a thread that is caught in
Python's own buffered input could not be left behind at the end.
"""

import asyncio
import codecs
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

_LINE_MAX = 1 << 20
# The arrows and their like, as terminals send them (ECMA-48): each in one piece.
_SPECIAL_KEYS = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?")


class Keyboard:
    """Hands each line to `on_line`, one after the other: the next is read when it is done with that one. `on_end` is
    called at the end of the input. `typed` is what stands in the unfinished line, where `read_keys` is in use.
    """

    def __init__(self, on_line: Callable[[str], Coroutine[Any, Any, None]], on_end: Callable[[], None]) -> None:
        self.typed = ""
        self._on_line = on_line
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()

    def read_lines(self) -> None:
        """Reads whole lines, from a pipe or from a terminal that edits them by itself."""
        if is_in_background():
            return
        threading.Thread(target=self._lines, name="otalink keyboard", daemon=True).start()

    @contextlib.contextmanager
    def read_keys(self) -> Iterator[None]:
        """Reads key by key from a terminal, which shows nothing of it: that is left to who looks at `typed`."""
        if os.name == "nt":
            threading.Thread(target=self._windows_keys, name="otalink keyboard", daemon=True).start()
            yield
            return
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            threading.Thread(target=self._keys, name="otalink keyboard", daemon=True).start()
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def _lines(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        for data in _pieces():
            *lines, rest = (rest + decoder.decode(data)).split("\n")
            for line in lines:
                if not self._hand_over(line.removesuffix("\r")):
                    return
            if len(rest) > _LINE_MAX:
                # No frame could carry it: it is refused as it stands.
                if not self._hand_over(rest):
                    return
                rest = ""
        if rest and not self._hand_over(rest):
            return
        self._end()

    def _keys(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for data in _pieces():
            if not self._press(_SPECIAL_KEYS.sub("", decoder.decode(data))):
                return
        self._end()

    def _windows_keys(self) -> None:
        import msvcrt

        while True:
            key = msvcrt.getwch()  # type: ignore[attr-defined,unused-ignore]
            if key in ("\0", "\xe0"):
                # The arrows and their like are two.
                msvcrt.getwch()  # type: ignore[attr-defined,unused-ignore]
            elif key in "\x03\x1a":
                self._hand_over("quit")
                return
            elif not self._press(key):
                return

    def _press(self, keys: str) -> bool:
        for key in keys:
            if key in "\r\n":
                line, self.typed = self.typed, ""
                if not self._hand_over(line):
                    return False
            elif key in "\x7f\b":
                self.typed = self.typed[:-1]
            elif key == "\x15":
                self.typed = ""
            elif key.isprintable() and len(self.typed) < _LINE_MAX:
                self.typed += key
        return True

    def _hand_over(self, line: str) -> bool:
        handling = self._on_line(line)
        try:
            asyncio.run_coroutine_threadsafe(handling, self._loop).result()
        except Exception:
            # The loop has ended, or ends: nobody listens any more.
            handling.close()
            return False
        return True

    def _end(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_end)


def is_in_background() -> bool:
    """True in a shell's background, where reading from its terminal would stop this process."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except (OSError, AttributeError):
        # The input is no terminal, or the system has no such thing.
        return False


def _pieces() -> Iterator[bytes]:
    while True:
        try:
            data = os.read(0, 65536)
        except OSError:
            return
        if not data:
            return
        yield data
