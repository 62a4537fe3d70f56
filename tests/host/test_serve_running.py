"""`otalink serve` as a service: it ends in good order, takes changes over, runs in several processes, and can be asked
whether it serves. The real command in processes of its own.
"""

import contextlib
import ftplib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otalink_host.cli import main
from otalink_host.server import FtpServer
from otalink_host.settings import Account, Settings

OTALINK = Path(sys.executable).with_name("otalink")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Served:
    """A server that was started with `init`'s settings and `changes` to [server], and its output so far in a file."""

    def __init__(self, folder: Path, settings: str, more: str, extra: str) -> None:
        self.folder = folder
        assert main(["init", "--directory", str(folder)]) == 0
        self.config = folder / "otalink.toml"
        self.password = re.findall('"(.+)"', (folder / "otalink.secrets").read_text())[0]
        self.change(settings, more)
        (folder / "releases" / "thermostat_1.0.0.2.py").write_bytes(b"print('two')\n")
        # More than the buffers of both ends.
        (folder / "releases" / "big.bin").write_bytes(bytes(30_000_000))
        self._output = (folder / "output").open("w+")
        command = [str(OTALINK), "serve", "--config", str(self.config), "--address", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen([*command, *extra.split()], stdout=self._output, stderr=subprocess.STDOUT)
        wait_until(lambda: "Ctrl-C ends it." in self.output or '"start"' in self.output)
        self.port = int(re.findall(r"port (\d+)", self.output)[0])

    def change(self, settings: str, more: str = "") -> None:
        """Puts lines into [server], in the place of those that are there, and sections at the end."""
        text = self.config.read_text()
        for line in settings.splitlines():
            key = line.split(" = ")[0]
            text, count = re.subn(rf"^{key} = .*$", line, text, count=1, flags=re.MULTILINE)
            text = text if count else text.replace("[server]\n", f"[server]\n{line}\n")
        self.config.write_text(text + more)

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def session(self) -> ftplib.FTP:
        client = ftplib.FTP(timeout=10)
        try:
            client.connect("127.0.0.1", self.port)
            client.login("board", self.password)
        except ftplib.Error:
            client.close()
            raise
        return client

    def downloading(self) -> tuple[ftplib.FTP, socket.socket]:
        client = self.session()
        client.voidcmd("TYPE I")
        connection = client.transfercmd("RETR big.bin")
        assert connection.recv(1) == b"\0"
        return client, connection

    def workers(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in found.split()]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(settings: str = "", more: str = "", extra: str = "") -> Served:
        started.append(Served(tmp_path / "server", settings, more, extra))
        return started[-1]

    yield start
    for server in started:
        server.end()


def _greeted(server: Served) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            return client.recv(10) != b""
    except OSError:
        return False


def rest_of(connection: socket.socket) -> int:
    with connection, connection.makefile("rb") as stream:
        return len(stream.read())


# --- the end


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_is_ended_lets_transfers_finish(served: Callable[..., Served], workers: int) -> None:
    server = served(f"workers = {workers}")
    idle = server.session()
    client, connection = server.downloading()
    with idle, client:
        server.signal(signal.SIGTERM)
        assert idle.getline() == "421 The server is stopping. Try again later."
        # Nobody new comes in.
        wait_until(lambda: not _greeted(server))
        assert server.process.poll() is None
        assert rest_of(connection) == 29_999_999
        assert client.getline().startswith("226")
        assert client.getline().startswith("421")
        assert server.process.wait(10) == 0
        for each in (idle, client):
            each.close()
    assert server.output.endswith("Stopped.\n")
    assert "fetched /big.bin: 30000000 bytes" in server.output


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(served: Callable[..., Served], workers: int, number: int) -> None:
    server = served(f"workers = {workers}")
    client, connection = server.downloading()
    with connection:
        server.signal(number)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.signal(number)
        assert server.process.wait(10) == 0
        client.close()
    assert "fetched /big.bin" in server.output


def test_a_transfer_that_stands_still_is_not_waited_for_longer_than_was_said(served: Callable[..., Served]) -> None:
    server = served("stop_timeout = 1")
    client, connection = server.downloading()
    with connection:
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        client.close()


def test_a_terminal_that_is_closed_ends_it(tmp_path: Path) -> None:
    main(["init", "--directory", str(tmp_path)])
    command = [str(OTALINK), "serve", "--config", str(tmp_path / "otalink.toml"), "--port", "0"]
    process, terminal = pty.fork()
    if not process:
        os.execv(command[0], command)
    with open(terminal, "rb", buffering=0) as screen:
        seen = b""
        while b"Ctrl-C ends it." not in seen:
            seen += screen.read(1000)
        # SIGHUP alone has the settings read again, in a terminal, too.
        os.kill(process, signal.SIGHUP)
        while b"the settings were read again" not in seen:
            seen += screen.read(1000)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) >= 0


# --- changes


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_takes_changes_over_and_keeps_to_the_old_where_they_are_wrong(
    served: Callable[..., Served], workers: int
) -> None:
    server = served(f"workers = {workers}")
    with server.session() as old:
        text = server.config.read_text()
        server.config.write_text(text.replace("sessions = 250", "sessions = 0"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: "the settings stay as they were: " in server.output)
        assert re.search(r"otalink\.toml:\d+: sessions in \[server\] is 0; allowed: a whole", server.output)
        with server.session():
            pass
        server.config.write_text(text.replace("sessions = 250", "sessions = 2").replace("port = 2121", "port = 2122"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: "the settings were read again" in server.output)
        with server.session():
            wait_until(lambda: _is_refused(server))
        old.voidcmd("NOOP")
    # Said by one of them. The port was given on the command line, which goes on to count.
    assert server.output.count("the settings were read again") == 1
    assert "only a new start helps" not in server.output


def _is_refused(server: Served) -> bool:
    try:
        server.session().close()
    except ftplib.error_temp:
        return True
    return False


def test_what_only_a_new_start_can_change_is_said(served: Callable[..., Served]) -> None:
    server = served()
    server.change("workers = 2", '[log]\nformat = "json"\n')
    server.signal(signal.SIGHUP)
    wait_until(lambda: "where only a new start helps: workers, log_format" in server.output)
    with server.session():
        pass


# --- several processes


def test_several_processes_serve_and_share_the_limit_of_sessions(served: Callable[..., Served]) -> None:
    server = served("workers = 3\nsessions = 4")
    wait_until(lambda: len(server.workers()) == 3)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(server.session())
            assert "thermostat_1.0.0.2.py" in client.nlst()
        # Whoever takes the connection: all of them count.
        for _ in range(6):
            with pytest.raises(ftplib.error_temp, match="421"):
                server.session()


def test_a_process_that_dies_is_replaced(served: Callable[..., Served]) -> None:
    server = served("workers = 2")
    wait_until(lambda: len(server.workers()) == 2)
    first = server.workers()
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: "worker 1 ended by signal 9: it is started again" in server.output)
    wait_until(lambda: len(server.workers()) == 2)
    assert set(server.workers()) != set(first)
    for _ in range(6):
        with server.session() as client:
            assert "thermostat_1.0.0.2.py" in client.nlst()


def test_a_process_that_is_started_again_has_the_settings_of_the_others(served: Callable[..., Served]) -> None:
    server = served("workers = 2")
    wait_until(lambda: len(server.workers()) == 2)
    server.change("sessions_per_address = 1")
    server.signal(signal.SIGHUP)
    wait_until(lambda: "the settings were read again" in server.output)
    first = server.workers()
    for process in first:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: len(server.workers()) == 2 and not set(server.workers()) & set(first))
    # One in each process: sooner or later another one comes to the process that has it.
    with server.session():
        wait_until(lambda: _is_refused(server))


def test_without_the_first_process_the_others_end(served: Callable[..., Served]) -> None:
    server = served("workers = 2")
    wait_until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.process.kill()
    server.process.wait()

    def gone(process: int) -> bool:
        try:
            return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(lambda: all(gone(process) for process in workers))


def test_several_processes_have_passive_ports_and_a_share_of_the_bandwidth_of_their_own(tmp_path: Path) -> None:
    settings = Settings(
        (Account("board", tmp_path),), ("127.0.0.1",), 0, range(30900, 30905), workers=2, bandwidth_total=100
    )
    ports = []
    for worker in range(2):
        with FtpServer(settings, {}, worker=worker) as server:
            ports.append(list(server._handler.passive_ports))
            assert server._handler.throttle_total.rate == 50 * 1024
    assert ports == [[30900, 30902, 30904], [30901, 30903]]


# --- what is told


def test_the_log_as_json_is_an_object_a_line_and_nothing_else(served: Callable[..., Served]) -> None:
    server = served(more='[log]\nformat = "json"\n')
    with server.session() as client:
        client.retrbinary("RETR thermostat_1.0.0.2.py", lambda data: None)
        with contextlib.closing(ftplib.FTP(timeout=10)) as stranger:
            stranger.connect("127.0.0.1", server.port)
            stranger.sendcmd("AUTH TLS")
            stranger.sock.sendall(b"no TLS\r\n")
            wait_until(lambda: "tls_failed" in server.output)
    server.end()
    lines: list[dict[str, Any]] = [json.loads(line) for line in server.output.splitlines()]
    assert [line["event"] for line in lines] == ["start", "login", "fetch", "tls_failed", "stop"]
    fetch = lines[2]
    assert (fetch["account"], fetch["address"], fetch["path"], fetch["bytes"], fetch["outcome"]) == (
        *("board", "127.0.0.1", "/thermostat_1.0.0.2.py", 13, "ok"),
    )
    assert fetch["message"].startswith("board at 127.0.0.1 fetched /thermostat_1.0.0.2.py: 13 bytes in ")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
    assert [line["level"] for line in lines] == ["info", "info", "info", "warning", "info"]
    assert server.password not in server.output


# --- health


def health(server: Served, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    capsys.readouterr()
    arguments = ["health", "--config", str(server.config), "--address", "127.0.0.1", "--port", str(server.port)]
    status = main([*arguments, *options])
    return (status, *capsys.readouterr())


def test_health_is_asked_without_a_login(served: Callable[..., Served], capsys: pytest.CaptureFixture[str]) -> None:
    server = served("sessions_per_address = 1")
    answer = health(server, capsys)
    assert answer == (0, f"It serves on 127.0.0.1 port {server.port}: 220 otalink ready.\n", "")
    # A server that is full is well, too.
    with server.session():
        assert health(server, capsys)[0] == 0
    server.end()
    status, out, error = health(server, capsys)
    assert (status, out) == (1, "")
    assert error == f"otalink: 127.0.0.1 port {server.port} does not serve: Connection refused\n"


@pytest.mark.parametrize(("greeting", "said"), [(b"", "it broke the connection"), (b"+OK POP3\r\n", "+OK POP3")])
def test_health_of_something_else_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], greeting: bytes, said: str
) -> None:
    main(["init", "--directory", str(tmp_path)])
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        port = other.getsockname()[1]
        capsys.readouterr()
        arguments = ["--config", str(tmp_path / "otalink.toml"), "--address", "127.0.0.1", "--port", str(port)]
        assert main(["health", *arguments]) == 1
        thread.join()
    assert capsys.readouterr().err == f"otalink: 127.0.0.1 port {port} does not serve: {said}\n"


# --- systemd


def test_the_unit_names_this_command_this_server_and_no_rights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my server %i"
    main(["init", "--directory", str(folder)])
    capsys.readouterr()
    assert main(["serve", "--config", str(folder / "otalink.toml"), "--systemd"]) == 0
    unit = capsys.readouterr().out
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    escaped = str(folder).replace("%", "%%")
    assert lines["ExecStart"].endswith(f' serve --config "{escaped}/otalink.toml"')
    assert lines["ReadWritePaths"] == f'"{escaped}"'
    assert lines["User"] != "root"
    assert (lines["CapabilityBoundingSet"], lines["NoNewPrivileges"], lines["ProtectSystem"]) == ("", "yes", "strict")
    assert int(lines["TimeoutStopSec"]) > 30
