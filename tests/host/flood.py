"""Opens COUNT sessions at PORT that never log in, says how many there are, and keeps them until its input ends.

python flood.py PORT COUNT
"""

import contextlib
import socket
import sys

from otalink_host.listening import raise_descriptor_limit


def main(port: int, count: int) -> None:
    raise_descriptor_limit(count + 64)
    opened = 0
    with contextlib.ExitStack() as stack:
        for number in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            if client.recv(3) == b"220":
                opened += 1
            # Every other one has begun to log in.
            if number % 2:
                client.sendall(b"USER board\r\nPASS begun")
        print(opened, "open", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
