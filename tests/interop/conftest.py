"""What the tests with others' servers and clients share. tests/interop/setup brings those; no test here skips."""

import sys
from pathlib import Path

import pytest

# For what the tests here share, and what those of the board's updates have.
sys.path.insert(0, str(Path(__file__).parents[1] / "unix_port"))
sys.path.insert(0, str(Path(__file__).parent))

import certificates
from servers import public_folder
from updater_support import Board


@pytest.fixture
def folder():
    """A server's folder, empty, which the servers' user may read."""
    with public_folder() as place:
        yield place


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory):
    """A folder with ca.pem, ca.der and server.pem."""
    place = tmp_path_factory.mktemp("tls")
    certificates.write(place)
    return place


@pytest.fixture
def board(on_board):
    """A board that updates itself from a server; its flash is a folder."""
    return Board(on_board)
