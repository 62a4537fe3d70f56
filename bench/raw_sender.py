"""A process that sends a file to whoever connects, by one sendfile after another: what no server can be faster than."""

import contextlib
import os
import socket
import sys

from bench.children import end_with_parent


def main() -> None:
    with open(sys.argv[1], "rb") as file, socket.create_server(("127.0.0.1", 0)) as listener:
        size = os.fstat(file.fileno()).st_size
        print(listener.getsockname()[1], flush=True)
        end_with_parent()
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                sent = 0
                while sent < size:
                    sent += os.sendfile(connection.fileno(), file.fileno(), sent, size - sent)


if __name__ == "__main__":
    main()
