"""A process that serves a folder for writing by bare pyftpdlib, as its documentation starts it: a foreign server.

    python tests/host/ftp_writable.py FOLDER CERTIFICATE [old]

CERTIFICATE is a PEM file with its key, or "-" for plain FTP. An `old` one knows no MLSD, and renames over nothing. It
prints its port, and the commands that come.
"""

import os
import sys
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


class Old(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no type hints
    def ftp_RNTO(self, path: str) -> Any:  # noqa: N802  # pyftpdlib finds it by this name
        if os.path.exists(path):
            self.respond("550 File exists.")
            return None
        return super().ftp_RNTO(path)


def main() -> None:
    folder, certificate, *old = sys.argv[1:]
    authorizer = DummyAuthorizer()
    authorizer.add_user("publisher", os.environ["OTALINK_PASSWORD"], folder, perm="elradfmwMT")
    tls = {} if certificate == "-" else {"certfile": certificate, "tls_control_required": True}
    values = {"authorizer": authorizer, **tls}
    if old:
        lacking = ("MLSD", "MLST")
        values["proto_cmds"] = {k: v for k, v in FTPHandler.proto_cmds.items() if k not in lacking}
    handler = type("Handler", (Old if old else TLS_FTPHandler if tls else FTPHandler,), values)
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=ioloop.IOLoop())
    print(server.address[1], flush=True)
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    main()
