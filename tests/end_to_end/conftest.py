"""A virtual board for each test that asks for one. What it leaves behind fails the test (tests/conftest.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from otalink_host.vboard import VirtualBoard


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    """A board with an empty flash, powered on."""
    with VirtualBoard(tmp_path / "board") as board:
        yield board
