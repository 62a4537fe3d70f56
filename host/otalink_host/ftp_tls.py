"""A session's TLS: explicit FTPS as in RFC 4217, put right where pyftpdlib leaves a hole.

What came in the clear is never taken for something that came over TLS, nor the other way round; and a client that stops
in mid-handshake or reads nothing takes a place for a bounded time only.
"""

import contextlib
from typing import Any

from OpenSSL import SSL

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop  # noqa: F401
from pyftpdlib.handlers import TLS_DTPHandler, TLS_FTPHandler

from otalink_host.ftp_turns import TurnsMixin

# To be understood where TLS is on.
TLS_COMMANDS = ("AUTH", "PBSZ", "PROT")


class TlsHandler(TurnsMixin, TLS_FTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A session whose control connection may be secured; `ssl_context` None: it may not."""

    ssl_context: SSL.Context | None = None
    # The pieces of a command that is not complete yet.
    _in_buffer: list[bytes]
    # By PBSZ and PROT P: data connections are to be secured.
    _pbsz: bool
    _prot: bool

    @classmethod
    def get_ssl_context(cls) -> SSL.Context | None:
        return cls.ssl_context

    def __init__(self, conn: Any, server: Any, **keywords: Any) -> None:
        super().__init__(conn, server, **keywords)
        self._extra_feats = ["AUTH TLS", "PBSZ", "PROT"] if self.ssl_context is not None else []

    @property
    def secured(self) -> bool:
        """Whether commands and replies go over TLS."""
        return bool(self._ssl_established)

    def ftp_AUTH(self, line: str) -> None:  # noqa: N802  # pyftpdlib finds a command's method by this name
        if isinstance(self.socket, SSL.Connection) or line.upper() not in ("TLS", "TLS-C", "SSL"):
            super().ftp_AUTH(line)
            return
        # Somebody in between could have put commands behind AUTH, and a login ahead of it: none of that counts for the
        # client whom the handshake proves (RFC 4217 section 15.2; "AUTH TLS command injection").
        self.forget_commands()
        self.flush_account()
        super().ftp_AUTH(line)
        # A reply that has not left yet would come out within TLS.
        if self.producer_fifo:
            self.close()

    def handle_ssl_established(self) -> None:
        self.forget_commands()

    def ftp_REIN(self, line: str) -> None:  # noqa: N802  # as above
        # It would have to end TLS, too (RFC 4217 section 11), and what is sent meanwhile would be read as either.
        if isinstance(self.socket, SSL.Connection):
            self.respond("502 Not over TLS: connect anew.")
        else:
            super().ftp_REIN(line)

    def flush_account(self) -> None:
        # A client may protect the data ahead of USER (RFC 4217 section 12.1); pyftpdlib forgets it there.
        pbsz, prot = self._pbsz, self._prot
        super().flush_account()
        self._pbsz, self._prot = pbsz, prot

    def close(self) -> None:
        if not self._closed:
            say_goodbye(self)
        super().close()

    def handle_error(self) -> None:
        # pyftpdlib's own passes by what is done in `close` here.
        self._error = True
        self.log_exception(self)
        self.close()


class TlsData(TLS_DTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    """A data connection, secured if the client asked for that by PROT P.

    For whoever may upload it is TLS 1.2. In TLS 1.3 the server sends session tickets behind the handshake (RFC 8446
    section 4.6.1), which OpenSSL does even where nothing is to be resumed. A client that only uploads never reads them,
    and when it then closes, its system resets the connection, and what the server has not read yet is lost.
    """

    def secure_connection(self, ssl_context: SSL.Context) -> None:
        super().secure_connection(ssl_context)
        session = self.cmd_channel
        if isinstance(self.socket, SSL.Connection) and session.authorizer.has_perm(session.username, "w"):
            self.socket.set_options(SSL.OP_NO_TLSv1_3)

    def close(self) -> None:
        if not self._closed:
            say_goodbye(self)
        super().close()

    def handle_error(self) -> None:
        # pyftpdlib closes here without a reply, and the client would wait for one.
        self.log_exception(self)
        self._error = True
        if not self._closed:
            self._resp = ("426 The data connection failed; transfer aborted.", _unlogged)
            self.close()


def say_goodbye(connection: Any) -> None:
    """Sends TLS's close_notify, once, on a connection that is about to be closed, if it is secured.

    pyftpdlib waits here until the client has room for it: one that reads nothing would keep its socket for ever.
    """
    if connection._ssl_established and not connection._error:
        with contextlib.suppress(SSL.Error, OSError):
            connection.socket.shutdown()
    connection._ssl_established = False


def _unlogged(line: str) -> None:
    pass
