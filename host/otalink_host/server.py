"""The FTP server: pyftpdlib's asynchronous one, with otalink's accounts, folders and limits, and TLS.

A board may list and read in its own folder, and leave a report; a publisher may publish as well. Nobody gets out of the
folder, be it by `..` or by a symbolic link. No password is ever logged. This file reads no settings file and
prints nothing: it tells what happens to `Events`, which logs to `otalink.server`, and the command line shows that.
"""

import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer as PyftpdlibServer

from otalink_host import certificates
from otalink_host.accounts import load_hashes
from otalink_host.counters import Counters
from otalink_host.errors import UserError
from otalink_host.events import Events, logger
from otalink_host.ftp_authorizer import Authorizer, Reread
from otalink_host.ftp_handler import COMMANDS, DataHandler, Handler, PassivePorts, Transfer
from otalink_host.ftp_tls import TLS_COMMANDS
from otalink_host.ftp_upload import CHECKS_AT_ONCE, UPLOAD_COMMANDS
from otalink_host.listening import BACKLOG, listen_on, raise_descriptor_limit
from otalink_host.lockout import Lockout
from otalink_host.logins import Logins, LoopCalls
from otalink_host.metrics_page import REQUESTS_AT_ONCE, MetricsPage
from otalink_host.passwords import hash_password
from otalink_host.settings import Settings, Tls
from otalink_host.throttle import Throttle
from otalink_host.tls_context import server_context

__all__ = ["BackgroundServer", "FtpServer", "Listeners", "logger"]

USUAL_PORT = 2121
# How soon a stop is noticed, in seconds.
TICK = 0.1
# How many transfers are remembered: a server runs for years.
TRANSFERS_KEPT = 10_000
# How often the certificate's files are looked at, and how often its end is warned of, in seconds.
CERTIFICATE_LOOK = 60.0
CERTIFICATE_WARN = 86_400.0

# Gives the settings anew. Raises UserError when they are wrong.
ReadAgain = Callable[[], Settings]
# What a server that runs cannot change.
FIXED = (
    *("addresses", "port", "workers", "lockout", "audit", "metrics_address", "metrics_port", "log_format"),
    *("secrets", "hashes"),
)


@dataclass(frozen=True)
class Listeners:
    """The sockets that listen: for sessions, and for those who read the counters, if anybody does."""

    control: list[socket.socket]
    metrics: list[socket.socket]

    @classmethod
    def open(cls, settings: Settings) -> "Listeners":
        """Raises UserError when a port cannot be had."""
        control = listen_on(settings.addresses, settings.port, USUAL_PORT)
        metrics: list[socket.socket] = []
        if settings.metrics_port is not None:
            try:
                metrics = listen_on([settings.metrics_address], settings.metrics_port, 9621)
            except UserError as error:
                for each in control:
                    each.close()
                raise UserError(f"[metrics]: {error}") from None
        return cls(control, metrics)

    def close(self) -> None:
        for listener in (*self.control, *self.metrics):
            listener.close()


class FtpServer:
    """The server on its port: it accepts from the start and answers while `run` runs.

    Raises UserError when the port cannot be had or the certificate cannot be used. Close it, or use it in a `with`
    statement.
    """

    def __init__(
        self,
        settings: Settings,
        hashes: Mapping[str, str],
        *,
        reread: Reread | None = None,
        rehashed: Callable[[str, str, str], None] | None = None,
        read_again: ReadAgain | None = None,
        listeners: Listeners | None = None,
        events: Events | None = None,
        worker: int = 0,
        parent: int | None = None,
    ) -> None:
        """`hashes` are those of the accounts' passwords; `rehashed` is told of one to be made anew (logins.Logins).

        `reread` is asked at each command: accounts may have been added, changed or removed since. `read_again` is asked
        at `reload`.

        One of several processes is told which `worker` it is, from 0 on, and is given what they share: the `listeners`,
        and in `events` the counters. `parent` is the process that supervises them: without it, this one ends.
        """
        self.settings = settings
        self.events = events if events is not None else Events(Counters())
        self._worker = worker
        self._read_again = read_again
        self._stop = threading.Event()
        self._finish_wanted = self._reload_wanted = False
        self._deadline: float | None = None
        self._parent = parent
        self._transfers: deque[Transfer] = deque(maxlen=TRANSFERS_KEPT)
        have_descriptors(settings.sessions)
        _keep_pyftpdlib_quiet()
        context = server_context(settings.tls) if settings.tls.mode != "off" else None
        if listeners is None:
            listeners = Listeners.open(settings)
        self._loop = ioloop.IOLoop()
        calls = LoopCalls(self._loop)
        self._logins = Logins(calls, rehashed)
        self._checks = ThreadPoolExecutor(CHECKS_AT_ONCE, "otalink upload")
        self._authorizer = Authorizer(settings.accounts, hashes, reread)
        # pyftpdlib configures a handler by attributes of its class: each server has classes of its own.
        self._data_handler: Any = type("DataHandler", (DataHandler,), {})
        self._handler: Any = type(
            "Handler",
            (Handler,),
            {
                "authorizer": self._authorizer,
                "checks": self._checks,
                "loop_calls": calls,
                "logins": self._logins,
                "lockout": Lockout(settings.lockout),
                "dtp_handler": self._data_handler,
                "events": self.events,
                "ssl_context": context,
                "throttle_total": None,
                "transfers": self._transfers,
            },
        )
        sessions: set[Handler] = set()
        self._servers = [
            _Server(listener, self._handler, sessions, ioloop=self._loop, backlog=BACKLOG)
            for listener in listeners.control
        ]
        self._configure(settings, context)
        self._pages = [MetricsPage(listener, self.events.counters, self._loop) for listener in listeners.metrics]
        self._sessions = sessions
        self._certificate_seen = _state_of(settings.tls)
        self._look_next = time.monotonic() + CERTIFICATE_LOOK
        self._warn_next = 0.0
        self.events.counters.set("workers", 1)
        self.address: str
        self.port: int
        self.address, self.port = self._servers[0].address

    @property
    def _leads(self) -> bool:
        """Whether this process tells what concerns all of them."""
        return self._worker == 0

    def knows(self, name: str) -> bool:
        """Whether there is an account of that name."""
        return self._authorizer.account_if_any(name) is not None

    @property
    def transfers(self) -> list[Transfer]:
        """The transfers that have ended, the latest last; the oldest are forgotten after ten thousand."""
        return list(self._transfers)

    @property
    def metrics_port(self) -> int | None:
        """The port of the page with the counters, if there is one."""
        return self._pages[0].socket.getsockname()[1] if self._pages else None

    def run(self) -> None:
        """Serves until `stop` or `finish` is called, from another thread or a signal handler."""
        wait = TICK
        while not self._stop.is_set():
            self._authorizer.begin_turn()
            soonest = self._loop.loop(timeout=min(wait, TICK), blocking=False)
            wait = TICK if soonest is None else max(soonest, 0.0)
            self._keep_house()

    def stop(self) -> None:
        """Makes `run` return within a tenth of a second."""
        self._stop.set()

    def finish(self) -> None:
        """Ends in good order: nobody new comes in, who has no transfer is told to come again (421), and `run` returns
        when the last transfer has ended, at most `stop_timeout` seconds later. A second call stops at once.
        """
        if self._finish_wanted:
            self.stop()
        self._finish_wanted = True

    def reload(self) -> None:
        """Has the settings and the certificate read again; if they are wrong, the old ones stay, and that is told."""
        self._reload_wanted = True

    def close(self) -> None:
        """Closes the port and every connection."""
        for session in list(self._sessions):
            # The loop's own close misses those that wait for their password to be checked.
            session.close()
        self._logins.close()
        self._checks.shutdown(cancel_futures=True)
        self._loop.close()
        self.events.counters.set("workers", 0)

    def __enter__(self) -> "FtpServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _configure(self, settings: Settings, context: Any) -> None:
        """Sets what counts for new sessions, and as far as it can for those that are there."""
        handler, workers = self._handler, settings.workers
        commands = {name: FTPHandler.proto_cmds[name] for name in COMMANDS} | UPLOAD_COMMANDS
        if context is not None:
            commands |= {name: TLS_FTPHandler.proto_cmds[name] for name in TLS_COMMANDS}
        ports = settings.passive_ports
        values = {
            "proto_cmds": commands,
            # Each process has ports of its own, so that none finds all that it tries in use by another.
            "passive_ports": PassivePorts(ports[self._worker :: workers]) if ports is not None else None,
            "masquerade_address": settings.masquerade_address,
            "sessions_max": settings.sessions,
            "sessions_per_address": settings.sessions_per_address,
            "sessions_per_account": settings.sessions_per_account,
            "login_timeout": settings.login_timeout,
            "timeout": settings.idle_timeout,
            "bandwidth": settings.bandwidth,
            "ssl_context": context,
            "tls_control_required": settings.tls.mode == "required",
            "tls_data_required": settings.tls.mode == "required",
        }
        for name, value in values.items():
            setattr(handler, name, value)
        self._data_handler.timeout = settings.data_timeout
        total = settings.bandwidth_total * 1024 // workers
        if not total or handler.throttle_total is None:
            handler.throttle_total = Throttle(total) if total else None
        else:
            handler.throttle_total.rate = total
        for server in self._servers:
            # A control and a data connection each, the sockets that listen, the one that wakes the loop, and the
            # counters' readers.
            server.max_cons = 2 * settings.sessions + len(settings.addresses) + 2 + REQUESTS_AT_ONCE
        handler.settings = settings
        self.settings = settings
        self._set_expiry(settings.tls)

    def _keep_house(self) -> None:
        self.events.tick()
        now = time.monotonic()
        if self._finish_wanted:
            self._finish(now)
            return
        if self._parent is not None and os.getppid() != self._parent:
            # Who supervised this process was killed.
            self.finish()
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload()
        if now >= self._look_next:
            self._look_next = now + CERTIFICATE_LOOK
            self._look_at_certificate()
        if now >= self._warn_next:
            self._warn_next = now + CERTIFICATE_WARN
            self._warn_of_certificate()

    def _finish(self, now: float) -> None:
        if self._deadline is None:
            self._deadline = now + self.settings.stop_timeout
            for server in self._servers:
                server.close()
        for session in list(self._sessions):
            if not session.in_transfer():
                session.dismiss()
        if not self._sessions or now >= self._deadline:
            self.stop()

    def _reload(self) -> None:
        try:
            settings = self._read_again() if self._read_again is not None else self.settings
            have_descriptors(settings.sessions)
            context = server_context(settings.tls) if settings.tls.mode != "off" else None
        except UserError as error:
            if self._leads:
                self.events.warn("reload_failed", f"the settings stay as they were: {error}", outcome="failed")
            return
        changed = [name for name in FIXED if getattr(settings, name) != getattr(self.settings, name)]
        self._configure(changed_while_running(self.settings, settings), context)
        self._certificate_seen = _state_of(self.settings.tls)
        self._warn_next = 0.0
        if self._leads:
            self.events.told("reload", "the settings were read again", outcome="ok")
            if changed:
                text = f"the settings have changed where only a new start helps: {', '.join(changed)}"
                self.events.warn("restart_needed", text)

    def _look_at_certificate(self) -> None:
        """Takes over a certificate that was renewed."""
        tls = self.settings.tls
        seen = _state_of(tls)
        if tls.mode == "off" or seen == self._certificate_seen:
            return
        self._certificate_seen = seen
        try:
            context = server_context(tls)
        except UserError as error:
            if self._leads:
                self.events.warn("reload_failed", f"the certificate stays as it was: {error}", outcome="failed")
            return
        self._handler.ssl_context = context
        self._set_expiry(tls)
        self._warn_next = 0.0
        if self._leads:
            self.events.told("reload", "the certificate was read again", outcome="ok")

    def _warn_of_certificate(self) -> None:
        path = self.settings.tls.certificate
        if self.settings.tls.mode == "off" or path is None or not self._leads:
            return
        try:
            found = certificates.describe(certificates.load(path))
        except UserError:
            return  # said by _look_at_certificate
        days = found.days_left()
        if days < 0:
            text = f"{path} ended on {found.ends:%Y-%m-%d}: boards refuse it; run `otalink cert renew`"
            self.events.warn("certificate_ends", text)
        elif days < certificates.WARN_DAYS:
            text = f"{path} ends on {found.ends:%Y-%m-%d}, in {days} days: run `otalink cert renew`"
            self.events.warn("certificate_ends", text)

    def _set_expiry(self, tls: Tls) -> None:
        ends = 0
        if tls.mode != "off" and tls.certificate is not None:
            ends = int(certificates.describe(certificates.load(tls.certificate)).ends.timestamp())
        if self._leads:
            self.events.counters.set("certificate_expires", ends)


class BackgroundServer:
    """The server in a thread of its own, for a test or a demonstration: by default on a free port of the loopback.

    `with BackgroundServer(settings) as server:` gives an FtpServer; leaving the block ends the thread and closes every
    socket. `passwords` are as they are, without hashes; None reads the settings' files.
    """

    def __init__(
        self,
        settings: Settings,
        passwords: Mapping[str, str] | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        reread: Reread | None = None,
    ) -> None:
        self._reread = reread
        self._settings = replace(settings, addresses=(address,), port=port, workers=1)
        self._hashes = (
            load_hashes(settings)
            if passwords is None
            else {name: hash_password(password, cheap=True) for name, password in passwords.items()}
        )
        self._server: FtpServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FtpServer:
        self._server = FtpServer(self._settings, self._hashes, reread=self._reread)
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
    """A socket that listens; the `sessions` are those of all such sockets of one FtpServer."""

    def __init__(self, listener: socket.socket, handler: type, sessions: set[Handler], **keywords: Any) -> None:
        self.sessions = sessions
        super().__init__(listener, handler, **keywords)

    def handle_error(self) -> None:
        # pyftpdlib closes the server here, and one moment without a free descriptor would end it for good.
        self.handler.events.warn("error", f"a connection could not be accepted: {sys.exc_info()[1]}")
        time.sleep(TICK)


def changed_while_running(old: Settings, new: Settings) -> Settings:
    """What counts when the settings of a server that runs have become `new`."""
    return replace(new, **{name: getattr(old, name) for name in FIXED})


def have_descriptors(sessions: int) -> None:
    """Makes sure that the process may open what `sessions` need: two sockets and a file each. Raises UserError."""
    needed = 3 * sessions + 64
    possible = raise_descriptor_limit(needed)
    if possible < needed:
        raise UserError(
            f"{sessions} sessions need {needed} open files and this account may have {possible}: "
            f"lower sessions in [server], or raise the limit (ulimit -n)"
        )


def _state_of(tls: Tls) -> list[tuple[int, int] | None]:
    """What changes when the certificate or its key is written anew."""
    found: list[tuple[int, int] | None] = []
    for path in (tls.certificate, tls.key):
        try:
            state = path.stat() if path is not None else None
        except OSError:
            state = None
        found.append((state.st_mtime_ns, state.st_ino) if state is not None else None)
    return found


def _keep_pyftpdlib_quiet() -> None:
    """Without a handler of its own pyftpdlib sets up logging for the whole process."""
    theirs = logging.getLogger("pyftpdlib")
    if not theirs.handlers:
        theirs.addHandler(logging.NullHandler())
        theirs.setLevel(logging.WARNING)
