"""A download by otalink's client: logged in already, from the first command of the transfer to the file's end."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import hashlib
import json
import sys
from binascii import hexlify
from time import clock, ticks_diff, ticks_us

# By its name, so that mypy does not follow it to the board's modules.
FtpClient = __import__("otalink.ftp", None, None, ("FtpClient",)).FtpClient


async def run(port, user, password, name, size, target):
    buffer = bytearray(size)
    sha256 = hashlib.sha256()

    async with FtpClient("127.0.0.1", port, user, password) as client:
        await client.connect()
        started, cpu = ticks_us(), clock()
        file = open(target, "wb")  # noqa: SIM115

        def sink(view):
            sha256.update(view)
            file.write(view)

        await client.retrieve(name, buffer, sink)
        file.close()
        taken = ticks_diff(ticks_us(), started)
        cpu = clock() - cpu
    return {"seconds": taken / 1e6, "cpu": cpu, "sha256": hexlify(sha256.digest()).decode()}


wanted = json.loads(sys.stdin.readline())
print(
    json.dumps(
        asyncio.run(
            run(
                wanted["port"],
                wanted["user"],
                wanted["password"],
                wanted["name"],
                wanted["buffer"],
                wanted["target"],
            )
        )
    )
)
