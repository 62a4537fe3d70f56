"""An FTP server that can misbehave, and a board that updates itself from it."""

import hashlib
import json
import os
import shutil
import textwrap
import threading
import time
import traceback
from io import BytesIO
from pathlib import Path

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

from otalink.release import Header

SOURCES = Path(__file__).parents[2] / "firmware" / "guard"
GUARD = ("boot.py", "otaguard.py", "otaswap.py")
PASSWORD = "s3cret-Pässword"
RESTART = f"""
sys.path += [{str(Path(__file__).parent)!r}, {str(SOURCES)!r}]
from restarting import Folder, restart, settle
restart(Folder({{root!r}}))
"""

# What every script has. `updater` is made by the body, with `make`; `ticker` counts how often another task runs.
PRELUDE = """
import asyncio, gc, json, os, sys, time
import otalink
from otalink.errors import *

settings = {settings!r}

def make(**keywords):
    keywords.setdefault("root", "board")
    return otalink.Updater(keywords.pop("config", settings), **keywords)

def descriptors():
    return len(list(os.ilistdir("/proc/self/fd")))

class Ticker:
    # The rest of the application: what counts, and the longest time for which it could not, in milliseconds.
    def __init__(self):
        self.count = self.gap = 0

    async def run(self):
        last = time.ticks_ms()
        while True:
            await asyncio.sleep_ms(1)
            now = time.ticks_ms()
            self.gap = max(self.gap, time.ticks_diff(now, last))
            last = now
            self.count += 1

async def attempt(coroutine):
    try:
        print("gave", await coroutine)
    except Exception as error:
        print(type(error).__name__, error)

async def main():
{body}

async def check():
    at_first = descriptors()
    await main()
    await asyncio.sleep_ms(1)
    assert asyncio.core._task_queue.peek() is None, "a task is left"
    gc.collect()
    assert descriptors() == at_first, "a socket or file is left open"

asyncio.run(check())
"""


class Server:
    """A pyftpdlib server in a thread, which serves `folder`.

    `lacks` are commands that it does not have; `cuts` are the byte counts after which it cuts off a data connection,
    one after the other; `before(command, argument)` is called in the server's thread ahead of each command, and
    `during(filename, sent)` after each piece of data. `commands` and `sent` (bytes by file name) tell what happened.
    With `certificate`, the path of one with its key, it serves over TLS only; data too where it `needs_private`.
    """

    def __init__(
        self, folder, lacks=(), cuts=(), before=None, during=None, port=0, certificate=None, needs_private=True
    ):
        self.folder = folder
        self.commands = []
        self.sent = {}
        self.host = "127.0.0.1"
        self._cuts = list(cuts)
        self._before = before
        self._during = during
        self._stopped = threading.Event()
        self._down_for = None
        self._errors = []
        bases = (TLS_FTPHandler, TLS_DTPHandler) if certificate else (FTPHandler, DTPHandler)
        self._handler = self._make_handler(lacks, *bases)
        if certificate:
            self._handler.certfile = str(certificate)
            self._handler.tls_control_required = True
            self._handler.tls_data_required = needs_private
        self._server = None
        self._open(port)
        self.port = self._server.address[1]
        self._thread = threading.Thread(target=self._run, name="ftp")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        self._thread.join()
        assert not self._errors, self._errors[0]

    @property
    def total(self):
        return sum(self.sent.values())

    def count(self, command):
        return sum(line.split(" ")[0] == command for line in self.commands)

    def fetched(self):
        """The files that were fetched, in order."""
        return [line[5:] for line in self.commands if line.startswith("RETR ")]

    def cut_off(self, cuts):
        """From now on cuts off data connections after so many bytes, one after the other."""
        self._cuts = list(cuts)

    def go_down(self, seconds=None):
        """Ends all sessions and closes the port, for so many seconds; None: for good. From the server's thread."""
        self._down_for = seconds if seconds is not None else float("inf")

    def forgive(self, kind):
        """Errors of this kind in the server's thread are what the test wanted."""
        self._errors = [error for error in self._errors if kind.__name__ not in error]

    def _open(self, port):
        self._server = FTPServer((self.host, port), self._handler, ioloop=ioloop.IOLoop())

    def _run(self):
        while not self._stopped.is_set():
            self._server.serve_forever(timeout=0.01, blocking=False, handle_exit=False)
            if self._down_for is not None:
                self._server.close_all()
                self._server.ioloop.close()
                down_for, self._down_for = self._down_for, None
                if self._stopped.wait(None if down_for == float("inf") else down_for):
                    return
                self._open(self.port)
        self._server.close_all()
        self._server.ioloop.close()

    def _make_handler(self, lacks, control_base, data_base):
        outer = self

        class Data(data_base):
            ac_out_buffer_size = 4096
            moved = 0
            is_cut = False

            def send(self, data):
                if self.is_cut:
                    return 0
                cut = outer._cuts[0] if outer._cuts and self._name() not in (None, "SHA256SUMS") else None
                if cut is not None:
                    data = data[: max(1, cut - self.moved)]
                sent = super().send(data)
                self.moved += sent
                if sent and self.cmd_channel is not None and self.file_obj is not None:
                    name = self._name()
                    outer.sent[name] = outer.sent.get(name, 0) + sent
                    if outer._during is not None:
                        outer._during(name, outer.sent[name])
                    if cut is not None and self.moved >= cut:
                        outer._cuts.pop(0)
                        self.is_cut = True
                        self.ioloop.call_later(0, self.cmd_channel.close)
                return sent

            def _name(self):
                return os.path.basename(self.file_obj.name) if self.file_obj is not None else None

        class Handler(control_base):
            authorizer = DummyAuthorizer()
            auth_failed_timeout = 0
            use_sendfile = False
            proto_cmds = {name: value for name, value in control_base.proto_cmds.items() if name not in lacks}
            dtp_handler = Data

            def pre_process_command(self, line, command, argument):
                outer.commands.append(f"{command} {argument}".strip())
                if outer._before is not None:
                    outer._before(command, argument)
                super().pre_process_command(line, command, argument)

            def log(self, *arguments, **keywords):
                pass

            logline = logerror = log_cmd = log_transfer = log

            def log_exception(self, instance):
                outer._errors.append(traceback.format_exc())

        Handler.authorizer.add_user("bob", PASSWORD, str(self.folder), perm="elr")
        return Handler


class Board:
    """A board whose flash is a folder, with the boot guard on it.

    `run` runs the body of `async def main()` on it, on MicroPython. When that has committed a release, the board is
    restarted: the guard swaps, the release is confirmed, and the way back is given up, so that what is on the flash can
    be compared whole.
    """

    def __init__(self, on_board):
        self._on_board = on_board
        self.root = on_board.folder / "board"
        self.root.mkdir()
        for name in GUARD:
            shutil.copy(SOURCES / name, self.root)

    def run(self, server, body="print(await make().update())", prelude="", heap="512k", settle=True, **changes):
        """Runs `body`, with `settings` for `server`; gives the lines that it printed."""
        lines = self._run(server, body, prelude, heap, changes)
        if settle and "committed" in self.state():
            self.restart(settle=True)
        return lines

    def restart(self, settle=False):
        """Switches the board off and on, up to where the application would run; `settle` then ends the trial well."""
        code = RESTART.format(root=str(self.root))
        self._on_board(code + (f"settle({str(self.root)!r})\n" if settle else ""))

    def is_on_trial(self):
        return any(name.startswith("trial") for name in self.state())

    def _run(self, server, body, prelude, heap, changes):
        settings = {
            "name": "app",
            "host": server.host,
            "port": server.port,
            "user": "bob",
            "password": PASSWORD,
            "restart": "none",
            "start_delay": 0,
            "retry_delay": 0.05,
            "timeout": 10,
            "stall": 10,
        }
        settings.update(changes)
        (self._on_board.folder / "otalink.json").write_text(json.dumps(settings))
        body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        result = self._on_board(textwrap.dedent(prelude) + PRELUDE.format(settings=settings, body=body), heap=heap)
        assert PASSWORD not in result.output
        assert "Traceback" not in result.output
        return result.lines

    def put(self, files):
        write(self.root, files)

    def files(self):
        """What is on the flash beside otalink's own records: content by path."""
        return {
            path: data
            for path, data in read(self.root).items()
            if path not in GUARD and not path.startswith(".otalink/")
        }

    def state(self):
        """The names in /.otalink, without the log."""
        folder = self.root / ".otalink"
        return sorted(set(os.listdir(folder)) - {"log", "log-1"}) if folder.exists() else []

    def installed(self):
        """What the record of the installed release says: (name, version, {path: (digest, size)})."""
        header = Header(BytesIO((self.root / ".otalink" / "installed").read_bytes()))
        return header.name, header.version, {path: (digest, size) for path, digest, size, *_ in header.files()}

    def install(self, server, **changes):
        """Updates from `server`, which must work."""
        lines = self.run(server, **changes)
        assert lines[-1] == "True", lines


def digest(data):
    return hashlib.sha256(data).hexdigest()


def write(folder, files):
    """Writes files (content by path), each by a rename, as a careful publisher does."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.parent / ".new"
        new.write_bytes(data)
        new.rename(target)


def read(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sums(files):
    return "".join(f"{digest(data)}  {path}\n" for path, data in sorted(files.items())).encode()


def publish(folder, files, *, with_sums=True):
    """Makes `folder` hold the release `files` and nothing else."""
    folder.mkdir(exist_ok=True)
    write(folder, files)
    if with_sums:
        write(folder, {"SHA256SUMS": sums(files)})
    for path in read(folder):
        if path not in files and not (with_sums and path == "SHA256SUMS"):
            (folder / path).unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
