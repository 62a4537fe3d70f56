"""Fetches a file by FTP to the flash, once with each buffer; what came, and what is on the flash, must be right."""

import asyncio
import hashlib
import json
import os
from binascii import hexlify
from time import ticks_diff, ticks_us

from otalink.config import load
from otalink.ftp_session import FtpSession

PATH = "/board-test.bin"
server = load().server


async def fetch(name, size, length):
    # Gives the seconds that it took, and the SHA-256 of what came.
    received = hashlib.sha256()
    with open(PATH, "wb") as file:

        def sink(view):
            received.update(view)
            file.write(view)

        async with FtpSession(*server) as client:
            await client.connect()
            started = ticks_us()
            count = await client.retrieve(name, bytearray(length), sink, 0, size)
            taken = ticks_diff(ticks_us(), started) / 1000000
    if count != size:
        raise OSError(f"{name}: {count} of {size} bytes came")
    return taken, hexlify(received.digest()).decode()


def read_back():
    found = hashlib.sha256()
    buffer = bytearray(512)
    view = memoryview(buffer)
    with open(PATH, "rb") as file:
        while True:
            count = file.readinto(buffer)
            if not count:
                return hexlify(found.digest()).decode()
            found.update(view[:count])


try:
    for length in given["buffers"]:
        seconds, digest = asyncio.run(fetch(given["name"], given["size"], length))
        if digest != given["sha256"]:
            raise ValueError("what came has not the SHA-256 of what was served")
        if read_back() != digest:
            raise ValueError("what is on the flash has not the SHA-256 of what came")
        print(json.dumps({"buffer": length, "seconds": seconds}))
finally:
    os.remove(PATH)
