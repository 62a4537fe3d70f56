"""The board's report to its FTP server: what it runs, and how its last check went, as a JSON object in a file."""

import io
import json

from otalink.board import unique_id
from otalink.errors import OtaError
from otalink.ftp_session import FtpSession
from otalink.ftp_store import store
from otalink.install import installed
from otalink.status import status

# Where a board's account may write, and nothing else, on otalink's own server.
PATH = "/report.json"
# So many of the updater's last lines, and characters of each: all of the report must have less than 4096 bytes.
_LINES = 3
_LINE_MAX = 300


async def send(job, messages):
    """Sends the report to the server of `job.config`, in a session of its own. `messages` are the updater's lines.

    What goes wrong is a line for the user.
    """
    config = job.config
    try:
        found = status(job.root, config.name, installed(job))
        if found["reason"]:
            found["reason"] = found["reason"][:_LINE_MAX]
        found["board"] = unique_id()
        found["messages"] = [line[:_LINE_MAX] for line in messages[-_LINES:]]
        async with FtpSession(*config.server) as session:
            # Its size is not asked for afterwards: the account may not read it.
            source = io.BytesIO(json.dumps(found).encode())
            await session._run(store, session, PATH, source, job.buffer, False)
    except (OtaError, ValueError) as error:
        job.say(f"the report was not sent: {error}")
