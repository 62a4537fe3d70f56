"""A client's session with the FTP server: the commands that it may give, its data connections, and what is told of it.

No password is ever logged. What there is to tell goes to `Events`.
"""

import contextlib
import random
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop  # noqa: F401
from pyftpdlib.handlers import FTPHandler

from otalink_host.events import Events
from otalink_host.ftp_filesystem import VirtualFolder
from otalink_host.ftp_login import LoginMixin
from otalink_host.ftp_tls import TlsData, TlsHandler
from otalink_host.ftp_upload import UploadDataMixin, UploadMixin
from otalink_host.log_text import printable
from otalink_host.throttle import CHUNK_MAX, Throttle

# Everything that a client may say, by the accounts' leave. What is not here is not understood: APPE and STOU, SITE for
# anything but a publisher's lock, and PORT, by which a server can be made to connect to others.
COMMANDS = (
    *("USER", "PASS", "QUIT", "REIN", "NOOP", "SYST", "STAT", "HELP", "FEAT", "OPTS"),
    *("PWD", "XPWD", "CWD", "XCWD", "CDUP", "XCUP"),
    *("LIST", "NLST", "MLSD", "MLST", "SIZE", "MDTM"),
    *("PASV", "EPSV", "TYPE", "STRU", "MODE", "REST", "RETR", "ABOR"),
    *("STOR", "RNFR", "RNTO", "DELE", "MKD", "XMKD", "RMD", "XRMD"),
)

# So many ports are tried, or all that there are.
PORTS_TRIED = 128
# Bytes that the system is told to send at once, without a limit to the bandwidth.
SENDFILE_MAX = 1 << 18


@dataclass(frozen=True)
class Transfer:
    """One file sent, or the part of it that was: `size` counts the bytes handed to the network, `path` is the client's.

    `complete` is False when the client left or stopped early, which a board does on purpose as well; `size` then counts
    what lay in buffers too. `seconds` is how long it took, `address` the client's.
    """

    account: str
    address: str
    path: str
    size: int
    complete: bool
    seconds: float


class PassivePorts:
    """The ports for data connections. pyftpdlib makes a list of them for each, and tries one after the other by chance.

    Of very many, that list has some that lie together, from anywhere on.
    """

    def __init__(self, ports: range) -> None:
        self._ports = ports

    def __contains__(self, port: int) -> bool:
        return port in self._ports

    def __iter__(self) -> Iterator[int]:
        count = len(self._ports)
        if count <= PORTS_TRIED:
            return iter(self._ports)
        first = random.randrange(count)
        return (self._ports[number % count] for number in range(first, first + PORTS_TRIED))


class _PassivePortsError(Exception):
    pass


class PassiveDTP(FTPHandler.passive_dtp):  # type: ignore[misc]  # pyftpdlib has no type hints
    """Listens for a data connection, on one of the configured ports or not at all."""

    def listen(self, backlog: int) -> None:
        """pyftpdlib takes any port, without a word, once the configured ones are in use: a firewall is in its way."""
        ports = self.cmd_channel.passive_ports
        if ports is not None and self.socket.getsockname()[1] not in ports:
            self.close()
            raise _PassivePortsError
        super().listen(backlog)


class DataHandler(UploadDataMixin, TlsData):
    """A data connection that keeps to the session's bandwidth and reports what it sent."""

    _throttles: tuple[Throttle, ...] = ()
    # The call that ends a pause, while there is one.
    _pause: Any = None

    def __init__(self, sock: Any, cmd_channel: Any) -> None:
        super().__init__(sock, cmd_channel)
        self._throttles = cmd_channel.throttles()
        # What is received is not read in smaller pieces: OpenSSL would keep a rest of a record, unseen by the loop.
        self.ac_out_buffer_size = min([throttle.chunk() for throttle in self._throttles], default=CHUNK_MAX)

    def send(self, data: bytes) -> int:
        sent: int = super().send(data)
        self._moved("bytes_sent", sent)
        return sent

    def initiate_sendfile(self) -> None:
        before, size = self.tot_bytes_sent, self.ac_out_buffer_size
        # The system moves the file by itself: what is moved at once takes no memory here, and each turn costs time.
        self.ac_out_buffer_size = size if self._throttles else SENDFILE_MAX
        try:
            super().initiate_sendfile()
        finally:
            self.ac_out_buffer_size = size
        self._moved("bytes_sent", self.tot_bytes_sent - before)

    def recv(self, buffer_size: int) -> bytes:
        data: bytes = super().recv(buffer_size)
        self._moved("bytes_received", len(data))
        return data

    def modify_ioloop_events(self, events: int, logdebug: bool = False) -> None:
        # That would end a pause.
        if self._pause is None:
            super().modify_ioloop_events(events, logdebug)

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        # Ahead of pyftpdlib's own record, which comes after the client has its reply: whoever has that finds this.
        if not self._closed and self.file_obj is not None and not self.receive:
            self.cmd_channel.record_transfer(self)
        super().close()

    def handle_failed_ssl_handshake(self) -> None:
        self.cmd_channel.events.warn(
            "tls_failed",
            f"{self.cmd_channel._client()}: no TLS on a data connection: the handshake failed",
            **self.cmd_channel.who(),
            outcome="failed",
        )
        super().handle_failed_ssl_handshake()

    def _moved(self, counter: str, size: int) -> None:
        if size <= 0:
            return
        self.cmd_channel.events.counters.add(counter, size)
        wait = max([throttle.take(size) for throttle in self._throttles], default=0.0)
        if wait > 0 and not self._closed and self._pause is None:
            self.del_channel()
            self._pause = self.ioloop.call_later(wait, self._go_on, _errback=self.handle_error)

    def _go_on(self) -> None:
        self._pause = None
        self.add_channel(events=self.ioloop.READ if self.receive else self.ioloop.WRITE)


class Handler(LoginMixin, UploadMixin, TlsHandler):
    """A client's session. The attributes without a value are each server's own; for their units see Settings."""

    banner = "otalink ready."
    abstracted_fs = VirtualFolder
    dtp_handler = DataHandler
    passive_dtp = PassiveDTP
    events: Events
    sessions_max: int
    sessions_per_address: int
    sessions_per_account: int
    login_timeout: float
    bandwidth: int
    # The one that all sessions share; None when there is no such limit.
    throttle_total: Throttle | None
    transfers: deque[Transfer]

    _throttle: Throttle | None = None

    def on_connect(self) -> None:
        sessions = self.server.sessions
        sessions.add(self)
        counters = self.events.counters
        counters.add("sessions")
        counters.add("sessions_total")
        # Refused here, before it can take a data connection from a board that is being served.
        if counters.total("sessions") > self.sessions_max:
            self._tell_refused(f"{self._client()} refused: {self.sessions_max} sessions are all in use")
            self.handle_max_cons()
        elif self.sessions_per_address and self._of_this_address(sessions) > self.sessions_per_address:
            self._tell_refused(f"{self._client()} refused: it has its {self.sessions_per_address} sessions already")
            self.handle_max_cons()
        else:
            self.call_later(self.login_timeout, self._end_without_login)

    def close(self) -> None:
        if self in self.server.sessions:
            self.server.sessions.discard(self)
            self.events.counters.add("sessions", -1)
            if self.authenticated:
                self.events.noted("logout", **self.who())
        if self._ssl_accepting and not self._closed:
            self.events.warn(
                "tls_failed",
                f"{self._client()}: no TLS: the handshake did not come about",
                **self.who(),
                outcome="failed",
            )
        super().close()

    def who(self) -> dict[str, str]:
        """What an event says of whose it is."""
        return {"address": self._client(), **({"account": self.username} if self.authenticated else {})}

    def in_transfer(self) -> bool:
        """Whether a file or a listing is under way, or about to be."""
        waiting = self._out_dtp_queue is not None or self._in_dtp_queue is not None
        return self.data_channel is not None or waiting or self.in_upload()

    def dismiss(self) -> None:
        """Ends a session that has no transfer: the server is about to stop."""
        if self._ssl_accepting or self._fileno not in self.ioloop.socket_map:
            # In mid-handshake nothing can be said, and one that waits for the answer to a wrong password hears nothing.
            self.close()
        elif not self._closing:
            self.respond("421 The server is stopping. Try again later.")
            self.close_when_done()

    def throttles(self) -> tuple[Throttle, ...]:
        """What a data connection of this session keeps to."""
        if self.bandwidth and (self._throttle is None or self._throttle.rate != self.bandwidth * 1024):
            self._throttle = Throttle(self.bandwidth * 1024)
        own = self._throttle if self.bandwidth else None
        return tuple(throttle for throttle in (own, self.throttle_total) if throttle is not None)

    def handle_ssl_established(self) -> None:
        super().handle_ssl_established()
        self.events.counters.add("tls_ok")

    def ftp_PASV(self, line: str) -> None:  # noqa: N802  # pyftpdlib finds a command's method by this name
        with self._passive_port():
            super().ftp_PASV(line)

    def ftp_EPSV(self, line: str) -> None:  # noqa: N802  # as above
        with self._passive_port():
            super().ftp_EPSV(line)

    def handle_auth_success(self, home: str, password: str, msg_login: str) -> None:
        most = self.sessions_per_account
        if most and self._of_this_account() >= most:
            self._tell_refused(f"{self.username} at {self._client()} refused: it has its {most} sessions already")
            self.respond("421 This account has too many sessions. Try again later.")
            self.close_when_done()
            return
        super().handle_auth_success(home, password, msg_login)

    def _of_this_account(self) -> int:
        return sum(each.authenticated and each.username == self.username for each in self.server.sessions)

    def flush_account(self) -> None:
        if self.authenticated:
            self.events.noted("logout", **self.who())
        super().flush_account()

    def record_transfer(self, data: DataHandler) -> None:
        path = self.fs.client_path(data.file_obj.name)
        transfer = Transfer(
            account=self.fs.account.name,
            address=self._client(),
            path=path,
            size=data.tot_bytes_sent,
            complete=data.transfer_finished,
            seconds=data.get_elapsed_time(),
        )
        self.transfers.append(transfer)
        outcome = "complete" if transfer.complete else "broken off"
        self.events.counters.add(f"sent_{outcome.replace(' ', '_')}")
        self.events.told(
            "fetch",
            f"{transfer.account} at {transfer.address} fetched {printable(path)}: "
            f"{transfer.size} bytes in {transfer.seconds:.1f} s, {outcome}",
            account=transfer.account,
            address=transfer.address,
            path=path,
            bytes=transfer.size,
            outcome="ok" if transfer.complete else "broken_off",
            seconds=round(transfer.seconds, 3),
        )

    # pyftpdlib's own lines say less, twice over.
    def log(self, msg: str, logfun: object = None) -> None:
        pass

    logline = log

    def log_cmd(self, cmd: str, arg: str, respcode: int, respstr: str) -> None:
        pass

    def log_transfer(self, *arguments: Any, **keywords: Any) -> None:
        pass

    def log_exception(self, instance: Any) -> None:
        if isinstance(sys.exc_info()[1], SSL.Error):
            self.events.warn(
                "tls_failed",
                f"{self._client()}: what came is not what its TLS had begun with",
                **self.who(),
                outcome="failed",
            )
        else:
            self.events.fault(f"a fault of the server ended the session of {self._client()}", **self.who())

    @contextlib.contextmanager
    def _passive_port(self) -> Iterator[None]:
        try:
            yield
        except _PassivePortsError:
            self._tell_refused(f"{self._client()} refused a data connection: all of passive_ports are in use")
            self.respond("425 No port is free for a data connection. Try again later.")

    def _end_without_login(self) -> None:
        if self.authenticated:
            return
        if self._fileno in self.ioloop.socket_map:
            self.handle_timeout()
        else:
            # It waits for its password to be checked.
            self.call_later(self.login_timeout, self._end_without_login)

    def _client(self) -> str:
        return str(self.remote_ip).removeprefix("::ffff:")

    def _of_this_address(self, sessions: set["Handler"]) -> int:
        return sum(each.remote_ip == self.remote_ip for each in sessions)

    def _tell_refused(self, text: str) -> None:
        self.events.warn("refused", text, **self.who(), outcome="refused", detail=text)
