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

from otalink_host.build import build
from otalink_host.keys import create, load_signer
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
        self._command += ["--user", f"publisher:{PASSWORD}"]
        self._url = f"ftp://{server.address}:{server.port}/releases/"

    def names(self):
        return set(_run([*self._command, "--list-only", self._url]).splitlines())

    def get(self, name, target):
        """Fetches what `target` has not got of the file."""
        _run([*self._command, "--continue-at", "-", "--output", target, self._url + name.replace(" ", "%20")])

    def put(self, source, name, resume=False):
        where = ["--continue-at", "2"] if resume else []
        return _end([*self._command, *where, "--upload-file", source, self._url + name.replace(" ", "%20")])


class Lftp:
    def __init__(self, server, security, ca, home):
        self._home = home
        self._begin = "; ".join(
            [
                *("set cmd:fail-exit yes", "set net:max-retries 1", "set net:timeout 10"),
                *(setting.format(ca=ca) for setting in security.lftp),
                f"open -u publisher,{PASSWORD} ftp://{server.address}:{server.port}",
                "cd /releases",
            ]
        )

    def _lftp(self, command, run=None):
        environment = os.environ | {"LFTP_HOME": str(self._home), "LC_ALL": "C.UTF-8"}
        return (run or _run)([_program("lftp"), "--norc", "-c", f"{self._begin}; {command}"], environment)

    def names(self):
        return {name.rstrip("/") for name in self._lftp("cls -1").splitlines()}

    def get(self, name, target):
        self._lftp(f'get -c "{name}" -o "{target}"')

    def put(self, source, name, resume=False):
        return self._lftp(f'put {"-c " if resume else ""}"{source}" -o "{name}"', _end)


class Ftplib:
    def __init__(self, server, security, ca, home):
        self._server = server
        self._make = lambda: security.ftplib(ca)

    def _connect(self):
        client = self._make()
        client.connect(self._server.address, self._server.port, timeout=20)
        client.login("publisher", PASSWORD)
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

    def put(self, source, name, resume=False):
        try:
            with self._connect() as client, open(source, "rb") as file:
                client.storbinary(f"STOR {name}", file, rest=2 if resume else None)
        except ftplib.Error as error:
            return str(error)
        return None


def _program(name):
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is not installed: run tests/interop/setup")
    return found


def _run(command, environment=None):
    done = _done(command, environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _end(command, environment=None):
    """None when the command did what it should, else what it says."""
    done = _done(command, environment)
    return done.stderr if done.returncode else None


def _done(command, environment):
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False)


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
def server(served, security, tls_files, tmp_path):
    pem = tls_files / "server.pem"
    tls = Tls(security.mode, certificate=pem, key=pem, ca=tls_files / "ca.pem")
    account = Account("publisher", served, "/releases", role="publisher")
    settings = Settings(accounts=(account,), passive_ports=None, tls=tls, path=tmp_path / "otalink.toml")
    with BackgroundServer(settings, {"publisher": PASSWORD}) as running:
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


@pytest.fixture
def keys(tmp_path):
    """A key beside the server's settings: what one of them signed is taken, and nothing else."""
    create(tmp_path / "keys", "release", None)
    return tmp_path / "keys"


def built(tmp_path, keys, version="1.0.0.3", content=CONTENT, *, signed=True):
    source = tmp_path / f"source-{version}-{len(content)}"
    source.mkdir()
    (source / "data.bin").write_bytes(content)
    output = tmp_path / f"built-{version}-{len(content)}"
    output.mkdir()
    signer = load_signer(keys, "release", lambda path: b"") if signed else None
    return build(source, signer=signer, name="thermostat", version=version, output=output).path


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_put_whole_and_listed(client, served, tmp_path):
    (tmp_path / "new").write_bytes(CONTENT)
    assert client.put(tmp_path / "new", "größer als 1.bin") is None
    assert (served / "größer als 1.bin").read_bytes() == CONTENT
    assert "größer als 1.bin" in client.names()
    (tmp_path / "new").write_bytes(b"")
    assert client.put(tmp_path / "new", "größer als 1.bin") is None
    assert (served / "größer als 1.bin").read_bytes() == b""
    assert not hidden(served)


def test_a_signed_release_is_put_and_never_replaced(client, served, tmp_path, keys):
    (served / "thermostat_1.0.0.2.py").unlink()
    file, other = built(tmp_path, keys), built(tmp_path, keys, content=b"other")
    assert client.put(file, file.name) is None
    assert client.put(file, file.name) is None
    assert client.put(other, file.name) is not None
    assert (served / file.name).read_bytes() == file.read_bytes()
    assert not hidden(served)


def test_what_nobody_signed_is_refused_and_leaves_nothing(client, client_kind, served, tmp_path, keys):
    file = built(tmp_path, keys, signed=False)
    before = {path.name for path in served.iterdir()}
    said = client.put(file, file.name)
    assert said is not None
    if client_kind is not Curl:  # it tells the code alone
        assert "is not signed" in said
    assert client.put(file, "data.bin") is not None
    assert {path.name for path in served.iterdir()} == before


def test_an_upload_that_is_to_go_on_begins_anew_or_is_refused(client, served, tmp_path):
    """Nothing is left of one that broke off, so that there is nothing to go on with: no client makes half a file."""
    (tmp_path / "new").write_bytes(CONTENT)
    said = client.put(tmp_path / "new", "new.bin", resume=True)
    if said is None:
        assert (served / "new.bin").read_bytes() == CONTENT
    else:
        assert not (served / "new.bin").exists()
    assert not hidden(served)
