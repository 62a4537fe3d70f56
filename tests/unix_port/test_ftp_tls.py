"""The FTP client over explicit TLS (RFC 4217), against servers that do what real ones do, the odd ones too."""

import contextlib
import resource
import socket
import ssl
import time
from pathlib import Path

import pytest
from certificates import Authority
from scripted_server import drain
from tls_server import TlsServer

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
RESUMPTION = (
    ": if it wants the TLS session resumed, which MicroPython cannot: require_ssl_reuse=NO (vsftpd), TLSOptions "
    'NoSessionReuseRequired (ProFTPD), or "data": "clear" under tls'
)
REFUSED = "the host's certificate is refused: {}: check ca, server_name and this board's clock"


@pytest.fixture
def context(authority, tmp_path):
    return authority.context(tmp_path, "ftp.test")


@pytest.fixture
def run(run_client, authority):
    """As run_client, over TLS."""

    def run_by_tls(server, body, ntp=None, **options):
        tls = {"ca": str(authority.path), "server_name": "ftp.test"}
        tls.update({key: options.pop(key) for key in ("data", "server_name") if key in options})
        return run_client(server, body, tls={"tls": tls, "ntp": ntp}, **options)

    return run_by_tls

    return run


def where(server):
    return f"FTP server 127.0.0.1:{server.port}"


# The login


@pytest.mark.parametrize(("data", "protection"), [("private", "P"), ("clear", "C")])
def test_the_user_is_named_after_the_handshake(run, context, data, protection):
    with TlsServer(context, {"f": CONTENT}) as server:
        lines = run(server, "await fetch('f')\nprint(sorted(await client.nlst()), len(got))", data=data)
        assert lines == ["gave 10240", "['f'] 10240"]
        assert server.lines()[:5] == ["AUTH TLS", "PBSZ 0", f"PROT {protection}", "USER bob", "PASS hidden"]


def test_a_certificate_may_be_for_an_address(run_client, authority, tmp_path):
    with TlsServer(authority.context(tmp_path, "127.0.0.1"), {"f": CONTENT}) as server:
        tls = {"tls": {"ca": str(authority.path)}}
        assert run_client(server, "await fetch('f')", tls=tls) == ["gave 10240"]


@pytest.mark.parametrize("reply", ["500 what?", "502 not here", "504 no TLS", "530 log in first", "431 no certificate"])
def test_a_server_without_tls_gets_no_user(run, context, reply):
    with TlsServer(context, {"f": CONTENT}, AUTH=reply) as server:
        (line,) = run(server, "await fetch('f')")
        assert line == (
            f"FtpError {reply[:3]} {where(server)} refused AUTH TLS: {reply}: it has no TLS, and gets no password "
            "without: switch explicit TLS on there, or take tls out of /otalink.json"
        )
        assert set(server.verbs()) == {"AUTH"}


@pytest.mark.parametrize("behind", [b"230 welcome\r\n", b"230", b"331 and the password?\r\n230 welcome\r\n"])
def test_what_comes_in_the_clear_behind_the_answer_to_auth_counts_for_nothing(run, context, behind):
    with TlsServer(context, {"f": CONTENT}, AUTH=b"234 go on\r\n" + behind) as server:
        (line,) = run(server, "await fetch('f')")
        assert line == f"TransferError {where(server)}: it sent a reply that nothing had asked for"
        assert server.verbs() == ["AUTH"]


def test_a_server_that_goes_on_in_the_clear_gets_no_user(run, context):
    def answer(session, argument):
        session.say("234 go on")
        session.socket.recv(1000)
        session.say("230 never mind")

    with TlsServer(context, {"f": CONTENT}, AUTH=answer) as server:
        (line,) = run(server, "await fetch('f')")
        assert line == f"TransferError {where(server)}: the host answers without TLS: is this the right port?"
        assert server.verbs() == ["AUTH"]


@pytest.mark.parametrize(
    ("name", "days", "other", "said"),
    [
        ("ftp.test", 1, True, "The certificate is not correctly signed by the trusted CA"),
        ("other.test", 1, False, "The certificate Common Name (CN) does not match with the expected CN"),
        ("ftp.test", -1, False, "The certificate validity has expired"),
    ],
)
def test_a_server_that_does_not_prove_who_it_is_gets_no_user(run, authority, tmp_path, name, days, other, said):
    signer = Authority(tmp_path, "theirs") if other else authority
    with TlsServer(signer.context(tmp_path, "ftp.test", days), {"f": CONTENT}) as server:
        lines = run(server, "await fetch('f')\nprint(sockets())", server_name=name)
        assert lines == [f"TransferError {where(server)}: {REFUSED.format(said)}", "0"]
        assert server.verbs() == ["AUTH"]


def test_a_server_with_another_version_of_tls_is_said(run, context):
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with TlsServer(context, {"f": CONTENT}) as server:
        (line,) = run(server, "await fetch('f')")
        assert line.startswith(f"TransferError {where(server)}: the host refuses the TLS handshake (")
        assert line.endswith("): does it speak TLS 1.2?")


def test_a_handshake_that_never_ends_is_given_up(run, context):
    with TlsServer(context, AUTH=lambda session, _: (session.say("234 go on"), session.wait_gone())) as server:
        lines = run(server, "await fetch('f')\nprint(sockets())", timeout=0.3)
        assert lines == [
            f"TransferError {where(server)}: no answer: is the network up, and is this its address?",
            "0",
        ]


def test_a_clock_that_is_not_set_is_said_ahead_of_the_handshake(run, context):
    with TlsServer(context) as server:
        lines = run(
            server,
            """
            import otalink.clock
            class Clock:
                def localtime(self):
                    return time.localtime(3600)
            otalink.clock.time = Clock()
            await fetch("f")
            """,
        )
        assert lines == [
            f"TransferError {where(server)}: TLS needs the time, and this board's clock is not set: "
            "put a time server under ntp"
        ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "ca: {} cannot be read: put the certificate of who signed the host's on the board"),
        (b"-----BEGIN", "ca: {} is not in DER: convert it with `openssl x509 -in {} -outform DER -out ca.der`"),
        (b"\x30\x03abc", "ca: {} holds no certificate: copy it to the board again"),
    ],
)
def test_a_ca_that_is_none_is_said(run, authority, context, content, said):
    authority.path.unlink()
    if content is not None:
        authority.path.write_bytes(content)
    with TlsServer(context) as server:
        lines = run(server, "await fetch('f')")
        assert lines == [f"TransferError {where(server)}: {said.replace('{}', str(authority.path))}"]


def test_replies_of_many_lines_come_in_one_record(run, context):
    welcome = "230-" + "\r\n".join(f"welcome {n}" for n in range(60)) + "\r\n230 done"
    with TlsServer(context, {"f": CONTENT}, PASS=welcome) as server:
        assert run(server, "await fetch('f')", timeout=2) == ["gave 10240"]


def test_a_server_that_goes_over_to_plain_text_later_is_an_error_and_the_session_is_dropped(run, context):
    def plain(session, argument):
        session.plain.sendall(b"421 shutting down\r\n")
        session.wait_gone()

    with TlsServer(context, {"f": CONTENT}, NOOP=[plain, None]) as server:
        lines = run(server, "await attempt(client.noop())\nprint(sockets())\nawait fetch('f')")
        assert lines == [
            f"TransferError {where(server)}: the host answers without TLS: is this the right port?",
            "0",
            "gave 10240",
        ]
        assert server.verbs(1)[0] == "AUTH"


# Data


@pytest.mark.parametrize("verb", ["RETR", "NLST"])
@pytest.mark.parametrize("reply", ["522 session reuse required", "425 unable to build data connection"])
def test_a_server_that_demands_session_resumption_is_said_with_what_to_do(run, context, verb, reply):
    def refuse(session, argument):
        session.begin().close()  # the handshake has been, and nothing comes
        session.say(reply)

    with TlsServer(context, {"f": CONTENT}, **{verb: refuse}) as server:
        lines = run(server, "await fetch('f')" if verb == "RETR" else "await attempt(client.nlst())")
        command = "RETR f" if verb == "RETR" else "NLST"
        assert lines == [f"FtpError {reply[:3]} {where(server)} refused {command}: {reply}{RESUMPTION}"]


def test_with_data_in_the_clear_such_a_refusal_is_another_ones(run, context):
    with TlsServer(context, {"f": CONTENT}, RETR="425 no data connection") as server:
        assert run(server, "await fetch('f')", data="clear") == [
            f"FtpError 425 {where(server)} refused RETR f: 425 no data connection"
        ]


def never_ending(content, before=0, after=b""):
    """Data that has no end: neither close_notify nor FIN; `after` comes behind the 226."""

    def send(session, argument):
        data = session.begin()
        data.sendall(content[before:])
        session.say("226 done")
        if after:
            time.sleep(0.2)
            data.sendall(after)
        session.held = data

    return send


def test_a_file_ends_at_its_length_where_the_server_ends_nothing(run, context):
    with TlsServer(context, {"f": CONTENT}, RETR=never_ending(CONTENT)) as server:
        body = """
        began = time.ticks_ms()
        await fetch("f")
        print(len(got), time.ticks_diff(time.ticks_ms(), began) < 5000)
        await fetch("f")
        """
        assert run(server, body, stall=5) == ["gave 10240", "10240 True", "gave 10240"]
        assert server.sessions == 1


def test_a_listing_ends_behind_its_226_where_the_server_ends_nothing(run, context):
    with TlsServer(context, NLST=never_ending(b"a\r\nb\r\n", after=b"c\r\n")) as server:
        assert run(server, "print(await client.nlst())\nprint(await client.nlst())", stall=5) == ["['a', 'b', 'c']"] * 2
        assert server.sessions == 1


def test_a_file_whose_length_nobody_knows_ends_behind_its_226(run, context):
    with TlsServer(context, SIZE="502 no", RETR=never_ending(CONTENT)) as server:
        assert run(server, "await fetch('f')\nprint(len(got))", stall=5) == ["gave 10240", "10240"]


def test_an_empty_file_comes(run, context):
    with TlsServer(context, {"f": b""}) as server:
        assert run(server, "await fetch('f')\nawait fetch('f', 0, 0)") == ["gave 0"] * 2
        assert server.sessions == 1


def test_an_end_by_close_notify_is_one(run, context):
    def retr(session, argument):
        data = session.begin()
        data.sendall(CONTENT)
        with contextlib.suppress(OSError):
            data.unwrap()  # which waits for the client's
        data.close()
        session.say("226 done")

    with TlsServer(context, {"f": CONTENT}, RETR=retr) as server:
        assert run(server, "await fetch('f')\nawait fetch('f')") == ["gave 10240"] * 2


@pytest.mark.parametrize("command", ["client.nlst()", "client.retrieve('f', buffer, got.extend)"])
def test_an_end_that_comes_in_one_piece_with_the_data_is_one(run, context, command):
    def send(session, argument):
        data = session.begin()
        data.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # until close_notify is there too
        data.sendall(b"a\r\nb\r\n")
        with contextlib.suppress(OSError):
            data.unwrap()  # it waits for the client's, as vsftpd does, before it says 226
        data.close()
        session.say("226 done")

    with TlsServer(context, SIZE="502 no", RETR=send, NLST=send) as server:
        lines = run(server, f"await attempt({command})\nawait attempt({command})", stall=3)
        assert lines == ["gave ['a', 'b']" if "nlst" in command else "gave 6"] * 2
        assert server.sessions == 1


def test_data_that_is_cut_off_without_close_notify_is_an_error(run, context):
    def retr(session, argument):
        with session.begin() as data:
            data.sendall(CONTENT[:5000])
        session.say("226 done")

    with TlsServer(context, {"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run(server, "await fetch('f')\nprint(sockets())\nawait fetch('f', 5000)")
        assert lines == [
            f"TransferError {where(server)}: f ended after 5000 of 10240 bytes although the server says it is whole",
            "0",
            "gave 5240",
        ]


def test_more_than_was_promised_is_an_error(run, context):
    with TlsServer(context, {"f": CONTENT}, SIZE="213 10000") as server:
        lines = run(server, "await fetch('f')\nprint(len(got) <= 10000)")
        assert "f is longer than the 10000 bytes it promised" in lines[0]
        assert lines[1] == "True"


def test_data_in_the_clear_on_a_private_connection_is_an_error(run, context):
    def retr(session, argument):
        session.say("150 here it comes")
        with session.accept_plain() as data:
            data.sendall(CONTENT)
        session.say("226 done")

    with TlsServer(context, {"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run(server, "await fetch('f')\nprint(sockets(), len(got))\nawait fetch('f')")
        assert lines == [
            f"TransferError {where(server)}: the host answers without TLS: is this the right port?",
            "0 0",
            "gave 10240",
        ]


def test_a_refusal_in_the_clear_on_a_private_connection_is_said_as_the_server_says_it(run, context):
    def retr(session, argument):
        session.say("150 here it comes")
        with session.accept_plain() as data:
            data.sendall(b"522 session reuse required\r\n")
        session.say("522 session reuse required")

    with TlsServer(context, {"f": CONTENT}, RETR=retr) as server:
        assert run(server, "await fetch('f')") == [
            f"FtpError 522 {where(server)} refused RETR f: 522 session reuse required{RESUMPTION}"
        ]


def test_data_from_somebody_else_is_refused(run, context, tmp_path):
    theirs = Authority(tmp_path, "theirs").context(tmp_path, "ftp.test")

    def retr(session, argument):
        session.data_context = theirs
        session.say("150 here it comes")
        with contextlib.suppress(OSError):
            session.accept()
        session.data_context = None
        session.say("226 done")

    with TlsServer(context, {"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run(server, "await fetch('f')\nprint(sockets(), len(got))\nawait fetch('f')")
        said = REFUSED.format("The certificate is not correctly signed by the trusted CA")
        assert lines == [f"TransferError {where(server)}: {said}", "0 0", "gave 10240"]


def test_data_that_stalls_is_given_up(run, context):
    def retr(session, argument):
        session.held = session.begin()
        session.held.sendall(CONTENT[:100])

    with TlsServer(context, {"f": CONTENT}, RETR=[retr, None]) as server:
        lines = run(server, "await fetch('f')\nprint(len(got), sockets())\nawait fetch('f')", stall=0.3)
        assert lines[0] == f"TransferError {where(server)}: nothing came for 0.3 s: is the network up?"
        assert lines[1:] == ["100 0", "gave 10240"]


def test_a_transfer_goes_on_where_it_was(run, context):
    with TlsServer(context, {"f": CONTENT}) as server:
        body = f"await fetch('f', 4000)\nprint(got == {CONTENT!r}[4000:])"
        assert run(server, body) == ["gave 6240", "True"]
        assert "REST 4000" in server.lines()


def test_a_sink_that_has_enough_keeps_its_session(run, context):
    def retr(session, argument):
        data = session.begin()
        try:
            for _ in range(1000):
                data.sendall(CONTENT)
        except OSError:
            pass
        data.close()
        session.say("426 broken off")

    with TlsServer(context, {"f": CONTENT}, RETR=[retr, None]) as server:
        body = """
        def first(view):
            got.extend(view)
            return len(got) > 5000
        await attempt(client.retrieve("f", buffer, first))
        await fetch("f")
        """
        lines = run(server, body)
        assert lines[0].startswith("gave ")
        assert lines[1] == "gave 10240"
        assert server.sessions == 1


@pytest.mark.parametrize("size", [1, 10_240, 300_000])
def test_a_file_is_stored(run, context, size):
    def stor(session, argument):
        with session.begin() as data:
            session.server.files[argument] = drain(data, 1000, 0.0002)
        session.say("226 done")

    with TlsServer(context, STOR=stor) as server:
        body = f"import io\nawait attempt(client.store('f', io.BytesIO(bytes({size})), buffer))"
        assert run(server, body, heap="2m") == [f"gave {size}"]
        assert server.files["f"] == bytes(size)
        assert server.sessions == 1


def test_a_file_without_bytes_is_not_stored_and_the_session_begins_anew(run, context):
    with TlsServer(context) as server:
        body = """
        import io
        await attempt(client.store("f", io.BytesIO(b""), buffer))
        print(sockets())
        await attempt(client.store("f", io.BytesIO(b"content"), buffer))
        """
        assert run(server, body) == [
            "ValueError f has no bytes, and without any MicroPython begins no TLS: it cannot be stored",
            "0",
            "gave 7",
        ]


def test_memory_that_tls_itself_lacks_is_said(run, context, tmp_path):
    def limit(session, argument):
        # From now on the board's process gets no more memory than it has.
        pid = int((tmp_path / "pid").read_text())
        size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        before = resource.prlimit(pid, resource.RLIMIT_AS)
        resource.prlimit(pid, resource.RLIMIT_AS, (size, before[1]))
        server.answers["NOOP"] = [lambda session, _: lift(session, pid, before)]
        session.say("200 fine")

    def lift(session, pid, before):
        resource.prlimit(pid, resource.RLIMIT_AS, before)
        session.say("200 fine")

    with TlsServer(context, {"f": CONTENT}, NOOP=limit) as server:
        body = """
        import socket
        with open("pid", "w") as file:
            file.write(open("/proc/self/stat").read().split()[0])
        await attempt(client.noop())
        others = []
        try:
            while True:
                others.append(socket.socket())
                secured = client.tls[-1].wrap_socket(others[-1], server_hostname="x", do_handshake_on_connect=False)
                others.append(secured)
        except OSError as error:
            print(error.errno == errno.ENOMEM)
        await fetch("f")
        for other in others:
            other.close()
        await fetch("f")
        await attempt(client.noop())
        """
        lines = run(server, body)
        assert lines == [
            "gave None",
            "True",
            f'TransferError {where(server)}: not enough memory for TLS: free some, or set "data" under tls to '
            '"clear", which takes one connection less',
            "gave 10240",
            "gave None",
        ]


def test_the_application_goes_on_meanwhile(run, context):
    with TlsServer(context, {"f": CONTENT * 200}) as server:
        body = """
        count = 0
        async def tick():
            nonlocal count
            while True:
                await asyncio.sleep_ms(1)
                count += 1
        ticker = asyncio.create_task(tick())
        await fetch("f", sink=lambda view: None)
        ticker.cancel()
        print(count > 5)
        """
        assert run(server, body) == [f"gave {len(CONTENT) * 200}", "True"]


def test_moving_data_allocates_next_to_nothing(run, context):
    with TlsServer(context, {"f": bytes(1 << 20)}) as server:
        body = """
        gc.collect()
        gc.disable()
        before = after = None
        def sink(view):
            nonlocal before, after
            after = gc.mem_alloc()
            if before is None:
                before = after
        await fetch("f", sink=sink)
        gc.enable()
        print(after - before < 65536, after - before)
        """
        lines = run(server, body, heap="4m")
        assert lines[0] == f"gave {1 << 20}"
        assert lines[1].startswith("True"), lines
