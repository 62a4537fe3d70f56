"""A process that fetches a file with CPython's ftplib, hashes and writes it, and prints the seconds and the SHA-256."""

import hashlib
import json
import sys
import time
from ftplib import FTP


def main() -> None:
    port, user, password, name, target, block = sys.argv[1:]
    sha256 = hashlib.sha256()
    with FTP() as client:
        client.connect("127.0.0.1", int(port))
        client.login(user, password)
        started, cpu = time.perf_counter(), time.process_time()
        with open(target, "wb", buffering=0) as file:

            def take(data: bytes) -> None:
                sha256.update(data)
                file.write(data)

            client.retrbinary(f"RETR {name}", take, int(block))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "sha256": sha256.hexdigest()}))


if __name__ == "__main__":
    main()
