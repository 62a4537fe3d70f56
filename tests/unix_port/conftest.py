"""Board code that talks to a server in this process: what runs on MicroPython, and what it must leave behind."""

import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what the tests here share

# What every script has: a client, a sink, and `attempt`, which prints how a call ended on one line.
PRELUDE = """
import asyncio, errno, gc, hashlib, os, sys, time
from otalink.errors import *
from otalink.ftp import FtpClient

host, port, user, password, timeout, stall, tls = {options!r}

class SinkError(Exception):
    pass

def descriptors():
    return len(list(os.ilistdir("/proc/self/fd")))

def make_client():
    settings = None
    if tls is not None:
        from otalink.config import configure
        # With a key, which data in the clear wants: what is tested here knows no releases.
        tls.update({{"name": "app", "host": host, "keys": {{"0" * 16: ""}}}})
        settings = configure(tls).tls
    return FtpClient(host, port, user, password, timeout, stall, settings)

def sockets():
    return descriptors() - at_first

async def attempt(coroutine):
    try:
        print("gave", await coroutine)
    except FtpError as error:
        print("FtpError", error.code, error)
    except Exception as error:
        print(type(error).__name__, error)

def fetch(path, offset=0, size=None, sink=None):
    return attempt(client.retrieve(path, buffer, sink or got.extend, offset, size))

got = bytearray()
buffer = bytearray(4096)

async def main():
{body}

async def check():
    await main()
    client.close()
    # What was cancelled ends when it is scheduled, and nothing else may be there.
    await asyncio.sleep_ms(1)
    assert asyncio.core._task_queue.peek() is None, "a task is left"
    assert not asyncio.core._io_queue.map, "a socket is waited for"
    assert sockets() == 0, "a socket is left"

at_first = descriptors()
client = make_client()
asyncio.run(check())
"""


@pytest.fixture
def run_client(on_board):
    """Runs the body of `async def main()` on MicroPython, with `client` for `server`; gives the lines it printed.

    Fails when a task or a socket is left on the board.
    """

    def run(server, body, *, user="bob", password="hidden", timeout=10, stall=10, heap="512k", host=None, tls=None):
        options = (host or server.host, server.port, user, password, timeout, stall, tls)
        body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        return on_board(PRELUDE.format(options=options, body=body), heap=heap).lines

    return run


@pytest.fixture
def authority(tmp_path):
    """Signs the certificates of a test's server."""
    from certificates import Authority

    return Authority(tmp_path, "ours")


@pytest.fixture
def board(on_board):
    """A board that updates itself from a server; its flash is a folder."""
    from updater_support import Board

    return Board(on_board)


@pytest.fixture
def run_link(on_board):
    """Runs the body of `async def main()` on MicroPython; `start()` in it makes a Link to `host` that runs. Gives the
    lines that it printed. Fails when a task or a socket is left."""
    from link_support import script

    def run(host, body, *, heap="512k", timeout=30):
        address = host if isinstance(host, tuple) else host.address
        return on_board(script(address, body), heap=heap, timeout=timeout).lines

    return run
