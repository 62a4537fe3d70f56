"""What happens on the server, told in one place: to the log, to the counters, and to whoever records it for good.

No password is ever told. It logs to the logger `otalink.server`; how that looks the command line decides.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from otalink_host.counters import Counters
from otalink_host.errors import UserError

logger = logging.getLogger("otalink.server")

# What an event counts, by its name.
COUNTED = {
    "login": "logins_ok",
    "login_failed": "logins_failed",
    "login_locked": "logins_locked",
    "refused": "refused",
    "tls": "tls_ok",
    "tls_failed": "tls_failed",
    "error": "errors",
    "reload": "reloads",
    "reload_failed": "reloads_failed",
    "worker_died": "worker_restarts",
}
# What those who record events want to know of one, beside its name.
RECORDED = ("outcome", "account", "address", "path", "bytes", "detail")

# Takes {"event": …} with such of RECORDED as there is to say. When it raises UserError, that is logged.
Sink = Callable[[Mapping[str, Any]], None]


class Events:
    """Takes what happens and passes it on; `sinks` are called one after the other, in the server's thread."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.sinks: list[Sink] = []

    def told(self, event: str, text: str, **fields: Any) -> None:
        """It happened as it should: `text` is the log's line, the fields, RECORDED and others, what it says."""
        self._pass_on(logging.INFO, event, text, fields)

    def noted(self, event: str, **fields: Any) -> None:
        """It happened, and only who records everything wants to know."""
        self._record(event, fields)

    def warn(self, event: str, text: str, **fields: Any) -> None:
        """It did not, or somebody should know."""
        self._pass_on(logging.WARNING, event, text, fields)

    def fault(self, text: str, **fields: Any) -> None:
        """A mistake in the server: the exception that is being handled goes with it."""
        self._pass_on(logging.ERROR, "error", text, fields, exc_info=True)

    def _pass_on(self, level: int, event: str, text: str, fields: dict[str, Any], exc_info: bool = False) -> None:
        if event in COUNTED:
            self.counters.add(COUNTED[event])
        logger.log(level, "%s", text, extra={"event": event, "fields": fields}, exc_info=exc_info)
        self._record(event, fields)

    def _record(self, event: str, fields: dict[str, Any]) -> None:
        record = {"event": event, **{key: fields[key] for key in RECORDED if key in fields}}
        for sink in self.sinks:
            try:
                sink(record)
            except UserError as error:
                logger.error("%s", error)
