"""What happens on the server, told in one place: to the log, to the counters, and to whoever records it for good.

No password is ever told. It logs to the logger `otalink.server`; how that looks the command line decides.
"""

import logging
import time
from typing import Any

from otalink_host.audit import KEYS, AuditLog
from otalink_host.counters import Counters
from otalink_host.errors import UserError
from otalink_host.flood import Flood
from otalink_host.lockout import source_of
from otalink_host.settings import plain_address

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
# What strangers can cause as often as they like. Of one source so many are told, the others are counted.
REFUSALS = ("login_failed", "login_locked", "lockout", "refused", "tls_failed", "upload_refused")


class Events:
    """Takes what happens and passes it on; `audit` is the log that records it, where there is one."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.audit: AuditLog | None = None
        self._flood = Flood()

    def tick(self) -> None:
        """To be called now and then: what there is to tell, and what the audit log has to do, without an event."""
        for source, count in self._flood.over(time.monotonic()):
            text = f"{count} more refusals of {source} were not recorded"
            self.warn("left_out", text, detail=text, outcome="refused")
        if self.audit is not None:
            self.audit.tick()

    def told(self, event: str, text: str, **fields: Any) -> None:
        """It happened as it should: `text` is the line of the log, the fields are what the audit log has of it."""
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
        if event in REFUSALS and "address" in fields:
            source = source_of(plain_address(fields["address"]))
            if not self._flood.passes(source, time.monotonic()):
                return
        logger.log(level, "%s", text, extra={"event": event, "fields": fields}, exc_info=exc_info)
        self._record(event, fields)

    def _record(self, event: str, fields: dict[str, Any]) -> None:
        if self.audit is None:
            return
        try:
            self.audit.append({"event": event, **{key: fields[key] for key in KEYS if key in fields}})
        except UserError as error:
            self.counters.add("errors")
            logger.error("%s", error)
