"""The least that a download can be on this runtime: read, hash, write. It asks for nothing and checks nothing."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import hashlib
import json
import socket
import sys
from binascii import hexlify
from time import clock, ticks_diff, ticks_us


def run(port, size, target):
    buffer = bytearray(size)
    view = memoryview(buffer)
    sha256 = hashlib.sha256()
    address = socket.getaddrinfo("127.0.0.1", port)[0][-1]
    started, cpu = ticks_us(), clock()
    sock = socket.socket()
    sock.connect(address)
    file = open(target, "wb")  # noqa: SIM115
    while True:
        n = sock.readinto(buffer)
        if not n:
            break
        part = buffer if n == size else view[:n]
        sha256.update(part)
        file.write(part)
    file.close()
    taken = ticks_diff(ticks_us(), started)
    cpu = clock() - cpu
    sock.close()
    return {"seconds": taken / 1e6, "cpu": cpu, "sha256": hexlify(sha256.digest()).decode()}


wanted = json.loads(sys.stdin.readline())
print(json.dumps(run(wanted["port"], wanted["buffer"], wanted["target"])))
