"""A virtual board for each test that asks for one. What it leaves behind fails the test (tests/conftest.py)."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

sys.path.insert(0, str(Path(__file__).parent))  # for flashed

from flashed import MAIN, PASSWORD


@pytest.fixture
def main() -> str:
    """The main.py of most releases."""
    return MAIN


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    """A board with an empty flash, powered on."""
    with VirtualBoard(tmp_path / "board") as board:
        yield board


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def server(served: Path) -> Iterator[FtpServer]:
    settings = Settings(accounts=(Account("board", served, "/test"),), passive_ports=None)
    with BackgroundServer(settings, {"board": PASSWORD}) as running:
        yield running


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a release: `release("1.0.0.2", greeting="hello", **{"name.bin": content})`."""

    def make(version: str, greeting: str, main: str = MAIN, **files: bytes) -> Path:
        folder = tmp_path / f"release-{version}-{greeting}"
        folder.mkdir()
        (folder / "main.py").write_text(main)
        (folder / f"thermostat_{version}.py").write_text(f"GREETING = {greeting!r}\n")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return make
