"""The FTP server: pyftpdlib's asynchronous one, with otalink's accounts, folders and limits.

A board may list and read in its own folder, and leave a report; a publisher may publish as well. Nobody gets out of the
folder, be it by `..` or by a symbolic link. No password is ever logged. This file reads no settings file and
prints nothing: it logs to the logger `otalink.server`, and the command line shows that.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.servers import FTPServer as PyftpdlibServer

from otalink_host.accounts import load_passwords
from otalink_host.errors import UserError
from otalink_host.ftp_authorizer import Authorizer, Reread
from otalink_host.ftp_handler import COMMANDS, Handler, Transfer
from otalink_host.listening import BACKLOG, listen, raise_descriptor_limit
from otalink_host.settings import Settings

logger = logging.getLogger("otalink.server")

USUAL_PORT = 2121
# How soon a stop is noticed, in seconds.
TICK = 0.1
# The answer to a wrong password is held back this long, in seconds.
FAILED_LOGIN_DELAY = 3.0
# How many transfers are remembered: a server runs for years.
TRANSFERS_KEPT = 10_000


class FtpServer:
    """The server on its port: it accepts from the start and answers while `run` runs.

    Raises UserError when the port cannot be had. Close it, or use it in a `with` statement.
    """

    def __init__(
        self,
        settings: Settings,
        passwords: Mapping[str, str],
        *,
        failed_login_delay: float = FAILED_LOGIN_DELAY,
        reread: Reread | None = None,
    ) -> None:
        """`reread` is asked at each login: accounts may have been added, changed or removed since."""
        self.settings = settings
        self._stop = threading.Event()
        self._transfers: deque[Transfer] = deque(maxlen=TRANSFERS_KEPT)
        _have_descriptors(settings.sessions)
        _keep_pyftpdlib_quiet()
        listener = listen(settings.address, settings.port, USUAL_PORT)
        self._loop = ioloop.IOLoop()
        # pyftpdlib configures a handler by attributes of its class: each server has a class of its own.
        handler = type(
            "Handler",
            (Handler,),
            {
                "authorizer": Authorizer(settings.accounts, passwords, reread),
                "passive_ports": settings.passive_ports,
                "masquerade_address": settings.masquerade_address,
                "auth_failed_timeout": failed_login_delay,
                "sessions_max": settings.sessions,
                "transfers": self._transfers,
                "settings": settings,
                "proto_cmds": COMMANDS,
            },
        )
        self._server = _Server(listener, handler, ioloop=self._loop, backlog=BACKLOG)
        # A control and a data connection each, and the socket that listens.
        self._server.max_cons = 2 * settings.sessions + 1
        self.address: str
        self.port: int
        self.address, self.port = self._server.address

    @property
    def transfers(self) -> list[Transfer]:
        """The transfers that have ended, the latest last; the oldest are forgotten after ten thousand."""
        return list(self._transfers)

    def run(self) -> None:
        """Serves until `stop` is called, from another thread or a signal handler."""
        timeout = TICK
        while not self._stop.is_set():
            soonest = self._loop.loop(timeout=timeout, blocking=False)
            timeout = TICK if soonest is None else min(TICK, soonest)

    def stop(self) -> None:
        """Makes `run` return within a tenth of a second."""
        self._stop.set()

    def close(self) -> None:
        """Closes the port and every connection."""
        self._server.close_sessions()
        self._server.close_all()

    def __enter__(self) -> "FtpServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BackgroundServer:
    """The server in a thread of its own, for a test or a demonstration: by default on a free port of the loopback.

    `with BackgroundServer(settings) as server:` gives an FtpServer; leaving the block ends the thread and closes every
    socket. `passwords` None reads the settings' secrets file.
    """

    def __init__(
        self,
        settings: Settings,
        passwords: Mapping[str, str] | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        failed_login_delay: float = FAILED_LOGIN_DELAY,
        reread: Reread | None = None,
    ) -> None:
        self._reread = reread
        self._settings = replace(settings, address=address, port=port)
        self._passwords = load_passwords(settings) if passwords is None else passwords
        self._failed_login_delay = failed_login_delay
        self._server: FtpServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FtpServer:
        self._server = FtpServer(
            self._settings, self._passwords, failed_login_delay=self._failed_login_delay, reread=self._reread
        )
        self._thread = threading.Thread(target=self._server.run, name="otalink FTP server", daemon=True)
        self._thread.start()
        return self._server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server.close()


class _Server(PyftpdlibServer):  # type: ignore[misc]  # pyftpdlib has no type hints
    """The socket that listens, and the sessions that came from it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.sessions: set[Handler] = set()
        super().__init__(*arguments, **keywords)

    def close_sessions(self) -> None:
        # close_all misses those that wait for the answer to a wrong password.
        for session in list(self.sessions):
            session.close()

    def handle_error(self) -> None:
        # pyftpdlib closes the server here, and one moment without a free descriptor would end it for good.
        logger.error("a connection could not be accepted: %s", sys.exc_info()[1])
        time.sleep(TICK)


def _have_descriptors(sessions: int) -> None:
    """Makes sure that the process may open what `sessions` need: two sockets and a file each."""
    needed = 3 * sessions + 64
    possible = raise_descriptor_limit(needed)
    if possible < needed:
        raise UserError(
            f"{sessions} sessions need {needed} open files and this account may have {possible}: "
            f"lower sessions in [server], or raise the limit (ulimit -n)"
        )


def _keep_pyftpdlib_quiet() -> None:
    """Without a handler of its own pyftpdlib sets up logging for the whole process."""
    theirs = logging.getLogger("pyftpdlib")
    if not theirs.handlers:
        theirs.addHandler(logging.NullHandler())
        theirs.setLevel(logging.WARNING)
