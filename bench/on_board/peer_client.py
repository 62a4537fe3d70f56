"""A download by micropython-ftplib, or by another client with the interface of CPython's ftplib."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import hashlib
import json
import sys
from binascii import hexlify
from time import clock, ticks_diff, ticks_us


def run(module, port, user, password, name, size, target):
    sha256 = hashlib.sha256()
    client = __import__(module).FTP("127.0.0.1", port)
    client.login(user, password)
    started, cpu = ticks_us(), clock()
    file = open(target, "wb")  # noqa: SIM115

    def take(data):
        sha256.update(data)
        file.write(data)

    client.retrbinary("RETR " + name, take, size)
    file.close()
    taken = ticks_diff(ticks_us(), started)
    cpu = clock() - cpu
    client.quit()
    return {"seconds": taken / 1e6, "cpu": cpu, "sha256": hexlify(sha256.digest()).decode()}


wanted = json.loads(sys.stdin.readline())
print(
    json.dumps(
        run(
            wanted["module"],
            wanted["port"],
            wanted["user"],
            wanted["password"],
            wanted["name"],
            wanted["buffer"],
            wanted["target"],
        )
    )
)
