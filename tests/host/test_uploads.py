"""What a publisher may do through the server, with any FTP client, and what a board may: leave its report."""

import contextlib
import ftplib
import hashlib
import io
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otalink_host import repository, upload_rules
from otalink_host.audit import AuditLog
from otalink_host.build import build
from otalink_host.ftp_upload import CHECKS_AT_ONCE
from otalink_host.keys import Signer, create, load_signer
from otalink_host.place import JOURNAL_NAME, LOCK_NAME, PART_PREFIX, WITHDRAWN_PREFIX
from otalink_host.server import FtpServer
from otalink_host.settings import Account, Settings, Tls

Serve = Callable[..., FtpServer]
Connect = Callable[..., Any]
PASSWORD = "correct-horse-battery"
# More than any buffer holds back.
HALF = bytes(200_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "server" / "releases"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def settings(folder: Path) -> Settings:
    """A folder that boards read and a publisher writes, beside settings without a key."""
    accounts = (Account("board", folder), Account("publisher", folder, role="publisher"))
    beside = folder.parent
    return Settings(accounts, passive_ports=None, path=beside / "otalink.toml", reports=beside / "reports")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    keys = tmp_path_factory.mktemp("keys")
    create(keys, "release", None)
    return load_signer(keys, "release", lambda path: b"")


@pytest.fixture(scope="module")
def releases(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Release files by what is the matter with them."""
    work = tmp_path_factory.mktemp("built")
    other = tmp_path_factory.mktemp("other")
    create(other, "stranger", None)
    stranger = load_signer(other, "stranger", lambda path: b"")

    def made(content: str, by: Signer | None, version: str = "1.0.0.3", name: str = "thermostat") -> bytes:
        source = work / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        (source / "a.txt").write_text(content)
        built = build(source, signer=by, name=name, version=version, output=work)
        data = built.path.read_bytes()
        built.path.unlink()
        return data

    good = made("A" * 5000, signer)
    return {
        "good": good,
        "other content": made("B", signer),
        "next": made("C", signer, "1.0.0.4"),
        "unsigned": made("A", None),
        "stranger's": made("A", stranger),
        "cut off": good[:-1],
        "longer": good + b"x",
        "changed": good[:-3] + b"xxx",
        "heater": made("A", signer, "1.0.0.9", "heater"),
    }


@pytest.fixture
def with_key(settings: Settings, signer: Signer) -> Settings:
    """The settings with a public key beside them."""
    assert settings.path is not None
    assert signer.key.private is not None
    keys = settings.path.parent / "keys"
    keys.mkdir()
    shutil.copy(signer.key.private.with_suffix(".pub"), keys / "release.pub")
    return settings


def store(client: Any, path: str, content: bytes) -> str:
    reply: str = client.storbinary(f"STOR {path}", io.BytesIO(content))
    return reply


def refusal(client: Any, path: str, content: bytes = b"x") -> str:
    with pytest.raises(ftplib.Error) as error:
        store(client, path, content)
    reply = str(error.value)
    assert "\n" not in reply
    client.voidcmd("NOOP")  # the session goes on
    return reply


def rename(client: Any, before: str, after: str) -> str:
    try:
        reply: str = client.rename(before, after)
    except ftplib.Error as error:
        return str(error)
    return reply


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- release files


def test_a_signed_release_file_is_there_when_the_client_is_told(
    with_key: Settings, serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes]
) -> None:
    client = connect(serve(), "publisher")
    assert store(client, "thermostat_1.0.0.3.ota", releases["good"]) == "226 Transfer complete."
    assert names(folder) == ["thermostat_1.0.0.3.ota"]
    assert client.fetch("thermostat_1.0.0.3.ota") == releases["good"]
    assert (
        store(client, "thermostat_1.0.0.3.ota", releases["good"]) == "226 Transfer complete: the same is there already."
    )
    assert store(client, "thermostat_1.0.0.4.ota", releases["next"]) == "226 Transfer complete."
    assert names(folder) == ["thermostat_1.0.0.3.ota", "thermostat_1.0.0.4.ota"]


@pytest.mark.parametrize(
    ("what", "name", "why"),
    [
        ("unsigned", "thermostat_1.0.0.3.ota", "is not signed"),
        ("stranger's", "thermostat_1.0.0.3.ota", "which is unknown or retired here"),
        ("cut off", "thermostat_1.0.0.3.ota", "the release file ends in the middle of it"),
        ("longer", "thermostat_1.0.0.3.ota", "there is more in the release file than its header says"),
        ("changed", "thermostat_1.0.0.3.ota", "a.txt: "),
        ("good", "thermostat_1.0.0.5.ota", "thermostat_1.0.0.5.ota: "),
        ("good", "thermostat.ota", "thermostat.ota is no release's name"),
        ("good", "thermostat_1.0.0.3.ota.filepart", "this server takes signed release files only"),
        ("good", "thermostat_1.0.0.3.py", "this server takes signed release files only"),
        ("good", "SHA256SUMS", "this server takes signed release files only"),
        ("good", ".hidden", "550 "),
        ("good", ".withdrawn-thermostat_1.0.0.3.ota", "hidden names are the server's own"),
        ("good", JOURNAL_NAME, "hidden names are the server's own"),
        ("good", "nowhere/thermostat_1.0.0.3.ota", "No such file or directory"),
        ("good", "../thermostat_1.0.0.3.ota.x", "signed release files only"),
    ],
)
def test_what_is_refused_leaves_nothing_and_says_why_in_one_line(
    with_key: Settings,
    serve: Serve,
    connect: Connect,
    folder: Path,
    releases: dict[str, bytes],
    what: str,
    name: str,
    why: str,
) -> None:
    reply = refusal(connect(serve(), "publisher"), name, releases[what])
    assert reply.startswith("550 ")
    assert why in reply
    assert names(folder.parent) == ["keys/release.pub"]


def test_a_release_that_is_there_is_never_replaced_or_removed(
    with_key: Settings, serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes]
) -> None:
    client = connect(serve(), "publisher")
    name = "thermostat_1.0.0.3.ota"
    store(client, name, releases["good"])
    assert "is published already, with other content" in refusal(client, name, releases["other content"])
    # The same version in other digits is the same version.
    assert "published already" in refusal(client, "thermostat_1.0.0.03.ota", releases["good"])
    part = f"{PART_PREFIX}1"
    store(client, part, releases["other content"])
    assert "is published already, with other content" in rename(client, part, name)
    assert client.refused(f"DELE {name}").startswith("550 thermostat_1.0.0.3.ota is published: a release is withdrawn")
    assert rename(client, name, "x.ota").startswith("550 ")
    assert rename(client, name, part + "2").startswith("550 ")
    assert "another application, thermostat" in refusal(client, "heater_1.0.0.9.ota", releases["heater"])
    assert (folder / name).read_bytes() == releases["good"]


def test_a_release_is_withdrawn_and_put_back(
    with_key: Settings, serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes]
) -> None:
    client = connect(serve(), "publisher")
    name, hidden = "thermostat_1.0.0.3.ota", f"{WITHDRAWN_PREFIX}thermostat_1.0.0.3.ota"
    store(client, name, releases["good"])
    assert rename(client, name, hidden) == "250 Renaming ok."
    assert names(folder) == [hidden]
    assert "was withdrawn: put it back" in refusal(client, name, releases["other content"])
    assert "is withdrawn, and stays" in client.refused(f"DELE {hidden}")
    assert rename(client, hidden, "thermostat_1.0.0.4.ota").startswith("550 ")
    assert rename(client, hidden, name) == "250 Renaming ok."
    assert names(folder) == [name]


def test_a_part_becomes_a_release_only_when_it_is_one(
    with_key: Settings, serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes]
) -> None:
    client = connect(serve(), "publisher")
    part = f"{PART_PREFIX}1"
    store(client, part, releases["stranger's"])
    assert "unknown or retired" in rename(client, part, "thermostat_1.0.0.3.ota")
    assert names(folder) == [part]
    store(client, part, releases["good"])
    assert rename(client, part, "thermostat_1.0.0.3.ota") == "250 Renaming ok."
    assert names(folder) == ["thermostat_1.0.0.3.ota"]


def test_a_release_that_would_stop_a_board_is_refused(
    serve: Serve, connect: Connect, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("pass\n")
    content = build(source, signer=None, name="thermostat", version="1.0", output=tmp_path).path.read_bytes()
    # As a tool could build it that compiles nothing.
    assert content.count(b"pass\n") == 1
    broken = content.replace(b"pass\n", b"pas (\n").replace(
        hashlib.sha256(b"pass\n").hexdigest().encode(), hashlib.sha256(b"pas (\n").hexdigest().encode()
    )
    client = connect(serve(), "publisher")
    assert "main.py" in refusal(client, "thermostat_1.0.ota", broken)
    assert names(folder) == []
    store(client, "thermostat_1.0.ota", content)
    assert names(folder) == ["thermostat_1.0.ota"]


def test_settings_may_let_what_nobody_signed_in(
    with_key: Settings, serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes]
) -> None:
    client = connect(serve(unsigned=True), "publisher")
    store(client, "thermostat_1.0.0.3.ota", releases["unsigned"])
    store(client, "notes.txt", b"x")
    # What is signed must be signed by one of them all the same.
    assert "unknown or retired" in refusal(client, "thermostat_1.0.0.3.ota", releases["stranger's"])
    assert names(folder) == ["notes.txt", "thermostat_1.0.0.3.ota"]


def test_where_no_key_is_known_a_signed_release_must_be_whole(
    serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes]
) -> None:
    client = connect(serve(), "publisher")
    assert "a.txt: " in refusal(client, "thermostat_1.0.0.3.ota", releases["changed"])
    store(client, "thermostat_1.0.0.3.ota", releases["good"])
    store(client, "thermostat_1.0.0.4.ota", releases["next"])
    assert names(folder) == ["thermostat_1.0.0.3.ota", "thermostat_1.0.0.4.ota"]


def test_boards_are_served_while_a_release_is_verified(
    serve: Serve, connect: Connect, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "big.bin").write_bytes(bytes(30_000_000))
    built = build(source, signer=None, name="thermostat", version="1.0", output=tmp_path)
    server = serve()
    client, board = connect(server, "publisher"), connect(server)
    board.voidcmd("TYPE I")
    client.voidcmd("TYPE I")
    data = client.transfercmd("STOR thermostat_1.0.ota")
    with data:
        data.sendall(built.path.read_bytes())
    served = 0
    client.sock.setblocking(False)
    while True:
        board.nlst("/")
        served += 1
        try:
            if client.sock.recv(1, socket.MSG_PEEK):
                break
        except BlockingIOError:
            continue
    client.sock.settimeout(10)
    client.voidresp()
    assert names(folder) == ["thermostat_1.0.ota"]
    # It takes some tenths of a second to verify, and a listing one hundredth.
    assert served > 2


# --- plain folders


def test_a_plain_folder_is_published_where_no_key_is(serve: Serve, connect: Connect, folder: Path) -> None:
    client = connect(serve(), "publisher")
    client.mkd("lib")
    store(client, "lib/sensor.py", b"sensor")
    store(client, "thermostat_1.0.0.2.py", b"two")
    store(client, "lib/sensor.py", b"sensor 2")
    assert (folder / "lib" / "sensor.py").read_bytes() == b"sensor 2"
    assert "is published already, with other content" in refusal(client, "thermostat_1.0.0.2.py", b"other")
    assert store(client, "thermostat_1.0.0.2.py", b"two").endswith("the same is there already.")
    assert "another application, thermostat" in refusal(client, "pump_1.0.0.2.py")
    assert "version 1.0.b: each field must be a number" in refusal(client, "thermostat_1.0.b.py")
    assert names(folder) == ["lib/sensor.py", "thermostat_1.0.0.2.py"]


def test_only_what_belongs_to_no_release_is_removed(
    serve: Serve, connect: Connect, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "lib").mkdir(parents=True)
    (source / "thermostat_1.0.0.2.py").write_text("two")
    (source / "lib" / "a_1.0.py").write_text("a")
    repository.publish(source, folder)
    (folder / "stray.txt").write_text("x")
    client = connect(serve(), "publisher")
    for kept in ("thermostat_1.0.0.2.py", "lib/a_1.0.py", "SHA256SUMS"):
        assert client.refused(f"DELE {kept}").startswith("550 "), kept
    client.delete("stray.txt")
    (folder / "SHA256SUMS").unlink()
    assert client.refused("DELE thermostat_1.0.0.2.py").startswith("550 ")
    assert client.refused("DELE nothing").startswith("550 ")
    assert client.refused("RMD lib").startswith("550 ")
    # What looks like a version deeper in a release is an ordinary file, which the next release may replace.
    repository.publish(source, folder)
    store(client, "lib/a_1.0.py", b"other")
    assert (folder / "lib" / "a_1.0.py").read_bytes() == b"other"


# --- any client, and what becomes of an upload that breaks off


def test_curl_uploads(with_key: Settings, serve: Serve, folder: Path, releases: dict[str, bytes]) -> None:
    server = serve()

    def upload(what: str) -> "subprocess.CompletedProcess[bytes]":
        url = f"ftp://publisher:{PASSWORD}@127.0.0.1:{server.port}/thermostat_1.0.0.3.ota"
        command = ["curl", "-sS", "-T", "-", url]
        return subprocess.run(command, input=releases[what], capture_output=True, check=False, timeout=30)

    assert upload("changed").returncode != 0
    assert names(folder) == []
    assert upload("good").returncode == 0
    assert (folder / "thermostat_1.0.0.3.ota").read_bytes() == releases["good"]


def test_an_upload_is_invisible_until_it_is_whole(serve: Serve, connect: Connect, folder: Path) -> None:
    server = serve()
    client, second, board = connect(server, "publisher"), connect(server, "publisher"), connect(server)
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR a.txt") as data:
        data.sendall(HALF)
        until(lambda: any(path.stat().st_size for path in folder.iterdir()))
        (name,) = names(folder)
        for each in (second, board):
            assert each.nlst("/") == []
            for command in (f"SIZE {name}", f"RETR {name}", f"DELE {name}", f"RNFR {name}", f"STOR {name}"):
                each.voidcmd("TYPE I")
                assert each.refused(command).startswith("550")
    client.voidresp()
    assert names(folder) == ["a.txt"]


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("how", ["both", "session", "reset", "ABOR", "QUIT"])
def test_an_upload_that_breaks_off_leaves_nothing(serve: Serve, connect: Connect, folder: Path, how: str) -> None:
    (folder / "a.txt").write_bytes(b"old")
    client = connect(serve(), "publisher")
    client.voidcmd("TYPE I")
    data = client.transfercmd("STOR a.txt")
    data.sendall(HALF)
    until(lambda: any(path.stat().st_size > 4 for path in folder.iterdir()))
    if how == "reset":
        reset(data)
        assert client.getmultiline().startswith("426")
    elif how == "ABOR":
        client.putcmd("ABOR")
        assert client.getmultiline()[:1] in ("2", "4")
        data.close()
    else:
        if how == "QUIT":
            client.putcmd("QUIT")
        client.close()
        if how != "session":
            data.close()
    until(lambda: names(folder) == ["a.txt"])
    data.close()
    assert (folder / "a.txt").read_bytes() == b"old"


def test_a_client_that_is_killed_leaves_nothing(serve: Serve, folder: Path) -> None:
    server = serve()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                ftp = ftplib.FTP()
                ftp.connect("127.0.0.1", server.port)
                ftp.login("publisher", PASSWORD)
                ftp.voidcmd("TYPE I")
                data = ftp.transfercmd("STOR a.txt")
                data.sendall(HALF)
            finally:
                os._exit(9)
        os.waitpid(child, 0)
        until(lambda: names(folder) == [])
        time.sleep(0.05)
        assert names(folder) == []


def test_parts_go_with_the_session_that_made_them(serve: Serve, connect: Connect, folder: Path) -> None:
    client = connect(serve(), "publisher")
    store(client, f"{PART_PREFIX}1", b"x")
    store(client, f"{PART_PREFIX}2", b"x")
    rename(client, f"{PART_PREFIX}2", "kept.txt")
    assert names(folder) == [f"{PART_PREFIX}1", "kept.txt"]
    client.quit()
    until(lambda: names(folder) == ["kept.txt"])


def test_what_a_killed_server_left_is_removed_by_a_later_upload(serve: Serve, connect: Connect, folder: Path) -> None:
    old, young = folder / ".otalink-upload-1", folder / ".otalink-upload-2"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    store(connect(serve(), "publisher"), "a.txt", b"x")
    assert names(folder) == [".otalink-upload-2", "a.txt"]


def test_an_upload_is_bounded(serve: Serve, connect: Connect, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = connect(serve(upload_max=100_000), "publisher")
    store(client, "a.txt", bytes(100_000))
    client.voidcmd("TYPE I")
    data = client.transfercmd("STOR b.txt")
    with data, pytest.raises((ConnectionResetError, BrokenPipeError)):
        data.sendall(bytes(100_000_000))
    assert client.getmultiline() == "552 Too large: 100000 bytes are allowed."
    assert "a fault of the server" not in caplog.text
    assert names(folder) == ["a.txt"]


def test_uploads_are_binary_and_begin_at_the_start(serve: Serve, connect: Connect, folder: Path) -> None:
    client = connect(serve(), "publisher")
    client.voidcmd("TYPE A")
    assert client.refused("STOR a.txt") == "550 Uploads are binary: give TYPE I first."
    client.voidcmd("TYPE I")
    client.sendcmd("REST 3")
    assert client.refused("STOR a.txt").startswith("554 ")
    for command in ("APPE a.txt", "STOU", "SITE CHMOD 777 a.txt", "MFMT 20200101000000 a.txt"):
        assert client.refused(command)[:1] == "5", command
    assert names(folder) == []


def test_one_upload_at_a_time(serve: Serve, connect: Connect, folder: Path) -> None:
    client = connect(serve(), "publisher")
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR a.txt") as data:
        data.sendall(HALF)
        until(lambda: any(path.stat().st_size for path in folder.iterdir()))
        for command in ("STOR b.txt", "DELE a.txt", "RNFR a.txt"):
            assert client.refused(command).startswith("450 "), command
    client.voidresp()
    assert names(folder) == ["a.txt"]


def test_over_tls_a_file_that_is_not_ended_may_be_cut_off_and_is_not_kept(
    settings: Settings, with_key: Settings, serve: Serve, folder: Path, server_tls: Tls, releases: dict[str, bytes]
) -> None:
    server = serve(tls=server_tls, unsigned=True)
    assert server_tls.ca is not None
    context = ssl.create_default_context(cadata=server_tls.ca.read_bytes())
    with ftplib.FTP_TLS(context=context, timeout=10) as client:
        client.connect("127.0.0.1", server.port)
        client.login("publisher", PASSWORD)
        client.prot_p()
        client.voidcmd("TYPE I")

        def cut_off(path: str, content: bytes) -> str:
            """The reply to an upload whose connection is closed as anybody could close it."""
            with client.transfercmd(f"STOR {path}") as data:
                data.sendall(content)
            return client.getmultiline()

        assert cut_off("notes.txt", b"half").startswith("426 TLS ended without its close_notify")
        assert cut_off("thermostat_1.0.0.3.ota", releases["cut off"]).startswith("550 ")
        assert names(folder) == []
        # Nothing that the server sends may wait unread when a client closes: what is on its way would be lost.
        assert cut_off(f"{PART_PREFIX}1", bytes(5_000_000)) == "226 Transfer complete."
        assert client.size(f"{PART_PREFIX}1") == 5_000_000
        # What is signed proves that all of it came.
        assert cut_off("thermostat_1.0.0.3.ota", releases["good"]) == "226 Transfer complete."
        assert store(client, "notes.txt", b"whole") == "226 Transfer complete."
    until(lambda: names(folder) == ["notes.txt", "thermostat_1.0.0.3.ota"])
    counters = server.events.counters
    assert (counters.total("received_complete"), counters.total("received_broken_off")) == (4, 1)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Verifying takes until this is set."""
    go_on = threading.Event()
    check = upload_rules.check_release_file

    def waits(*arguments: Any) -> bool:
        assert go_on.wait(20)
        return check(*arguments)

    monkeypatch.setattr(upload_rules, "check_release_file", waits)
    yield go_on
    go_on.set()


def is_verifying(server: FtpServer) -> bool:
    return len(server._checks._threads) > 0


def begin(client: Any, path: str, content: bytes) -> None:
    """Uploads, and leaves the reply to be read."""
    client.voidcmd("TYPE I")
    with client.transfercmd(f"STOR {path}") as data:
        data.sendall(content)


def test_commands_wait_for_the_release_that_is_verified_and_so_does_the_end_of_an_idle_session(
    serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes], slow: threading.Event
) -> None:
    server = serve(idle_timeout=0.3)
    client, board = connect(server, "publisher"), connect(server)
    begin(client, "thermostat_1.0.0.3.ota", releases["good"])
    until(lambda: is_verifying(server))
    client.sock.sendall(b"NOOP\r\nQUIT\r\n")
    # It had its time to be found idle, as the board is.
    assert board.getmultiline().startswith("421 ")
    assert names(folder) != ["thermostat_1.0.0.3.ota"]
    slow.set()
    assert [client.getmultiline()[:3] for _ in range(3)] == ["226", "200", "221"]
    assert names(folder) == ["thermostat_1.0.0.3.ota"]


def test_who_quits_before_the_reply_still_gets_it(serve: Serve, connect: Connect, folder: Path) -> None:
    client = connect(serve(), "publisher")
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR a.txt") as data:
        data.sendall(HALF)
        client.putcmd("QUIT")
        assert client.getmultiline().startswith("221")
    assert client.getmultiline() == "226 Transfer complete."
    with pytest.raises(EOFError):
        client.getmultiline()
    assert (folder / "a.txt").read_bytes() == HALF


def test_a_server_that_is_ended_lets_the_release_be_verified(
    serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes], slow: threading.Event
) -> None:
    server = serve()
    client, board = connect(server, "publisher"), connect(server)
    begin(client, "thermostat_1.0.0.3.ota", releases["good"])
    until(lambda: is_verifying(server))
    server.finish()
    assert board.getmultiline().startswith("421 ")
    slow.set()
    assert client.getmultiline() == "226 Transfer complete."
    assert names(folder) == ["thermostat_1.0.0.3.ota"]


def test_few_are_verified_at_once_and_a_session_that_ends_meanwhile_harms_nothing(
    serve: Serve, connect: Connect, folder: Path, releases: dict[str, bytes], slow: threading.Event
) -> None:
    server = serve()
    clients = [connect(server, "publisher") for _ in range(6)]
    before = threading.active_count()
    for number, client in enumerate(clients):
        begin(client, f"thermostat_1.0.0.{number}.ota", releases["good"])
    until(lambda: len(names(folder)) == 6)
    assert threading.active_count() - before <= CHECKS_AT_ONCE
    for client in clients[1:]:
        client.close()
    connect(server).nlst("/")  # the server goes on
    slow.set()
    # Of another version than its name says.
    assert clients[0].getmultiline().startswith("550 ")
    until(lambda: names(folder) == [])


def test_what_is_written_is_recorded(
    with_key: Settings, serve: Serve, connect: Connect, folder: Path, tmp_path: Path, releases: dict[str, bytes]
) -> None:
    server = serve(unsigned=True)
    with AuditLog(tmp_path / "audit", bytes(32), known=server.knows) as log:
        server.events.audit = log
        client = connect(server, "publisher")
        good = releases["good"]
        name, hidden = "thermostat_1.0.0.3.ota", ".withdrawn-thermostat_1.0.0.3.ota"
        store(client, name, good)
        refusal(client, name, releases["other content"])
        rename(client, name, hidden)
        rename(client, hidden, name)
        store(client, "notes.txt", b"12345")
        assert client.refused("DELE notes.txt").startswith("550 ")
        refusal(client, "../../secret_1.ota", good)
        store(connect(server), "report.json", b"{}")
        server.events.audit = None
    lines = (next((tmp_path / "audit").glob("*.jsonl"))).read_text()
    records = [json.loads(line) for line in lines.splitlines()]
    wrote = [(r["event"], r["outcome"], r["account"], r.get("path"), r.get("bytes")) for r in records]
    assert [each for each in wrote if not each[0].startswith(("log", "tls"))] == [
        ("publish", "ok", "publisher", f"/{name}", len(good)),
        ("upload_refused", "refused", "publisher", f"/{name}", None),
        ("withdraw", "ok", "publisher", f"/{name}", None),
        ("publish", "ok", "publisher", f"/{name}", None),
        ("upload", "ok", "publisher", "/notes.txt", 5),
        ("upload_refused", "refused", "publisher", "/notes.txt", None),
        ("upload_refused", "refused", "publisher", "/secret_1.ota", None),
        ("report", "ok", "board", "/report.json", 2),
    ]
    assert PASSWORD not in lines


def test_no_link_leads_a_publisher_out(serve: Serve, connect: Connect, folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"SECRET")
    (folder / "out").symlink_to("..")
    (folder / "file").symlink_to("../secret")
    client = connect(serve(), "publisher")
    for path in ("out/x.txt", "out/secret", "file", "../secret"):
        reply = refusal(client, path) if path != "../secret" else "550"
        assert reply.startswith("550"), path
    for command in ("DELE out/secret", "DELE file", "RNFR out/secret", "MKD out/x", "RMD out", "SITE LOCK out"):
        assert client.refused(command).startswith("550"), command
    assert (folder.parent / "secret").read_bytes() == b"SECRET"
    assert names(folder.parent) == ["releases/file", "secret"]


# --- the lock


def test_one_publish_at_a_time_over_the_server_and_on_its_machine(
    serve: Serve, connect: Connect, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "thermostat_1.0.py").write_text("")
    server = serve()
    first, second = connect(server, "publisher"), connect(server, "publisher")
    first.voidcmd("SITE LOCK /")
    first.voidcmd("SITE LOCK /")
    assert second.refused("SITE LOCK /").startswith("450 another publish into / is under way")
    with pytest.raises(repository.UserError, match="is under way"):
        repository.publish(source, folder)
    first.quit()
    until(lambda: LOCK_NAME not in names(folder))
    second.voidcmd("SITE LOCK /")
    second.voidcmd("SITE UNLOCK /")
    repository.publish(source, folder)


# --- boards


def test_a_board_reaches_nothing_of_publishing(serve: Serve, connect: Connect, folder: Path) -> None:
    hidden = [f"{PART_PREFIX}1", f"{WITHDRAWN_PREFIX}thermostat_1.0.0.3.ota", JOURNAL_NAME, LOCK_NAME, ".x"]
    for name in hidden:
        (folder / name).write_bytes(b"x")
    board = connect(serve())
    board.voidcmd("TYPE I")
    assert board.nlst("/") == []
    for name in hidden:
        board.voidcmd("TYPE I")
        for command in (f"SIZE {name}", f"RETR {name}", f"MLST {name}", f"DELE {name}", f"STOR {name}"):
            assert board.refused(command).startswith("550"), command
    for command in ("STOR a.txt", "STOR lib/report.json", "MKD x", "SITE LOCK /", "RNFR .x"):
        assert board.refused(command).startswith("550"), command


@pytest.fixture
def board(serve: Serve, connect: Connect) -> Iterator[Any]:
    client = connect(serve())
    yield client
    client.close()


def test_a_boards_report_is_kept_where_no_board_reads(board: Any, settings: Settings, folder: Path) -> None:
    assert settings.reports is not None
    assert store(board, "/report.json", b'{"name": "thermostat"}') == "226 Transfer complete."
    file = settings.reports / "board.json"
    assert json.loads(file.read_text()) == {"name": "thermostat"}
    assert board.nlst("/") == []
    assert board.refused("RETR report.json").startswith("550")
    assert names(folder.parent) == ["reports/board.json"]
    os.utime(file, (1, 1))
    store(board, "report.json", b'{"name": "pump"}')
    assert json.loads(file.read_text()) == {"name": "pump"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"[]", "550"),
        (b"{", "550"),
        (b"\xff", "550"),
        (b"", "550"),
        (b"[" * 4096, "550"),
        (b'{"a":"' + b"a" * 4096, "552"),
    ],
)
def test_what_is_no_report_leaves_nothing(board: Any, folder: Path, content: bytes, code: str) -> None:
    assert refusal(board, "report.json", content).startswith(code)
    assert names(folder.parent) == []


def test_reports_come_no_more_often_than_each_second(board: Any) -> None:
    store(board, "report.json", b"{}")
    assert refusal(board, "report.json", b"{}").startswith("450 a report came a moment ago")


def test_a_server_without_a_place_for_reports_says_so(settings: Settings, serve: Serve, connect: Connect) -> None:
    board = connect(serve(reports=None))
    assert refusal(board, "report.json", b"{}") == "550 this server keeps no reports."
    assert replace(settings, reports=None).reports is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(
    serve: Serve, connect: Connect, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    client = connect(serve(), "publisher")
    client.voidcmd("TYPE I")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with client.transfercmd("STOR a.txt") as data:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with contextlib.suppress(ConnectionError):
                data.sendall(bytes(10_000_000))
            reply = client.getmultiline()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "a fault of the server" not in caplog.text
    assert reply == "452 The file cannot be written: File too large."
    assert names(folder) == []
    store(client, "a.txt", b"whole")
    assert names(folder) == ["a.txt"]
