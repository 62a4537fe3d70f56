"""Logins: passwords checked beside the event loop, who must wait, and what an account asks of a session."""

import contextlib
import ftplib
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from pyftpdlib import ioloop

from otalink_host import logins, passwords
from otalink_host.accounts import ChangedAccounts, create_server_folder, set_disabled
from otalink_host.ftp_authorizer import Authorizer
from otalink_host.logins import Logins, LoopCalls, threads_for
from otalink_host.passwords import dummy_hash, hash_password
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import Account, LockoutSettings, Settings, load_settings, plain_address

Serve = Callable[..., FtpServer]
# The client of conftest.py; a test file cannot import it.
Connect = Callable[..., Any]
PASSWORD = "correct-horse-battery"
STORM = 500


class Checks:
    """The real check of a hash, which this counts, and holds up until the gate is open."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._verify = passwords.verify

    def __call__(self, hash_: str, password: str) -> bool:
        self.hashes.append(hash_)
        assert self.gate.wait(30)
        return self._verify(hash_, password)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checks]:
    found = Checks()
    monkeypatch.setattr(passwords, "verify", found)
    yield found
    found.gate.set()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextlib.contextmanager
def sessions(server: FtpServer, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            assert client.recv(100).startswith(b"220")
            opened.append(client)
        yield opened


def replies(client: socket.socket, count: int) -> list[str]:
    """The next lines that the server says, or fewer when it closes the connection."""
    text = b""
    while text.count(b"\r\n") < count and (more := client.recv(4096)):
        text += more
    return text.decode().splitlines()


# --- beside the loop


@pytest.mark.parametrize("accounts", [1, STORM])
def test_a_storm_of_logins_stops_no_transfer_and_all_get_in(
    releases: Path, checks: Checks, accounts: int, serve: Serve, connect: Connect
) -> None:
    content = bytes(range(256)) * 40_000
    (releases / "big.bin").write_bytes(content)
    names = ["board", *(f"shop-{number}" for number in range(accounts))]
    server = serve(sessions=STORM + 10, accounts=tuple(Account(name, releases) for name in names))
    running = connect(server)
    checks.gate.clear()
    with sessions(server, STORM) as clients:
        for number, client in enumerate(clients):
            client.sendall(f"USER {names[1 + number % accounts]}\r\nPASS {PASSWORD}\r\n".encode())
        assert all(replies(client, 1)[0].startswith("331") for client in clients)
        wait_until(lambda: len(checks.hashes) > 1)
        # Not one of the passwords is checked yet, and the transfer goes on to its end.
        assert running.fetch("big.bin") == content
        checks.gate.set()
        assert all(replies(client, 1) == ["230 Login successful."] for client in clients)
    # The board's own login, and one check for each account: those who ask the same share it.
    assert len(checks.hashes) == 1 + accounts


def test_a_login_that_was_right_is_not_checked_again_until_its_hash_changes(
    releases: Path, checks: Checks, connect: Connect
) -> None:
    account = Account("board", releases)
    changes: list[tuple[tuple[Account, ...], dict[str, str]]] = []
    reread = lambda: changes.pop() if changes else None  # noqa: E731
    with BackgroundServer(Settings((account,), passive_ports=None), {"board": PASSWORD}, reread=reread) as server:
        for _ in range(3):
            connect(server)
        assert len(checks.hashes) == 1
        with pytest.raises(ftplib.error_perm):
            connect(server, None).login("board", PASSWORD + "x")
        assert len(checks.hashes) == 2
        changes.append(((account,), {"board": hash_password(PASSWORD, cheap=True)}))
        connect(server)
        assert len(checks.hashes) == 3
        changes.append(((account,), {"board": hash_password("another", cheap=True)}))
        with pytest.raises(ftplib.error_perm):
            connect(server, None).login("board", PASSWORD)


def test_an_account_that_is_not_there_is_checked_as_one_that_is(serve: Serve, connect: Connect, checks: Checks) -> None:
    server = serve()
    for user in ("nobody", "board"):
        with pytest.raises(ftplib.error_perm):
            connect(server, None).login(user, "wrong")
    assert checks.hashes[0] == dummy_hash()
    assert len(checks.hashes) == 2


def test_what_comes_with_a_password_waits_for_the_answer(serve: Serve) -> None:
    with sessions(serve(), 1) as (client,):
        client.sendall(f"USER board\r\nPASS {PASSWORD}\r\nPWD\r\nNOOP\r\nPW".encode())
        assert [line[:3] for line in replies(client, 4)] == ["331", "230", "257", "200"]
        client.sendall(b"D\r\n")
        assert replies(client, 1)[0].startswith("257")


def test_passwords_that_come_together_are_tried_one_after_the_other(serve: Serve, checks: Checks) -> None:
    with sessions(serve(), 1) as (client,):
        client.sendall(b"".join(b"USER board\r\nPASS wrong-%d\r\n" % number for number in range(20)))
        said = [line[:3] for line in replies(client, 100)]
    assert said == ["331", "530"] * 3
    assert len(checks.hashes) == 3


def test_when_too_many_logins_wait_the_next_is_told_to_come_again(
    serve: Serve, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "QUEUE_MAX", 2)
    server = serve()
    checks.gate.clear()
    count = threads_for(logins.os.cpu_count()) + 2
    with sessions(server, count + 1) as clients:
        for number, client in enumerate(clients):
            client.sendall(f"USER shop-{number}\r\nPASS x\r\n".encode())
            if number < count:
                assert replies(client, 1)[0].startswith("331")
            if number < count - 2:
                wait_until(lambda number=number: len(checks.hashes) == number + 1)  # type: ignore[misc]
        assert replies(clients[-1], 2)[1:] == ["421 Too many logins at once. Try again later."]
        checks.gate.set()
        assert all(replies(client, 1)[0].startswith("530") for client in clients[:-1])


def test_who_leaves_before_the_answer_has_failed_all_the_same(serve: Serve, connect: Connect, checks: Checks) -> None:
    server = serve(lockout=LockoutSettings(failures=1, delay=60))
    checks.gate.clear()
    with sessions(server, 1) as (client,):
        client.sendall(b"USER board\r\nPASS wrong\r\n")
        wait_until(lambda: len(checks.hashes) == 1)
    checks.gate.set()
    lockout = server._handler.lockout
    wait_until(lambda: lockout.wait("board", plain_address("127.0.0.1"), time.monotonic()) > 0)
    with pytest.raises(ftplib.error_temp, match="421 Too many wrong logins"):
        connect(server)


def test_stopping_waits_for_what_is_being_checked_alone(settings: Settings, checks: Checks) -> None:
    count = threads_for(logins.os.cpu_count())
    with BackgroundServer(settings, {"board": PASSWORD}) as server, sessions(server, count + 5) as clients:
        checks.gate.clear()
        for number, client in enumerate(clients):
            client.sendall(f"USER board\r\nPASS x{number}\r\n".encode())
        wait_until(lambda: len(checks.hashes) == count)

        def open_gate() -> None:
            wait_until(lambda: server._logins._closed)
            checks.gate.set()

        opening = threading.Thread(target=open_gate)
        opening.start()
    opening.join()
    assert len(checks.hashes) == count


def test_one_core_is_left_to_the_loop() -> None:
    assert [threads_for(cores) for cores in (None, 1, 2, 4, 64)] == [1, 1, 1, 3, 4]


# --- the checks by themselves, in a loop of pyftpdlib's


@pytest.fixture
def loop() -> Iterator[Any]:
    with contextlib.closing(ioloop.IOLoop()) as made:
        yield made


def test_a_call_from_another_thread_is_made_in_the_loops(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    calls, made = LoopCalls(loop), []

    def fault() -> None:
        raise ZeroDivisionError

    def call_often() -> None:
        calls.call(fault)
        # More than the pair of sockets can hold.
        for number in range(20_000):
            calls.call(lambda number=number: made.append((number, threading.current_thread())))  # type: ignore[misc]

    thread = threading.Thread(target=call_often)
    thread.start()
    thread.join()
    loop.loop(timeout=0.1, blocking=False)
    assert made == [(number, threading.current_thread()) for number in range(20_000)]
    assert "a fault of the server" in caplog.text
    calls.close()
    calls.call(fault)


def test_a_right_password_with_an_outdated_hash_gets_a_new_one(loop: Any) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash(PASSWORD)
    told: list[tuple[str, str, str]] = []
    answers: list[bool | None] = []
    checker = Logins(LoopCalls(loop), lambda *new: told.append(new), threads=1)
    for hash_, password in ((old, "wrong"), (old, PASSWORD), (hash_password(PASSWORD), PASSWORD)):
        before = len(answers)
        assert checker.check("board", hash_, password, lambda: True, answers.append)
        while len(answers) == before:
            loop.loop(timeout=1, blocking=False)
    assert answers == [False, True, True]
    ((name, before_, after),) = told
    assert (name, before_) == ("board", old)
    assert passwords.verify(after, PASSWORD)
    assert not passwords.is_outdated(after)
    checker.close()


def test_one_who_may_not_log_in_any_more_is_not_checked(loop: Any, checks: Checks) -> None:
    checker = Logins(LoopCalls(loop), threads=1)
    answers: list[tuple[str, bool | None]] = []
    allowed = {"first": True, "second": False, "third": True}
    checks.gate.clear()
    hash_ = hash_password(PASSWORD, cheap=True)
    for who in allowed:
        checker.check("board", hash_, who, lambda: True, lambda right, who=who: answers.append((who, right)))  # type: ignore[misc]
    # As it is checked only when its turn comes.
    checker._queue[0].waiting[0] = (lambda: False, checker._queue[0].waiting[0][1])
    checks.gate.set()
    while len(answers) < 3:
        loop.loop(timeout=1, blocking=False)
    assert sorted(answers, key=str) == [("first", False), ("second", None), ("third", False)]
    assert len(checks.hashes) == 2
    checker.close()


# --- lockout


def test_after_some_wrong_logins_the_next_are_not_looked_at(
    serve: Serve, connect: Connect, checks: Checks, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lockout=LockoutSettings(failures=2, delay=60, delay_max=60))
    known = connect(server, "tester")
    for password in ("wrong", "wrong"):
        with pytest.raises(ftplib.error_perm, match=r"^530 Authentication failed\.$"):
            connect(server, None).login("board", password)
    looked_at = len(checks.hashes)
    for user in ("board", "deep", "nobody"):
        client = connect(server, None)
        client.sendcmd(f"USER {user}")
        assert client.refused(f"PASS {PASSWORD}") == "421 Too many wrong logins. Try again later."
        with pytest.raises((EOFError, OSError)):
            client.voidcmd("NOOP")
    assert len(checks.hashes) == looked_at
    # Who logged in from this address before still does.
    connect(server, "tester")
    known.voidcmd("NOOP")
    lines = [record.getMessage() for record in caplog.records]
    assert "127.0.0.1 must wait 60 s before the next login, after wrong ones" in lines
    assert "board at 127.0.0.1 refused: too many wrong logins" in lines


# --- what an account asks of a session


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"disabled": True}, "the account is disabled"),
        ({"networks": (ipaddress.ip_network("192.0.2.0/24"),)}, "the account may not log in from there"),
    ],
)
def test_who_may_not_log_in_hears_what_a_stranger_hears_and_the_log_says_why(
    serve: Serve,
    connect: Connect,
    releases: Path,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    why: str,
) -> None:
    server = serve(accounts=(replace(Account("board", releases), **changes),))
    with pytest.raises(ftplib.error_perm, match=r"^530 Authentication failed\.$"):
        connect(server)
    assert f"board at 127.0.0.1 refused: {why}" in caplog.text


def test_who_comes_from_one_of_its_networks_logs_in(serve: Serve, connect: Connect, releases: Path) -> None:
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("127.0.0.0/8"))
    assert connect(serve(accounts=(Account("board", releases, networks=networks),))).pwd() == "/"


@pytest.mark.parametrize("tls", ["control", "full"])
def test_an_account_that_needs_tls_is_refused_before_its_password_goes_in_the_clear(
    serve: Serve, connect: Connect, releases: Path, tls: str
) -> None:
    server = serve(accounts=(Account("board", releases, tls=tls), Account("other", releases)))
    client = connect(server, "other")
    assert client.refused("USER board") == "530 This account needs TLS: AUTH TLS comes first."
    assert client.refused(f"PASS {PASSWORD}") == "503 Login with USER first."
    assert client.refused("PWD").startswith("530")


def test_a_session_of_an_account_that_is_disabled_ends_at_its_next_command(
    tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    create_server_folder(tmp_path)
    settings = replace(load_settings(tmp_path / "otalink.toml"), passive_ports=None)
    reread = ChangedAccounts(settings, lambda _: None)
    with BackgroundServer(settings, {"board": PASSWORD}, reread=reread) as server:
        client = connect(server)
        client.voidcmd("NOOP")
        set_disabled(settings, "board", True)
        assert client.refused("NOOP") == "421 This account is not served any more."
        with pytest.raises((EOFError, OSError)):
            client.voidcmd("NOOP")
        with pytest.raises(ftplib.error_perm, match="530"):
            connect(server)
    assert "board at 127.0.0.1 sent away: the account is gone or disabled" in caplog.text


def test_a_board_reads_and_a_publisher_writes_too() -> None:
    accounts = tuple(Account(role, Path(), role=role) for role in ("board", "publisher"))
    authorizer = Authorizer(accounts, {})
    assert all(authorizer.has_perm("board", perm) for perm in "elr")
    assert not any(authorizer.has_perm("board", perm) for perm in "adfmwMT")
    assert all(authorizer.has_perm("publisher", perm) for perm in "elrwdfm")
    assert not any(authorizer.has_perm("publisher", perm) for perm in "aMT")


# --- channels


@pytest.fixture
def channels(releases: Path, serve: Serve, connect: Connect) -> dict[str, Any]:
    """Sessions of accounts with channels, by the virtual path of each."""
    beta = releases.parent / "beta"
    beta.mkdir()
    (beta / "thermostat_1.0.0.3.py").write_bytes(b"print('three')\n")
    (beta / "out").symlink_to("../secret")
    (beta / "across").symlink_to(releases / "lib" / "sensor.py")
    both = (("stable", releases), ("beta", beta))
    accounts = (
        Account("top", releases, channels=both),
        Account("deep", releases, "/a/b", channels=both),
        Account("one", beta, channels=both[1:]),
    )
    server = serve(accounts=accounts)
    return {account.name: (server, connect(server, account.name)) for account in accounts}


@pytest.mark.parametrize(("user", "top"), [("top", ""), ("deep", "/a/b")])
def test_channels_are_folders_below_the_virtual_path(channels: dict[str, Any], user: str, top: str) -> None:
    server, client = channels[user]
    assert sorted(client.nlst(top or "/")) == ["beta", "stable"]
    assert {name: facts["type"] for name, facts in client.mlsd(top or "/")} == {"beta": "dir", "stable": "dir"}
    client.cwd(f"{top}/beta")
    assert client.fetch("thermostat_1.0.0.3.py") == b"print('three')\n"
    assert client.fetch("../stable/lib/sensor.py") == client.fetch("across") == b"sensor\n" * 1000
    assert server.transfers[-2].path == f"{top}/stable/lib/sensor.py"
    assert server.transfers[-3].path == f"{top}/beta/thermostat_1.0.0.3.py"
    for path in ("out", "../../secret", f"{top}/gamma/x", f"{top}/stable/../../secret", "/secret"):
        assert client.refused(f"RETR {path}").startswith("550"), path
    if top:
        assert (client.nlst("/"), client.nlst("/a")) == (["a"], ["b"])


def test_an_account_sees_its_own_channels_alone(channels: dict[str, Any]) -> None:
    _, client = channels["one"]
    assert client.nlst("/") == ["beta"]
    assert client.refused("RETR /stable/thermostat_1.0.0.2.py").startswith("550")
    # A link leads nowhere that the account does not see.
    assert client.refused("RETR /beta/across").startswith("550")
    assert sorted(client.nlst("/beta")) == ["thermostat_1.0.0.3.py"]
