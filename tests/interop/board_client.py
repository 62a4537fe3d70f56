"""What runs on MicroPython to try the board's FTP client with a server."""

import hashlib
import textwrap

CONTENT = bytes(range(251)) * 20_000  # 5 MB: more than the buffers between server and board hold

SCRIPT = """
import asyncio, hashlib
from otalink.errors import *
from otalink.config import configure
from otalink.ftp import FtpClient

class Hash:
    def __init__(self):
        self.count = 0
        self.hash = hashlib.sha256()

    def __call__(self, view):
        self.count += len(view)
        self.hash.update(view)

async def attempt(coroutine):
    try:
        print("gave", await coroutine)
    except Exception as error:
        print(type(error).__name__, getattr(error, "code", ""), error)

settings = configure({settings!r})

async def main():
    buffer = bytearray(4096)
    got = Hash()
    async with FtpClient(*settings.server) as client:
{body}

asyncio.run(main())
"""


def script(server, body, password=None, **settings):
    """A program with `body`, which has `client`, a `buffer`, a Hash `got` and `attempt`; `settings` are the board's."""
    settings |= {
        "name": "app",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": password or server.password,
        "stall": 10,
    }
    return SCRIPT.format(settings=settings, body=textwrap.indent(textwrap.dedent(body).strip(), " " * 8))


def digest(content):
    """The SHA-256 of the bytes, as the board prints it."""
    return repr(hashlib.sha256(content).digest())
