"""What the log looks like on stdout: a line of text, or a line with a JSON object."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from otalink_host.events import logger

# In text these are told by what the command prints.
_NOT_AS_TEXT = ("start", "stop")


class JsonFormatter(logging.Formatter):
    """An object with `time` (RFC 3339, UTC), `level`, `event`, `message` and what the event says beside that."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


@contextmanager
def logged_to_stdout(form: str) -> Iterator[None]:
    """While it lasts, what the server tells goes to stdout; `form` is "text" or "json"."""
    handler = logging.StreamHandler(sys.stdout)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        handler.addFilter(lambda record: getattr(record, "event", None) not in _NOT_AS_TEXT)
    logger.setLevel(logging.INFO)
    # What pyftpdlib itself has to complain about is worth a line as well.
    loggers = (logger, logging.getLogger("pyftpdlib"))
    for each in loggers:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)
