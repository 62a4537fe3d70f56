"""What is missing is said and never skipped, and no server outlives its test."""

import ftplib
import subprocess
import time
from pathlib import Path

import pytest
import servers


@pytest.mark.parametrize("name", servers.STARTERS)
def test_a_server_that_is_not_installed_is_an_error_that_says_what_to_do(name, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(servers, "PLACE", tmp_path)
    with (
        pytest.raises(
            servers.MissingError, match=r"^(vsftpd|proftpd|pure-ftpd) is not installed: run tests/interop/setup$"
        ),
        servers.STARTERS[name](folder),
    ):
        pass


def test_setup_does_nothing_the_second_time():
    setup = Path(__file__).with_name("setup")
    before = servers.PLACE.stat()
    subprocess.run([setup], check=True)
    assert servers.PLACE.stat().st_ino == before.st_ino


@pytest.mark.parametrize("name", servers.STARTERS)
def test_a_server_ends_with_its_sessions(name, folder):
    with ftplib.FTP() as client:
        with servers.STARTERS[name](folder) as server:
            client.connect(server.host, server.port, timeout=10)
            client.login(server.user, server.password)
            # A process that was there for the login alone may be ending.
            session = [pid for pid in servers.descendants(server.pid) if not _has_ended(pid)]
            assert session
        deadline = time.monotonic() + 20
        while not all(_has_ended(pid) for pid in [server.pid, *session]):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _has_ended(pid):
    try:
        # The state stands behind the name, which is in parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
