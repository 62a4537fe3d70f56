"""A virtual board that has been flashed as a user would."""

import re
from pathlib import Path

from otalink_host.flash import flash
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard

PASSWORD = "a-password-of-the-tests"
PATIENCE = 30.0
# The main.py of most releases.
MAIN = """
import asyncio, otalink, thermostat

async def main():
    updater = otalink.Updater()
    asyncio.create_task(updater.run())
    print("runs", thermostat.GREETING)
    while True:
        await asyncio.sleep(1)

asyncio.run(main())
"""


class Flashed:
    """One board, flashed with 1.0.0.1 and these settings; `sees` waits for what it prints."""

    def __init__(
        self,
        board: VirtualBoard,
        server: FtpServer,
        application: Path,
        *,
        version: str | None = None,
        **settings: object,
    ) -> None:
        self.board = board
        self.seen = board.mark()
        values = {
            "name": "thermostat",
            "host": "127.0.0.1",
            "port": server.port,
            "user": "board",
            "password": PASSWORD,
            "folder": "/test",
            "interval": 1,
            "jitter": 0,
            "start_delay": 0,
            "confirm_after": 1,
            "retry_delay": 0.1,
            "timeout": 5,
        }
        flash(board.pty, application, {**values, **settings}, version=version, check=False, say=lambda line: None)

    def sees(self, pattern: str) -> None:
        self.seen = self.board.wait_for(re.compile(pattern), PATIENCE, since=self.seen).end()

    def listing(self, folder: str = "/") -> str:
        return self.board.mpremote("fs", "ls", "-r", folder)
