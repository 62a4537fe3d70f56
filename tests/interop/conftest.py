"""What the tests with others' servers and clients share. tests/interop/setup brings those; no test here skips."""

import ssl
import sys
from pathlib import Path

import pytest

# For what the tests here share, and what those of the board's updates have.
sys.path.insert(0, str(Path(__file__).parents[1] / "unix_port"))
sys.path.insert(0, str(Path(__file__).parent))

from certificates import Authority
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
    authority = Authority(place, "ca")
    (place / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(authority.path.read_bytes()))
    path = authority.certificate(place, "127.0.0.1").rename(place / "server.pem")
    path.chmod(0o600)
    return place


@pytest.fixture
def board(on_board):
    """A board that updates itself from a server; its flash is a folder."""
    return Board(on_board)
