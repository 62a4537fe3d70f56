"""A client's session with the FTP server: the commands that it may give, its data connections, and what is told of it.

No password is ever logged. It logs to the logger `otalink.server`.
"""

import contextlib
import logging
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop  # noqa: F401
from pyftpdlib.handlers import DTPHandler, FTPHandler

from otalink_host.ftp_filesystem import VirtualFolder, printable
from otalink_host.ftp_upload import UPLOAD_COMMANDS, UploadDataMixin, UploadMixin

logger = logging.getLogger("otalink.server")

# Whoever has not logged in by then, in seconds, gives up the place to somebody else.
LOGIN_TIMEOUT = 60
# Everything that a client may say, by the accounts' leave. What is not here is not understood: APPE and STOU, SITE for
# anything but a publisher's lock, and PORT, by which a server can be made to connect to others.
_COMMANDS = (
    *("USER", "PASS", "QUIT", "REIN", "NOOP", "SYST", "STAT", "HELP", "FEAT", "OPTS"),
    *("PWD", "XPWD", "CWD", "XCWD", "CDUP", "XCUP"),
    *("LIST", "NLST", "MLSD", "MLST", "SIZE", "MDTM"),
    *("PASV", "EPSV", "TYPE", "STRU", "MODE", "REST", "RETR", "ABOR"),
    *("STOR", "RNFR", "RNTO", "DELE", "MKD", "XMKD", "RMD", "XRMD"),
)
COMMANDS = {name: FTPHandler.proto_cmds[name] for name in _COMMANDS} | UPLOAD_COMMANDS


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


class DataHandler(UploadDataMixin, DTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A data connection that reports what it sent."""

    def close(self) -> None:
        # Ahead of pyftpdlib's own record, which comes after the client has its reply: whoever has that finds this.
        if not self._closed and self.file_obj is not None and not self.receive:
            self.cmd_channel.record_transfer(self)
        super().close()


class Handler(UploadMixin, FTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A client's session. The attributes without a value are each server's own."""

    banner = "otalink ready."
    abstracted_fs = VirtualFolder
    dtp_handler = DataHandler
    passive_dtp = PassiveDTP
    sessions_max: int
    transfers: deque[Transfer]

    def on_connect(self) -> None:
        self.server.sessions.add(self)
        # Refused here, before it can take a data connection from a board that is being served.
        if len(self.server.sessions) > self.sessions_max:
            logger.warning("%s refused: %d sessions are all in use", self._client(), self.sessions_max)
            self.handle_max_cons()
            return
        self.call_later(LOGIN_TIMEOUT, self._end_without_login)

    def close(self) -> None:
        self.server.sessions.discard(self)
        super().close()

    def ftp_PASV(self, line: str) -> None:  # noqa: N802  # pyftpdlib finds a command's method by this name
        with self._passive_port():
            super().ftp_PASV(line)

    def ftp_EPSV(self, line: str) -> None:  # noqa: N802  # as above
        with self._passive_port():
            super().ftp_EPSV(line)

    def handle_auth_success(self, home: str, password: str, msg_login: str) -> None:
        # pyftpdlib keeps the password with the session: nothing here needs it.
        super().handle_auth_success(home, "", msg_login)

    def on_login(self, username: str) -> None:
        logger.info("%s at %s logged in", username, self._client())

    def on_login_failed(self, username: str, password: str) -> None:
        logger.warning("%s at %s refused: no such account, or a wrong password", printable(username), self._client())

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
        logger.info(
            "%s at %s fetched %s: %d bytes in %.1f s, %s",
            transfer.account,
            transfer.address,
            printable(path),
            transfer.size,
            transfer.seconds,
            "complete" if transfer.complete else "broken off",
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
        logger.error("a fault of the server ended the session of %s", self._client(), exc_info=sys.exc_info())

    @contextlib.contextmanager
    def _passive_port(self) -> Iterator[None]:
        try:
            yield
        except _PassivePortsError:
            logger.warning("%s refused a data connection: all of passive_ports are in use", self._client())
            self.respond("425 No port is free for a data connection. Try again later.")

    def _end_without_login(self) -> None:
        if self.authenticated:
            return
        if self._fileno in self.ioloop.socket_map:
            self.handle_timeout()
        else:
            # It waits for the answer to a wrong password, and pyftpdlib cannot close it then.
            self.call_later(LOGIN_TIMEOUT, self._end_without_login)

    def _client(self) -> str:
        return str(self.remote_ip).removeprefix("::ffff:")
