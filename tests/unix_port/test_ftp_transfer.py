"""Files and listings over data connections: what counts as a success, and what becomes of everything else."""

import hashlib
import socket
import threading
import time

import pytest
from scripted_server import CLOSE, RESET, ScriptedServer, drain, reset, unused_port

CONTENT = bytes(range(256)) * 40  # 10,240 bytes


def sending(content, ending="226 done", opening="150 here it comes", end=None):
    """A RETR that sends `content` and says `ending`, whatever the file is."""

    def retr(session, argument):
        if opening:
            session.say(opening)
        data = session.accept()
        data.sendall(content)
        (end or type(data).close)(data)
        if ending:
            session.say(ending)

    return retr


# The end of the data and 226 and the promised length


def test_a_file_comes_whole(run_client):
    with ScriptedServer({"f": CONTENT, "empty": b""}) as server:
        lines = run_client(
            server,
            f"""
            await fetch("f")
            print(got == bytes(range(256)) * 40)
            await fetch("empty")
            await fetch("f", 0, {len(CONTENT)})
            print(sockets())
            """,
        )
        assert lines == ["gave 10240", "True", "gave 0", "gave 10240", "1"]
        assert server.sessions == 1
        assert server.verbs().count("SIZE") == 2  # not when the caller knows the size


@pytest.mark.parametrize(
    ("retr", "said"),
    [
        (sending(CONTENT[:-1]), "TransferError {}: f ended after 10239 of 10240 bytes although the server says"),
        (sending(b""), "TransferError {}: f ended after 0 of 10240 bytes although the server says it is whole"),
        (sending(CONTENT + b"x"), "TransferError {}: f is longer than the 10240 bytes it promised: was it replaced?"),
        (sending(CONTENT * 9), "TransferError {}: f is longer than the 10240 bytes it promised: was it replaced?"),
        (sending(CONTENT, "426 broken off"), "FtpError 426 {} refused RETR f: 426 broken off"),
        (sending(CONTENT, "451 disk"), "FtpError 451 {} refused RETR f: 451 disk"),
        (sending(CONTENT, "550 disk"), "FtpError 550 {} refused RETR f: 550 disk"),
        (sending(CONTENT, "421 shutting down"), "FtpError 421 {} refused RETR f: 421 shutting down"),
        (sending(CONTENT[:50], "426 broken off"), "FtpError 426 {} refused RETR f: 426 broken off"),
        (sending(CONTENT[:50], "451 disk"), "FtpError 451 {} refused RETR f: 451 disk"),
        (sending(CONTENT[:50], "451 disk", end=reset), "FtpError 451 {} refused RETR f: 451 disk"),
        (sending(CONTENT[:50], end=reset), "TransferError {}: the server broke the connection"),
        (sending(CONTENT, "200 fine"), "ProtocolError {} gave no fitting answer to RETR f: 200 fine"),
        (sending(CONTENT, "331 password?"), "ProtocolError {} gave no fitting answer to RETR f: 331 password?"),
        (sending(CONTENT, "nonsense"), "ProtocolError {}: the server sent no FTP reply but 'nonsense'"),
        (lambda session, _: (sending(CONTENT, "")(session, _), session.close()), "TransferError {}: it closed the"),
        (lambda session, _: (sending(CONTENT, "")(session, _), session.reset()), "TransferError {}: the server broke"),
    ],
)
def test_anything_but_the_end_and_226_and_the_promised_length_is_an_error(run_client, retr, said):
    with ScriptedServer({"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run_client(server, "await fetch('f')\nprint(sockets(), len(got) <= 10240)\nawait fetch('f')")
        assert lines[0].startswith(said.format(f"FTP server 127.0.0.1:{server.port}"))
        # The session is dropped, and the next try logs in anew.
        assert lines[1:] == ["0 True", "gave 10240"]
        assert server.verbs(1)[0] == "USER"


def test_a_data_connection_that_breaks_while_the_server_says_nothing_is_an_error_soon(run_client):
    with ScriptedServer({"f": CONTENT}, RETR=[sending(CONTENT[:50], "", end=reset), None]) as server:
        lines = run_client(server, "await fetch('f')\nprint(sockets())\nawait fetch('f', 50)", timeout=0.6, stall=60)
        assert lines[0].endswith("the server broke the connection")
        assert lines[1:] == ["0", "gave 10190"]


@pytest.mark.parametrize("ending", ["226 done", "250 done", "226-one\r\n226 two", "150 once more\r\n226 done"])
def test_a_transfer_may_end_with_any_reply_that_servers_give(run_client, ending):
    with ScriptedServer({"f": CONTENT}, RETR=sending(CONTENT, ending)) as server:
        assert run_client(server, "await fetch('f')\nprint(sockets())") == ["gave 10240", "1"]


@pytest.mark.parametrize("opening", ["125 open already", "150-one\r\n150 two", ""])
def test_a_transfer_may_begin_with_any_reply_that_servers_give_or_with_none(run_client, opening):
    with ScriptedServer({"f": CONTENT}, RETR=sending(CONTENT, opening=opening)) as server:
        assert run_client(server, "await fetch('f')\nprint(sockets())") == ["gave 10240", "1"]


def test_226_may_come_before_the_data(run_client):
    def retr(session, argument):
        session.raw(b"150 here\r\n226 done\r\n")
        data = session.accept()
        for start in range(0, len(CONTENT), 1024):
            data.sendall(CONTENT[start : start + 1024])
            time.sleep(0.01)
        data.close()

    with ScriptedServer({"f": CONTENT}, RETR=retr) as server:
        assert run_client(server, "await fetch('f')\nprint(len(got))") == ["gave 10240", "10240"]


def test_data_without_end_after_226_is_an_error(run_client):
    def retr(session, argument):
        data = session.begin()
        session.say("226 done")
        while True:
            data.sendall(CONTENT)

    with ScriptedServer({"f": CONTENT}, RETR=retr) as server:
        lines = run_client(server, "await fetch('f')\nprint(len(got) <= 10240, sockets())")
        assert "longer than the 10240 bytes" in lines[0]
        assert lines[1] == "True 0"


def test_a_server_without_size_is_believed_about_the_end(run_client):
    with ScriptedServer({"f": CONTENT}, SIZE="500 what?") as server:
        assert run_client(server, "await fetch('f')\nprint(len(got))") == ["gave 10240", "10240"]


# A sink that has enough


def stopped(ending):
    """A RETR whose reader goes away in the middle."""

    def retr(session, argument):
        session.say("150 here it comes")
        data = session.accept()
        try:
            for _ in range(1000):
                data.sendall(CONTENT)
        except OSError:
            pass
        data.close()
        for line in ending:
            session.say(line)

    return retr


@pytest.mark.parametrize("offset", [0, 5000])
@pytest.mark.parametrize(
    ("ending", "sessions"),
    [
        (["226 done"], 1),
        (["426 broken off"], 1),
        (["451 local error"], 1),
        (["150 0.003 seconds (measured here)"], 1),  # Pure-FTPd 1.0.50
        # What comes late is not taken for the next answer: that command logs in anew.
        (["426 broken off", "226 aborted"], 2),
        (["150 once more", "226 aborted"], 2),
        (["221 bye"], 1),
    ],
)
def test_a_sink_that_has_enough_ends_the_transfer_and_the_session_goes_on(run_client, ending, sessions, offset):
    # Without REST, so that what is skipped does not count.
    with ScriptedServer({"f": CONTENT * 1000}, RETR=[stopped(ending), None], REST="502 what?") as server:
        body = f"""
        def first(view):
            got.extend(view)
            return len(got) > 5000
        await fetch("f", {offset}, sink=first)
        print(5000 < len(got) < 20000, sockets(), got == (bytes(range(256)) * 200)[{offset} % 256 :][: len(got)])
        await asyncio.sleep_ms(100)
        await attempt(client.size("f"))
        """
        lines = run_client(server, body)
        assert lines[0].startswith("gave ")
        assert lines[1:] == ["True 1 True", f"gave {len(CONTENT) * 1000}"]
        assert server.sessions == sessions


@pytest.mark.parametrize(
    "end", [lambda session: None, lambda session: session.close(), lambda session: session.reset()]
)
def test_a_sink_that_has_enough_has_it_whatever_the_server_does_then(run_client, end):
    def retr(session, argument):
        stopped([])(session, argument)
        end(session)

    with ScriptedServer({"f": CONTENT * 1000}, RETR=[retr, None]) as server:
        lines = run_client(server, "await fetch('f', sink=lambda view: True)\nawait attempt(client.size('f'))")
        assert lines[0].startswith("gave ")
        assert lines[1] == f"gave {len(CONTENT) * 1000}"
        assert server.sessions == 2


# Where a broken download goes on


def test_a_caller_that_resumes_gets_exactly_the_missing_bytes(run_client):
    broken = [sending(CONTENT[:4097], "426 broken off"), None]
    with ScriptedServer({"f": CONTENT}, RETR=broken) as server:
        lines = run_client(
            server,
            """
            await attempt(client.cwd("/a"))
            await fetch("f")
            print(len(got))
            await fetch("f", len(got))
            print(got == bytes(range(256)) * 40)
            """,
        )
        assert lines[2:] == ["4097", "gave 6143", "True"]
        assert server.lines(1)[4:] == ["CWD /a", "SIZE f", "EPSV", "REST 4097", "RETR f"]


@pytest.mark.parametrize("rest", [None, "502 what?"])
def test_any_offset_gives_the_rest_with_rest_and_without(run_client, rest):
    offsets = (1, 4095, 4096, 4097, 8192, 10239)
    with ScriptedServer({"f": CONTENT}, REST=rest) as server:
        body = f"""
        for offset in {offsets}:
            got[:] = b""
            await fetch("f", offset)
            print(got == (bytes(range(256)) * 40)[offset:])
        """
        assert run_client(server, body) == [line for n in offsets for line in (f"gave {10240 - n}", "True")]
        # A server that lacks REST is asked once.
        assert server.verbs().count("REST") == (len(offsets) if rest is None else 1)


def test_nothing_is_fetched_where_nothing_is_missing(run_client):
    with ScriptedServer({"f": CONTENT}) as server:
        assert run_client(server, "await fetch('f', 10240)\nawait fetch('f', 7, 7)") == ["gave 0", "gave 0"]
        assert "RETR" not in server.verbs()


def test_a_file_that_is_shorter_now_than_what_is_here_must_be_started_over(run_client):
    with ScriptedServer({"f": CONTENT}) as server:
        lines = run_client(server, "await fetch('f', 10241)")
        assert lines == ["ResumeError f has 10240 bytes on the server, and 10241 are here: it was replaced"]


def test_a_file_that_is_shorter_now_is_seen_without_size_and_rest_too(run_client):
    with ScriptedServer({"f": CONTENT}, SIZE="500 what?", REST="500 what?") as server:
        lines = run_client(server, "await fetch('f', 10241)\nprint(len(got), sockets())")
        assert lines == ["ResumeError f has 10240 bytes on the server, and 10241 are here: it was replaced", "0 0"]


def test_a_server_that_ignores_rest_is_caught_and_read_from_the_start_from_then_on(run_client):
    with ScriptedServer({"f": CONTENT}, RETR=[sending(CONTENT), None], REST="350 of course") as server:
        lines = run_client(server, "await fetch('f', 100)\ngot[:] = b''\nawait fetch('f', 100)\nprint(got[:3])")
        assert lines[0].startswith("ResumeError f: more came from byte 100 on than there is")
        assert lines[1:] == ["gave 10140", r"bytearray(b'def')"]


@pytest.mark.parametrize("answer", ["200 fine", "226 done"])
def test_an_answer_to_rest_that_says_neither_yes_nor_no_is_no_yes(run_client, answer):
    with ScriptedServer({"f": CONTENT}, REST=answer) as server:
        lines = run_client(server, "await fetch('f', 100)\nprint(len(got), sockets())")
        assert lines[0].startswith("ProtocolError")
        assert lines[1] == "0 0"


@pytest.mark.parametrize("retr", ["551 past the end", "554 past the end"])
def test_an_offset_past_the_end_that_the_server_refuses_is_an_ftp_error(run_client, retr):
    with ScriptedServer({"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run_client(
            server, "await fetch('f', 20000, 30000)\nprint(sockets())\nawait fetch('f')\nprint(len(got))"
        )
        assert lines[0].startswith(f"FtpError {retr[:3]}")
        # The server may keep the REST for the next RETR of its session: that is over.
        assert lines[1:] == ["0", "gave 10240", "10240"]


def test_an_offset_past_the_end_that_the_server_takes_is_an_error(run_client):
    with ScriptedServer({"f": CONTENT}, RETR=sending(b"")) as server:
        (line,) = run_client(server, "await fetch('f', 20000, 30000)")
        assert "ended after 20000 of 30000 bytes although the server says it is whole" in line


# Data connections


@pytest.mark.parametrize("address", ["127,0,0,1", "0,0,0,0", "192,168,250,9", "203,0,113,7"])
def test_the_data_connection_goes_to_the_server_whatever_form_and_address_pasv_gives(run_client, address):
    forms = [
        "227 Entering Passive Mode ({}).",
        "227 Entering Passive Mode {}",
        "227 ={}",
        "227 Entering Passive Mode, 4 you.{}.",
        "227-wait\r\n227 Entering Passive Mode ({})",
    ]

    def pasv(form):
        def answer(session, argument):
            high, low = divmod(session.passive(), 256)
            session.say(form.format(f"{address},{high},{low}"))

        return answer

    with ScriptedServer({"f": CONTENT}, EPSV="500 what?", PASV=[pasv(form) for form in forms]) as server:
        assert run_client(server, "await fetch('f')\n" * len(forms)) == ["gave 10240"] * len(forms)


NO_PORT = {
    "PASV": ["227 no port", "227 (1,2,3,4,5)", "227 (1,2,3,4,5,256)", "227 (1,2,3,4,0,0)"],
    "EPSV": ["229 no port", "229 (|||)", "229 (|||0|)", "229 (|||70000|)", "229 (", "227 (1,2)"],
}


@pytest.mark.parametrize("verb", NO_PORT)
def test_an_answer_without_a_port_is_a_protocol_error(run_client, verb):
    answers = NO_PORT[verb]
    with ScriptedServer({"f": CONTENT}, **{"EPSV": "500 what?", verb: answers}) as server:
        lines = run_client(server, "await fetch('f')\nprint(sockets())\n" * len(answers))
        for answer, line in zip(answers, lines[::2], strict=True):
            assert line.startswith("ProtocolError the server")
            assert answer[4:] in line
        assert set(lines[1::2]) == {"0"}


@pytest.mark.parametrize("answer", ["500 what?", "502 what?", "522 not this network"])
def test_pasv_is_used_where_epsv_is_refused_and_epsv_is_asked_once(run_client, answer):
    with ScriptedServer({"f": CONTENT}, EPSV=answer) as server:
        assert run_client(server, "await fetch('f')\nawait fetch('f')") == ["gave 10240"] * 2
        assert server.verbs().count("EPSV") == 1
        assert server.sessions == 1


@pytest.mark.parametrize("answer", ["", CLOSE, RESET], ids=["silence", "close", "reset"])
@pytest.mark.parametrize("call", ["client.nlst()", "client.retrieve('f', buffer, got.extend)"])
def test_pasv_is_used_in_a_new_session_where_epsv_is_never_answered(run_client, answer, call):
    with ScriptedServer({"f": CONTENT}, EPSV=answer) as server:
        body = f"await attempt(client.cwd('/a'))\nawait attempt({call})\nawait attempt({call})"
        lines = run_client(server, body, timeout=1 if answer == "" else 10)
        assert lines[0] == "gave None"
        assert lines[1] == lines[2] in ("gave 10240", "gave ['f']")
        # At first it may be the session that had died, then it must be EPSV, and then it is never asked again.
        assert server.sessions == server.verbs().count("EPSV") + 1 <= 3
        assert "CWD /a" in server.lines(server.sessions - 1)


def test_pasv_is_tried_after_a_data_connection_that_epsv_promised_and_nobody_took(run_client):
    with unused_port() as sock:
        port = sock.getsockname()[1]
        with ScriptedServer({"f": CONTENT}, EPSV=f"229 (|||{port}|)") as server:
            lines = run_client(server, "await fetch('f')\nprint(sockets())\nawait fetch('f')")
            assert f"no data connection to its port {port}: connection refused" in lines[0]
            assert lines[1:] == ["0", "gave 10240"]


@pytest.mark.parametrize("end", [reset, lambda data: data.close()])
def test_a_data_connection_that_ends_at_once_is_an_error(run_client, end):
    def retr(session, argument):
        end(session.begin())
        session.say("425 no data connection")

    with ScriptedServer({"f": CONTENT}, RETR=retr) as server:
        lines = run_client(server, "await fetch('f')\nprint(sockets())")
        assert lines[0].startswith("FtpError 425")
        assert lines[1] == "0"


def test_a_data_connection_that_is_never_accepted_ends_at_the_deadline(run_client):
    with ScriptedServer({"f": CONTENT}, RETR=lambda session, _: session.say("150 soon")) as server:
        lines = run_client(server, "await fetch('f')\nprint(sockets())", stall=0.6)
        assert lines[0].endswith("nothing came for 0.6 s: is the network up?")
        assert lines[1] == "0"


# Slow and stalled


def test_a_stall_ends_the_transfer_and_what_came_is_kept(run_client):
    def retr(session, argument):
        session.begin().sendall(CONTENT[:5000])

    with ScriptedServer({"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run_client(server, "await fetch('f')\nprint(sockets(), len(got))\nawait fetch('f', 5000)", stall=0.6)
        assert lines[0].endswith("nothing came for 0.6 s: is the network up?")
        assert lines[1:] == ["0 5000", "gave 5240"]


def test_a_slow_but_steady_transfer_is_no_stall(run_client):
    def retr(session, argument):
        with session.begin() as data:
            for byte in CONTENT[:40]:
                data.sendall(bytes([byte]))
                time.sleep(0.05)
        session.say("226 done")

    with ScriptedServer({"f": CONTENT[:40]}, RETR=retr) as server:
        assert run_client(server, "await fetch('f')", timeout=1, stall=1) == ["gave 40"]


def test_a_slow_sink_is_no_stall(run_client):
    def retr(session, argument):
        with session.begin() as data:
            data.sendall(CONTENT[:100])
            time.sleep(1.2)
            data.sendall(CONTENT[100:])
        session.say("226 done")

    with ScriptedServer({"f": CONTENT}, RETR=retr) as server:
        body = """
        def slow(view):
            got.extend(view)
            if len(got) == 100:
                time.sleep(1.0)
        await fetch("f", sink=slow)
        """
        assert run_client(server, body, stall=0.7) == ["gave 10240"]


@pytest.mark.parametrize("call", ["client.retrieve('f', buffer, got.extend)", "client.size('f')", "client.nlst()"])
def test_an_application_that_holds_up_the_loop_does_not_make_what_has_arrived_late(run_client, call):
    with ScriptedServer({"f": CONTENT}) as server:
        body = f"""
        async def hold_up():
            for _ in range(2):
                await asyncio.sleep_ms(1)
                time.sleep(1.5)

        await client.connect()
        task = asyncio.create_task(hold_up())
        await attempt({call})
        await task
        """
        (line,) = run_client(server, body, timeout=1, stall=1)
        assert line.startswith("gave ")


# Sending


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000])
def test_a_stored_file_arrives_whole(run_client, size):
    with ScriptedServer() as server:
        body = f"""
        import io
        content = (bytes(range(250)) * 400)[:{size}]
        await attempt(client.store("g", io.BytesIO(content), buffer))
        """
        assert run_client(server, body) == [f"gave {size}"]
        assert server.files["g"] == (bytes(range(250)) * 400)[:size]


def test_a_slow_reader_gets_everything(run_client):
    size = 4 << 20

    def stor(session, argument):
        with session.begin() as data:
            # Small, but not below a segment of the loopback device, which would then wait for TCP's timers.
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
            session.server.files[argument] = drain(data, 65536, 0.005)
        session.say("226 done")

    with ScriptedServer(STOR=stor) as server:
        body = f"""
        class Source:
            left = {size}
            def readinto(self, buffer):
                n = min(len(buffer), self.left)
                for i in range(0, n, 512):
                    buffer[i] = (self.left - i) // 512 & 255
                self.left -= n
                return n
        await attempt(client.store("g", Source(), buffer))
        """
        assert run_client(server, body) == [f"gave {size}"]
        received = server.files["g"]
        assert bytes(received[::512]) == bytes((size - i) // 512 & 255 for i in range(0, size, 512))


def test_a_reader_that_takes_longer_than_the_stall_limit_for_one_buffer_is_no_stall(run_client):
    def stor(session, argument):
        with session.begin() as data:
            session.server.files[argument] = drain(data, 300_000, 0.05)
        session.say("226 done")

    with ScriptedServer(STOR=stor) as server:
        body = """
        import io
        await attempt(client.store("g", io.BytesIO(bytes(12 << 20)), bytearray(12 << 20)))
        """
        assert run_client(server, body, heap="32m", stall=1) == [f"gave {12 << 20}"]


def test_a_reader_that_stops_is_a_stall(run_client):
    def stor(session, argument):
        session.data = session.begin()

    with ScriptedServer(STOR=stor) as server:
        body = """
        class Endless:
            def readinto(self, buffer):
                return len(buffer)
        await attempt(client.store("g", Endless(), buffer))
        print(sockets())
        """
        lines = run_client(server, body, stall=0.6)
        assert lines[0].endswith("nothing came for 0.6 s: is the network up?")
        assert lines[1] == "0"


@pytest.mark.parametrize("end", [reset, lambda data: data.close()])
def test_a_full_server_says_so_and_its_code_comes_out(run_client, end):
    def stor(session, argument):
        data = session.begin()
        data.recv(1000)
        session.say("552 disk full")
        end(data)

    with ScriptedServer(STOR=stor) as server:
        body = """
        class Endless:
            def readinto(self, buffer):
                return len(buffer)
        await attempt(client.store("g", Endless(), buffer))
        print(sockets())
        """
        lines = run_client(server, body)
        assert lines == [f"FtpError 552 FTP server 127.0.0.1:{server.port} refused STOR g: 552 disk full", "0"]


def test_a_stored_file_that_is_shorter_there_is_an_error(run_client):
    with ScriptedServer(SIZE="213 3") as server:
        lines = run_client(server, "import io\nawait attempt(client.store('g', io.BytesIO(b'1234'), buffer))")
        assert lines[0].endswith("g has 3 bytes there although 4 were sent")


# Listings


LISTINGS = [
    (b"", []),
    (b"empty/.\r\nempty/..\r\n", []),
    (b".\r\n..\r\n", []),
    (b"a\r\nb\r\n", ["a", "b"]),
    (b"a\nb", ["a", "b"]),
    (b"a\r\nb\r", ["a", "b"]),
    (b"/srv/releases/a\r\nsub/b\r\n./c\r\n", ["a", "b", "c"]),
    (b"two words\r\n -x\r\n100%\r\n[a]*\r\n", ["two words", " -x", "100%", "[a]*"]),
    ("größe.py\r\n日本.py\r\n".encode(), ["größe.py", "日本.py"]),
    (b"caf\xe9\r\na\0b\r\nc\rd\r\n", ["caf?"]),
]


@pytest.mark.parametrize("cut", [False, True])
def test_a_listing_gives_the_names(run_client, cut):
    def nlst(content):
        def answer(session, argument):
            with session.begin() as data:
                for piece in [bytes([byte]) for byte in content] if cut else [content]:
                    data.sendall(piece)
                    time.sleep(0.001)
            session.say("226 done")

        return answer

    with ScriptedServer(NLST=[nlst(content) for content, _ in LISTINGS]) as server:
        lines = run_client(server, "await attempt(client.nlst())\n" * len(LISTINGS))
        assert lines == [f"gave {names!a}" for _, names in LISTINGS]  # MicroPython's repr is ASCII


@pytest.mark.parametrize("answer", ["450 no files found", "550 no files found"])
def test_a_folder_that_is_empty_may_be_called_an_error_and_the_session_goes_on(run_client, answer):
    with ScriptedServer({"f": CONTENT}, NLST=[answer, None]) as server:
        body = "await attempt(client.nlst())\nawait attempt(client.nlst())"
        assert run_client(server, body) == ["gave []", "gave ['f']"]
        assert server.sessions == 1


@pytest.mark.parametrize("answer", ["450 disk", "550 disk"])
def test_a_listing_that_broke_off_is_no_empty_folder(run_client, answer):
    with ScriptedServer({"f": CONTENT}, NLST=sending(b"a\r\n", answer)) as server:
        lines = run_client(server, "await attempt(client.nlst())\nprint(sockets())")
        assert lines[0].startswith(f"FtpError {answer[:3]}")
        assert lines[1] == "0"


def test_a_server_without_mlsd_says_so_and_the_session_goes_on(run_client):
    with ScriptedServer({"f": CONTENT}, MLSD="500 what?") as server:
        lines = run_client(server, "await attempt(client.mlsd())\nawait attempt(client.nlst())")
        assert lines[0].startswith("FtpError 500")
        assert lines[1] == "gave ['f']"
        assert server.sessions == 1


def test_mlsd_gives_name_type_size_and_time(run_client):
    listing = (
        b"type=cdir;modify=20200101000000; .\r\nType=dir;perm=el; sub\r\n"
        b"Size=7;Modify=20200102030405.123;Type=file; two words.py\r\n; bare\r\n\r\nsize=x; odd\r\n"
    )
    with ScriptedServer(MLSD=sending(listing)) as server:
        (line,) = run_client(server, "await attempt(client.mlsd())")
        assert line == "gave " + repr(
            [
                ("sub", "dir", None, ""),
                ("two words.py", "file", 7, "20200102030405.123"),
                ("bare", "file", None, ""),
                ("odd", "file", None, ""),
            ]
        )


@pytest.mark.parametrize("verb", ["NLST", "MLSD"])
@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (b"type=file; a\r\n", "the folder holds over 500 names"),
        (b"type=file; .\r\n", "a listing of over 131072 bytes"),
        (b"\r\n", "a listing of over 131072 bytes"),
        (b"type=file;" + b"x" * 1000, "a line of over 1024 bytes"),
    ],
)
def test_a_listing_without_end_is_a_protocol_error_on_a_small_heap(run_client, verb, piece, said):
    def listing(session, argument):
        data = session.begin()
        while True:
            data.sendall(piece.replace(b"type=file; ", b"" if verb == "NLST" else b"type=file; ") * 100)

    with ScriptedServer(**{verb: listing}) as server:
        lines = run_client(server, f"await attempt(client.{verb.lower()}())\nprint(sockets())", heap="256k")
        assert lines[0].startswith("ProtocolError")
        assert said in lines[0]
        assert lines[1] == "0"


# What a caller's own code raises


@pytest.mark.parametrize(
    "error",
    ["OSError(28)", "SinkError('stop')", "ProtocolError('bad')", "KeyError(1)"],
)
@pytest.mark.parametrize("content", [CONTENT, CONTENT * 200])
def test_what_a_sink_raises_comes_out_unchanged_and_the_session_is_dropped(run_client, error, content):
    with ScriptedServer({"f": content}) as server:
        body = f"""
        thrown = {error}
        def sink(view):
            raise thrown
        try:
            await client.retrieve("f", buffer, sink)
        except Exception as error:
            print(error is thrown, sockets())
        await fetch("f", {len(content) - 5})
        """
        assert run_client(server, body) == ["True 0", "gave 5"]


def test_what_a_source_raises_comes_out_unchanged_and_the_session_is_dropped(run_client):
    with ScriptedServer() as server:
        body = """
        class Source:
            def readinto(self, buffer):
                raise OSError(errno.EIO)
        try:
            await client.store("g", Source(), buffer)
        except OSError as error:
            print(error.errno == errno.EIO, sockets())
        """
        assert run_client(server, body) == ["True 0"]


# The application beside it


def test_no_memory_is_allocated_for_each_piece(run_client):
    size = 16 << 20
    content = bytes(size)
    with ScriptedServer({"f": content}) as server:
        body = f"""
        counted = [0]
        def sink(view):
            counted[0] += len(view)
        await client.connect()
        await client.retrieve("f", buffer, sink, {size - 10000})  # everything is imported
        counted[0] = 0
        marks = []
        def marking(view):
            counted[0] += len(view)
            if counted[0] <= len(buffer):
                gc.collect()
                gc.disable()
                marks.append(gc.mem_alloc())
            elif counted[0] == {size}:
                marks.append(gc.mem_alloc())
        marks_room = bytearray(100)
        await client.retrieve("f", buffer, marking)
        gc.enable()
        print(marks[1] - marks[0])
        """
        (line,) = run_client(server, body, heap="1m")
        assert int(line) < 1024 * (size >> 20), f"{int(line) >> 4} bytes for each MiB"


def test_the_application_goes_on_during_a_fast_download(run_client):
    with ScriptedServer({"f": bytes(32 << 20)}) as server:
        body = """
        count = [0]
        longest = [0]
        async def application():
            last = time.ticks_ms()
            while True:
                await asyncio.sleep_ms(1)
                now = time.ticks_ms()
                longest[0] = max(longest[0], time.ticks_diff(now, last))
                last = now
                count[0] += 1
        task = asyncio.create_task(application())
        started = time.ticks_ms()
        digest = hashlib.sha256()
        await fetch("f", sink=digest.update)
        took = time.ticks_diff(time.ticks_ms(), started)
        task.cancel()
        print(count[0] * 100 > took, count[0], took, longest[0])
        """
        lines = run_client(server, body)
        assert lines[0] == f"gave {32 << 20}"
        assert lines[1].startswith("True"), lines[1]


def test_the_application_goes_on_during_a_slow_download(run_client):
    def retr(session, argument):
        with session.begin() as data:
            for start in range(0, len(CONTENT), 1024):
                data.sendall(CONTENT[start : start + 1024])
                time.sleep(0.05)
        session.say("226 done")

    with ScriptedServer({"f": CONTENT}, RETR=retr) as server:
        body = """
        count = [0]
        async def application():
            while True:
                await asyncio.sleep_ms(10)
                count[0] += 1
        task = asyncio.create_task(application())
        await fetch("f")
        task.cancel()
        print(count[0] >= 15)
        """
        assert run_client(server, body) == ["gave 10240", "True"]


STAGES = ["BANNER", "SIZE", "EPSV", "RETR", "data", "226"]


@pytest.mark.parametrize(("how", "stage"), [("cancel", s) for s in STAGES] + [("wait_for", "data"), ("close", "data")])
def test_a_command_that_is_cancelled_leaves_nothing_and_the_client_is_usable(run_client, how, stage):
    reached = threading.Event()

    def stop(session, argument):
        if stage in ("data", "226"):
            data = session.begin()
            data.sendall(CONTENT[:5000] if stage == "data" else CONTENT)
            if stage == "226":
                data.close()
        reached.set()

    verb = stage if stage.isupper() else "RETR"
    with ScriptedServer({"f": CONTENT}, **{verb: [stop, None]}) as server:
        body = f"""
        command = client.retrieve("f", buffer, got.extend)
        if {how!r} == "wait_for":
            try:
                await asyncio.wait_for(command, 0.2)
            except asyncio.TimeoutError:
                print("TimeoutError")
        else:
            task = asyncio.create_task(command)
            await asyncio.sleep(0.2)
            client.close() if {how!r} == "close" else task.cancel()
            try:
                await task
            except (asyncio.CancelledError, TransferError) as error:
                print(type(error).__name__)
        await asyncio.sleep_ms(1)
        print(sockets(), asyncio.core._task_queue.peek())
        await fetch("f")
        """
        name = {"wait_for": "TimeoutError", "cancel": "CancelledError", "close": "TransferError"}[how]
        assert run_client(server, body) == [name, "0 None", "gave 10240"]
        assert reached.is_set()


def test_a_server_that_is_killed_in_mid_transfer_is_an_error_and_the_rest_comes_later(run_client):
    def retr(session, argument):
        data = session.begin()
        data.sendall(CONTENT[:5000])
        # What a killed process leaves: both connections end, cleanly as far as TCP can tell.
        data.close()
        session.close()

    with ScriptedServer({"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run_client(server, "await fetch('f')\nawait fetch('f', len(got))\nprint(hashlib.sha256(got).digest())")
        assert lines[0].endswith("it closed the session without an answer: try again later")
        assert lines[1:] == ["gave 5240", repr(hashlib.sha256(CONTENT).digest())]
