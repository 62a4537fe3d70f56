"""The server's limits: who gets in, how long, and how fast; and that each is checked before the server starts."""

import contextlib
import ftplib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otalink_host import ftp_turns
from otalink_host.errors import UserError
from otalink_host.ftp_handler import PORTS_TRIED, PassivePorts
from otalink_host.passwords import hash_password
from otalink_host.server import FtpServer
from otalink_host.settings import Settings, load_settings
from otalink_host.throttle import Throttle

Serve = Callable[..., FtpServer]
Connect = Callable[..., Any]
PASSWORD = "correct-horse-battery"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- sessions


def test_one_address_has_its_sessions_and_another_one_gets_in(serve: Serve, connect: Connect) -> None:
    server = serve(sessions_per_address=2)
    first, _ = connect(server), connect(server)
    with pytest.raises(ftplib.error_temp, match="421"):
        connect(server)
    with ftplib.FTP(timeout=10) as other:
        other.connect("127.0.0.1", server.port, source_address=("127.0.0.2", 0))
        other.login("board", PASSWORD)
    first.quit()
    wait_until(lambda: len(server._sessions) == 1)
    connect(server)
    assert server.events.counters.total("refused") == 1


def test_one_account_has_its_sessions_and_another_one_gets_in(serve: Serve, connect: Connect) -> None:
    server = serve(sessions_per_account=2)
    first, _ = connect(server), connect(server)
    with pytest.raises(ftplib.error_temp, match="421 This account has too many sessions"):
        connect(server)
    connect(server, "tester")
    # Who has not logged in counts for no account.
    connect(server, None)
    first.quit()
    wait_until(lambda: len(server._sessions) == 3)
    connect(server)


def test_by_default_one_account_and_one_address_may_have_every_session(serve: Serve, connect: Connect) -> None:
    server = serve(sessions=40)
    for _ in range(40):
        connect(server)
    with pytest.raises(ftplib.error_temp, match="421 Too many connections"):
        connect(server)


# --- time


def test_a_session_without_a_command_ends(serve: Serve, connect: Connect) -> None:
    client = connect(serve(idle_timeout=0.2))
    assert client.getline().startswith("421 Control connection timed out")


def test_a_transfer_that_stands_still_ends(serve: Serve, connect: Connect, releases: Path) -> None:
    (releases / "big.bin").write_bytes(bytes(20_000_000))
    server = serve(data_timeout=0.2)
    client = connect(server)
    with client.transfercmd("RETR big.bin"):
        assert client.getmultiline().startswith("421 Data connection timed out")
    wait_until(lambda: not server._sessions)
    assert not server.transfers[-1].complete


def test_a_transfer_that_goes_on_outlasts_the_idle_timeout(serve: Serve, connect: Connect, releases: Path) -> None:
    (releases / "big.bin").write_bytes(bytes(400_000))
    server = serve(idle_timeout=0.3, bandwidth=500)
    assert len(connect(server).fetch("big.bin")) == 400_000
    assert server.transfers[-1].seconds > 0.3


# --- what a client sends, and what it does not read


def test_a_command_that_is_too_long_is_refused_as_a_whole(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    # What lies behind the limit is no command of its own, wherever the network cuts it.
    for filler in (2048, 2049, 10_000, 100_000):
        client.sock.sendall(b"CWD " + b"x" * filler)
        client.sock.sendall(b"QUIT\r\n")
        assert client.getline() == "500 The command is too long."
        assert client.pwd() == "/"


def test_who_reads_no_replies_is_not_listened_to_and_then_closed(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ftp_turns, "LINGER", 0.1)
    server = serve(idle_timeout=0.3)
    client = connect(server)
    client.sock.settimeout(0.1)
    with contextlib.suppress(OSError):
        for _ in range(1000):
            client.sock.sendall(b"HELP\r\n" * 1000)
    (session,) = server._sessions
    assert len(session.producer_fifo) < 5
    # It reads nothing to this moment.
    wait_until(lambda: not server._sessions)
    connect(server).voidcmd("NOOP")


# --- how fast


def test_a_throttle_lets_its_rate_through() -> None:
    now = [0.0]
    throttle = Throttle(1000, lambda: now[0])
    # In ten seconds of one who waits as he is told.
    moved = 0
    while now[0] < 10:
        moved += 100
        now[0] += throttle.take(100)
    assert 9_900 <= moved <= 10_400
    # A long pause is worth a quarter of a second, no more.
    now[0] += 3600
    saved = 0
    while throttle.take(50) == 0:
        saved += 50
    assert saved <= 250


def test_those_who_share_a_throttle_wait_for_each_other() -> None:
    throttle = Throttle(1000, lambda: 0.0)
    waits = [throttle.take(1000) for _ in range(3)]
    assert waits == [1.0, 2.0, 3.0]


def test_a_session_gets_its_bandwidth_and_every_byte(serve: Serve, connect: Connect, releases: Path) -> None:
    content = os.urandom(300_000)
    (releases / "big.bin").write_bytes(content)
    server = serve(bandwidth=500)
    client = connect(server)
    started = time.monotonic()
    assert client.fetch("big.bin") == content
    # At the least: 300 kB at 500 KiB/s, and a quarter of a second's worth for nothing.
    assert time.monotonic() - started > 300_000 / 512_000 - 0.3
    assert (server.transfers[-1].size, server.transfers[-1].complete) == (300_000, True)
    assert server.events.counters.total("bytes_sent") == 300_000


def test_all_sessions_share_the_whole_bandwidth(serve: Serve, connect: Connect, releases: Path) -> None:
    content = os.urandom(100_000)
    (releases / "big.bin").write_bytes(content)
    server = serve(bandwidth_total=500)
    clients = [connect(server) for _ in range(4)]
    for client in clients:
        client.voidcmd("TYPE I")
    started = time.monotonic()
    for connection in [client.transfercmd("RETR big.bin") for client in clients]:
        with connection, connection.makefile("rb") as stream:
            assert stream.read() == content
    assert time.monotonic() - started > 400_000 / 512_000 - 0.3


def test_who_leaves_while_his_connection_pauses_is_forgotten(serve: Serve, connect: Connect, releases: Path) -> None:
    (releases / "big.bin").write_bytes(bytes(1_000_000))
    server = serve(bandwidth=4)
    idle = len(server._loop.socket_map)
    client = connect(server)
    with client.transfercmd("RETR big.bin") as data:
        data.recv(100)
        client.close()
    wait_until(lambda: not server._sessions)
    wait_until(lambda: len(server._loop.socket_map) == idle)


# --- addresses


def test_several_addresses_are_served_on_one_port(settings: Settings) -> None:
    hashes = {"board": hash_password(PASSWORD, cheap=True)}
    server = FtpServer(replace(settings, addresses=("127.0.0.1", "127.0.0.2", "::1"), port=0), hashes)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        for address in ("127.0.0.1", "127.0.0.2", "::1"):
            with ftplib.FTP(timeout=10) as client:
                assert client.connect(address, server.port) == "220 otalink ready."
                assert client.sendcmd("NOOP").startswith("200")
    finally:
        server.stop()
        thread.join()
        server.close()


def test_every_address_of_both_kinds_may_be_named(settings: Settings) -> None:
    with FtpServer(replace(settings, addresses=("0.0.0.0", "::"), port=0), {}) as server:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as client:
                client.connect((address, server.port))


def test_when_one_of_several_addresses_is_not_to_be_had_none_stays_open(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"203\.0\.113\.7 is no address of this machine"):
        FtpServer(replace(settings, addresses=("127.0.0.1", "203.0.113.7"), port=0), {})


# --- what the settings may say


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ('address = ["0.0.0.0", "0.0.0.0"]', ":2: address in [server] is ['0.0.0.0', '0.0.0.0']; allowed: each"),
        ('address = ["0.0.0.0", "home"]', ":2: address in [server] is ['0.0.0.0', 'home']; allowed: an IP address"),
        ("address = []", ":2: address in [server] is []; allowed: text in quotes"),
        ("sessions_per_address = -1", ":2: sessions_per_address in [server] is -1; allowed: a whole number from 0 to"),
        ("sessions_per_account = 1.5", ":2: sessions_per_account in [server] is 1.5; allowed: a whole number from 0"),
        ("bandwidth = true", ":2: bandwidth in [server] is True; allowed: a whole number from 0 to 10485760, without"),
        ('bandwidth_total = "1"', ":2: bandwidth_total in [server] is '1'; allowed: a whole number from 0 to 10485760"),
        ("idle_timeout = 0", ":2: idle_timeout in [server] is 0; allowed: a whole number from 1 to 86400"),
        ("data_timeout = 0", ":2: data_timeout in [server] is 0; allowed: a whole number from 1 to 86400"),
        ("login_timeout = 0", ":2: login_timeout in [server] is 0; allowed: a whole number from 1 to 86400"),
        ("stop_timeout = 0", ":2: stop_timeout in [server] is 0; allowed: a whole number from 1 to 86400"),
        ("workers = 65", ":2: workers in [server] is 65; allowed: a whole number from 1 to 64"),
        ("workers = 3\nsessions = 2", ":2: workers in [server] is more than sessions: each needs at least one"),
        (
            "passive_ports = [30000, 30001]\nworkers = 3",
            ":3: workers in [server] is more than passive_ports has: each needs at least one",
        ),
        ('\n[tls]\nmode = "on"', ':4: mode in [tls] is \'on\'; allowed: "off" or "optional" or "required"'),
        ('\n[tls]\nmode = "optional"', ":3: certificate in [tls] is missing"),
        ('\n[tls]\nmode = "required"\ncertificate = "a"', ":3: key in [tls] is missing"),
        ('\n[metrics]\naddress = "here"', ":4: address in [metrics] is 'here'; allowed: an IP address"),
        ("\n[metrics]\nport = 70000", ":4: port in [metrics] is 70000; allowed: a whole number from 0 to 65535"),
        ('\n[log]\nformat = "xml"', ':4: format in [log] is \'xml\'; allowed: "text" or "json"'),
    ],
)
def test_a_limit_that_is_wrong_is_one_line_with_its_place(tmp_path: Path, server: str, said: str) -> None:
    (tmp_path / "releases").mkdir()
    config = tmp_path / "otalink.toml"
    config.write_text(f'[server]\n{server}\n[[account]]\nname = "board"\nfolder = "releases"\n')
    with pytest.raises(UserError) as error:
        load_settings(config)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_several_processes_need_a_system_that_can_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    test_a_limit_that_is_wrong_is_one_line_with_its_place(
        tmp_path,
        "workers = 2",
        ":2: workers in [server] is 2; allowed: 1 on this system: several processes need Linux or macOS",
    )


def test_every_limit_arrives(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    config = tmp_path / "otalink.toml"
    config.write_text(
        """\
[server]
address = ["0.0.0.0", "::"]
sessions_per_address = 1
sessions_per_account = 2
bandwidth = 3
bandwidth_total = 4
idle_timeout = 5
data_timeout = 6
login_timeout = 7
stop_timeout = 8
workers = 9
[tls]
mode = "required"
certificate = "c"
key = "k"
ca = "a"
[metrics]
address = "::1"
port = 9621
[log]
format = "json"
[[account]]
name = "board"
folder = "releases"
"""
    )
    found = load_settings(config)
    assert found.addresses == ("0.0.0.0", "::")
    names = "sessions_per_address sessions_per_account bandwidth bandwidth_total idle_timeout data_timeout"
    names += " login_timeout stop_timeout workers"
    assert [getattr(found, name) for name in names.split()] == list(range(1, 10))
    tls = found.tls
    assert (tls.mode, tls.certificate, tls.key, tls.ca) == (
        "required", tmp_path / "c", tmp_path / "k", tmp_path / "a",
    )  # fmt: skip
    assert (found.metrics_address, found.metrics_port, found.log_format) == ("::1", 9621, "json")


def test_of_very_many_passive_ports_some_are_tried_from_anywhere_on() -> None:
    few, many = PassivePorts(range(5000, 5010)), PassivePorts(range(10_000, 60_000))
    assert list(few) == list(range(5000, 5010))
    tried = [list(many) for _ in range(20)]
    assert all(len(set(ports)) == PORTS_TRIED and all(port in many for port in ports) for ports in tried)
    assert len({ports[0] for ports in tried}) > 10
    last = [ports for ports in (list(PassivePorts(range(1, 130))) for _ in range(2000)) if ports[0] > 2]
    # They go on at the beginning.
    assert 1 in last[0]
    assert 60_000 not in many
