"""`otalink serve` in a process of its own, with secrets beside what it serves, and clients that keep to no rule.

A secret's content, its size and the name of a file beside it are such as no client ever says: where one of them is in
what the server sent, somebody got out of the folder.
"""

import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from otalink_host.cli import main
from otalink_host.passwords import hash_password

OTALINK = Path(sys.executable).with_name("otalink")
SECRET = b"c4n4ry-that-nobody-may-read\n" * 2777
LEAKS = (b"c4n4ry", b"77756", b"kestrel")
CONTENT = {"thermostat_1.0.0.2.py": b"print('two')\n", "lib/sensor.py": b"sensor\n" * 1000}


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fill(folder: Path) -> None:
    """Puts releases into `folder`, links that lead out of it, and secrets beside it."""
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    beside = folder.parent / "beside"
    beside.mkdir()
    (beside / "kestrel").write_bytes(SECRET)
    (folder.parent / "secret").write_bytes(SECRET)
    (folder.parent / f"{folder.name}-private").mkdir()
    (folder.parent / f"{folder.name}-private" / "secret").write_bytes(SECRET)
    (folder / "file-out").symlink_to("../secret")
    (folder / "folder-out").symlink_to("..")
    (folder / "absolute-out").symlink_to(beside)
    (folder / "chain-3").symlink_to("../secret")
    (folder / "chain-2").symlink_to("chain-3")
    (folder / "chain-1").symlink_to("lib/../chain-2")
    (folder / "lib" / "private-out").symlink_to(f"../../{folder.name}-private")
    (folder / "dangling").symlink_to("../nothing")
    (folder / "loop").symlink_to("loop")


def fill_published(folder: Path) -> None:
    """Makes a publisher's folder, beside the secrets that `fill` made, with links that lead out of it."""
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "sensor.py").write_bytes(CONTENT["lib/sensor.py"])
    (folder / "file-out").symlink_to("../secret")
    (folder / "folder-out").symlink_to("..")
    (folder / "absolute-out").symlink_to(folder.parent / "beside")
    (folder / "chain-1").symlink_to("file-out")
    (folder / "dangling").symlink_to("../nothing")
    (folder / "loop").symlink_to("loop")


def outside(folder: Path, ignored: tuple[str, ...] = ()) -> dict[str, object]:
    """What lies beside the folder that is served: of each path its mode, and its content or where it leads."""
    found: dict[str, object] = {}
    for top, folders, files in os.walk(folder.parent):
        if Path(top) == folder.parent:
            folders[:] = [name for name in folders if name not in (folder.name, *ignored)]
        for name in (*folders, *files):
            path = Path(top) / name
            if path.parent == folder.parent and name in ignored:
                continue
            mode = path.lstat().st_mode
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[path.relative_to(folder.parent).as_posix()] = (mode, content)
    return found


class Attacked:
    """The server, made by `otalink init` in `folder`, with these lines put into [server], and others at the end."""

    def __init__(self, folder: Path, server: str = "", more: str = "") -> None:
        self.folder = folder / "server"
        self.releases, self.published = self.folder / "releases", self.folder / "published"
        assert main(["init", "--directory", str(self.folder)]) == 0
        self.password = re.findall('"(.+)"', (self.folder / "otalink.secrets").read_text())[0]
        # Every account has the same password.
        names = ["board", *re.findall(r'name = "(.+)"', more)]
        lines = [f'{name} = "{hash_password(self.password)}"' for name in names]
        (self.folder / "otalink.hashes").write_text("\n".join(["[hash]", *lines, ""]))
        config = self.folder / "otalink.toml"
        text = config.read_text()
        for line in server.splitlines():
            key = line.split(" = ")[0]
            text, count = re.subn(rf"^{key} = .*$", line, text, count=1, flags=re.MULTILINE)
            text = text if count else text.replace("[server]\n", f"[server]\n{line}\n")
        config.write_text(text + more)
        fill(self.releases)
        fill_published(self.published)
        (self.releases / "big.bin").write_bytes(bytes(20_000_000))
        self._checked = 0
        self._output = (folder / "output").open("w+b")
        command = [OTALINK, "serve", "--config", config, "--address", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=self._output, stderr=subprocess.STDOUT)
        wait_until(lambda: "Ctrl-C ends it." in self.output or self.process.poll() is not None)
        output = self.output
        found = re.search(r"port (\d+)", output)
        if found is None:
            self._output.close()
            raise AssertionError(output)
        self.port = int(found[1])
        # How many descriptors it has while nobody is there.
        self.idle = self.descriptors

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return os.pread(self._output.fileno(), 100_000_000, 0).decode("utf-8", "replace")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self) -> int:
        """The memory that the process has in RAM, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    def peak(self) -> int:
        """The most memory that it ever had in RAM, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    def check(self) -> None:
        """It is up, no fault of its own was logged, and a board is served."""
        assert self.process.poll() is None, self.output[-2000:]
        # What was told before is not told again.
        new, self._checked = self.output[self._checked :], len(self.output)
        assert "fault of the server" not in new, new[-4000:]
        assert "Traceback" not in new, new[-4000:]
        with self.session() as board:
            assert board.fetch("lib/sensor.py") == CONTENT["lib/sensor.py"]

    def session(self, user: str | None = "board") -> "Raw":
        """A session; logged in, unless `user` is None."""
        session = Raw(self.port)
        if user is not None:
            session.log_in(user, self.password)
        return session

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()


class Raw:
    """A client that sends any bytes, and keeps everything that came back in `received`."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.received = b""
        self._ahead = b""
        self._data: socket.socket | None = None
        self.reply()

    def log_in(self, user: str, password: str) -> None:
        self.say(f"USER {user}")
        assert self.say(f"PASS {password}").startswith(b"230")
        self.say("TYPE I")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line of a reply; b"" at the end."""
        while b"\n" not in self._ahead:
            try:
                piece = self.sock.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                return b""
            self.received += piece
            self._ahead += piece
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line

    def reply(self) -> bytes:
        """The last line of the next reply; b"" at the end."""
        while True:
            line = self.line()
            if not line or re.match(rb"\d{3} ", line):
                return line

    def say(self, command: "str | bytes") -> bytes:
        self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def passive(self) -> socket.socket:
        """A data connection."""
        if self._data is None:
            port = int(re.findall(rb"\|(\d+)\|", self.say("EPSV"))[0])
            self._data = socket.create_connection(("127.0.0.1", port), timeout=20)
        return self._data

    def ask(self, command: "str | bytes", content: bytes | None = None) -> tuple[bytes, bytes]:
        """(the last reply to a command that may have a data connection, what came over that one).

        The `content` is sent if the command takes it.
        """
        data = self.passive()
        reply = self.say(command)
        got = b""
        if reply[:1] == b"1":
            self._data = None
            with data:
                if content is None:
                    while piece := data.recv(65536):
                        got += piece
                else:
                    with contextlib.suppress(OSError):
                        data.sendall(content)
            reply = self.reply()
            self.received += got
        return reply, got

    def fetch(self, path: str) -> bytes:
        reply, got = self.ask(f"RETR {path}")
        assert reply.startswith(b"226"), reply
        return got

    def leaks(self) -> list[bytes]:
        return [leak for leak in LEAKS if leak in self.received]

    def reset(self) -> None:
        """Goes as a machine that was switched off and on again: everything is reset."""
        for each in (self.sock, self._data):
            if each is not None:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.sock.close()
        if self._data is not None:
            self._data.close()
            self._data = None

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
