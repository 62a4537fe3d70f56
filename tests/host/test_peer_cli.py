"""`otalink peer` and `otalink fleet`, as they are typed: what they print, and how they end."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from otalink.frame import FrameDecoder, encode_frame
from otalink.message import format_message, parse_message
from otalink.secret import prove_board
from otalink_host.cli import main

OTALINK = Path(sys.executable).with_name("otalink")


class Running:
    """The real command in a process of its own; what it printed is read as it comes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.printed = ""

    def until(self, pattern: str) -> "re.Match[str]":
        """Reads lines until one has the pattern."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"{pattern} did not come: {self.printed}")

    @property
    def port(self) -> int:
        return int(self.until(r"^Listening on .*, port (\d+)")[1])

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, how: signal.Signals | None = None, timeout: float = 20) -> int:
        """Ends it, and returns its exit status."""
        if how is not None:
            self.process.send_signal(how)
        out, error = self.process.communicate(timeout=timeout)
        self.printed += out
        self.error = error
        return self.process.returncode


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts the real command, which is ended after the test."""
    with contextlib.ExitStack() as stack:

        def process(*arguments: str, stdin: "int | IO[str]" = subprocess.PIPE) -> Running:
            started = subprocess.Popen(
                [OTALINK, *arguments],
                cwd=tmp_path,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env={**os.environ, "PYTHONUTF8": "1"},
            )
            stack.enter_context(started)
            stack.callback(started.kill)
            return Running(started)

        yield process


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


class Device:
    """A client that speaks frames, without asyncio."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self._decoder = FrameDecoder(500_000)

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def address(self) -> str:
        return "{}:{}".format(*self.socket.getsockname())

    def send(self, text: str) -> None:
        self.socket.sendall(encode_frame(text))

    def text(self) -> str:
        while (text := self._decoder.next_text()) is None:
            count = self.socket.recv_into(self._decoder.space())
            assert count, "it was disconnected"
            self._decoder.received(count)
        return text

    def message(self) -> tuple[str, dict[str, object]]:
        return parse_message(self.text())


def serving(start: Callable[..., Running], *arguments: str, **more: "int | IO[str]") -> tuple[Running, int]:
    running = start("peer", "--address", "127.0.0.1", "--port", "0", *arguments, **more)
    port = running.port
    running.until("Ctrl-C ends it")
    return running, port


def one_line(error: str) -> str:
    assert error.startswith("otalink: ")
    assert error.count("\n") == 1
    return error.strip()


# --- the server


def test_what_comes_is_shown_answered_and_recorded(start, tmp_path: Path) -> None:
    peer, port = serving(start, "--answer", "thank you", "--record", "received.txt")
    with Device(port) as device:
        device.send("21.5")
        assert device.text() == "thank you"
        peer.until(rf"^\d\d:\d\d:\d\d {device.address} > 21\.5$")
        device.socket.sendall("@00003A80D6516ABCDEFGHIJ;".encode("utf-16-le"))
        peer.until(f"{device.address} sent a fault: wrong length")
        assert (tmp_path / "received.txt").read_text() == "21.5\n\n"
    peer.until(r"disconnected: the other end closed it; 1 frame in, 1 out, 1 wrong length")
    assert peer.end(signal.SIGINT) == 0
    assert re.search(r"^127\.0\.0\.1 +1 +1 +1 +0 +1 wrong length", peer.printed, re.MULTILINE)
    assert peer.printed.endswith("Ended. 1 frame in, 1 out, 1 wrong length.\n")
    assert peer.error == ""


def test_commands_are_taken_from_the_input(start) -> None:
    peer, port = serving(start)
    with Device(port) as one, Device(port) as two:
        for _ in range(2):
            peer.until("connected$")
        peer.type(f"send {one.address} for one @;")
        assert one.text() == "for one @;"
        peer.type("broadcast for all")
        assert one.text() == two.text() == "for all"
        peer.type("send 127.0.0.1 for the machine")
        peer.until("^Sent to 2 clients")
        peer.type("clients")
        peer.until(rf"^{one.address} ")
        for line, said in (
            ("send 192.0.2.1 x", "^otalink: nobody is connected as 192.0.2.1"),
            ("send", "^otalink: give it as: send WHO TEXT"),
            (
                "broadcast " + "x" * 100_000,
                "^otalink: the payload has 100000 characters, a frame carries at most 99999",
            ),
            ("ask board-1 check", "^otalink: board-1 is not connected"),
            ("ask board-1 dance", r"^otalink: give it as: ask BOARD check\|report\|restart"),
            ("fleet", "^otalink: no fleet is kept: begin with --fleet FILE"),
            ("reload", "^otalink: there are no secrets"),
            ("dance", "^otalink: there is no command dance: help lists them"),
            ("help", "^broadcast TEXT"),
        ):
            peer.type(line)
            peer.until(said)
        peer.type("quit")
        assert peer.end() == 0


def test_without_an_input_it_serves_on(start) -> None:
    peer, port = serving(start, "--echo", "--quiet", stdin=subprocess.DEVNULL)
    with Device(port) as device:
        device.send("still there")
        assert device.text() == "still there"
    peer.until("disconnected")
    assert peer.end(signal.SIGTERM) == 0
    assert " > " not in peer.printed


def test_a_board_is_verified_listed_and_asked(start, run, tmp_path: Path) -> None:
    secrets = tmp_path / "boards.secrets"
    secrets.touch(0o600)
    secrets.write_text('[board]\nboard-1 = "correct-horse-battery"\n')
    peer, port = serving(start, "--fleet", "fleet.db", "--secrets", "boards.secrets", "--record", "all.jsonl")
    with Device(port) as board, Device(port) as thief:
        challenge = "c" * 32
        hello = format_message(
            "hello", board="board-1", challenge=challenge, name="thermostat", version="1.0.0.2", state="confirmed"
        )
        board.send(hello)
        kind, welcome = board.message()
        assert kind == "welcome"
        mac = prove_board("correct-horse-battery", "board-1", str(welcome["challenge"]), challenge)
        board.send(format_message("proof", mac=mac))
        peer.until(f"{board.address} is board-1 \\(verified\\): thermostat 1.0.0.2, confirmed")
        thief.send(hello)
        thief.message()
        thief.send(format_message("proof", mac=mac))
        peer.until(f"{thief.address} says that it is board-1, and cannot prove it")
        board.send(format_message("report", event="download", percent=40))
        peer.until(r"board-1 at .* reports: download 40 %")
        peer.type("ask board-1 check")
        kind, ask = board.message()
        assert (kind, ask["what"]) == ("ask", "check")
        board.send(format_message("answer", id=ask["id"], done=False, text="an update is on"))
        peer.until(r"^board-1 was asked to check: it does not \(an update is on\)")
        peer.type("fleet")
        peer.until(r"^board-1 +thermostat +1\.0\.0\.2 +confirmed +download 40 %, ")
        # While it runs, another process lists the fleet.
        status, out, error = run("fleet", "fleet.db")
        assert (status, error) == (0, "")
        assert re.search(r"^board-1 .* yes *$", out, re.MULTILINE)
        listed = json.loads(run("fleet", "fleet.db", "--json")[1])
        assert [entry["version"] for entry in listed] == ["1.0.0.2"]
    assert peer.end(signal.SIGKILL) == -signal.SIGKILL
    assert run("fleet", "fleet.db")[1] == out
    assert run("fleet", "fleet.db", "--forget", "board-1")[:2] == (0, "Forgot board-1.\n")
    assert "knows no board board-1" in one_line(run("fleet", "fleet.db", "--forget", "board-1")[2])
    assert run("fleet", "fleet.db")[1] == "No board in fleet.db yet: one comes in when it says hello.\n"
    everything = peer.printed + (tmp_path / "all.jsonl").read_text() + (tmp_path / "fleet.db").read_bytes().hex()
    assert "correct-horse-battery" not in everything
    assert b"correct-horse-battery".hex() not in everything


@pytest.mark.skipif(os.name != "posix", reason="a terminal of Unix")
def test_on_a_terminal_there_is_a_table_and_a_line_to_type(tmp_path: Path) -> None:
    import pty
    import termios

    outer, inner = pty.openpty()
    before = termios.tcgetattr(inner)
    shown = ""

    def until(pattern: str) -> "re.Match[str]":
        nonlocal shown
        deadline = time.monotonic() + 10
        while not (found := re.search(pattern, shown)):
            assert time.monotonic() < deadline, shown
            shown += os.read(outer, 65536).decode()
        return found

    try:
        with subprocess.Popen(
            [OTALINK, "peer", "--address", "127.0.0.1", "--port", "0", "--echo"],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "24"},
            start_new_session=True,
        ) as process:
            try:
                port = int(until(r"port (\d+)")[1])
                until("0 of 30 clients")
                with Device(port) as device:
                    device.send("21.5")
                    assert device.text() == "21.5"
                    until(rf"{device.address} > 21\.5")
                    until("1 of 30 clients")
                    os.write(outer, b"broadcasx\x7ft hi\xc3\xa9")
                    until("> broadcast hié")
                    os.write(outer, b"\x1b[A\n")
                    os.write(outer, b"\n")
                    assert device.text() == "hié"
                until("0 of 30 clients")
                os.write(outer, b"quit\n")
                until("Ended. 1 frame in, 2 out")
                assert process.wait(10) == 0
            finally:
                process.kill()
        # The terminal is as it was.
        assert termios.tcgetattr(inner) == before
    finally:
        os.close(inner)
        os.close(outer)


# --- the client


def test_a_pc_stands_in_for_a_board(start) -> None:
    peer, port = serving(start, "--echo")
    client = start("peer", "--connect", f"127.0.0.1:{port}", "--wait", "0.3", "--record", "both.txt")
    out, error = client.process.communicate("21.5\n\né😀 @;", timeout=20)
    assert (client.process.returncode, out) == (0, "21.5\n\né😀 @;\n")
    assert error.endswith("Ended. 3 frames in, 3 out.\n")
    peer.until("disconnected")


def test_what_comes_is_piped_on_as_it_came(start) -> None:
    texts = ["a\tb", "bell\x07", "cr\rx", "\x1b[31mred", "é→[bold]", "x" * 5_000]
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = start("peer", "--connect", f"127.0.0.1:{server.getsockname()[1]}")
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"".join(encode_frame(text) for text in texts) + b"garbage")
    client.process.wait(10)
    assert client.process.stdout is not None
    assert client.process.stdout.buffer.read() == "".join(text + "\n" for text in texts).encode()
    assert client.process.stderr is not None
    assert "A fault came: no frame\n" in client.process.stderr.read()


@pytest.mark.skipif(os.name != "posix", reason="a terminal of Unix")
def test_a_terminal_gets_no_escape_sequences_whatever_is_said_of_it(tmp_path: Path) -> None:
    import pty

    outer, inner = pty.openpty()
    shown = b""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            subprocess.Popen(
                [OTALINK, "peer", "--connect", f"127.0.0.1:{server.getsockname()[1]}"],
                stdin=subprocess.DEVNULL,
                stdout=inner,
                stderr=inner,
                cwd=tmp_path,
                env={**os.environ, "TTY_COMPATIBLE": "0", "TERM": "dumb"},
            ) as process,
        ):
            connection, _ = server.accept()
            with connection:
                connection.sendall(encode_frame("\x1b[31mred\x07"))
            while b"red" not in shown:
                shown += os.read(outer, 65536)
            assert process.wait(10) == 0
        assert b"\\x1b[31mred\\x07" in shown
        assert b"\x1b" not in shown
    finally:
        os.close(inner)
        os.close(outer)


def test_a_client_sees_the_other_end_go(start) -> None:
    peer, port = serving(start)
    client = start("peer", "--connect", f"127.0.0.1:{port}")
    peer.until("connected$")
    peer.type("broadcast last words")
    client.until("^last words")
    peer.type("quit")
    assert client.end() == 0
    assert "Disconnected: the other end closed it." in client.error


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_client_is_ended_by_a_signal(start, how: signal.Signals) -> None:
    peer, port = serving(start)
    client = start("peer", "--connect", f"127.0.0.1:{port}", "--echo")
    peer.until("connected$")
    peer.type("broadcast there?")
    peer.until("> there\\?")
    assert client.end(how) == 0
    assert client.error.endswith("Ended. 1 frame in, 1 out.\n")


def test_a_line_that_is_too_long_ends_the_client_with_one_line(start) -> None:
    peer, port = serving(start)
    client = start("peer", "--connect", f"127.0.0.1:{port}")
    client.type("x" * 100_000)
    assert client.end() == 1
    assert client.error.splitlines()[-1] == (
        "otalink: the payload has 100000 characters, a frame carries at most 99999: send it in parts"
    )
    peer.until("disconnected")


# --- the soak


def test_two_peers_soak_each_other(start) -> None:
    peer, port = serving(start, "--soak", "300", "--interval", "1")
    client = start("peer", "--connect", f"127.0.0.1:{port}", "--soak", "300", "--interval", "1")
    assert client.end() == 0
    assert client.printed.endswith("sent 300, received 300 good: equal\n")
    assert peer.end() == 0
    assert peer.printed.endswith("sent 300, received 300 good: equal\n")


def test_a_soak_that_loses_a_frame_fails(start) -> None:
    peer, port = serving(start, "--soak", "20", "--interval", "1", "--size", "40")
    with Device(port) as device:
        for _ in range(20):
            text = device.text()
            if " 7 of " not in text:
                device.send(text)
        assert peer.end() == 1
        assert peer.printed.endswith(f"{device.address}: sent 20, received 19 good: DIFFERS: 1 missing\n")


def test_a_soak_to_which_nobody_comes_fails_when_it_is_ended(start) -> None:
    peer, _ = serving(start, "--soak", "20")
    assert peer.end(signal.SIGINT) == 1
    assert peer.printed.endswith("Nobody connected: nothing was compared.\n")


# --- one line each


def test_a_second_server_is_one_line(start, run) -> None:
    _, port = serving(start)
    status, _, error = run("peer", "--address", "127.0.0.1", "--port", str(port))
    assert status == 1
    assert f"port {port} is in use" in one_line(error)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--address", "192.0.2.1"), "192.0.2.1 is no address of this machine"),
        (("--connect", "127.0.0.1:1"), "127.0.0.1 port 1 refuses the connection"),
        (("--connect", "no-such-host.invalid"), "there is no host no-such-host.invalid"),
        (("--connect", "a..b"), "there is no host a..b: check the name"),
        (("--connect", "x" * 64 + ".local"), "there is no host " + "x" * 64 + ".local: check the name"),
        (("--answer", "x" * 100_000), "--answer: the payload has 100000 characters"),
        (("--strict", "--answer", "a;b"), "the payload holds @ or ;"),
        (("--soak", "5", "--size", "100000"), "a soak's frames carry 32 to 99,999 characters, not 100,000"),
        (("--soak", "5", "--size", "5"), "a soak's frames carry 32"),
        (("--secrets", "none"), "there is no none: make it, readable by you alone"),
        (("--secrets", "."), ". cannot be read"),
        (("--fleet", "no/fleet.db"), "no/fleet.db cannot be opened"),
        (("--record", "no/file"), "no/file cannot be recorded to"),
        (("--cert", "none", "--key", "none"), "none cannot be read (No such file or directory)"),
        (("--connect", "127.0.0.1", "--ca", "none"), "none cannot be read"),
    ],
)
def test_a_mistake_is_one_line(run, arguments: tuple[str, ...], said: str) -> None:
    status, _, error = run("peer", *arguments)
    assert status == 1
    assert said in one_line(error)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ('[board]\nboard-1 = "correct-horse-battery"\n', 0o644, "can be read by others: chmod 600"),
        ("board-1 = correct-horse-battery", 0o600, "this is not TOML"),
        ('[password]\nboard-1 = "correct-horse-battery"\n', 0o600, "it must hold one section, [board]"),
        ('[board]\nboard-1 = "correct"\n', 0o600, "the secret of board-1 must be text of 8 to 128"),
        ('[board]\n"a\\nb" = "correct-horse-battery"\n', 0o600, "a board's name must be 1 to 64 printable"),
    ],
)
def test_a_wrong_secrets_file_is_one_line_without_the_secret(
    run, tmp_path: Path, content: str, mode: int, said: str
) -> None:
    path = tmp_path / "boards.secrets"
    path.write_text(content)
    path.chmod(mode)
    status, _, error = run("peer", "--secrets", str(path))
    assert status == 1
    assert said in one_line(error)
    assert "correct" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--profile", "utf-7"),
        ("--limit", "99999999999"),
        ("--address", "here"),
        ("--connect", "host:port"),
        ("--connect", ":3377"),
        ("--connect", "host", "--fleet", "f.db"),
        ("--connect", "host", "--cert", "c", "--key", "k"),
        ("--echo", "--answer", "x"),
        ("--soak", "5", "--echo"),
        ("--expect", "5"),
        ("--json",),
        ("--cert", "c"),
        ("--tls",),
        ("--wait", "1"),
        ("--clients", "0"),
        ("--soak", "0"),
    ],
)
def test_a_wrong_command_line_is_said_with_status_2(run, arguments: tuple[str, ...]) -> None:
    status, _, error = run("peer", *arguments)
    assert status == 2
    assert "Error" in error


def test_a_fleets_file_that_is_none_is_one_line(run, tmp_path: Path) -> None:
    assert "there is no fleet.db: otalink peer --fleet fleet.db makes it" in one_line(run("fleet", "fleet.db")[2])
    (tmp_path / "fleet.db").write_text("something else, and long enough to be looked at" * 100)
    assert "is no fleet's database" in one_line(run("fleet", "fleet.db")[2])
    assert "is no fleet's database" in one_line(run("peer", "--port", "0", "--fleet", "fleet.db")[2])


def test_help_has_an_example(run) -> None:
    for command in ("peer", "fleet"):
        status, out, _ = run(command, "--help")
        assert status == 0
        assert f"Example: otalink {command}" in out


# --- the documentation


def test_the_program_in_the_documentation_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "peer.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {"__name__": "documentation"}
    exec(compile(program, "docs/peer.md", "exec"), names)

    async def try_it() -> None:
        from otalink_host.peer import Peer
        from otalink_host.peer_client import PeerClient

        handler = names["Thermostats"]()  # type: ignore[operator]
        async with Peer(handler, address="127.0.0.1", port=0) as peer, PeerClient("127.0.0.1", peer.port) as link:
            link.send("31.5")
            assert await asyncio.wait_for(anext(link), 5) == "fan on"

    asyncio.run(try_it())
