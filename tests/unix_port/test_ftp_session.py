"""Connection, login, commands and replies of the FTP client."""

import contextlib
import time

import pytest
from scripted_server import CLOSE, RESET, ScriptedServer, unused_port

LOGIN = ["USER bob", "PASS hidden", "OPTS UTF8 ON", "TYPE I"]


def test_a_session_logs_in_asks_for_binary_and_says_goodbye(run_client):
    with ScriptedServer() as server:
        lines = run_client(server, "await attempt(client.connect())\nawait client.quit()\nprint(sockets())")
        assert lines == ["gave None", "0"]
        assert server.lines() == [*LOGIN, "QUIT"]


def test_the_answers_of_every_plain_command_come_out(run_client):
    with ScriptedServer({"f": b"12345"}) as server:
        lines = run_client(
            server,
            """
            await attempt(client.cwd("/releases"))
            await attempt(client.size("f"))
            await attempt(client.mdtm("f"))
            await attempt(client.nlst())
            await attempt(client.mlsd())
            await attempt(client.noop())
            """,
        )
        assert lines == [
            "gave None",
            "gave 5",
            "gave 20200102030405",
            "gave ['f']",
            "gave [('f', 'file', 5, '20200102030405')]",
            "gave None",
        ]
        assert server.sessions == 1


@pytest.mark.parametrize("verb", ["SIZE", "MDTM"])
def test_a_server_without_size_or_mdtm_gives_none(run_client, verb):
    with ScriptedServer(**{verb: "502 what?"}) as server:
        lines = run_client(server, f"await attempt(client.{verb.lower()}('f'))\nprint(sockets())")
        assert lines == ["gave None", "1"]


# What a user is told: every command and stage, refused.

STAGES = [
    ("BANNER", "client.connect()", "refused a session"),
    ("USER", "client.connect()", "refused the login of bob (check user and password)"),
    ("PASS", "client.connect()", "refused the login of bob (check user and password)"),
    ("TYPE", "client.connect()", "refused TYPE I"),
    ("CWD", "client.cwd('/a')", "refused CWD /a"),
    ("NOOP", "client.noop()", "refused NOOP"),
    ("SIZE", "client.size('f')", "refused SIZE f"),
    ("MDTM", "client.mdtm('f')", "refused MDTM f"),
    ("PASV", "client.nlst()", "refused PASV"),
    ("NLST", "client.nlst()", "refused NLST"),
    ("MLSD", "client.mlsd()", "refused MLSD"),
    ("RETR", "client.retrieve('f', buffer, got.extend)", "refused RETR f"),
    ("STOR", "client.store('f', io.BytesIO(b'new'), buffer)", "refused STOR f"),
]


CODES = (421, 425, 451, 530, 553)


@pytest.mark.parametrize(("verb", "call", "said"), STAGES, ids=[stage[0] for stage in STAGES])
def test_a_refusal_at_any_stage_is_an_ftp_error_with_its_code_and_the_client_is_usable_after_it(
    run_client, verb, call, said
):
    def refusal(code):
        def refuse(session, argument):
            session.say(f"{code} no hidden reason")
            if code == 421:
                session.close()

        return refuse

    # Each code once, and each time a second try that the server takes.
    answers = {verb: [answer for code in CODES for answer in (refusal(code), None)]}
    if verb == "PASV":
        answers["EPSV"] = "500 what?"
    with ScriptedServer({"f": b"12345"}, **answers) as server:
        again = f"await attempt({call})\nclient.close()\nclient = make_client()\n"
        lines = run_client(server, "import io\nglobal client\n" + again * 2 * len(CODES))
        address = f"FTP server 127.0.0.1:{server.port}"
        assert lines[::2] == [f"FtpError {code} {address} {said}: {code} no *** reason" for code in CODES]
        assert all(line.startswith("gave ") for line in lines[1::2])


@pytest.mark.parametrize("code", [421, 550])
@pytest.mark.parametrize("verb", ["BANNER", "USER", "PASS", "TYPE", "CWD"])
def test_a_login_that_failed_is_begun_anew_and_never_half_used(run_client, verb, code):
    with ScriptedServer(**{verb: [None, f"{code} no", None]}) as server:
        body = """
        await attempt(client.cwd("/a"))
        client.close()
        await attempt(client.noop())
        print(sockets())
        await attempt(client.noop())
        """
        lines = run_client(server, body)
        assert lines[0] == "gave None"
        assert lines[1].startswith(f"FtpError {code} ")
        assert lines[2:] == ["0", "gave None"]
        assert server.lines(2) == [*LOGIN, "CWD /a", "NOOP"]


@pytest.mark.parametrize("stage", ["EPSV", "REST"])
def test_a_temporary_refusal_of_epsv_or_rest_is_an_ftp_error(run_client, stage):
    with ScriptedServer({"f": b"12345"}, **{stage: ["450 not now", None]}) as server:
        lines = run_client(server, "await fetch('f', 2)\nawait fetch('f', 2)\nprint(got)")
        assert lines[0].startswith("FtpError 450 ")
        assert lines[1:] == ["gave 3", "bytearray(b'345')"]


def test_a_user_who_needs_no_password_is_logged_in_at_once(run_client):
    with ScriptedServer(USER="230 come in") as server:
        assert run_client(server, "await attempt(client.noop())") == ["gave None"]
        assert "PASS" not in server.verbs()


@pytest.mark.parametrize("answers", [{"USER": "332 account?"}, {"PASS": "332 account?"}])
def test_a_server_that_wants_an_account_is_refused_clearly(run_client, answers):
    with ScriptedServer(**answers) as server:
        (line,) = run_client(server, "await attempt(client.connect())")
        assert line.startswith("ProtocolError FTP server 127.0.0.1:")
        assert "gave no fitting answer to a login with user and password alone: 332 account?" in line


def test_a_server_that_will_be_ready_in_a_while_is_waited_for(run_client):
    with ScriptedServer(BANNER=b"120 in a minute\r\n220 ready\r\n") as server:
        assert run_client(server, "await attempt(client.connect())") == ["gave None"]


@pytest.mark.parametrize("answer", ["hidden", "hidden is wrong", "331-hidden", "530 hidden is wrong"])
def test_a_password_that_the_server_sends_back_is_in_no_error(run_client, answer):
    with ScriptedServer(PASS=lambda session, _: (session.say(answer), session.close())) as server:
        (line,) = run_client(server, "await attempt(client.connect())")
        assert "hidden" not in line
        assert not line.startswith("gave")


def test_an_error_is_one_line_whatever_the_server_says(run_client):
    with ScriptedServer(SIZE="550-first\r\n\x1b[31m\r second\r\n550 third") as server:
        (line,) = run_client(server, "await attempt(client.size('f'))")
        assert line.endswith("refused SIZE f: 550 first  [31m  second third")


# The forms that a reply may take

FORMS = {
    "several lines": b"220-one\r\n220-two\r\n220 three\r\n",
    "lines without the code": b"220-one\r\ntwo\r\n 220 not yet\r\n\r\n220 three\r\n",
    "another code within": b"220-one\r\n550 not for you\r\n220 three\r\n",
    "LF only": b"220-one\n220 two\n",
    "the code alone": b"220\r\n",
    "not UTF-8": b"220 \xff\xfe\xe9\r\n",
    "UTF-8": "220 grüß dich\r\n".encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_reply_may_have_any_form_that_servers_give_it(run_client, form):
    with ScriptedServer(BANNER=FORMS[form]) as server:
        assert run_client(server, "await attempt(client.connect())") == ["gave None"]
        assert server.verbs() == ["USER", "PASS", "OPTS", "TYPE"]


def test_a_reply_may_be_cut_at_any_byte(run_client):
    reply = b"213-so\r\n213 5\r\n"
    cuts = iter(range(1, len(reply)))

    def size(session, argument):
        cut = next(cuts)
        session.raw(reply[:cut])
        time.sleep(0.005)
        session.raw(reply[cut:])

    with ScriptedServer(SIZE=lambda session, _: session.raw(b"213 5\r\n"), MDTM=size) as server:
        body = f"""
        for cut in range(1, {len(reply)}):
            await attempt(client.mdtm("f"))
            await attempt(client.size("f"))
        """
        lines = run_client(server, body)
        assert set(lines[::2]) == {lines[0]}
        assert "holds" in lines[0] or "no time" in lines[0]
        assert set(lines[1::2]) == {"gave 5"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no FTP reply but 'SSH-2.0-OpenSSH_9.2'"),
        (b"\r\n", "no FTP reply"),
        (b"22\r\n", "no FTP reply"),
        (b"2200 a\r\n", "no FTP reply"),
        (b"620 a\r\n", "no FTP reply"),
        (b"x" * 5000, "a line of over 1024 bytes"),
        (b"220-" + b"a\r\n" * 9000, "a reply of over 8192 bytes"),
        (b"220-\r\n" + b"\r\n" * 9000, "a reply of over 8192 bytes"),
    ],
)
def test_what_is_no_reply_or_has_no_end_is_a_protocol_error(run_client, answer, said):
    with ScriptedServer(BANNER=answer) as server:
        (line,) = run_client(server, "await attempt(client.connect())", heap="128k")
        assert line.startswith("ProtocolError FTP server 127.0.0.1:")
        assert said in line


# Deadlines


def silence(session, argument):
    pass


def test_every_stage_has_a_deadline(run_client):
    # All at once: a client and a silent server for each stage.
    with contextlib.ExitStack() as stack:
        trials = ""
        for verb, call, _ in STAGES:
            answers = {verb: silence, "EPSV": "500 what?" if verb == "PASV" else None}
            server = stack.enter_context(ScriptedServer({"f": b"12345"}, **answers))
            trials += f"({verb!r}, {server.port}, lambda client: {call}), "
        body = f"""
        import io
        async def attempt_one(verb, port, call):
            started = time.ticks_ms()
            try:
                await call(FtpClient(host, port, user, password, timeout, stall))
            except TransferError as error:
                took = time.ticks_diff(time.ticks_ms(), started)
                print(verb, str(error).split(": ", 1)[1], error.errno == errno.ETIMEDOUT, took < 8000)
        await asyncio.gather(*[attempt_one(*trial) for trial in ({trials})])
        print(sockets())
        """
        *lines, sockets = run_client(server, body, timeout=0.8, stall=0.8)
        said = "nothing came for 0.8 s: is the network up? True True"
        assert sorted(lines) == sorted(f"{verb} {said}" for verb, _, _ in STAGES)
        assert sockets == "0"


@pytest.mark.parametrize("verb", ["BANNER", "SIZE"])
def test_a_reply_that_drips_hits_the_deadline(run_client, verb):
    def drip(session, argument):
        session.drip(b"2" + b"13 this takes for ever" * 100)

    with ScriptedServer(**{verb: drip}) as server:
        (line,) = run_client(server, "await attempt(client.size('f'))", timeout=0.6)
        assert line.endswith("nothing came for 0.6 s: is the network up?")


@pytest.mark.parametrize("verb", ["BANNER", "RETR"])
def test_preliminary_replies_without_end_hit_the_deadline(run_client, verb):
    def flood(session, argument):
        if verb == "RETR":
            session.begin().close()
        while not session.server.stopping.is_set():
            session.raw(b"120 soon\r\n" * 100)

    with ScriptedServer({"f": b""}, **{verb: flood}) as server:
        (line,) = run_client(server, "await fetch('f')", timeout=0.6, stall=0.6)
        assert line.endswith("nothing came for 0.6 s: is the network up?")


# A server that closes


@pytest.mark.parametrize("verb", ["BANNER", "USER", "PASS", "TYPE", "NOOP"])
@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_server_that_closes_at_any_stage_is_a_transfer_error(run_client, verb, end):
    with ScriptedServer(**{verb: end}) as server:
        (line,) = run_client(server, "await attempt(client.noop())")
        assert line.startswith(f"TransferError FTP server 127.0.0.1:{server.port}: ")
        assert line.endswith(
            ("it closed the session without an answer: try again later", "the server broke the connection")
        )


def end_421(session, argument):
    session.say("200 fine")
    session.say("421 too long idle")
    session.close()


def end_bare(session, argument):
    session.say("200 fine")
    session.close()


def end_reset(session, argument):
    session.say("200 fine")
    session.reset()


def end_half_open(session, argument):
    session.say("200 fine")
    session.wait_gone()  # what comes is never answered


@pytest.mark.parametrize("end", [end_421, end_bare, end_reset, end_half_open])
@pytest.mark.parametrize("call", ["client.size('f')", "client.nlst()", "client.retrieve('f', buffer, got.extend)"])
def test_a_session_that_ended_while_it_was_idle_is_begun_anew_without_an_error(run_client, end, call):
    with ScriptedServer({"f": b"12345"}, NOOP=[end, None]) as server:
        body = f"""
        await attempt(client.cwd("/a"))
        await attempt(client.noop())
        await asyncio.sleep_ms(50)
        await attempt({call})
        """
        half_open = end is end_half_open
        lines = run_client(server, body, timeout=1 if half_open else 10)
        assert lines[:2] == ["gave None", "gave None"]
        assert lines[2] in ("gave 5", "gave ['f']")
        assert server.lines(1)[:5] == [*LOGIN, "CWD /a"]
        # Being idle too long says nothing of EPSV.
        assert "PASV" not in server.verbs()


def test_a_server_that_is_gone_is_said_once_and_found_again_when_it_is_back(run_client):
    with ScriptedServer(NOOP=[end_bare, None], BANNER=[None, CLOSE, None]) as server:
        body = "await attempt(client.noop())\nawait attempt(client.noop())\nawait attempt(client.noop())"
        lines = run_client(server, body)
        assert [line.split(" ")[0] for line in lines] == ["gave", "TransferError", "gave"]


def test_no_server_is_said_with_the_reason(run_client):
    with unused_port() as sock:
        server = ScriptedServer()
        with server:
            server.port, port = sock.getsockname()[1], server.port
            lines = run_client(server, "await attempt(client.connect())")
            server.port = port
        assert lines[0].endswith("connection refused: is the server running, and is this its port?")


def test_a_host_that_no_network_leads_to_is_said_with_what_to_do(run_client):
    with ScriptedServer() as server:
        # No TCP connection can be made to a broadcast address.
        lines = run_client(server, "await attempt(client.connect())", host="255.255.255.255")
        assert lines[0].startswith(f"TransferError FTP server 255.255.255.255:{server.port}: cannot be reached (error ")
        assert lines[0].endswith("): is the network up, and is this its address?")


def test_a_host_without_an_address_is_said_with_the_reason(run_client):
    with ScriptedServer() as server:
        lines = run_client(server, "await attempt(client.connect())", host="no-such-host.invalid")
        assert lines[0].endswith("its name cannot be looked up: is it right, is the network up?")


def test_a_host_by_name_is_found_and_its_data_connections_too(run_client):
    with ScriptedServer({"f": b"12345"}) as server:
        assert run_client(server, "await attempt(client.nlst())", host="localhost") == ["gave ['f']"]


# Replies that nothing had asked for


def test_a_second_reply_is_not_taken_for_the_next_answer(run_client):
    with ScriptedServer({"f": b"12345"}, NOOP=[b"200 fine\r\n213 99\r\n", None]) as server:
        lines = run_client(server, "await attempt(client.noop())\nawait attempt(client.size('f'))")
        assert lines == ["gave None", "gave 5"]
        assert server.sessions == 2


def test_a_second_reply_that_comes_later_is_not_taken_for_the_next_answer(run_client):
    def noop(session, argument):
        session.say("200 fine")
        time.sleep(0.05)
        session.raw(b"213 99\r\n")

    with ScriptedServer({"f": b"12345"}, NOOP=[noop, None]) as server:
        body = "await attempt(client.noop())\nawait asyncio.sleep(0.5)\nawait attempt(client.size('f'))"
        assert run_client(server, body) == ["gave None", "gave 5"]


def test_half_a_reply_that_nothing_had_asked_for_is_not_taken_for_the_next_answer(run_client):
    with ScriptedServer({"f": b"12345"}, NOOP=[b"200 fine\r\n213 9", None]) as server:
        lines = run_client(server, "await attempt(client.noop())\nawait attempt(client.size('f'))")
        assert lines == ["gave None", "gave 5"]


@pytest.mark.parametrize("late", ["226 done", "426 broken off", "150 here it comes"])
@pytest.mark.parametrize("call", ["client.size('f')", "client.cwd('/b')", "client.nlst()"])
def test_the_late_end_of_a_transfer_is_not_taken_for_an_answer(run_client, late, call):
    # It comes after the next command went out, so that it can only be told by its code.
    def answer(verb):
        def late_reply(session, argument):
            session.say(late)
            session.behave(verb, argument)

        return [late_reply, None]

    with ScriptedServer({"f": b"12345"}, SIZE=answer("SIZE"), CWD=answer("CWD"), EPSV=answer("EPSV")) as server:
        lines = run_client(server, f"await attempt({call})\nprint(sockets())\nawait attempt({call})")
        assert lines[0].startswith(("ProtocolError", "FtpError 426"))
        assert lines[1] == "0"
        assert lines[2] in ("gave 5", "gave None", "gave ['f']")


# What a caller may ask for


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\r\nDELE b"])
def test_nothing_smuggles_a_second_command_in(run_client, bad):
    calls = [
        f"client.cwd({bad!r})",
        f"client.size({bad!r})",
        f"client.mdtm({bad!r})",
        f"client.retrieve({bad!r}, buffer, got.extend)",
        f"client.store({bad!r}, None, buffer)",
    ]
    body = "await attempt(client.connect())\n" + "\n".join(f"await attempt({call})" for call in calls)
    body += f"""
for arguments in (({bad!r},), ("h", 21, {bad!r}), ("h", 21, "u", {bad!r})):
    try:
        FtpClient(*arguments)
    except ValueError as error:
        print("ValueError", error)
"""
    with ScriptedServer() as server:
        lines = run_client(server, body)
        assert lines[0] == "gave None"
        assert len(lines) == 9
        assert all(line.startswith("ValueError") for line in lines[1:])
        assert repr(bad) not in lines[-1]  # it is the password
        assert server.lines() == LOGIN


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\r\nDELE b"])
def test_a_folder_that_was_set_smuggles_no_command_into_the_login(run_client, bad):
    with ScriptedServer() as server:
        body = f"""
        client.folder = {bad!r}
        await attempt(client.noop())
        print(sockets())
        client.folder = "a"
        await attempt(client.noop())
        """
        lines = run_client(server, body)
        assert lines[0] == "ValueError a path, name or password cannot hold CR, LF or NUL"
        assert lines[1:] == ["0", "gave None"]
        assert server.lines() == [*LOGIN, *LOGIN, "CWD a", "NOOP"]


def test_a_folder_within_a_folder_is_found_again_in_the_next_session(run_client):
    with ScriptedServer() as server:
        body = """
        await attempt(client.cwd("a"))
        await attempt(client.cwd("b c"))
        client.close()
        await attempt(client.cwd("/d"))
        client.close()
        await attempt(client.noop())
        """
        assert run_client(server, body) == ["gave None"] * 4
        assert server.lines(1)[4:] == ["CWD a/b c", "CWD /d"]
        assert server.lines(2)[4:] == ["CWD /d", "NOOP"]


def test_one_command_at_a_time(run_client):
    with ScriptedServer(NOOP=lambda session, _: None) as server:
        body = """
        task = asyncio.create_task(attempt(client.noop()))
        await asyncio.sleep(0.1)
        await attempt(client.noop())
        client.close()
        await task
        """
        lines = run_client(server, body)
        assert lines == [
            "ValueError one FTP command at a time",
            f"TransferError FTP server 127.0.0.1:{server.port}: the session was closed",
        ]


@pytest.mark.parametrize("answer", ["", "421 goodbye", "500 never", CLOSE, RESET, b"nonsense\r\n"])
def test_quit_raises_nothing_and_leaves_nothing(run_client, answer):
    with ScriptedServer(QUIT=answer) as server:
        body = "await attempt(client.connect())\nawait attempt(client.quit())\nprint(sockets())"
        assert run_client(server, body, timeout=1) == ["gave None", "gave None", "0"]
        server.wait_ended(1)


def test_a_client_in_a_with_statement_says_goodbye(run_client):
    with ScriptedServer() as server:
        body = """
        async with client as same:
            await attempt(same.noop())
        print(sockets())
        """
        assert run_client(server, body) == ["gave None", "0"]
        assert server.lines()[-1] == "QUIT"
