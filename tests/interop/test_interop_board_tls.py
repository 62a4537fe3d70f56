"""The board's FTP client over TLS, on MicroPython, with the FTP servers that others wrote, set in every way."""

import pytest
from board_client import CONTENT, digest, script
from servers import STARTERS, Tls
from tls_cases import CASES, WORKS

KEYS = {"0123456789abcdef": ""}  # without a key the board takes no data in the clear


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture
def run_client(on_board, case, folder, tls_files):
    """As in test_interop_board.py, over TLS, with data "private" or "clear"."""
    (folder / "lib").mkdir()
    (folder / "empty").mkdir()
    (folder / "f").write_bytes(CONTENT)
    (folder / "lib" / "small").write_bytes(b"12345")

    def run(data, body, **settings):
        tls = Tls(tls_files / "server.pem", case.private, case.reuse)
        settings = {"keys": KEYS, "tls": {"ca": str(tls_files / "ca.der"), "data": data} | settings}
        with STARTERS[case.server](folder, tls) as server:
            return on_board(script(server, body, **settings)).lines

    return run


@pytest.mark.parametrize(("data", "prot"), [("private", "prot_p"), ("clear", "prot_c")])
def test_files_and_listings_come_over_tls_or_the_refusal_is_said(run_client, case, data, prot):
    lines = run_client(
        data,
        """
        try:
            await client.retrieve("lib/small", buffer, got)
        except FtpError as error:
            print(error.code, error)
            return
        await client.retrieve("f", buffer, got)
        print(got.count, got.hash.digest())
        got = Hash()
        await client.retrieve("f", buffer, got, 4000000)
        print(got.hash.digest())
        print(await client.retrieve("f", buffer, lambda view: True) <= 4096, await client.size("f"))
        print(sorted(await client.nlst()))
        await client.cwd("/empty")
        print(await client.nlst())
        """,
    )
    outcome = getattr(case, prot)
    if outcome == WORKS:
        assert lines == [
            f"{len(CONTENT) + 5} {digest(b'12345' + CONTENT)}",
            digest(CONTENT[4_000_000:]),
            f"True {len(CONTENT)}",
            "['empty', 'f', 'lib']",
            "[]",
        ]
    else:
        (line,) = lines
        assert line.startswith(f"{outcome} FTP server 127.0.0.1:"), line
        # What to do is said where that is it.
        assert ("require_ssl_reuse=NO (vsftpd), TLSOptions NoSessionReuseRequired" in line) == case.reuse


def test_a_server_whose_certificate_is_for_another_name_gets_no_password(run_client):
    (line,) = run_client("private", "await attempt(client.noop())", server_name="elsewhere.example")
    assert line.startswith("TransferError ")
    assert "the host's certificate is refused: " in line
