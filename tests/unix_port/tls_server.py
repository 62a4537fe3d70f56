"""A ScriptedServer that speaks explicit TLS (RFC 4217), by CPython's ssl: with `context`, and no worse than it is told.

A data connection in private ends by FIN alone, without TLS's close_notify, unless a test's function does otherwise.
"""

import ssl

from scripted_server import ScriptedServer, Session


class TlsServer(ScriptedServer):
    def __init__(self, context, files=None, **answers):
        self.context = context
        super().__init__(files, **answers)

    @property
    def session_class(self):
        return TlsSession


class TlsSession(Session):
    is_private = False
    # With what data connections are secured, if not as the control connection.
    data_context = None

    def behave(self, verb, argument):
        if verb == "AUTH":
            self.say("234 go on")
            self.secure()
        elif verb == "PROT":
            self.is_private = argument == "P"
            self.say("200 it is so")
        elif verb == "PBSZ":
            self.say("200 nothing")
        else:
            super().behave(verb, argument)

    def secure(self):
        self.plain = self.socket.dup()
        self.server.keep(self.plain)
        self.socket = self.wrapped(self.socket, self.server.context)

    def wrapped(self, sock, context):
        try:
            return self.server.keep(context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True))
        except ssl.SSLError:  # an OSError: the client does not like the certificate
            sock.close()
            raise

    def accept(self):
        data = super().accept()
        return self.wrapped(data, self.data_context or self.server.context) if self.is_private else data

    def accept_plain(self):
        return super().accept()
