"""Connects COUNT times to PORT and never logs in, says what it was told how often, and stays until its input ends.

python flood.py PORT COUNT
"""

import contextlib
import socket
import sys
from collections import Counter

from otalink_host.listening import raise_descriptor_limit


def main(port: int, count: int) -> None:
    raise_descriptor_limit(count + 64)
    told: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        for number in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            told[client.recv(3).decode()] += 1
            # Every other one has begun to log in.
            if number % 2:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"USER board\r\nPASS begun")
        print(*(f"{count} {reply}" for reply, count in sorted(told.items())), sep=", ", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
