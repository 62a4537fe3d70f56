"""What a download allocates: a short one and a long one, without garbage collection; the difference is the data's."""
# MicroPython's modules have no type hints:
# mypy: ignore-errors

import asyncio
import gc
import hashlib
import json
import sys

# By its name, so that mypy does not follow it to the board's modules.
FtpClient = __import__("otalink.ftp", None, None, ("FtpClient",)).FtpClient


async def run(port, user, password, names, size, target):
    buffer = bytearray(size)
    sha256 = hashlib.sha256()
    pieces = 0
    file = open(target, "wb")  # noqa: SIM115

    def sink(view):
        nonlocal pieces
        pieces += 1
        sha256.update(view)
        file.write(view)

    found = []
    async with FtpClient("127.0.0.1", port, user, password) as client:
        await client.connect()
        # The first one makes what stays for all the others.
        await client.retrieve(names[0], buffer, sink)
        gc.disable()
        for name in names:
            pieces = 0
            before = gc.mem_alloc()
            await client.retrieve(name, buffer, sink)
            found.append([gc.mem_alloc() - before, pieces])
    file.close()
    return found


wanted = json.loads(sys.stdin.readline())
print(
    json.dumps(
        asyncio.run(
            run(
                wanted["port"],
                wanted["user"],
                wanted["password"],
                wanted["names"],
                wanted["buffer"],
                wanted["target"],
            )
        )
    )
)
