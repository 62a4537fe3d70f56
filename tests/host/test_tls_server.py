"""FTP over TLS: Python's own client and MicroPython's TLS against the server, and what must not get through."""

import contextlib
import ftplib
import io
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from otalink_host import certificates
from otalink_host.accounts import create_server_folder
from otalink_host.errors import UserError
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import Settings, Tls, load_settings
from otalink_host.tls_context import server_context

Serve = Callable[..., FtpServer]
PASSWORD = "correct-horse-battery"


@pytest.fixture
def settings(settings: Settings, server_tls: Tls) -> Settings:
    return replace(settings, tls=server_tls)


class TlsClient(ftplib.FTP_TLS):
    def fetch(self, path: str) -> bytes:
        content = io.BytesIO()
        self.retrbinary(f"RETR {path}", content.write)
        return content.getvalue()


@pytest.fixture
def secure(server_tls: Tls) -> Iterator[Callable[..., TlsClient]]:
    """Opens sessions that check the server by the CA, secured unless `auth` is False; closes them after the test."""
    opened: list[TlsClient] = []

    def session(server: FtpServer, *, auth: bool = True, **options: Any) -> TlsClient:
        assert server_tls.ca is not None
        context = ssl.create_default_context(cadata=server_tls.ca.read_bytes())
        for name, value in options.items():
            setattr(context, name, value)
        client = TlsClient(timeout=10, context=context)
        opened.append(client)
        client.connect("127.0.0.1", server.port)
        # For the name in the certificate.
        client.host = "localhost"
        if auth:
            client.auth()
        return client

    yield session
    for client in opened:
        client.close()


def plain(server: FtpServer) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    assert raw.recv(1000).startswith(b"220")
    return raw


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what a client may choose


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_login_listing_and_file_pass_over_tls(serve: Serve, secure: Any, version: ssl.TLSVersion) -> None:
    server = serve()
    client = secure(server, maximum_version=version, minimum_version=version)
    client.login("board", PASSWORD)
    client.prot_p()
    assert client.nlst() == ["lib", "thermostat_1.0.0.2.py"]
    assert client.fetch("lib/sensor.py") == b"sensor\n" * 1000
    assert client.sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
    assert client.sock.compression() is None
    (transfer,) = server.transfers
    assert (transfer.size, transfer.complete) == (7000, True)
    client.quit()


def test_a_large_file_passes_over_tls(serve: Serve, secure: Any, releases: Path) -> None:
    content = bytes(range(256)) * 20_000
    (releases / "big.bin").write_bytes(content)
    client = secure(serve())
    client.login("board", PASSWORD)
    client.prot_p()
    assert client.fetch("big.bin") == content


def test_over_tls_a_session_keeps_to_its_bandwidth_and_loses_no_byte(serve: Serve, secure: Any, releases: Path) -> None:
    content = bytes(range(256)) * 1000
    (releases / "big.bin").write_bytes(content)
    client = secure(serve(bandwidth=500, bandwidth_total=600))
    client.login("board", PASSWORD)
    client.prot_p()
    started = time.monotonic()
    assert client.fetch("big.bin") == content
    assert time.monotonic() - started > len(content) / 512_000 - 0.3


def test_the_data_may_be_protected_ahead_of_the_login(serve: Serve, secure: Any) -> None:
    # As in the example of RFC 4217 section 12.1.
    client = secure(serve())
    client.prot_p()
    client.login("board", PASSWORD, secure=False)
    assert client.fetch("thermostat_1.0.0.2.py") == b"print('two')\n"
    # It lasts, whoever logs in.
    client.login("tester", PASSWORD, secure=False)
    assert client.fetch("/test/thermostat_1.0.0.2.py") == b"print('two')\n"


def test_after_the_login_the_data_may_go_in_the_clear(serve: Serve, secure: Any) -> None:
    client = secure(serve())
    client.login("board", PASSWORD)
    assert client.fetch("thermostat_1.0.0.2.py") == b"print('two')\n"
    client.prot_p()
    client.prot_c()
    assert client.fetch("thermostat_1.0.0.2.py") == b"print('two')\n"


def test_where_tls_is_optional_plain_ftp_goes_on(serve: Serve, connect: Any) -> None:
    assert connect(serve()).fetch("thermostat_1.0.0.2.py") == b"print('two')\n"


def test_where_tls_is_off_there_is_no_command_for_it(serve: Serve, connect: Any) -> None:
    client = connect(serve(tls=Tls()))
    assert client.refused("AUTH TLS").startswith("500")
    assert client.refused("PROT P").startswith("500")
    assert "TLS" not in client.sendcmd("FEAT")


def test_what_the_server_can_is_said(serve: Serve, connect: Any) -> None:
    features = connect(serve()).sendcmd("FEAT").split("\n ")
    assert {"AUTH TLS", "PBSZ", "PROT"} <= set(features)
    assert "AUTH SSL" not in features


def test_where_tls_is_required_nothing_goes_in_the_clear(serve: Serve, secure: Any, server_tls: Tls) -> None:
    server = serve(tls=replace(server_tls, mode="required"))
    client = secure(server, auth=False)
    with pytest.raises(ftplib.error_perm, match=r"SSL/TLS required on the control channel"):
        client.sendcmd("USER board")
    client.auth()
    client.login("board", PASSWORD)
    for command in ("PASV", "EPSV"):
        with pytest.raises(ftplib.error_perm, match=r"SSL/TLS required on the data channel"):
            client.sendcmd(command)
    client.prot_p()
    assert client.fetch("thermostat_1.0.0.2.py") == b"print('two')\n"


def test_a_client_that_checks_refuses_another_name(serve: Serve, secure: Any) -> None:
    client = secure(serve(), auth=False)
    client.host = "somewhere.example"
    with pytest.raises(ssl.SSLCertVerificationError):
        client.auth()


@pytest.mark.parametrize(
    ("options", "ciphers"),
    [({"maximum_version": ssl.TLSVersion.TLSv1_1, "minimum_version": ssl.TLSVersion.TLSv1}, "ALL:@SECLEVEL=0")]
    + [({"maximum_version": ssl.TLSVersion.TLSv1_2}, cipher) for cipher in ("AES256-SHA", "ECDHE-ECDSA-AES128-SHA")],
)
def test_old_versions_and_weak_ciphers_are_refused(
    serve: Serve, connect: Any, options: dict[str, Any], ciphers: str
) -> None:
    server = serve()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ciphers)
    for name, value in options.items():
        if name.endswith("version"):
            with (
                pytest.warns(DeprecationWarning, match="TLSv1")
                if value < ssl.TLSVersion.TLSv1_2
                else contextlib.nullcontext()
            ):
                setattr(context, name, value)
    with plain(server) as raw:
        raw.sendall(b"AUTH TLS\r\n")
        assert raw.recv(1000).startswith(b"234")
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(raw, server_hostname="localhost")
    connect(server).voidcmd("NOOP")


# --- what must not get through


@pytest.mark.parametrize(
    "sent",
    [b"AUTH TLS\r\nUSER board\r\nPASS %b\r\n", b"AUTH TLS\r\nUSER bo", b"USER board\r\nPASS %b\r\nAUTH TLS\r\nUSER bo"],
)
def test_what_came_in_the_clear_behind_auth_is_never_run(serve: Serve, server_tls: Tls, sent: bytes) -> None:
    server = serve()
    assert server_tls.ca is not None
    context = ssl.create_default_context(cadata=server_tls.ca.read_bytes())
    with plain(server) as raw:
        raw.sendall(sent.replace(b"%b", PASSWORD.encode()))
        received = b""
        while b"234 " not in received:
            received += raw.recv(1000)
        assert received.endswith(b"234 AUTH TLS successful.\r\n")
        with context.wrap_socket(raw, server_hostname="localhost") as client:
            # Neither a reply to it comes, nor is anybody logged in, nor is a half command completed by what follows.
            client.sendall(b"ard\r\n")
            assert client.recv(1000).startswith(b'500 Command "ARD" not understood')
            client.sendall(b"PWD\r\n")
            assert client.recv(1000).startswith(b"530 Log in")
            client.sendall(b"PASS x\r\n")
            assert client.recv(1000).startswith(b"503 Login with USER first")
    assert [session for session in server._sessions if session.authenticated] == []


def test_commands_in_the_clear_right_behind_the_answer_to_auth_end_the_session(serve: Serve, connect: Any) -> None:
    server = serve()
    with plain(server) as raw:
        raw.sendall(b"AUTH TLS\r\n")
        assert raw.recv(1000).startswith(b"234")
        raw.sendall(b"USER board\r\nPASS x\r\n")
        with contextlib.suppress(ConnectionResetError):
            # An alert of TLS, perhaps, and the end.
            assert not raw.recv(1000).startswith((b"331", b"530"))
            while raw.recv(1000):
                pass
    connect(server).voidcmd("NOOP")


def test_replies_that_wait_in_the_clear_never_come_out_within_tls(serve: Serve, connect: Any) -> None:
    server = serve()
    with plain(server) as raw:
        # Answers of some twenty megabytes, more than the network holds for somebody who does not read.
        raw.sendall(b"HELP\r\n" * 30_000)
        wait_until(lambda: any(session.producer_fifo for session in list(server._sessions)))
        raw.sendall(b"AUTH TLS\r\n")
        received = bytearray()
        while b"\r\n234 " not in received[-100:]:
            received += raw.recv(1_000_000)
    assert received.count(b"\r\n214 ") == 30_000
    assert received.endswith(b"\r\n234 AUTH TLS successful.\r\n")
    connect(server).voidcmd("NOOP")


def test_a_login_in_the_clear_ends_with_auth(serve: Serve, secure: Any) -> None:
    client = secure(serve(), auth=False)
    client.login("board", PASSWORD, secure=False)
    client.auth()
    with pytest.raises(ftplib.error_perm, match="530 Log in"):
        client.pwd()
    client.login("board", PASSWORD)
    assert client.pwd() == "/"


def test_auth_comes_once_and_rein_not_over_tls(serve: Serve, secure: Any) -> None:
    client = secure(serve())
    client.login("board", PASSWORD)
    for command, answer in (("AUTH TLS", "503"), ("REIN", "502")):
        with pytest.raises(ftplib.error_perm, match=answer):
            client.sendcmd(command)
    assert client.pwd() == "/"


def test_prot_needs_tls_and_pbsz(serve: Serve, connect: Any, secure: Any) -> None:
    server = serve()
    assert connect(server).refused("PROT P").startswith("503")
    with pytest.raises(ftplib.error_perm, match="503"):
        secure(server).sendcmd("PROT P")


# --- who does it wrong


def test_a_handshake_that_fails_is_one_line_and_counted(
    serve: Serve, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    with plain(server) as raw:
        raw.sendall(b"AUTH TLS\r\n")
        raw.recv(1000)
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1000):
                pass
    wait_until(lambda: server.events.counters.total("tls_failed") == 1)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == ["127.0.0.1: no TLS: the handshake did not come about"]
    connect(server).voidcmd("NOOP")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_never_ends_gives_up_the_place(serve: Serve, connect: Any, sent: bytes) -> None:
    server = serve(login_timeout=0.3)
    with plain(server) as raw:
        raw.sendall(b"AUTH TLS\r\n")
        raw.recv(1000)
        raw.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(1000) == b""
    wait_until(lambda: not server._sessions)
    connect(server).voidcmd("NOOP")


def test_clear_text_within_a_tls_session_ends_it_without_a_traceback(
    serve: Serve, secure: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    client = secure(server)
    client.login("board", PASSWORD)
    with socket.socket(fileno=client.sock.detach()) as raw:
        raw.settimeout(10)
        raw.sendall(b"QUIT\r\n" * 10)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1000):
                pass
    client.sock = None
    wait_until(lambda: not server._sessions)
    assert not [record for record in caplog.records if record.exc_info]
    assert "what came is not what its TLS had begun with" in caplog.text
    connect(server).voidcmd("NOOP")


def test_a_data_connection_in_the_clear_where_tls_was_asked_for_is_refused(serve: Serve, secure: Any) -> None:
    client = secure(serve())
    client.login("board", PASSWORD)
    client.prot_p()
    host, port = client.makepasv()
    with socket.create_connection((host, port), timeout=10) as raw:
        client.putcmd("RETR thermostat_1.0.0.2.py")
        raw.sendall(b"in the clear\r\n" * 10)
        with contextlib.suppress(ConnectionResetError):
            while data := raw.recv(1000):
                assert b"two" not in data
    replies = [client.getmultiline(), client.getmultiline()]
    assert any(reply.startswith(("522", "426")) for reply in replies), replies
    client.voidcmd("NOOP")


def test_a_data_handshake_that_never_ends_is_bounded(serve: Serve, secure: Any) -> None:
    server = serve(data_timeout=1)
    client = secure(server)
    client.login("board", PASSWORD)
    client.prot_p()
    host, port = client.makepasv()
    with socket.create_connection((host, port), timeout=10) as raw:
        client.putcmd("RETR thermostat_1.0.0.2.py")
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(1000) == b""
    wait_until(lambda: not server._sessions)


def test_a_client_that_goes_in_mid_transfer_leaves_nothing(serve: Serve, secure: Any, releases: Path) -> None:
    (releases / "big.bin").write_bytes(bytes(20_000_000))
    server = serve()
    idle = len(server._loop.socket_map)
    client = secure(server)
    client.login("board", PASSWORD)
    client.prot_p()
    connection = client.transfercmd("RETR big.bin")
    connection.recv(1000)
    connection.close()
    client.close()
    wait_until(lambda: not server._sessions)
    wait_until(lambda: len(server._loop.socket_map) == idle)
    assert not server.transfers[-1].complete


def test_a_client_that_reads_nothing_does_not_keep_a_secured_connection(
    settings: Settings, secure: Any, releases: Path
) -> None:
    (releases / "big.bin").write_bytes(bytes(20_000_000))
    with BackgroundServer(replace(settings, data_timeout=1), {"board": PASSWORD}) as server:
        idle = len(server._loop.socket_map)
        client = secure(server)
        client.login("board", PASSWORD)
        client.prot_p()
        connection = client.transfercmd("RETR big.bin")
        # It waits for room to send in: no byte moves, until its time is over.
        wait_until(lambda: not server._sessions)
        wait_until(lambda: len(server._loop.socket_map) == idle)
        connection.close()


def test_a_client_without_room_for_the_last_word_of_tls_does_not_keep_its_connections(
    serve: Serve, secure: Any, releases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(connection: SSL.Connection) -> bool:
        # As OpenSSL says it when the buffers are full to the byte.
        raise SSL.WantWriteError

    monkeypatch.setattr(SSL.Connection, "shutdown", no_room)
    server = serve()
    idle = len(server._loop.socket_map)
    client = secure(server)
    client.login("board", PASSWORD)
    client.prot_p()
    client.voidcmd("TYPE I")
    received = b""
    with client.transfercmd("RETR lib/sensor.py") as connection:
        while data := connection.recv(10_000):
            received += data
    assert received == b"sensor\n" * 1000
    client.voidresp()
    client.putcmd("QUIT")
    wait_until(lambda: len(server._loop.socket_map) == idle)


# --- the certificate


def test_a_board_checks_the_server_by_the_ca_in_der(serve: Serve, server_tls: Tls, on_board: Any) -> None:
    """MicroPython's own TLS: its ciphers, the CA as it was server_tls, and the server's name."""
    server = serve()
    code = """
import socket, ssl, sys
def session(ca, name):
    sock = socket.socket()
    sock.settimeout(5)
    sock.connect(socket.getaddrinfo("127.0.0.1", int(sys.argv[1]))[0][-1])
    sock.readline()
    sock.write(b"AUTH TLS\\r\\n")
    print(sock.readline())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca)
    secured = context.wrap_socket(sock, server_hostname=name)
    secured.write(b"USER board\\r\\n")
    print(secured.readline())
    print(secured.cipher())
    secured.write(b"PASS " + sys.argv[3].encode() + b"\\r\\n")
    print(secured.readline())
    secured.close()
ca = open(sys.argv[2], "rb").read()
session(ca, "localhost")
session(ca, "127.0.0.1")
try:
    session(ca, "elsewhere.example")
except (OSError, ValueError) as error:
    print("refused")
"""
    lines = on_board(code, str(server.port), str(server_tls.ca), PASSWORD).lines
    assert lines.count("b'331 Username ok, send password.\\r\\n'") == 2
    assert lines.count("b'230 Login successful.\\r\\n'") == 2
    assert any("ECDHE-ECDSA" in line and "GCM" in line for line in lines), lines
    assert lines[-1] == "refused"


def test_a_renewed_certificate_is_taken_over_for_new_sessions(
    settings: Settings, server_tls: Tls, secure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otalink_host.server.CERTIFICATE_LOOK", 0.05)
    assert server_tls.ca is not None
    assert server_tls.certificate is not None
    with BackgroundServer(settings, {"board": PASSWORD}) as server:
        old = secure(server)
        first = old.sock.getpeercert()["serialNumber"]
        certificates.renew(server_tls, [], server_tls.ca.with_name("ca.key"))
        wait_until(lambda: server.events.counters.total("reloads") >= 1)
        new = secure(server)
        assert new.sock.getpeercert()["serialNumber"] != first
        # Who was there goes on, with a data connection of the old one.
        old.login("board", PASSWORD)
        old.prot_p()
        assert old.fetch("thermostat_1.0.0.2.py") == b"print('two')\n"
        # A file that cannot be used changes nothing.
        text = server_tls.certificate.read_text()
        try:
            server_tls.certificate.write_text("nothing")
            wait_until(lambda: server.events.counters.total("reloads_failed") == 1)
            secure(server).login("board", PASSWORD)
        finally:
            server_tls.certificate.write_text(text)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda tls: tls.key.chmod(0o644), "server.key can be read by others: chmod 600"),
        (lambda tls: tls.key.unlink(), "there is no .*server.key: make it with `otalink cert new`"),
        (lambda tls: tls.certificate.unlink(), "there is no .*server.pem: make it with `otalink cert new`"),
        (lambda tls: tls.certificate.write_text("x"), "server.pem holds no certificate in PEM or DER"),
        (lambda tls: tls.key.write_text("x"), "server.key holds no private key in PEM without a passphrase"),
        (
            lambda tls: tls.key.write_bytes(tls.ca.with_name("ca.key").read_bytes()),
            "server.key is not the key of .*server.pem",
        ),
        (
            lambda tls: tls.certificate.write_bytes(_der(tls.certificate)),
            "server.pem cannot be used: it must be in PEM",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path, broken: Any, said: str) -> None:
    create_server_folder(tmp_path)
    certificates.create(load_settings(tmp_path / "otalink.toml"), ["localhost"])
    tls = load_settings(tmp_path / "otalink.toml").tls
    server_context(tls)
    broken(tls)
    with pytest.raises(UserError, match=said) as error:
        server_context(tls)
    assert "\n" not in str(error.value)


def _der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())
