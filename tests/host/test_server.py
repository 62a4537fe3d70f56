"""The FTP server, as Python's own FTP client sees it."""

import contextlib
import errno
import ftplib
import io
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otalink_host import ftp_handler
from otalink_host.accounts import ChangedAccounts, add_account, create_server_folder, remove_account, set_password
from otalink_host.errors import UserError
from otalink_host.ftp_addresses import firewall_commands, own_address
from otalink_host.log_text import printable
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import Account, Settings, load_settings

Serve = Callable[..., FtpServer]
# The client of conftest.py; a test file cannot import it.
Connect = Callable[..., Any]
PASSWORD = "correct-horse-battery"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- logging in


def test_the_right_password_opens_the_account(serve: Serve, connect: Connect) -> None:
    assert connect(serve()).pwd() == "/"


def test_a_wrong_password_and_an_unknown_account_get_the_same_answer(serve: Serve, connect: Connect) -> None:
    server = serve()
    answers = set()
    for user, password in (("board", "wrong"), ("nobody", PASSWORD), ("anonymous", ""), ("board", PASSWORD[:-1])):
        with pytest.raises(ftplib.error_perm) as refusal:
            connect(server, None).login(user, password)
        answers.add(str(refusal.value))
    assert answers == {"530 Authentication failed."}


def test_the_third_wrong_password_ends_the_session(serve: Serve, connect: Connect) -> None:
    client = connect(serve(), None)
    for _ in range(3):
        client.sendcmd("USER board")
        assert client.refused("PASS wrong").startswith("530")
    with pytest.raises((EOFError, OSError)):
        client.voidcmd("NOOP")


def test_nothing_is_shown_before_the_login(serve: Serve, connect: Connect) -> None:
    client = connect(serve(), None)
    for command in ("NLST", "LIST", "RETR thermostat_1.0.0.2.py", "PASV", "SIZE x", "CWD lib", "STAT /", "PWD"):
        assert client.refused(command) == "530 Log in with USER and PASS first."


def test_who_does_not_log_in_gives_up_the_place(serve: Serve, connect: Connect) -> None:
    server = serve(login_timeout=0.2)
    idle, active = connect(server, None), connect(server)
    assert idle.getline().startswith("421")
    time.sleep(0.2)
    active.voidcmd("NOOP")


def test_an_account_without_a_password_cannot_log_in(settings: Settings, connect: Connect) -> None:
    with BackgroundServer(settings, {}) as server, pytest.raises(ftplib.error_perm):
        connect(server, None).login("board", "")


# --- what an account sees


def test_under_the_path_slash_a_device_fetches_with_two_slashes(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    assert client.fetch("//thermostat_1.0.0.2.py") == b"print('two')\n"
    assert client.fetch("//lib//sensor.py") == client.fetch("lib/sensor.py") == b"sensor\n" * 1000


def test_under_the_path_test_a_device_fetches_below_test(serve: Serve, connect: Connect) -> None:
    client = connect(serve(), "tester")
    assert client.fetch("//test//thermostat_1.0.0.2.py") == client.fetch("/test/thermostat_1.0.0.2.py")
    assert client.refused("RETR //thermostat_1.0.0.2.py").startswith("550")
    assert (client.nlst("/"), client.nlst("//test//")) == (["test"], ["lib", "thermostat_1.0.0.2.py"])


def test_a_virtual_path_of_several_names_has_folders_above_it(serve: Serve, connect: Connect) -> None:
    client = connect(serve(), "deep")
    assert (client.nlst("/"), client.nlst("/a")) == (["a"], ["b"])
    client.cwd("/a")
    client.cwd("b/lib")
    assert client.pwd() == "/a/b/lib"
    assert client.fetch("sensor.py") == client.fetch("../lib/sensor.py")
    client.cwd("..")
    client.sendcmd("CDUP")
    client.sendcmd("CDUP")
    assert client.pwd() == "/"


@pytest.mark.parametrize(("user", "top"), [("board", "/"), ("tester", "/test"), ("deep", "/a/b")])
def test_every_kind_of_listing_shows_the_folder(serve: Serve, connect: Connect, user: str, top: str) -> None:
    client = connect(serve(), user)
    facts = dict(client.mlsd(top))
    lines: list[str] = []
    client.dir(top, lines.append)
    assert client.nlst(top) == sorted(facts) == [line.split()[-1] for line in lines]
    assert facts["thermostat_1.0.0.2.py"]["size"] == "13"
    assert facts["lib"]["type"] == "dir"
    client.voidcmd("TYPE I")
    assert client.size(f"{top}/lib/sensor.py") == 7000
    assert client.sendcmd(f"MDTM {top}/lib/sensor.py").startswith("213 ")
    assert "size=7000" in client.sendcmd(f"MLST {top}/lib/sensor.py")
    assert "thermostat_1.0.0.2.py" in client.sendcmd(f"STAT {top}")


def test_the_folders_above_the_virtual_path_are_listed_in_every_way(serve: Serve, connect: Connect) -> None:
    client = connect(serve(), "tester")
    lines: list[str] = []
    client.dir("/", lines.append)
    assert lines[0].startswith("d")
    assert lines[0].endswith(" test")
    assert [name for name, facts in client.mlsd("/") if facts["type"] == "dir"] == ["test"]


def test_listings_say_nothing_about_this_machine(serve: Serve, connect: Connect) -> None:
    lines: list[str] = []
    connect(serve()).dir("/", lines.append)
    assert all("otalink  otalink" in line for line in lines)


def test_an_upload_under_way_is_not_listed(serve: Serve, connect: Connect, releases: Path) -> None:
    (releases / ".otalink-part-1").write_bytes(b"half")
    client = connect(serve())
    assert ".otalink-part-1" not in [*client.nlst("/"), *dict(client.mlsd("/"))]


# --- nobody gets out of the folder


@pytest.fixture
def trap(releases: Path) -> Path:
    """The folder with links that lead out of it, and one that does not."""
    (releases / "file-out").symlink_to("../secret")
    (releases / "folder-out").symlink_to("..")
    (releases / "absolute-out").symlink_to(releases.parent)
    (releases / "loop").symlink_to("loop")
    (releases / "inside").symlink_to("lib/sensor.py")
    # A name that begins like the folder's own.
    (releases.parent / "releases-private").mkdir()
    (releases.parent / "releases-private" / "secret").write_bytes(b"SECRET")
    (releases / "lib" / "private-out").symlink_to("../../releases-private")
    return releases


SPELLINGS = [
    *("../secret", "/../secret", "//..//secret", "lib/../../secret", "./../secret", "lib/./.././../secret"),
    *("file-out", "folder-out/secret", "absolute-out/secret", "lib/private-out/secret", "loop"),
    *("..\\secret", "lib\\..\\..\\secret", "../releases-private/secret", "%2e%2e/secret", "\udc2e\udc2e/secret"),
    *("../secret\0", "secret\0.py", "...//secret", "~/secret", "file:///secret", "lib/../..", "C:/secret", "\x01"),
    "x" * 1000,
]


@pytest.mark.parametrize("user", ["board", "tester", "deep"])
def test_no_spelling_of_a_path_leads_out(serve: Serve, connect: Connect, trap: Path, user: str) -> None:
    client = connect(serve(), user)
    client.encoding = "latin-1"
    top = {"board": "/", "tester": "/test/", "deep": "/a/b/"}[user]
    spellings = [spelling.encode("utf-8", "surrogatepass").decode("latin-1") for spelling in SPELLINGS]
    spellings += [str(trap.parent / "secret"), "/" + str(trap.parent / "secret")]
    for spelling in [*spellings, *(top + spelling for spelling in spellings)]:
        for command in ("RETR", "SIZE", "MDTM"):
            assert client.refused(f"{command} {spelling}").startswith("550"), spelling
    for folder in ("folder-out", "absolute-out", "lib/private-out"):
        for command in ("CWD", "NLST", "LIST", "MLSD", "STAT", "MLST"):
            assert client.refused(f"{command} {top}{folder}")[:3] in ("550", "501"), command


def test_dots_above_the_top_lead_to_the_top(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    client.cwd("../../..")
    assert client.pwd() == "/"
    assert client.nlst("/../..") == ["lib", "thermostat_1.0.0.2.py"]


def test_links_that_lead_out_are_not_listed_and_those_inside_are_files(
    serve: Serve, connect: Connect, trap: Path
) -> None:
    client = connect(serve())
    assert client.nlst("/") == sorted(dict(client.mlsd("/"))) == ["inside", "lib", "thermostat_1.0.0.2.py"]
    lines: list[str] = []
    client.dir("/", lines.append)
    assert not any("->" in line for line in lines)
    assert client.fetch("inside") == b"sensor\n" * 1000


@hypothesis_settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    parts=st.lists(
        st.sampled_from(
            ["..", ".", "", "lib", "test", "secret", "file-out", "folder-out", "absolute-out", "inside", "\\", "\0"]
        )
        | st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=5),
        max_size=8,
    ),
    user=st.sampled_from(["board", "tester"]),
)
def test_whatever_path_is_asked_for_only_the_folder_answers(
    trap_server: dict[str, Any], parts: list[str], user: str
) -> None:
    client = trap_server[user]
    try:
        answer = client.fetch("/".join(parts) or "/")
    except ftplib.error_perm as refusal:
        answer = str(refusal)[:3]
    assert answer in (b"sensor\n" * 1000, "550", "501")


@pytest.fixture
def trap_server(serve: Serve, connect: Connect, trap: Path) -> dict[str, Any]:
    server = serve()
    return {user: connect(server, user) for user in ("board", "tester")}


def test_a_named_pipe_does_not_stop_the_server(serve: Serve, connect: Connect, releases: Path) -> None:
    os.mkfifo(releases / "pipe")
    client = connect(serve())
    assert client.refused("RETR pipe") == "550 This is no file that can be read."
    assert client.refused("RETR lib") == "550 This is no file that can be read."
    client.voidcmd("NOOP")


# --- a board reads, and nothing else

WRITING = [
    *("STOR new.py", "STOU", "STOU new.py", "APPE thermostat_1.0.0.2.py", "DELE thermostat_1.0.0.2.py", "MKD new"),
    *("RMD lib", "RNFR lib", "RNTO lib2", "MFMT 20200101000000 thermostat_1.0.0.2.py", "SITE CHMOD 777 lib", "ALLO 5"),
    *("XMKD new", "XRMD lib", "SITE HELP", "SITE EXEC ls", "SITE", "MODE Z", "STRU R"),
]


def test_a_board_cannot_write_in_any_way(serve: Serve, connect: Connect, releases: Path) -> None:
    def everything() -> list[tuple[Path, int, bytes]]:
        return [(p, p.stat().st_mode, p.read_bytes() if p.is_file() else b"") for p in sorted(releases.rglob("*"))]

    before = everything()
    client = connect(serve())
    for command in WRITING:
        assert client.refused(command)[:1] == "5", command
    with pytest.raises(ftplib.error_perm):
        client.storbinary("STOR new.py", io.BytesIO(b"new"))
    assert everything() == before


def test_the_server_connects_to_nobody(serve: Serve, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as victim:
        port = victim.getsockname()[1]
        client = connect(serve())
        assert client.refused(f"PORT 127,0,0,1,{port // 256},{port % 256}").startswith("500")
        assert client.refused(f"EPRT |1|127.0.0.1|{port}|").startswith("500")
        victim.settimeout(0.1)
        with pytest.raises(TimeoutError):
            victim.accept()


def test_a_data_connection_is_the_clients_own_or_none(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    host, port = client.makepasv()
    with socket.create_connection((host, port), source_address=("127.0.0.2", 0)) as stranger:
        stranger.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    assert client.getmultiline().startswith("425 Rejected")


# --- data connections


def test_passive_ports_come_from_the_range(serve: Serve, connect: Connect) -> None:
    server = serve(passive_ports=range(30900, 30920))
    client = connect(server)
    for command, parse in (("PASV", ftplib.parse227), ("EPSV", lambda reply: ftplib.parse229(reply, ("", 0)))):
        assert parse(client.sendcmd(command))[1] in range(30900, 30920)


@pytest.mark.parametrize("command", ["PASV", "EPSV"])
def test_when_the_passive_ports_are_used_up_a_board_is_told_to_come_again(
    serve: Serve, connect: Connect, command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = serve(passive_ports=range(port, port + 1))
        client = connect(server)
        assert client.refused(command) == "425 No port is free for a data connection. Try again later."
        assert client.refused(command).startswith("425")
        client.voidcmd("NOOP")
    assert client.sendcmd(command)[:3] in ("227", "229")
    assert client.fetch("thermostat_1.0.0.2.py") == b"print('two')\n"


def test_a_masqueraded_address_is_what_a_board_is_told(serve: Serve, connect: Connect) -> None:
    client = connect(serve(masquerade_address="203.0.113.7"))
    assert ftplib.parse227(client.sendcmd("PASV"))[0] == "203.0.113.7"


def test_a_download_goes_on_where_it_stopped(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    assert client.fetch("lib/sensor.py", rest=6990) == b"nsor\nsensor\n"[-10:]
    assert server.transfers[-1].size == 10
    client.sendcmd("REST 7001")
    assert client.refused("RETR lib/sensor.py").startswith("554")


# --- limits


def test_more_boards_than_sessions_are_told_to_come_again_and_the_others_are_served(
    serve: Serve, connect: Connect
) -> None:
    server = serve(sessions=3)
    first = [connect(server) for _ in range(3)]
    with pytest.raises(ftplib.error_temp, match="421 Too many connections"):
        connect(server)
    # All of them at once, each with a data connection.
    for client in first:
        client.voidcmd("TYPE I")
    data = [client.transfercmd("RETR lib/sensor.py") for client in first]
    for client, connection in zip(first, data, strict=True):
        with connection, connection.makefile("rb") as stream:
            assert stream.read() == b"sensor\n" * 1000
        client.voidresp()
    first[0].quit()
    wait_until(lambda: len(server._sessions) == 2)
    connect(server)


def test_two_hundred_boards_at_once_are_served(serve: Serve, releases: Path) -> None:
    content = os.urandom(50_000)
    (releases / "big.bin").write_bytes(content)
    server = serve(sessions=200)
    start, wrong = threading.Barrier(50), []

    def boards() -> None:
        start.wait()
        clients = [ftplib.FTP(timeout=30) for _ in range(4)]
        for client in clients:
            client.connect("127.0.0.1", server.port)
        for client in clients:
            got = io.BytesIO()
            client.login("board", PASSWORD)
            client.retrbinary("RETR big.bin", got.write)
            client.quit()
            if got.getvalue() != content:
                wrong.append(client)

    threads = [threading.Thread(target=boards) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(transfer.size for transfer in server.transfers) == 200 * len(content)


def test_a_moment_without_descriptors_does_not_end_the_server(serve: Serve, connect: Connect) -> None:
    server = serve()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        try:
            client.connect(("127.0.0.1", server.port))
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.settimeout(5)
        assert client.recv(3) == b"220"
    assert connect(server).pwd() == "/"


def test_a_server_that_may_open_too_few_files_does_not_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 128))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: None)
    with pytest.raises(UserError, match="250 sessions need 814 open files and this account may have 128: lower"):
        FtpServer(settings, {})


# --- what is recorded and logged


def test_each_transfer_is_recorded_with_account_file_and_bytes(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server, "tester")
    client.fetch("//test//lib/sensor.py")
    # Whoever has the reply finds the record.
    (transfer,) = server.transfers
    assert replace(transfer, seconds=0) == ftp_handler.Transfer(
        "tester", "127.0.0.1", "/test/lib/sensor.py", 7000, True, 0
    )
    client.nlst("/test")
    assert len(server.transfers) == 1


def test_a_download_that_the_board_breaks_off_is_recorded_as_such_and_the_session_goes_on(
    serve: Serve, connect: Connect, releases: Path
) -> None:
    (releases / "big.bin").write_bytes(bytes(20_000_000))
    server = serve()
    client = connect(server)
    connection = client.transfercmd("RETR big.bin")
    connection.recv(1000)
    connection.close()
    assert client.getmultiline().startswith("426")
    (transfer,) = server.transfers
    assert not transfer.complete
    assert 0 < transfer.size < 20_000_000
    client.voidcmd("NOOP")


def test_the_log_has_a_line_for_each_login_and_transfer_and_no_password(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve()
    client = connect(server)
    client.fetch("lib/sensor.py")
    client.nlst()
    with pytest.raises(ftplib.error_perm):
        connect(server, None).login("bo\x1b[2Jard", "hunter2")
    client.sendcmd("REIN")
    client.refused("PASS\thunter2")
    lines = [record.getMessage() for record in caplog.records if record.name == "otalink.server"]
    assert lines[0] == "board at 127.0.0.1 logged in"
    assert lines[1].startswith("board at 127.0.0.1 fetched /lib/sensor.py: 7000 bytes in 0.")
    assert lines[1].endswith(" s, complete")
    assert lines[2] == "bo\\x1b[2Jard at 127.0.0.1 refused: no such account, or a wrong password"
    assert len(lines) == 3
    for secret in ("hunter2", PASSWORD):
        assert secret not in caplog.text


def test_what_a_client_sends_stays_on_its_line_of_the_log() -> None:
    assert printable("a\nb\r\x00ü\u2028") == "a\\x0ab\\x0d\\x00ü\\x2028"


# --- starting and stopping


def test_stopping_ends_every_session_whatever_it_waits_for(settings: Settings, releases: Path) -> None:
    (releases / "big.bin").write_bytes(bytes(20_000_000))
    clients = [ftplib.FTP(timeout=10) for _ in range(4)]
    with BackgroundServer(settings, {"board": PASSWORD}) as server:
        for client in clients:
            client.connect("127.0.0.1", server.port)
        idle, refused, passive, sending = clients
        refused.sendcmd("USER board")
        refused.putcmd("PASS wrong")
        for client in (passive, sending):
            client.login("board", PASSWORD)
        passive.makepasv()
        connection = sending.transfercmd("RETR big.bin")
        sending.putcmd("QUIT")
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    for client in clients:
        with contextlib.suppress(ConnectionResetError), contextlib.suppress(EOFError):
            while client.getline():
                pass
        client.close()
    connection.close()
    assert idle.sock is None


def test_the_same_port_serves_again_at_once(settings: Settings, connect: Connect) -> None:
    with BackgroundServer(settings, {"board": PASSWORD}) as server:
        connect(server).fetch("lib/sensor.py")
        port = server.port
    with BackgroundServer(settings, {"board": PASSWORD}, port=port) as server:
        assert server.port == port
        connect(server).fetch("lib/sensor.py")


def test_a_port_in_use_is_one_line(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"^port {port} is in use: stop what listens there, or choose another with"
        ):
            FtpServer(replace(settings, addresses=("127.0.0.1",), port=port), {})


def test_an_address_of_another_machine_is_one_line(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"^203\.0\.113\.7 is no address of this machine: choose one that is with"):
        FtpServer(replace(settings, addresses=("203.0.113.7",)), {})


def test_a_port_that_needs_rights_is_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether the system refuses depends on who runs this, so it is made to.
    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(
        UserError, match=r"^port 21 needs an administrator's rights: choose one from 1024 on with --port"
    ):
        FtpServer(replace(settings, port=21), {})


def test_two_servers_in_one_process_do_not_meet(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_bytes(b"other")
    one, two = serve(), serve(accounts=(Account("board", other),))
    first, second = connect(one), connect(two)
    assert second.fetch("a.py") == b"other"
    assert first.refused("RETR a.py").startswith("550")
    assert (len(one.transfers), len(two.transfers)) == (0, 1)


def test_the_server_leaves_the_processs_own_folder_alone(serve: Serve, connect: Connect) -> None:
    before = Path.cwd()
    client = connect(serve())
    client.cwd("lib")
    assert Path.cwd() == before


def test_a_server_on_ipv6_serves_too(settings: Settings) -> None:
    with BackgroundServer(settings, {"board": PASSWORD}, address="::1") as server:
        client = ftplib.FTP(timeout=10)
        client.connect("::1", server.port)
        client.login("board", PASSWORD)
        assert client.nlst("/") == ["lib", "thermostat_1.0.0.2.py"]
        client.close()


def test_the_machines_own_address_is_none_or_one_that_boards_can_reach() -> None:
    address = own_address()
    assert address is None or (not address.startswith("127.") and len(socket.inet_aton(address)) == 4)


def test_the_firewall_commands_open_the_control_and_the_passive_ports(settings: Settings) -> None:
    commands = dict(firewall_commands(replace(settings, passive_ports=range(30000, 30100)), 2121))
    assert commands == {
        "ufw (Ubuntu, Debian)": ["sudo ufw allow 2121/tcp", "sudo ufw allow 30000:30099/tcp"],
        "firewalld (Fedora, Red Hat)": [
            "sudo firewall-cmd --permanent --add-port=2121/tcp --add-port=30000-30099/tcp",
            "sudo firewall-cmd --reload",
        ],
        "Windows, as administrator": [
            'netsh advfirewall firewall add rule name="otalink" dir=in action=allow protocol=TCP '
            "localport=2121,30000-30099"
        ],
    }


# --- accounts that change while it serves


def test_an_account_that_is_added_changed_or_removed_counts_at_the_next_login(tmp_path: Path, connect: Connect) -> None:
    create_server_folder(tmp_path)
    settings = load_settings(tmp_path / "otalink.toml")
    with BackgroundServer(settings, reread=ChangedAccounts(settings, lambda _: None)) as server:
        client = connect(server, None)
        password = add_account(settings, "shop-1", settings.accounts[0])
        assert client.login("shop-1", password).startswith("230")
        assert settings.path is not None
        set_password(load_settings(settings.path), "shop-1", "another-password")
        with pytest.raises(ftplib.error_perm, match="530"):
            connect(server, None).login("shop-1", password)
        assert connect(server, None).login("shop-1", "another-password").startswith("230")
        # Who is logged in goes on.
        assert client.nlst() == []
        remove_account(load_settings(settings.path), "shop-1")
        with pytest.raises(ftplib.error_perm, match="530"):
            connect(server, None).login("shop-1", "another-password")
        assert client.refused("NOOP") == "421 This account is not served any more."
