"""`otalink serve` with the clients that others wrote: curl, lftp and Python's ftplib."""

import ftplib
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from servers import MissingError

from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings, Tls

PASSWORD = "correct-horse-battery"
CONTENT = bytes(range(251)) * 20_000
FILES = {"thermostat_1.0.0.2.py": b"print(2)\n", "two words.bin": CONTENT, "größe.py": b"", "lib/sensor.py": b"1"}


@dataclass(frozen=True)
class Security:
    """How a client is told to speak: curl's options, lftp's settings, and what makes a client of ftplib's.

    `mode` is the server's, see settings.Tls; in each text {ca} stands for the CA's certificate.
    """

    mode: str
    curl: tuple[str, ...]
    lftp: tuple[str, ...]
    ftplib: Callable[[str], ftplib.FTP]


def _private(ca):
    return ftplib.FTP_TLS(context=ssl.create_default_context(cafile=ca))


SECURITY = {
    "plain": Security("off", (), ("set ftp:ssl-allow no",), lambda ca: ftplib.FTP()),
    "tls": Security(
        "required",
        ("--ssl-reqd", "--cacert", "{ca}"),
        ("set ftp:ssl-force yes", "set ftp:ssl-protect-data yes", "set ssl:ca-file {ca}"),
        _private,
    ),
}


class Curl:
    def __init__(self, server, security, ca, home):
        self._command = [_program("curl"), "--silent", "--show-error", "--max-time", "20"]
        self._command += [option.format(ca=ca) for option in security.curl]
        self._command += ["--user", f"board:{PASSWORD}"]
        self._url = f"ftp://{server.address}:{server.port}/releases/"

    def names(self):
        return set(_run([*self._command, "--list-only", self._url]).splitlines())

    def get(self, name, target):
        """Fetches what `target` has not got of the file."""
        _run([*self._command, "--continue-at", "-", "--output", target, self._url + name.replace(" ", "%20")])


class Lftp:
    def __init__(self, server, security, ca, home):
        self._home = home
        self._begin = "; ".join(
            [
                *("set cmd:fail-exit yes", "set net:max-retries 1", "set net:timeout 10"),
                *(setting.format(ca=ca) for setting in security.lftp),
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
    def __init__(self, server, security, ca, home):
        self._server = server
        self._make = lambda: security.ftplib(ca)

    def _connect(self):
        client = self._make()
        client.connect(self._server.address, self._server.port, timeout=20)
        client.login("board", PASSWORD)
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
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


@pytest.fixture(params=SECURITY.values(), ids=SECURITY)
def security(request):
    return request.param


@pytest.fixture
def server(served, security, tls_files):
    pem = tls_files / "server.pem"
    tls = Tls(security.mode, certificate=pem, key=pem, ca=tls_files / "ca.pem")
    settings = Settings(accounts=(Account("board", served, "/releases"),), passive_ports=None, tls=tls)
    with BackgroundServer(settings, {"board": PASSWORD}) as running:
        yield running


@pytest.fixture(params=[Curl, Lftp, Ftplib], ids=lambda kind: kind.__name__.lower())
def client_kind(request):
    return request.param


@pytest.fixture
def client(client_kind, server, security, tls_files, tmp_path):
    return client_kind(server, security, str(tls_files / "ca.pem"), tmp_path)


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
