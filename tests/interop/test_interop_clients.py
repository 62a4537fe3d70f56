"""`otalink serve` with the clients that others wrote: curl, lftp and Python's ftplib."""

import ftplib
import os
import shutil
import subprocess
from dataclasses import dataclass

import pytest
from servers import MissingError

from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings

PASSWORD = "correct-horse-battery"
CONTENT = bytes(range(251)) * 20_000
FILES = {"thermostat_1.0.0.2.py": b"print(2)\n", "two words.bin": CONTENT, "größe.py": b"", "lib/sensor.py": b"1"}


@dataclass(frozen=True)
class Security:
    """How a client is told to speak: curl's options, lftp's settings, and ftplib's class."""

    curl: tuple[str, ...]
    lftp: tuple[str, ...]
    ftplib: type[ftplib.FTP]


SECURITY = {"plain": Security((), ("set ftp:ssl-allow no",), ftplib.FTP)}


class Curl:
    def __init__(self, server, security, home):
        self._command = [_program("curl"), "--silent", "--show-error", "--max-time", "20", *security.curl]
        self._command += ["--user", f"board:{PASSWORD}"]
        self._url = f"ftp://{server.address}:{server.port}/releases/"

    def names(self):
        return set(_run([*self._command, "--list-only", self._url]).splitlines())

    def get(self, name, target):
        """Fetches what `target` has not got of the file."""
        _run([*self._command, "--continue-at", "-", "--output", target, self._url + name.replace(" ", "%20")])


class Lftp:
    def __init__(self, server, security, home):
        self._home = home
        self._begin = "; ".join(
            [
                *("set cmd:fail-exit yes", "set net:max-retries 1", "set net:timeout 10", *security.lftp),
                f"open -u board,{PASSWORD} ftp://{server.address}:{server.port}",
                "cd /releases",
            ]
        )

    def _lftp(self, command):
        environment = os.environ | {"LFTP_HOME": str(self._home), "LC_ALL": "C.UTF-8"}
        return _run([_program("lftp"), "--norc", "-c", f"{self._begin}; {command}"], environment)

    def names(self):
        return {name.rstrip("/") for name in self._lftp("cls -1").splitlines()}

    def get(self, name, target):
        self._lftp(f'get -c "{name}" -o "{target}"')


class Ftplib:
    def __init__(self, server, security, home):
        self._server = server
        self._class = security.ftplib

    def _connect(self):
        client = self._class()
        client.connect(self._server.address, self._server.port, timeout=20)
        client.login("board", PASSWORD)
        client.cwd("/releases")
        return client

    def names(self):
        with self._connect() as client:
            names = set(client.nlst())
            assert {name for name, _ in client.mlsd()} == names
            return names

    def get(self, name, target):
        with self._connect() as client, open(target, "ab") as file:
            client.retrbinary(f"RETR {name}", file.write, rest=file.tell() or None)


def _program(name):
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is not installed: run tests/interop/setup")
    return found


def _run(command, environment=None):
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def server(served):
    settings = Settings(accounts=(Account("board", served, "/releases"),), passive_ports=None)
    with BackgroundServer(settings, {"board": PASSWORD}) as running:
        yield running


@pytest.fixture(params=[Curl, Lftp, Ftplib], ids=lambda kind: kind.__name__.lower())
def client_kind(request):
    return request.param


@pytest.fixture(params=SECURITY)
def client(request, client_kind, server, tmp_path):
    return client_kind(server, SECURITY[request.param], tmp_path)


def test_the_names_in_a_folder_are_listed(client):
    assert client.names() == {name.split("/")[0] for name in FILES}


def test_a_file_comes_whole(client, server, tmp_path):
    for name, content in FILES.items():
        client.get(name, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == content
        (tmp_path / "got").unlink()
    assert [(transfer.path, transfer.complete) for transfer in server.transfers] == [
        (f"/releases/{name}", True) for name in FILES
    ]


def test_a_download_goes_on_where_it_was(client, server, tmp_path):
    here = 2_000_000
    (tmp_path / "got").write_bytes(CONTENT[:here])
    client.get("two words.bin", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert [transfer.size for transfer in server.transfers] == [len(CONTENT) - here]
