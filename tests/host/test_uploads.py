"""What a publisher may do through the server, with any FTP client, and what a board may: leave its report."""

import ftplib
import io
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otalink_host.accounts import new_password  # noqa: F401
from otalink_host.build import Built, build
from otalink_host.keys import create, load_signer
from otalink_host.place import PART_PREFIX, WITHDRAWN_PREFIX
from otalink_host.server import FtpServer
from otalink_host.settings import Account, Settings

Serve = Callable[..., FtpServer]
Connect = Callable[..., Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A folder that boards read and a publisher writes, beside settings without a key."""
    folder = tmp_path / "server" / "releases"
    folder.mkdir(parents=True)
    accounts = (Account("board", folder), Account("publisher", folder, role="publisher"))
    config = tmp_path / "server" / "otalink.toml"
    return Settings(accounts, passive_ports=None, path=config, reports=tmp_path / "server" / "reports")
