"""docs/tutorial.md is true: its commands are run as they stand there, and their output is as it says."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
DEFAULT_PORT = "2121"
LINK_PORT = "3377"
PATIENCE = 30.0


@dataclass(frozen=True)
class Step:
    """A command (None: what a terminal goes on to print) and the output that the tutorial gives it; or a line that is
    `typed` into an open terminal."""

    terminal: str
    command: str | None
    output: str
    line: int
    typed: str = ""


def steps(text: str) -> Iterator[Step]:
    """The steps in the blocks that begin with ```console, or ```console TERMINAL for one that stays open."""
    for block in re.finditer(r"^```console ?(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        terminal, body = block.group(1), block.group(2)
        line = text.count("\n", 0, block.start()) + 2
        # A here document belongs to its command.
        parts = re.split(r"^\$ (.*<<'END'\n(?:.*\n)*?END|.*)\n", body, flags=re.MULTILINE)
        if parts[0].startswith("> "):
            typed, _, output = parts[0][2:].partition("\n")
            yield Step(terminal, None, output, line, typed)
        elif parts[0]:
            yield Step(terminal, None, parts[0], line)
        for command, output in zip(parts[1::2], parts[2::2], strict=True):
            yield Step(terminal, command, output, line)


def pattern_of(output: str) -> "re.Pattern[str]":
    """`…` on a line of its own is any number of lines; elsewhere, anything within a line."""
    lines = [r"(?:.*\n)*?" if line == "…\n" else re.escape(line).replace("…", ".*") for line in output.splitlines(True)]
    return re.compile("".join(lines))


class Terminal:
    """A terminal whose command runs on, as a server's does."""

    def __init__(self, command: str, folder: Path, log: Path) -> None:
        self._log = log
        self._seen = 0
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def expect(self, step: Step) -> None:
        pattern = pattern_of(step.output)
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self._log.read_text(errors="replace").replace("\r", "")[self._seen :]
            match = pattern.match(text)
            if match:
                self._seen += match.end()
                return
            assert time.monotonic() < deadline, f"tutorial.md line {step.line}: {step.output!r} is not in {text!r}"
            time.sleep(0.05)

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE)
        assert self._process.stdin is not None
        self._process.stdin.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def terminals() -> Iterator[dict[str, Terminal]]:
    opened: dict[str, Terminal] = {}
    yield opened
    for terminal in opened.values():
        terminal.end()


def test_the_tutorials_commands_print_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminals: dict[str, Terminal]
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "tutorial"
    folder.mkdir()
    port, link = str(free_port()), str(free_port())
    count = 0
    text = TUTORIAL.read_text(encoding="utf-8").replace(DEFAULT_PORT, port)
    # The tutorial's ports may be in use on the machine that runs the tests.
    text = text.replace(LINK_PORT, link)
    text = re.sub(r"^(\$ otalink peer .*)$", rf"\1 --port {link}", text, flags=re.MULTILINE)
    text = re.sub(r"^(\$ otalink flash .* --device shop-1)$", rf"\1 --link 127.0.0.1:{link}", text, flags=re.MULTILINE)
    for step in steps(text):
        count += 1
        if step.terminal:
            if step.typed:
                terminals[step.terminal].type(step.typed)
            if step.command is not None:
                terminals[step.terminal] = Terminal(step.command, folder, tmp_path / f"{step.terminal}.log")
            terminals[step.terminal].expect(step)
            continue
        assert step.command is not None
        completed = subprocess.run(
            ["bash", "-c", step.command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        printed = completed.stdout.replace("\r", "")
        assert pattern_of(step.output).fullmatch(printed), f"tutorial.md line {step.line}: {printed!r}"
        if step.command == "otalink init":
            settings = folder / "otalink.toml"
            settings.write_text(settings.read_text().replace(DEFAULT_PORT, port))
        assert (completed.returncode == 0) == (not printed.startswith("otalink: ")), printed
    assert count > 12
