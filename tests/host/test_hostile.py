"""What hostile clients do to `otalink serve`, which runs as users run it: in a process of its own.

After each attack it is the same process, no fault of its own was logged, and a board is served.
"""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # for attacked

from attacked import CONTENT, Attacked, Raw, outside, wait_until

MIB = 1 << 20
MANY = 50_000
# `make attack` has ten thousand of them.
HALF_OPEN = int(os.environ.get("OTALINK_HALF_OPEN", "1500"))
FLOOD = Path(__file__).with_name("flood.py")
# What the server itself writes, beside the folders that it serves.
OWN = ("audit", "audit.server.head", "reports")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One server for all that leaves nothing behind."""
    more = '[[account]]\nname = "deep"\nfolder = "releases"\nvirtual_path = "/a/b"\n'
    server = Attacked(tmp_path_factory.mktemp("hostile"), more=more)
    many(server.releases / "many", MANY)
    (server.releases / Path("deep", *["d"] * 200)).mkdir(parents=True)
    yield server
    server.end()


@pytest.fixture
def server(shared: Attacked) -> Iterator[Attacked]:
    yield shared
    shared.check()


Start = Callable[..., Attacked]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with these lines in [server]."""
    started: list[Attacked] = []

    def begin(lines: str = "", more: str = "") -> Attacked:
        started.append(Attacked(tmp_path, lines, more))
        return started[-1]

    yield begin
    for each in started:
        each.end()


# --- paths

READING = ("RETR", "SIZE", "MDTM", "MLST", "CWD", "XCWD", "STAT", "LIST", "NLST", "MLSD")
WRITING = ("STOR", "APPE", "STOU", "DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "MFMT 20200101000000")
DOTS = (
    *(b"..", b".", b"...", b"....", b"..;", b".. ", b" ..", b"..\\", b"..\0", b"\0..", b"..\t", b"..\x7f", b".\x00."),
    *(b"%2e%2e", b"%2E%2E", b"%252e%252e", b".%2e", b"..%00", b"..%5c", b"\\..", b"\\..\\.."),
    # UTF-8, overlong in two and three bytes; UTF-16; full width, one dot leader, two dot leader, ellipsis.
    *(b"\xc0\xae\xc0\xae", b"\xe0\x80\xae\xe0\x80\xae", b".\0.\0", b"\xfe\xff\0.\0."),
    *("\uff0e\uff0e".encode(), "\u2024\u2024".encode(), "\u2025".encode(), "\u2026".encode(), ".\u200d.".encode()),
    # Telnet's IAC as it is and doubled, DEL, ESC, a byte that is no UTF-8, a line separator.
    *(b"\xff\xf4\xff\xf2..", b"..\xff\xff", b".\xff.", b"\x1b[..", b"\x80..", "..\u2028".encode()),
)
NAMES = (
    *(b"secret", b"secret ", b"secret.", b"secret\0.py", b"SECRET", b"secret::$DATA", b"secret%00", b"beside/inner"),
    *(b"releases-private/secret", b"otalink.toml", b"otalink.secrets", b"otalink.hashes", b"file-out", b"folder-out"),
    *(b"absolute-out/inner", b"folder-out/secret", b"chain-1", b"chain-2", b"dangling", b"loop", b"lib", b"", b"/"),
    *(
        b"~",
        b"~root",
        b"~/secret",
        b"C:",
        b"C:\\secret",
        b"\\\\?\\C:\\secret",
        b"file:///etc/passwd",
        b"*",
        b"[s]ecret",
    ),
    *(b"lib/private-out/secret", b"$HOME", b"`id`", b"|id", b"-R", b"-la ..", b"/etc/passwd", b"/proc/self/environ"),
    *(b"CON", b"NUL", b"x" * 255, b"x" * 256, b"x/" * 900),
)
SEPARATORS = (
    b"/",
    b"/",
    b"//",
    b"\\",
    b"/./",
    b"%2f",
    b"\xc0\xaf",
    "\u2215".encode(),
    "\uff0f".encode(),
    b"\0/",
    b" /",
)
# A line's end would make another command of the rest. It is shorter than what would give a secret away.
ANYTHING = st.binary(max_size=4).map(lambda data: re.sub(rb"[\r\n]", b"", data))


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(st.sampled_from(DOTS) | st.sampled_from(NAMES) | ANYTHING, max_size=7))
    path = draw(st.sampled_from((b"", b"/", b"//", b"/a/b/", b"lib/", b"\\", b"./")))
    for part in parts:
        path += part + draw(st.sampled_from(SEPARATORS))
    return path + draw(st.sampled_from(NAMES))


def what_leaks(session: Raw, got: bytes) -> list[bytes]:
    """What the answers so far and `got`, which came over a data connection, have of the secrets."""
    found = session.leaks()
    # What a listing, or a file, must be of.
    allowed = (*CONTENT.values(), b"")
    if got not in allowed and not got.startswith(b"\0" * 1000):
        names = {line.split(b" ")[-1].strip() for line in got.splitlines()}
        found += sorted(
            names - {b"a", b"b", b"lib", b"sensor.py", b"big.bin", b"thermostat_1.0.0.2.py", b"many", b"deep"}
        )
    return found


@pytest.fixture
def sessions(server: Attacked) -> Iterator[dict[str, Raw]]:
    with server.session() as board, server.session("deep") as deep:
        yield {"board": board, "deep": deep}


def try_path(session: Raw, path: bytes, content: bytes | None = None) -> None:
    """Every command with this path; nothing that is secret comes back."""
    for command in READING:
        before = len(session.received)
        session.say("CWD /")
        reply, got = session.ask(command.encode() + b" " + path)
        assert re.match(rb"[2345]\d\d ", reply), (command, reply)
        assert not what_leaks(session, got), (command, path, session.received[before:])
    for command in WRITING:
        reply, _ = session.ask(command.encode() + b" " + path, content or b"written by nobody")
        assert reply[:1] in (b"3", b"4", b"5"), (command, path, reply)


@settings(deadline=None, max_examples=60, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=spellings(), user=st.sampled_from(("board", "deep")))
def test_no_spelling_of_a_path_gets_a_secret(sessions: dict[str, Raw], path: bytes, user: str) -> None:
    try_path(sessions[user], path)


def test_each_spelling_of_two_dots_and_of_a_secrets_name(server: Attacked, sessions: dict[str, Raw]) -> None:
    before = outside(server.releases, OWN)
    for name in (*NAMES, bytes(server.folder / "secret"), b"/" + bytes(server.folder / "secret"), b"../secret"):
        try_path(sessions["board"], name)
    for dots in DOTS:
        for separator in (b"/", b"\\"):
            try_path(sessions["board"], b"lib/" + dots + separator + dots + separator + b"secret")
    assert outside(server.releases, OWN) == before


def test_a_link_that_changes_while_it_is_read_gives_no_secret(server: Attacked) -> None:
    """It leads to a file or a folder in the account's own at one moment, and out of it at the next."""
    names = [server.releases / name for name in ("swap-file", "swap-folder")]
    inside = [server.releases / "lib" / "sensor.py", server.releases / "lib"]
    out = [server.folder / "secret", server.folder / "beside"]
    (server.folder / "beside" / "sensor.py").write_bytes((server.folder / "secret").read_bytes())
    new = server.releases / ".new"
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for targets in (inside, out):
                for name, target in zip(names, targets, strict=True):
                    new.symlink_to(target)
                    new.replace(name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    got = 0
    try:
        with server.session() as board:
            for _ in range(400):
                for path in ("swap-file", "swap-folder/sensor.py"):
                    reply, data = board.ask(f"RETR {path}")
                    got += reply.startswith(b"226")
                    assert data in (b"", CONTENT["lib/sensor.py"])
    finally:
        done.set()
        swapper.join()
        for path in (*names, server.folder / "beside" / "sensor.py"):
            path.unlink()
        new.unlink(missing_ok=True)
    # It was not refused whenever there was a link.
    assert got


def test_a_file_that_is_replaced_while_it_is_sent_is_sent_as_it_was(server: Attacked) -> None:
    path = server.releases / "replaced.bin"
    path.write_bytes(b"a" * 8 * MIB)
    with server.session() as board:
        data = board.passive()
        assert board.say("RETR replaced.bin").startswith(b"1")
        got = data.recv(1)
        path.unlink()
        path.symlink_to("../secret")
        while piece := data.recv(MIB):
            got += piece
        assert got == b"a" * 8 * MIB
        assert board.reply().startswith(b"226")
        board._data = None
        data.close()
    path.unlink()


# --- other addresses


@pytest.mark.parametrize("command", ["PASV", "EPSV"])
def test_who_comes_from_another_address_gets_no_data_and_the_board_gets_its_own(server: Attacked, command: str) -> None:
    with server.session() as board:
        numbers = [int(number) for number in re.findall(rb"\d+", board.say(command))]
        port = numbers[-1] if command == "EPSV" else numbers[-2] * 256 + numbers[-1]
        board.send(b"RETR thermostat_1.0.0.2.py\r\n")
        assert board.reply().startswith(b"1")
        for _ in range(20):
            thief = socket.create_connection(("127.0.0.1", port), 20, source_address=("127.0.0.2", 0))
            with thief, contextlib.suppress(ConnectionError):
                assert thief.recv(100) == b""
            assert board.reply().startswith(b"425")
        with socket.create_connection(("127.0.0.1", port), 20) as data:
            assert data.recv(100) == CONTENT["thermostat_1.0.0.2.py"]
        assert board.reply().startswith(b"226")


def test_the_server_is_sent_to_nobody(server: Attacked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as victim, server.session() as board:
        port = victim.getsockname()[1]
        high, low = divmod(port, 256)
        for command in (
            *(f"PORT 127,0,0,1,{high},{low}", f"PORT 0,0,0,0,{high},{low}", f"EPRT |1|127.0.0.1|{port}|"),
            *(
                f"EPRT |2|::ffff:127.0.0.1|{port}|",
                f"LPRT 4,4,127,0,0,1,2,{high},{low}",
                f"port 127,0,0,1,{high},{low}",
            ),
            *(f"\u00a0PORT 127,0,0,1,{high},{low}", f"SITE PORT 127,0,0,1,{high},{low}"),
        ):
            assert board.say(command)[:2] in (b"50", b"52"), command
            board.say("NLST")
        victim.settimeout(0.2)
        with pytest.raises(TimeoutError):
            victim.accept()


# --- lengths and bytes


def test_megabytes_without_a_line_end_take_no_memory(server: Attacked) -> None:
    before = server.memory()
    for user in (None, "board"):
        with server.session(user) as session:
            # Who sends that may be closed: whether it is, is not said here.
            with contextlib.suppress(OSError):
                for _ in range(32):
                    session.send(b"USER " + b"x" * (MIB - 5))
            # A few of them may lie in the network's buffers.
            assert server.memory() - before < 8 * MIB
            session.send(b"\r\nNOOP\r\n")
            while (line := session.line()) and not line.startswith(b"200"):
                assert line.startswith(b"500")


@settings(deadline=None, max_examples=60, database=None)
@given(
    garbage=st.lists(st.binary(max_size=300) | st.sampled_from((b"\r\n", b"USER ", b"PASS ", b"\xff\xf4\xff\xf2ABOR")))
)
def test_any_bytes_are_answered_or_end_the_session(shared: Attacked, garbage: list[bytes]) -> None:
    with Raw(shared.port) as session:
        try:
            for piece in garbage:
                session.send(piece)
            session.send(b"\r\nNOOP\r\nQUIT\r\n")
            while session.line():
                pass
        except ConnectionError:
            pass
        assert re.match(rb"220 ", session.received)
    assert shared.process.poll() is None
    assert "fault of the server" not in shared.output


def test_telnets_interrupt_and_urgent_data_abort_a_transfer_and_nothing_else(server: Attacked) -> None:
    with server.session() as board:
        for before in (b"\xff\xf4\xff", b""):
            data = board.passive()
            assert board.say("RETR big.bin").startswith(b"1")
            data.recv(1)
            # RFC 959 section 4.1.3: IP and Synch, whose DM is urgent.
            board.send(before)
            board.sock.send(b"\xf2", socket.MSG_OOB)
            board.send(b"ABOR\r\n")
            assert board.reply().startswith(b"426")
            assert board.reply().startswith(b"226")
            board._data = None
            data.close()
        assert board.fetch("lib/sensor.py") == CONTENT["lib/sensor.py"]


def test_commands_in_one_piece_are_answered_in_their_order(server: Attacked) -> None:
    with server.session() as board:
        board.send(b"".join(b"SIZE lib/sensor.py\r\nSIZE thermostat_1.0.0.2.py\r\nPWD\r\n" for _ in range(500)))
        for _ in range(500):
            assert [board.reply().split()[1] for _ in range(3)] == [b"7000", b"13", b'"/"']


def test_a_login_in_one_piece_with_what_follows_is_a_login(server: Attacked) -> None:
    with Raw(server.port) as session:
        session.send(f"USER board\r\nPASS {server.password}\r\nPWD\r\nUSER board\r\nPASS wrong\r\nPWD\r\n".encode())
        assert [session.reply()[:3] for _ in range(6)] == [b"331", b"230", b"257", b"331", b"530", b"530"]


# --- many


def test_thousands_of_half_open_logins_take_little_memory_and_then_boards_get_in(start: Start) -> None:
    places = HALF_OPEN * 6 // 10
    server = start(f"sessions = {places}")
    before = server.memory()
    # In a process of its own: each takes a descriptor.
    command = [sys.executable, FLOOD, str(server.port), str(HALF_OPEN)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii") as flood:
        assert flood.stdin is not None
        assert flood.stdout is not None
        # The others were told to come again.
        assert flood.stdout.readline() == f"{places} 220, {HALF_OPEN - places} 421\n"
        # The bound that docs/security.md states, in bytes for each.
        assert (server.memory() - before) / places < 16 * 1024
        with Raw(server.port) as late:
            assert late.received.startswith(b"421")
        flood.stdin.close()
        flood.wait()
    wait_until(lambda: server.descriptors <= server.idle)
    server.check()


def test_half_open_logins_that_stay_lose_their_places_to_boards(start: Start) -> None:
    server = start("login_timeout = 1\nsessions = 40")
    beginnings = (b"", b"USER board\r\n", b"USER board\r\nPASS", b"AUTH TLS\r\n", b"HELP\r\n" * 20_000)
    with contextlib.ExitStack() as stack:
        for number in range(40):
            session = stack.enter_context(Raw(server.port))
            session.sock.settimeout(0.1)
            with contextlib.suppress(OSError):
                session.send(beginnings[number % len(beginnings)])
        with Raw(server.port) as late:
            assert late.received.startswith(b"421")
        wait_until(lambda: server.descriptors <= server.idle + 8)
        server.check()


# --- slow readers


def test_who_reads_no_replies_takes_no_memory(server: Attacked) -> None:
    with server.session() as board, contextlib.ExitStack() as stack:
        before = server.memory()
        for user, command in (("board", b"HELP"), ("board", b"STAT many"), (None, b"NOOP"), (None, b"FEAT")):
            deaf = stack.enter_context(server.session(user))
            deaf.sock.settimeout(0.1)
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    deaf.send((command + b"\r\n") * 1000)
        assert board.fetch("lib/sensor.py") == CONTENT["lib/sensor.py"]
        assert server.memory() - before < 32 * MIB


def test_who_reads_no_data_is_sent_away_and_others_are_served(start: Start) -> None:
    server = start("data_timeout = 1\nidle_timeout = 2")
    many(server.releases / "many", 10_000)
    with contextlib.ExitStack() as stack:
        before = server.memory()
        for command in (*["RETR big.bin"] * 8, "MLSD many", "NLST many", "LIST many"):
            session = stack.enter_context(server.session())
            data = session.passive()
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            session.send(command.encode() + b"\r\n")
        with server.session() as board:
            assert board.fetch("big.bin") == bytes(20_000_000)
        assert server.memory() - before < 64 * MIB
        wait_until(lambda: server.descriptors <= server.idle)
    server.check()


def test_transfers_one_upon_the_other_are_refused(server: Attacked) -> None:
    """On one data connection that nobody reads, each would take a descriptor, or the memory for a listing."""
    before = server.memory(), server.descriptors
    with server.session() as board:
        board.passive()
        board.send(b"RETR big.bin\r\n" + b"RETR big.bin\r\nNLST many\r\nLIST many\r\n" * 200)
        assert board.reply().startswith(b"1")
        assert {board.reply()[:3] for _ in range(600)} == {b"450"}
        assert server.descriptors - before[1] < 8
        assert server.memory() - before[0] < 16 * MIB


# --- listing bombs


def test_listings_of_many_names_by_many_at_once_do_not_hold_others_up(server: Attacked) -> None:
    with contextlib.ExitStack() as stack:
        lists = [stack.enter_context(server.session()) for _ in range(20)]
        board = stack.enter_context(server.session())
        for number, session in enumerate(lists):
            session.passive()
            command = (b"STAT many", b"LIST many", b"MLSD many", b"NLST many", b"LIST -R many")[number % 5]
            # Ten of them in one piece.
            session.send((command + b"\r\n") * 10)
        # All of that takes minutes; a board has its file long before.
        for _ in range(3):
            assert board.fetch("lib/sensor.py") == CONTENT["lib/sensor.py"]
            assert not any(done_with(session, 10) for session in lists)


def test_costly_commands_in_one_piece_take_turns_with_those_of_others(server: Attacked) -> None:
    with server.session() as greedy, server.session() as board:
        # Each reads the whole folder, and nobody takes the data.
        greedy.send(b"NLST many\r\n" * 100)
        assert greedy.reply().startswith(b"150")
        assert board.fetch("lib/sensor.py") == CONTENT["lib/sensor.py"]
        greedy.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while greedy.line():
                pass
        assert greedy.received.count(b"\r\n150 ") < 90
        greedy.reset()


def many(folder: Path, count: int) -> None:
    """Makes `folder`, with as many files."""
    folder.mkdir()
    for number in range(count):
        os.close(os.open(folder / f"a-file-whose-name-is-no-short-one-{number:06}.py", os.O_CREAT, 0o644))


def done_with(session: Raw, count: int) -> bool:
    """Whether the session's so many commands are all answered; reads what has come and waits for nothing."""
    session.sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while piece := session.sock.recv(MIB):
            session.received += piece
    session.sock.settimeout(20)
    return len(re.findall(rb"^(?:213|226) ", session.received, re.MULTILINE)) >= count


def test_patterns_and_options_make_no_listing_go_deeper(server: Attacked) -> None:
    with server.session() as board:
        for argument in ("*", "*/*/*/*/*", "{a,b}" * 300, "[!x]*", "-R", "-R /", "-lR deep", "**/**/**"):
            for command in ("LIST", "NLST", "STAT", "MLSD"):
                reply, got = board.ask(f"{command} {argument}")
                assert reply[:1] == b"5", (command, argument, reply, got[:200])
        # A folder in a folder, two hundred times.
        path = "/".join(["deep", *["d"] * 200])
        assert board.ask(f"NLST {path}")[0].startswith(b"226")
        assert board.say(f"CWD {path}").startswith(b"250")
        assert board.ask("NLST " + "../" * 600)[0].startswith(b"226")


# --- those who vanish


def steps(session: Raw, password: str) -> Iterator[None]:
    """What a board does, with a stop after each thing that it sends."""
    yield
    session.send(b"US")
    yield
    session.send(b"ER board\r\n")
    yield
    session.send(b"PASS ")
    yield
    session.send(f"{password}\r\n".encode())
    yield
    session.reply()
    session.reply()
    session.send(b"TYPE I\r\n")
    yield
    session.reply()
    yield
    session.passive()
    yield
    session.send(b"RETR big.bin\r\n")
    yield
    session.reply()
    yield
    session.passive().recv(100_000)
    yield


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
def test_a_board_may_vanish_at_every_moment(server: Attacked, how: str) -> None:
    count = 12
    for moment in range(count):
        session = Raw(server.port)
        for number, _ in enumerate(steps(session, server.password)):
            if number == moment:
                break
        if how == "rst":
            session.reset()
        elif how == "fin":
            session.close()
        else:
            session.sock.shutdown(socket.SHUT_WR)
            # It answers or not, but it closes.
            if session._data is not None:
                session._data.close()
                session._data = None
            while session.line():
                pass
            session.close()
    wait_until(lambda: server.descriptors <= server.idle)


# --- TLS


@pytest.fixture(scope="module")
def hello() -> bytes:
    """The first bytes of a handshake, as a client sends them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@settings(deadline=None, max_examples=60, database=None)
@given(data=st.data())
def test_any_bytes_in_place_of_a_handshake_end_the_session(shared: Attacked, hello: bytes, data: st.DataObject) -> None:
    changed = bytearray(hello)
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    garbage = data.draw(
        st.sampled_from((b"USER board\r\nPASS x\r\nPWD\r\n", bytes(300), b"\x15\3\1\0\2\1\0", b""))
        | st.binary(max_size=200)
        | st.integers(1, len(hello)).map(lambda length: bytes(changed[:length]))
    )
    with Raw(shared.port) as session:
        assert session.say("AUTH TLS").startswith(b"234")
        with contextlib.suppress(OSError):
            session.send(garbage)
            session.sock.shutdown(socket.SHUT_WR)
            while session.sock.recv(MIB):
                pass
    assert shared.process.poll() is None
    assert "fault of the server" not in shared.output


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", bytes(100), b"\x16\3\1\xff\xff" + bytes(100)])
def test_clear_text_on_a_data_connection_that_is_to_be_secured_gets_no_data(server: Attacked, garbage: bytes) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Raw(server.port) as session:
        assert session.say("AUTH TLS").startswith(b"234")
        with context.wrap_socket(session.sock) as session.sock:
            session.log_in("board", server.password)
            session.say("PBSZ 0")
            session.say("PROT P")
            data = session.passive()
            session.send(b"RETR thermostat_1.0.0.2.py\r\n")
            got = b""
            with contextlib.suppress(ConnectionError):
                data.sendall(garbage)
                while piece := data.recv(MIB):
                    got += piece
            assert CONTENT["thermostat_1.0.0.2.py"] not in got
            # The handshake may have failed before the file was asked for, or after.
            while (reply := session.reply())[:1] == b"1":
                pass
            assert reply[:1] in (b"4", b"5")


# --- publishers

ODD = ("", ".py", "_1.0.0.9.py", ".ota", "_1.0.0.9.ota", "/x.py", "/..", "/.")


@pytest.fixture
def publishing(start: Start) -> Attacked:
    """A server with a publisher, whose folder has links out of it, as the boards' has."""
    return start(more='[[account]]\nname = "ci"\nfolder = "published"\nrole = "publisher"\n')


@settings(deadline=None, max_examples=30, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_spelling_of_a_path_lets_a_publisher_write_elsewhere(publishing: Attacked, data: st.DataObject) -> None:
    before = outside(publishing.published, OWN)
    with publishing.session("ci") as session:
        for _ in range(4):
            path = data.draw(spellings()) + data.draw(st.sampled_from(ODD)).encode()
            other = data.draw(spellings())
            for command, content in (
                *((b"STOR " + path, b"x = 1\n"), (b"APPE " + path, b"x = 1\n"), (b"STOU " + path, b"x = 1\n")),
                *((b"MKD " + path, None), (b"RNFR " + path, None), (b"RNTO " + other, None), (b"RMD " + path, None)),
                *((b"RNFR lib/sensor.py", None), (b"RNTO " + path, None), (b"DELE " + path, None)),
                *((b"SITE LOCK " + path, None), (b"SITE UNLOCK " + path, None), (b"MFMT 20200101000000 " + path, None)),
            ):
                reply, got = session.ask(command, content)
                assert reply[:1] in (b"2", b"3", b"4", b"5"), (command, reply)
                assert got == b""
        assert not session.leaks()
    assert outside(publishing.published, OWN) == before
    publishing.check()


@pytest.mark.parametrize("how", ["fin", "rst", "half", "abor"])
def test_an_upload_that_breaks_off_anywhere_leaves_nothing(publishing: Attacked, how: str) -> None:
    def there() -> set[str]:
        return {path.as_posix() for path in publishing.published.rglob("*")}

    before = there()
    for moment in range(5):
        with publishing.session("ci") as session:
            data = session.passive()
            if moment > 0:
                session.send(b"STOR new.py\r\n")
            if moment > 1:
                assert session.reply()[:1] == b"1"
            if moment > 2:
                data.sendall(b"x = 1\n" * 1000)
            if moment > 3:
                data.sendall(b"x = 1\n" * 100_000)
            if how == "abor":
                session.say("ABOR")
            if how == "rst":
                session.reset()
            elif how == "half":
                session.sock.shutdown(socket.SHUT_WR)
                while session.line():
                    pass
        wait_until(lambda: publishing.descriptors <= publishing.idle)
        assert there() == before
    publishing.check()
