"""What the command line publishes and withdraws on the server's own machine, in the server's audit log."""

import getpass
import os
from pathlib import Path

from otalink_host.audit import open_audit
from otalink_host.errors import UserError
from otalink_host.settings import Settings

# The chain in the log that is the command line's own.
WRITER = "cli"
# Seconds to wait for another command that records.
PATIENCE = 5.0


def record(settings: Settings | None, folder: Path | None, event: str, name: str, size: int | None = None) -> None:
    """Records that the file `name`, of `size` bytes, was published or withdrawn in `folder`: `event` is that word.

    The account is the user of this machine, without an address. What boards do not read, and a log that no server has
    begun yet, are left alone. Raises UserError when it should be recorded and cannot be.
    """
    if settings is None or settings.audit is None or folder is None or not settings.audit.key.exists():
        return
    served = {each.resolve(): "" for each in settings.folders}
    served |= {each.resolve(): f"/{channel}" for channel, each in settings.channels}
    if folder.resolve() not in served:
        return
    # Files of another user's in it would stop the server from reading its own log.
    if os.name == "posix" and settings.audit.folder.exists() and settings.audit.folder.stat().st_uid != os.geteuid():
        raise UserError(f"{settings.audit.folder} is another user's")
    happened = {"event": event, "account": getpass.getuser(), "path": f"{served[folder.resolve()]}/{name}"}
    with open_audit(settings.audit, lambda name: True, writer=WRITER, wait=PATIENCE) as log:
        log.append(happened if size is None else {**happened, "bytes": size})
