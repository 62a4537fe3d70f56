"""docs/tutorial.md and docs/first-board.md are true: what they tell to type is run, and prints what they say.

The board is a virtual one, and the ports are free ones: that is all that is changed.
"""

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

DOCS = Path(__file__).parents[2] / "docs"
DEFAULT_PORT = "2121"
LINK_PORT = "3377"
PATIENCE = 30.0


@dataclass(frozen=True)
class Step:
    """A command (None: what a terminal goes on to print) and the output that the page gives it; or a line that is
    `typed` into an open terminal; or a `file` that is to hold `output`."""

    terminal: str
    command: str | None
    output: str
    place: str
    typed: str = ""
    file: str = ""


def steps(text: str, page: str) -> Iterator[Step]:
    """The steps in the blocks that begin with ```console, or ```console TERMINAL for one that stays open, and the files
    in those that begin with ```python FILE."""
    for block in re.finditer(r"^```(console ?|python (?=\S))(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        kind, terminal, body = block.groups()
        line = f"{page} line {text.count(chr(10), 0, block.start()) + 2}"
        if kind == "python ":
            yield Step("", None, body, line, file=terminal)
            continue
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
            assert time.monotonic() < deadline, f"{step.place}: {step.output!r} is not in {text!r}"
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, in which otalink's commands and those that come with it are found."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    made = tmp_path / "folder"
    made.mkdir()
    return made


def run(
    text: str, page: str, folder: Path, terminals: dict[str, Terminal], settings: tuple[tuple[str, str], ...]
) -> int:
    """Does what stands in `text`; `settings` are changes to otalink.toml as it is made. Gives the number of steps."""
    count = 0
    for step in steps(text, page):
        count += 1
        if step.file:
            (folder / step.file).parent.mkdir(exist_ok=True)
            (folder / step.file).write_text(step.output)
            continue
        if step.terminal:
            if step.typed:
                terminals[step.terminal].type(step.typed)
            if step.command is not None:
                terminals[step.terminal] = Terminal(step.command, folder, folder.with_name(f"{step.terminal}.log"))
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
        # Tables fill their lines with spaces.
        trimmed = re.sub(" +$", "", printed, flags=re.MULTILINE)
        pattern = pattern_of(step.output)
        assert pattern.fullmatch(printed) or pattern.fullmatch(trimmed), f"{step.place}: {printed!r}"
        if step.command == "otalink init":
            config = folder / "otalink.toml"
            made = config.read_text()
            for old, new in settings:
                made = made.replace(old, new)
            config.write_text(made)
        assert (completed.returncode == 0) == (not printed.startswith("otalink: ")), printed
    return count


def test_the_tutorials_commands_print_what_it_says(folder: Path, terminals: dict[str, Terminal]) -> None:
    port, link = str(free_port()), str(free_port())
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8").replace(DEFAULT_PORT, port)
    # The tutorial's ports may be in use on the machine that runs the tests.
    text = text.replace(LINK_PORT, link)
    text = re.sub(r"^(\$ otalink peer .*)$", rf"\1 --port {link}", text, flags=re.MULTILINE)
    text = re.sub(r"^(\$ otalink flash .* --device shop-1)$", rf"\1 --link 127.0.0.1:{link}", text, flags=re.MULTILINE)
    assert run(text, "tutorial.md", folder, terminals, ((DEFAULT_PORT, port),)) > 12


def test_the_first_boards_commands_print_what_its_page_says(
    folder: Path, terminals: dict[str, Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(free_port())
    text = (DOCS / "first-board.md").read_text(encoding="utf-8").replace(DEFAULT_PORT, port)
    # The reader's board is the one that is connected by USB, and the reader types the network's password.
    monkeypatch.setenv("OTALINK_WIFI_PASSWORD", "open sesame")
    text = re.sub(r"^(\$ otalink (?:flash|status) ?.*)$", r"\1 --port board/tty", text, flags=re.MULTILINE)
    terminals["board"] = Terminal("otalink vboard board --console", folder, folder.with_name("board.log"))
    settings = ((DEFAULT_PORT, port), ('address = "0.0.0.0"', 'address = "127.0.0.1"'))
    assert run(text, "first-board.md", folder, terminals, settings) > 12
