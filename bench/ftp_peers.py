"""A process that serves a folder by bare pyftpdlib, as its documentation starts it, for ftp_load.py.

    python -m bench.ftp_peers FOLDER CERTIFICATE SESSIONS

CERTIFICATE is a PEM file with its key, or "-" for plain FTP.
"""

import os
import sys

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

from bench.children import end_with_parent
from bench.ftp_server import PASSWORD, USER
from otalink_host.listening import raise_descriptor_limit


def main() -> None:
    # It logs a line for each session and transfer there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    folder, certificate, sessions = sys.argv[1], sys.argv[2], int(sys.argv[3])
    raise_descriptor_limit(3 * sessions + 100)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, folder)
    tls = {} if certificate == "-" else {"certfile": certificate}
    handler = type("Handler", (TLS_FTPHandler if tls else FTPHandler,), {"authorizer": authorizer, **tls})
    # By default it takes 512 connections of both kinds, and lets 100 of them wait: too few for the load.
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=ioloop.IOLoop(), backlog=4096)
    server.max_cons = 2 * sessions + 1
    print(server.address[1], flush=True)
    end_with_parent()
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    main()
