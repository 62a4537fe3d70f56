"""Publishing on FTP servers, by FTP and by FTP over TLS: otalink's own, and bare pyftpdlib as a foreign one."""

import contextlib
import ftplib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otalink_host import certificates
from otalink_host.accounts import create_account, create_server_folder
from otalink_host.build import build
from otalink_host.cli import main
from otalink_host.cli_options import PASSWORD_VARIABLE
from otalink_host.errors import UserError
from otalink_host.keys import create, for_boards, load_all, load_signer
from otalink_host.place import JOURNAL_NAME, LOCK_NAME, PART_PREFIX
from otalink_host.place_ftp import connected, parse_address
from otalink_host.repository import publish, publish_file
from otalink_host.settings import load_settings

Run = Callable[..., tuple[int, str, str]]
Takes = Callable[..., tuple[str, dict[str, bytes]] | None]
OTALINK = Path(sys.executable).with_name("otalink")
PASSWORD = "correct-horse-battery"
ONE = {"thermostat_1.0.0.1.py": "one", "lib/sensor.py": "sensor", "lib/old.py": "old"}
TWO = {"thermostat_1.0.0.2.py": "two", "lib/sensor.py": "sensor 2", "new/x.mpy": "x"}


class Site:
    """A server that runs: the address of its folder, which is `folder` on the disk, and what trusts it."""

    def __init__(self, address: str, folder: Path, ca: Path | None) -> None:
        self.address = address
        self.folder = folder
        self.ca = ca
        self.options = () if ca is None else ("--ca", str(ca))

    def clean(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def content(self) -> dict[str, str]:
        """What is in the folder, hidden or not, without SHA256SUMS."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_text(errors="replace")
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in ("SHA256SUMS", LOCK_NAME)
        }

    @contextlib.contextmanager
    def place(self) -> Iterator[Any]:
        with connected(parse_address(self.address), PASSWORD, self.ca) as place:
            yield place


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `otalink init` makes, with a key, a publisher, TLS if the client wants it, and plain folders allowed."""
    home = tmp_path_factory.mktemp("server")
    create_server_folder(home)
    config = home / "otalink.toml"
    certificates.create(load_settings(config), ["localhost", "127.0.0.1"])
    create_account(load_settings(config), {"name": "publisher", "folder": "releases", "role": "publisher"}, PASSWORD)
    create(home / "keys", "release", None)
    text = config.read_text()
    config.write_text(text.replace("# [publishing]", "[publishing]\nunsigned = true\n# [publishing]", 1))
    return home


@pytest.fixture(scope="module")
def started(home: Path) -> Iterator[Callable[[str], Site]]:
    """Gives the servers by name. A foreign one that is old knows no MLSD, and renames over nothing."""
    tls = load_settings(home / "otalink.toml").tls
    assert tls.certificate is not None
    assert tls.key is not None
    authority, pem = home / "ca.pem", home / "both.pem"
    authority.write_bytes(_pem(tls.ca))
    pem.write_bytes(tls.certificate.read_bytes() + tls.key.read_bytes())
    with contextlib.ExitStack() as stack:

        def start(folder: Path, *command: str | Path) -> tuple[int, Path]:
            output = home / f"{folder.name}.log"
            with output.open("w") as log:
                environment = os.environ | {PASSWORD_VARIABLE: PASSWORD}
                process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            stack.enter_context(process)
            stack.callback(process.kill)
            while True:
                port = re.search(r"^\s*(?:port +)?(\d+)\n", output.read_text(), re.MULTILINE)
                if port is not None:
                    return int(port[1]), folder
                assert process.poll() is None, output.read_text()
                time.sleep(0.02)

        def foreign(name: str, *arguments: str | Path) -> tuple[int, Path]:
            folder = home.parent / f"{home.name}-{name}"
            folder.mkdir()
            return start(folder, sys.executable, Path(__file__).with_name("ftp_writable.py"), folder, *arguments)

        own = start(
            home / "releases",
            *(OTALINK, "serve", "--config", home / "otalink.toml", "--address", "127.0.0.1", "--port", "0"),
        )
        found = {
            "otalink": own,
            "otalink-tls": own,
            "foreign": foreign("foreign", "-"),
            "foreign-tls": foreign("foreign-tls", pem),
            "foreign-old": foreign("foreign-old", "-", "old"),
        }

        def site(name: str) -> Site:
            port, folder = found[name]
            if name.endswith("-tls"):
                return Site(f"ftps://publisher@127.0.0.1:{port}", folder, authority)
            return Site(f"ftp://publisher@127.0.0.1:{port}", folder, None)

        yield site


def _pem(ca: Path | None) -> bytes:
    assert ca is not None
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_der_x509_certificate(ca.read_bytes()).public_bytes(Encoding.PEM)


@pytest.fixture(params=["otalink", "otalink-tls", "foreign", "foreign-tls", "foreign-old"])
def site(request: pytest.FixtureRequest, started: Callable[[str], Site]) -> Site:
    site = started(request.param)
    site.clean()
    return site


@pytest.fixture
def own(started: Callable[[str], Site]) -> Site:
    site = started("otalink")
    site.clean()
    return site


@pytest.fixture
def foreign(started: Callable[[str], Site]) -> Site:
    site = started("foreign")
    site.clean()
    return site


@pytest.fixture
def run(
    home: Path,
    started: Callable[[str], Site],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Runs a command line in this process: (exit status, stdout, stderr). No output may hold the password."""
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        assert PASSWORD not in output.out + output.err
        return status, output.out, output.err

    yield command
    assert PASSWORD not in (home / "releases.log").read_text()


@pytest.fixture(scope="module")
def release(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds thermostat's release file of a version, signed unless it is asked otherwise."""
    work = tmp_path_factory.mktemp("built")

    def made(version: str, content: str = "x" * 30_000, *, signed: bool = True) -> Path:
        source = work / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        (source / "data.txt").write_text(content)
        signer = load_signer(home / "keys", "release", lambda path: b"") if signed else None
        output = work / f"{version}-{len(content)}-{signed}"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        return build(source, signer=signer, name="thermostat", version=version, output=output).path

    return made


def fill(folder: Path, files: dict[str, str]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def one_line(result: tuple[int, str, str]) -> str:
    status, _, error = result
    assert status == 1
    assert error.startswith("otalink: ")
    assert error.count("\n") == 1
    return error.strip().removeprefix("otalink: ")


# --- what a publisher types


def test_a_release_file_is_published_listed_withdrawn_and_put_back(
    run: Run, site: Site, home: Path, release: Callable[..., Path]
) -> None:
    file = release("1.0.0.3")
    keys = ("--keys", str(home / "keys"))
    status, out, error = run("release", "publish", str(file), "--to", site.address, *site.options, *keys)
    assert (status, error) == (0, "")
    assert f"Published thermostat 1.0.0.3 as {site.address}/{file.name}: 1 files, " in out
    assert (site.folder / file.name).read_bytes() == file.read_bytes()
    assert list(site.content()) == [file.name]

    status, out, _ = run("release", "publish", str(file), "--to", site.address, *site.options, *keys)
    assert status == 0
    assert "is published in" in out
    assert "there was nothing to do" in out

    other = release("1.0.0.3", "y" * 5)
    line = one_line(run("release", "publish", str(other), "--to", site.address, *site.options, *keys))
    assert "thermostat 1.0.0.3 is published already, with other content" in line
    older = release("1.0.0.2")
    line = one_line(run("release", "publish", str(older), "--to", site.address, *site.options, *keys))
    assert "thermostat 1.0.0.2 is older than" in line
    assert (site.folder / file.name).read_bytes() == file.read_bytes()
    assert list(site.content()) == [file.name]

    status, out, error = run("release", "list", site.address, *site.options, *keys)
    assert (status, error) == (0, "")
    assert re.search(r"thermostat +1\.0\.0\.3 +release file +[0-9a-f]{16} \(release\) +1 +", out), out

    where = ("--from", site.address, *site.options)
    status, out, error = run("release", "withdraw", "thermostat", "1.0.0.3", *where)
    assert (status, error) == (0, "")
    assert list(site.content()) == [f".withdrawn-{file.name}"]
    line = one_line(run("release", "publish", str(other), "--to", site.address, *site.options, *keys))
    assert "thermostat 1.0.0.3 was withdrawn" in line
    assert run("release", "withdraw", "thermostat", "1.0.0.3", "--undo", *where)[0] == 0
    assert list(site.content()) == [file.name]


def test_a_plain_release_takes_the_place_of_the_one_before(run: Run, site: Site, tmp_path: Path) -> None:
    for files in (ONE, TWO):
        source = str(fill(tmp_path / "source", files))
        status, out, error = run("release", "publish", source, "--to", site.address, *site.options)
        assert (status, error) == (0, "")
        assert f"in {site.address}/: " in out
        # Nothing stray, and no folder that is empty.
        assert site.content() == files
        assert not [path for path in site.folder.rglob("*") if path.is_dir() and not list(path.iterdir())]
    status, out, _ = run("release", "publish", source, "--to", site.address, *site.options)
    assert status == 0
    assert "there was nothing to do" in out
    changed = str(fill(tmp_path / "changed", {**TWO, "lib/sensor.py": "other"}))
    line = one_line(run("release", "publish", changed, "--to", site.address, *site.options))
    assert "thermostat 1.0.0.2 is published already, with other content" in line
    old = str(fill(tmp_path / "old", ONE))
    assert "is older than" in one_line(run("release", "publish", old, "--to", site.address, *site.options))
    assert site.content() == TWO
    assert run("release", "publish", old, "--to", site.address, *site.options, "--allow-older")[0] == 0
    assert site.content() == ONE
    assert run("release", "withdraw", "thermostat", "1.0.0.1", "--from", site.address, *site.options)[0] == 0
    assert (site.folder / ".withdrawn-thermostat_1.0.0.1.py").exists()
    assert not (site.folder / "thermostat_1.0.0.1.py").exists()


def test_a_folder_that_is_not_there_is_made(run: Run, site: Site, tmp_path: Path) -> None:
    source = str(fill(tmp_path / "source", ONE))
    assert run("release", "publish", source, "--to", f"{site.address}/shops/north", *site.options)[0] == 0
    assert (site.folder / "shops" / "north" / "thermostat_1.0.0.1.py").read_text() == "one"
    line = one_line(run("release", "list", f"{site.address}/nowhere", *site.options))
    assert line == f"there is no folder {site.address}/nowhere: name the one that releases are published to"


def test_another_application_in_the_folder_is_refused(
    run: Run, site: Site, home: Path, tmp_path: Path, release: Callable[..., Path]
) -> None:
    source = str(fill(tmp_path / "source", {"heater_1.0.py": "h"}))
    assert run("release", "publish", source, "--to", site.address, *site.options)[0] == 0
    keys = ("--keys", str(home / "keys"))
    line = one_line(run("release", "publish", str(release("1.0")), "--to", site.address, *site.options, *keys))
    assert line.endswith("holds another application, heater: give each a folder of its own")
    assert site.content() == {"heater_1.0.py": "h"}


# --- the password, and whom it is given to


def test_the_password_comes_from_a_descriptor_or_the_secrets_and_is_never_in_an_address(
    run: Run, own: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = one_line(run("release", "list", own.address.replace("publisher@", f"publisher:{PASSWORD}@")))
    assert line.startswith("a password in an address is everybody's to read")
    monkeypatch.delenv(PASSWORD_VARIABLE)
    reader, writer = os.pipe()
    os.write(writer, f"{PASSWORD}\n".encode())
    os.close(writer)
    assert run("release", "list", own.address, "--password-fd", str(reader))[0] == 0
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115  # closed with the process's own
    assert one_line(run("release", "list", own.address)) == (
        f"{own.address}/ needs a password: give it by --password-fd or in OTALINK_PASSWORD"
    )
    sys.stdin.close()
    create_server_folder(tmp_path / "mine")
    config = tmp_path / "mine" / "otalink.toml"
    create_account(load_settings(config), {"name": "publisher", "folder": "releases", "role": "publisher"}, "other")
    secrets = tmp_path / "mine" / "otalink.secrets"
    secrets.write_text(secrets.read_text() + f'publisher = "{PASSWORD}"\n')
    assert run("release", "list", own.address, "--config", str(config))[0] == 0


def test_a_wrong_password_and_a_board_s_account_are_one_line(
    run: Run, own: Site, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(fill(tmp_path / "source", ONE))
    board = re.findall('board = "(.+)"', (home / "otalink.secrets").read_text())[0]
    monkeypatch.setenv(PASSWORD_VARIABLE, board)
    as_board = own.address.replace("publisher", "board")
    line = one_line(run("release", "publish", source, "--to", as_board))
    assert line == f"{as_board}/: the server refused STOR {part_in(line)}: 550 Not enough privileges."
    assert own.content() == {}
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    line = one_line(run("release", "publish", source, "--to", own.address))
    assert line == f"{own.address}/: the server refused USER publisher: 530 Authentication failed."


def part_in(line: str) -> str:
    found = re.search(rf"{re.escape(PART_PREFIX)}[0-9a-f]{{16}}", line)
    return found[0] if found is not None else PART_PREFIX


def test_tls_trusts_the_named_ca_alone_and_only_for_the_server_s_name(
    run: Run, started: Callable[[str], Site], tmp_path: Path
) -> None:
    site = started("otalink-tls")
    line = one_line(run("release", "list", site.address))
    assert line.startswith("127.0.0.1 is not proven to be 127.0.0.1: ")
    assert line.endswith("name its certificate, or that of who signed it, with --ca")
    line = one_line(run("release", "list", site.address.replace("127.0.0.1", "127.0.0.2"), *site.options))
    # The server listens there alone.
    assert "127.0.0.2" in line
    other = tmp_path / "other"
    create_server_folder(other)
    certificates.create(load_settings(other / "otalink.toml"), ["127.0.0.1"])
    strange = tmp_path / "strange.pem"
    strange.write_bytes(_pem(load_settings(other / "otalink.toml").tls.ca))
    assert "is not proven" in one_line(run("release", "list", site.address, "--ca", str(strange)))
    (tmp_path / "none.pem").write_text("none\n")
    line = one_line(run("release", "list", site.address, "--ca", str(tmp_path / "none.pem")))
    assert "none.pem holds no certificates in PEM" in line
    plain = started("foreign")
    line = one_line(run("release", "list", plain.address.replace("ftp:", "ftps:"), *site.options))
    assert "offers no TLS that can be used" in line


# --- servers that fail


def test_no_server_and_no_ftp_server_are_one_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        line = one_line(run("release", "list", f"ftp://127.0.0.1:{port}"))
        thread.join()
        assert "answers like no FTP server that is ready" in line
    line = one_line(run("release", "list", f"ftp://127.0.0.1:{port}"))
    assert "cannot be reached (Connection refused): is the server running, and the address right?" in line
    assert one_line(run("release", "list", "ftp://")).endswith("it reads ftp://USER@HOST:PORT/FOLDER")


class Proxy:
    """Stands before a server, and cuts the control connection before the command number `last`, counted from 1."""

    def __init__(self, address: str, last: int) -> None:
        self._server = parse_address(address)
        self._last = last
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = address.replace(str(self._server.port), str(self._listener.getsockname()[1]))
        self.was_cut = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection((self._server.host, self._server.port)) as server:
            back = threading.Thread(target=self._pass_back, args=(server, client))
            back.start()
            with client.makefile("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if number == self._last:
                        self.was_cut = True
                        break
                    server.sendall(line)
            for connection in (client, server):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(4096):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


def test_a_connection_that_breaks_at_any_command_leaves_no_half_release_and_the_next_publish_completes_it(
    run: Run, foreign: Site, tmp_path: Path, board_takes: Takes
) -> None:
    old, new = fill(tmp_path / "old", ONE), str(fill(tmp_path / "new", TWO))
    publish_there(foreign, old)
    before = snapshot(foreign)
    for last in (*range(1, 12), *range(12, 200, 6)):
        restore(foreign, before)
        with Proxy(foreign.address, last) as proxy:
            result = run("release", "publish", new, "--to", proxy.address)
        if proxy.was_cut and result[0]:
            line = one_line(result)
            assert re.search(r"the connection broke off|cannot be reached|the server refused", line), line
        taken = taken_from(foreign, board_takes)
        assert taken in (None, ONE, TWO), last
        assert taken == TWO or result[0]
        if not proxy.was_cut:
            break
        publish_there(foreign, Path(new))
        assert foreign.content() == TWO, last
    assert last > 30


def publish_there(site: Site, source: Path, **options: Any) -> None:
    with site.place() as place:
        publish(source, place, **options)


def snapshot(site: Site) -> dict[str, bytes]:
    return {p.relative_to(site.folder).as_posix(): p.read_bytes() for p in site.folder.rglob("*") if p.is_file()}


def restore(site: Site, files: dict[str, bytes]) -> None:
    site.clean()
    for path, content in files.items():
        (site.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (site.folder / path).write_bytes(content)


def taken_from(site: Site, board_takes: Takes) -> dict[str, str] | None:
    """The files that a board takes there now."""

    def fetch(path: str) -> bytes | None:
        try:
            return (site.folder / path).read_bytes()
        except OSError:
            return None

    taken = board_takes(sorted(path.name for path in site.folder.iterdir()), fetch, "thermostat")
    return None if taken is None else {path: text.decode() for path, text in taken[1].items()}


# --- killed, and read, in the middle of it


def killed_at(step: int, site: Site, work: Callable[[Any], object]) -> bool:
    """Does `work` in a process that ends at its `step`th command to the server; False when it ended before that."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event == "ftplib.sendcmd":
                left -= 1
                if left == 0:
                    os._exit(9)

        try:
            with site.place() as place:
                sys.addaudithook(count)
                work(place)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


@pytest.mark.parametrize("name", ["otalink", "otalink-tls", "foreign-old"])
def test_a_publisher_killed_at_any_command_leaves_no_mixture_and_the_next_publish_completes_it(
    name: str, started: Callable[[str], Site], tmp_path: Path, board_takes: Takes
) -> None:
    site = started(name)
    site.clean()
    old, new = fill(tmp_path / "old", ONE), fill(tmp_path / "new", TWO)
    publish_there(site, old)
    before = snapshot(site)
    step = 1
    while True:
        restore(site, before)
        killed = killed_at(step, site, lambda place: publish(new, place))
        taken = taken_from(site, board_takes)
        assert taken in ((None, ONE, TWO) if killed else (TWO,)), step
        wait_for_the_end(site)
        publish_there(site, new)
        assert site.content() == TWO, step
        if not killed:
            break
        step += 1 if step < 8 else 3
    assert step > 20


@pytest.mark.parametrize("name", ["otalink", "foreign"])
def test_a_release_file_s_publisher_killed_at_any_command_leaves_the_whole_of_it_or_nothing(
    name: str, started: Callable[[str], Site], home: Path, release: Callable[..., Path]
) -> None:
    site = started(name)
    file = release("1.0.0.3")
    keys = for_boards(load_all(home / "keys"))
    step = 1
    while True:
        site.clean()
        killed = killed_at(step, site, lambda place: publish_file(file, place, keys))
        shown = [path for path in site.folder.iterdir() if not path.name.startswith(".")]
        assert [path.read_bytes() for path in shown] in ([], [file.read_bytes()])
        if name == "otalink":
            # What a session has not brought to its end goes with it.
            wait_for_the_end(site)
            assert set(site.content()) <= {file.name}, step
        with site.place() as place:
            publish_file(file, place, keys)
        assert list(site.content()) == [file.name]
        if not killed:
            break
        step += 1
    assert step > 8


def wait_for_the_end(site: Site) -> None:
    """Until the server has noticed that the session before has ended."""
    deadline = time.monotonic() + 10
    while (site.folder / LOCK_NAME).exists() or any(name.startswith(PART_PREFIX) for name in os.listdir(site.folder)):
        if "foreign" in site.folder.name:
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_board_that_fetches_all_the_time_gets_whole_releases(
    own: Site, home: Path, tmp_path: Path, board_takes: Takes
) -> None:
    board = re.findall('board = "(.+)"', (home / "otalink.secrets").read_text())[0]
    taken: list[tuple[str, dict[str, bytes]]] = []
    stop = threading.Event()

    def fetch_all(client: ftplib.FTP) -> None:
        def fetch(path: str) -> bytes | None:
            parts: list[bytes] = []
            try:
                client.retrbinary(f"RETR {path}", parts.append)
            except ftplib.Error:
                return None
            return b"".join(parts)

        while not stop.is_set():
            found = board_takes(client.nlst("/"), fetch, "thermostat")
            if found is not None:
                taken.append(found)

    sources = []
    for number in range(1, 7):
        text = f"{number:03}" * 5000
        files = {f"thermostat_1.0.0.{number}.py": text, "lib/sensor.py": text, "config.json": text}
        sources.append(fill(tmp_path / f"source{number}", files))
    with ftplib.FTP(timeout=10) as client:
        client.connect("127.0.0.1", parse_address(own.address).port)
        client.login("board", board)
        thread = threading.Thread(target=fetch_all, args=(client,))
        thread.start()
        try:
            for source in sources:
                publish_there(own, source)
                seen = len(taken)
                while source is sources[-1] and len(taken) == seen and thread.is_alive():
                    time.sleep(0.01)
        finally:
            stop.set()
            thread.join()
    assert {len(set(files.values())) for _, files in taken} == {1}
    assert taken[-1][0] == "thermostat_1.0.0.6.py"


# --- two at once


def test_a_second_publisher_is_told_that_one_is_under_way(run: Run, own: Site, home: Path, tmp_path: Path) -> None:
    source = str(fill(tmp_path / "source", ONE))
    with own.place() as place, place.locked():
        line = one_line(run("release", "publish", source, "--to", own.address))
        assert line == f"another publish into {own.address}/ is under way: wait for it, then publish again"
        # Whoever publishes on the server's machine is kept out as well.
        line = one_line(run("release", "publish", source, "--to", str(own.folder)))
        assert line.endswith("is under way: wait for it, then publish again")
    assert run("release", "publish", source, "--to", own.address)[0] == 0
    assert own.content() == ONE


def test_what_stands_there_is_never_replaced_by_who_comes_second(
    foreign: Site, home: Path, release: Callable[..., Path]
) -> None:
    file = release("1.0.0.3")
    with foreign.place() as place:
        part = place.stage([b"mine"])
        (foreign.folder / file.name).write_bytes(b"theirs")
        with pytest.raises((UserError, FileExistsError)):
            place.rename(part, file.name)
    assert (foreign.folder / file.name).read_bytes() == b"theirs"
    assert not (foreign.folder / JOURNAL_NAME).exists()
