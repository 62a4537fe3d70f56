"""What the host's tests share: a server's folder, accounts, and clients that are closed again."""

import ftplib
import hashlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from otalink.errors import OtaError
from otalink.plain import SUMS, parse_sums_line, select
from otalink_host import certificates
from otalink_host.accounts import create_server_folder
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import Account, Settings, Tls, load_settings

sys.path.insert(0, str(Path(__file__).parent))  # for esp_rom

PASSWORD = "correct-horse-battery"


class Client(ftplib.FTP):
    """Python's own FTP client, with what the tests do again and again."""

    def fetch(self, path: str, rest: int | None = None) -> bytes:
        content = io.BytesIO()
        self.retrbinary(f"RETR {path}", content.write, rest=rest)
        return content.getvalue()

    def refused(self, command: str) -> str:
        """The reply to `command`, which must be a refusal."""
        with pytest.raises(ftplib.Error) as refusal:
            self.sendcmd(command)
        return str(refusal.value)


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """A board's folder, and a secret beside it that no board may see."""
    folder = tmp_path / "releases"
    (folder / "lib").mkdir(parents=True)
    (folder / "thermostat_1.0.0.2.py").write_bytes(b"print('two')\n")
    (folder / "lib" / "sensor.py").write_bytes(b"sensor\n" * 1000)
    (tmp_path / "secret").write_bytes(b"SECRET")
    return folder


@pytest.fixture
def settings(releases: Path) -> Settings:
    accounts = (Account("board", releases), Account("tester", releases, "/test"), Account("deep", releases, "/a/b"))
    return Settings(accounts, passive_ports=None)


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A CA and a certificate, as `otalink init` makes them."""
    folder = tmp_path_factory.mktemp("server")
    create_server_folder(folder)
    certificates.create(load_settings(folder / "otalink.toml"), ["localhost", "127.0.0.1"])
    return load_settings(folder / "otalink.toml").tls


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., FtpServer]]:
    """Starts servers with the settings, changed as asked, and ends them after the test."""
    started: list[BackgroundServer] = []

    def start(**changes: object) -> FtpServer:
        changed = replace(settings, **changes)  # type: ignore[arg-type]
        passwords = {account.name: PASSWORD for account in changed.accounts}
        server = BackgroundServer(changed, passwords)
        running = server.__enter__()
        started.append(server)
        return running

    yield start
    for server in started:
        server.__exit__(None, None, None)


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Opens sessions, logged in as `user` unless that is None, and closes them after the test."""
    opened: list[Client] = []

    def session(server: FtpServer, user: str | None = "board") -> Client:
        client = Client(timeout=10)
        opened.append(client)
        client.connect("127.0.0.1", server.port)
        if user is not None:
            client.login(user, PASSWORD)
        return client

    yield session
    for client in opened:
        client.close()


def take(names: list[str], fetch: Callable[[str], bytes | None], name: str) -> tuple[str, dict[str, bytes]] | None:
    """What a board takes from a folder that lists `names`: (versioned file, files by path); None when it waits.

    `fetch` gives a file's content, or None when it is not there.
    """
    try:
        versioned, _, _ = select(names, name)
    except OtaError:
        return None
    sums = fetch(SUMS)
    if versioned is None or sums is None:
        return None
    entries = [parse_sums_line(line) for line in sums.splitlines()]
    listed = dict(entry for entry in entries if entry is not None)
    if versioned not in listed:
        return None
    files = {}
    for path, digest in listed.items():
        content = fetch(path)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            return None
        files[path] = content
    return versioned, files


@pytest.fixture
def board_takes() -> Callable[..., tuple[str, dict[str, bytes]] | None]:
    return take
