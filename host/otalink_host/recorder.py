"""Records what goes over connections in a file: as note 70 does, or as JSON lines. It appends, and writes at once.

Note 70's form has the texts that were received, each followed by an empty line. JSON lines have all that came and went,
otalink's own messages too, each an object:

    {"time": "2026-01-31T12:00:00.123+01:00", "client": "192.168.0.55:50112", "board": null, "direction": "in",
     "text": "21.5"}

`direction` is "in" or "out"; a fault has "fault", its kind, and "data", the beginning of it in hexadecimal, for "text".
"""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from otalink.message import is_message
from otalink_host.connection import RESULTS
from otalink_host.errors import UserError


class Recorder:
    """Appends to the file `path`: JSON lines (`as_json`), or the received texts as note 70 has it.

    Raises UserError when the file cannot be had. When it cannot be written to later, `failure` says so in one line, and
    nothing more is recorded. Close it, or use it in a `with` statement.
    """

    def __init__(self, path: Path, *, as_json: bool = False) -> None:
        self.path = path
        self.as_json = as_json
        self.failure: str | None = None
        try:
            # Unbuffered: what was recorded is in the file, whatever becomes of this process.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"{path} cannot be recorded to ({error.strerror})") from None

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def received(self, connection: Any, text: str) -> None:
        """Records a frame that came."""
        if self.as_json:
            self._line(connection, "in", text=text)
        elif not is_message(text):
            self._write(text + "\n\n")

    def sent(self, connection: Any, text: str) -> None:
        """Records a frame that goes."""
        if self.as_json:
            self._line(connection, "out", text=text)

    def delivered(self, text: str) -> None:
        """Records a text that came within one of otalink's messages."""
        if not self.as_json:
            self._write(text + "\n\n")

    def fault(self, connection: Any, result: int, data: bytes) -> None:
        """Records a fault."""
        if self.as_json:
            self._line(connection, "in", fault=RESULTS[result], data=data.hex())

    def _line(self, connection: Any, direction: str, **what: str) -> None:
        now = time.time()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))
        zone = time.strftime("%z", time.localtime(now))
        entry = {
            "time": f"{when}.{int(now * 1000) % 1000:03}{zone[:3]}:{zone[3:]}",
            "client": connection.address,
            "board": getattr(connection, "board", None),
            "direction": direction,
            **what,
        }
        self._write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _write(self, text: str) -> None:
        if self.failure is not None:
            return
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while data:
                # The system may take a part only.
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            self.failure = f"{self.path} cannot be written to any more ({error.strerror}): nothing more is recorded"
