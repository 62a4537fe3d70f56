"""Accounts that ask for TLS, on a server that offers it, as Python's own client with TLS sees it."""

import contextlib
import ftplib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otalink_host.server import FtpServer
from otalink_host.settings import Account, Tls

PASSWORD = "correct-horse-battery"


@pytest.fixture
def tls_server(serve: Callable[..., FtpServer], releases: Path, server_tls: Tls) -> FtpServer:
    accounts = (Account("control", releases, tls="control"), Account("full", releases, tls="full"))
    return serve(tls=server_tls, accounts=accounts)


@pytest.fixture
def client(tls_server: FtpServer) -> Iterator[ftplib.FTP_TLS]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.closing(ftplib.FTP_TLS(context=context, timeout=10)) as made:
        made.connect("127.0.0.1", tls_server.port)
        yield made


def fetch(client: ftplib.FTP_TLS) -> bytes:
    content: list[bytes] = []
    client.retrbinary("RETR lib/sensor.py", content.append)
    return b"".join(content)


def refusal(client: ftplib.FTP_TLS, command: str) -> str:
    with pytest.raises(ftplib.Error) as refused:
        client.sendcmd(command)
    return str(refused.value)


def test_with_tls_on_the_control_connection_the_account_logs_in_and_data_may_go_in_the_clear(
    client: ftplib.FTP_TLS,
) -> None:
    assert refusal(client, "USER control").startswith("530 This account needs TLS")
    client.auth()
    client.login("control", PASSWORD, secure=False)
    assert fetch(client) == b"sensor\n" * 1000
    client.prot_p()
    assert fetch(client) == b"sensor\n" * 1000


def test_an_account_with_full_tls_gets_no_data_in_the_clear(client: ftplib.FTP_TLS) -> None:
    assert refusal(client, "USER full").startswith("530 This account needs TLS")
    client.login("full", PASSWORD)
    for command in ("PASV", "EPSV"):
        assert refusal(client, command) == "522 This account needs TLS for data: PROT P comes first."
    client.prot_p()
    assert fetch(client) == b"sensor\n" * 1000
    # Nor by giving the protection up after the data connection was agreed upon.
    client.sendcmd("EPSV")
    assert refusal(client, "PROT C") == "534 This account needs TLS for data."
    assert fetch(client) == b"sensor\n" * 1000


def test_a_password_is_checked_beside_the_loop_under_tls_too(client: ftplib.FTP_TLS) -> None:
    client.auth()
    client.sendcmd("USER control")
    assert refusal(client, "PASS wrong") == "530 Authentication failed."
    client.login("control", PASSWORD, secure=False)
    assert client.pwd() == "/"
