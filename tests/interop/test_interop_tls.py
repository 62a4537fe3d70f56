"""The servers' TLS, seen by Python's own FTP client: what else tests use is what it is said to be."""

import ftplib
import io
import ssl

import pytest
from servers import STARTERS, Tls
from tls_cases import CASES, WORKS

CONTENT = bytes(range(256)) * 1000


class Resuming(ftplib.FTP_TLS):
    """A client whose data connections resume the control connection's TLS session."""

    def ntransfercmd(self, cmd, rest=None):
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(data, server_hostname=self.host, session=self.sock.session), size


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture
def server(case, folder, tls_files):
    (folder / "f").write_bytes(CONTENT)
    with STARTERS[case.server](folder, Tls(tls_files / "server.pem", case.private, case.reuse)) as running:
        yield running


@pytest.fixture
def connect(server, tls_files):
    """Logs in with a client of the class."""
    clients = []

    def run(kind):
        context = ssl.create_default_context(cafile=tls_files / "ca.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # MicroPython has no other
        client = kind(context=context)
        clients.append(client)
        client.connect(server.host, server.port, timeout=10)
        client.login(server.user, server.password)
        return client

    yield run
    for client in clients:
        client.close()


def fetch(client, rest=0):
    """What becomes of the transfer: WORKS or the code of the refusal."""
    content = io.BytesIO()
    try:
        client.retrbinary("RETR f", content.write, rest=rest or None)
    except ftplib.Error as error:
        return str(error)[:3]
    assert content.getvalue() == CONTENT[rest:]
    return WORKS


def prot_c(client):
    """As `fetch`, with data in the clear; a server may refuse it with PROT or with the transfer."""
    try:
        client.prot_c()
    except ftplib.Error as error:
        return str(error)[:3]
    return fetch(client)


def test_encrypted_data_come_unless_the_server_demands_that_its_tls_session_is_resumed(case, connect):
    client = connect(ftplib.FTP_TLS)
    client.prot_p()
    assert fetch(client) == case.prot_p
    resuming = connect(Resuming)
    resuming.prot_p()
    assert fetch(resuming) == WORKS
    assert fetch(resuming, rest=200_000) == WORKS
    assert "f" in resuming.nlst()


def test_data_in_the_clear_come_unless_the_server_refuses_them(case, connect):
    client = connect(ftplib.FTP_TLS)
    assert prot_c(client) == case.prot_c


def test_a_password_in_the_clear_is_refused(server):
    with ftplib.FTP() as client:
        client.connect(server.host, server.port, timeout=10)
        with pytest.raises(ftplib.Error, match=r"530 Non-anonymous .* encryption|550 SSL/TLS required|421-.*cleartext"):
            client.login(server.user, server.password)
