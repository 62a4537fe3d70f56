"""How a link is set up: its options, the settings, and TLS."""

import time

import pytest
from certificates import Authority
from link_support import Host, deaf, deliver, say, unused_port
from time_server import TimeServer, answer

NOWHERE = ("127.0.0.1", 9)

OPTIONS = [
    ("host=''", "host must be the host's name or address, not ''"),
    ("host=None", "host must be the host's name or address, not None"),
    ("host='a b'", "host must be the host's name or address, not 'a b'"),
    ("port=0", "port must be a number from 1 to 65535, not 0"),
    ("port='3377'", "port must be a number from 1 to 65535, not '3377'"),
    ("profile='utf-16'", "profile must be utf-16-le or utf-8, not 'utf-16'"),
    ("limit=199", "limit must be a number from 200 to 99999, not 199"),
    ("limit=100000", "limit must be a number from 200 to 99999, not 100000"),
    ("queue=0", "queue must be a number from 1 to 1000, not 0"),
    ("queue=True", "queue must be a number from 1 to 1000, not True"),
    ("heartbeat=-1", "heartbeat must be a number from 0 to 86400, not -1"),
    ("heartbeat=None", "heartbeat must be a number from 0 to 86400, not None"),
    ("heartbeat=5, deadline=5", "deadline must be above heartbeat, which is 5"),
    ("timeout=0", "timeout must be a number from 0.1 to 600, not 0"),
    ("strict=1", "strict must be true or false, not 1"),
    ("file=5", "file must be text, not 5"),
    ("retry=(2, 1)", "retry must be two numbers from 0.01 to 3600, the smaller one first, not (2, 1)"),
    ("retry=1", "retry must be two numbers from 0.01 to 3600, the smaller one first, not 1"),
    ("zeal=1", "there is no option zeal of a link"),
    ("ca='ca.der'", "ca and server_name belong together: the one who signed, and the name in the certificate"),
    ("server_name='x'", "ca and server_name belong together: the one who signed, and the name in the certificate"),
    (
        "ca='no.der', server_name='x'",
        "ca: no.der cannot be read: put the certificate of who signed the host's on the board",
    ),
    (
        "ca='script.py', server_name='x'",
        "ca: script.py is not in DER: convert it with `openssl x509 -in script.py -outform DER -out ca.der`",
    ),
]


def test_an_option_that_cannot_be_is_named_with_what_it_may_be(run_link):
    body = "\n".join(f"attempt(make, {arguments})" for arguments, _ in OPTIONS)
    assert run_link(NOWHERE, body) == [f"ValueError {message}" for _, message in OPTIONS]


def test_a_link_is_made_as_the_settings_have_it(run_link):
    with Host(say("hi")) as host:
        settings = {
            "name": "app",
            "link": {
                "host": host.host,
                "port": host.port,
                "profile": "utf-16-le",
                "limit": 400,
                "heartbeat": 30,
                "retry": [0.1, 1],
                "secret": "not the link's affair",
                "board": "press 3",
            },
        }
        lines = run_link(
            host,
            f"""
            with open("settings.json", "w") as file:
                json.dump({settings!r}, file)
            for settings in ("settings.json", {settings!r}):
                link = otalink.Link.from_config(settings, message=None, queue=2)
                asyncio.create_task(link.run())
                print(await link.receive())
                attempt(link.send_nowait, "x" * 401)
                await link.close()
            """,
        )
    assert lines == ["hi", "ValueError the text has 401 characters, and this link takes 400: send it in parts"] * 2


SETTINGS = [
    (None, "s.json cannot be read: put it on the board (docs/tutorial.md has an example)"),
    ("{", "s.json is no JSON: check its commas, quotes and braces"),
    ("[]", 's.json: link must be an object, as in {"link": {"host": "192.168.0.10"}}'),
    ('{"link": 5}', 's.json: link must be an object, as in {"link": {"host": "192.168.0.10"}}'),
    ('{"link": {}}', "s.json: link: host must be the host's name or address, not None"),
    ('{"link": {"host": "h", "port": "1"}}', "s.json: link: port must be a number from 1 to 65535, not '1'"),
    ('{"link": {"host": "h", "limit": 5}}', "s.json: link: limit must be a number from 200 to 99999, not 5"),
    ('{"link": {"host": "h", "zeal": 5}}', "s.json: link: there is no option zeal of a link"),
]


def test_settings_that_cannot_be_are_named(run_link):
    body = []
    for text, _ in SETTINGS:
        if text is not None:
            body.append(f"with open('s.json', 'w') as file:\n    file.write({text!r})")
        body.append("attempt(otalink.Link.from_config, 's.json')")
    assert run_link(NOWHERE, "\n".join(body)) == [f"ValueError {message}" for _, message in SETTINGS]


# TLS


def test_a_link_over_tls_carries_the_same_and_is_made_again(run_link, authority, tmp_path):
    def once(session):
        session.deliver(session.receive())
        session.send("first")
        session.deliver(session.receive())
        session.deliver(session.receive())

    with Host(once, deliver, tls=authority.context(tmp_path, "host.test")) as host:
        lines = run_link(
            host,
            f"""
            link = start(ca={str(authority.path)!r}, server_name="host.test")
            await link.send("plain " + "x" * 1400)
            print(await link.receive())
            for number in range(300):
                await link.send(str(number) + " " + "y" * 1000, keep=True)
            print(await link.flush(20), link.counts["connections"])
            await link.close()
            """,
        )
    assert lines[:2] == [f"SAID connected to 127.0.0.1:{host.port}", "first"]
    assert lines[-1] == "True 2"
    assert host.texts == ["plain " + "x" * 1400]
    assert [int(text.split()[0]) for text in host.delivered] == list(range(300))
    assert host.own == [("ping", {})] * 2


REFUSED = "the host's certificate is refused: {}: check ca, server_name and this board's clock"


@pytest.mark.parametrize(
    ("name", "days", "other", "said"),
    [
        ("host.test", 1, True, REFUSED.format("The certificate is not correctly signed by the trusted CA")),
        (
            "other.test",
            1,
            False,
            REFUSED.format("The certificate Common Name (CN) does not match with the expected CN"),
        ),
        ("host.test", -1, False, REFUSED.format("The certificate validity has expired")),
    ],
)
def test_a_host_that_does_not_prove_who_it_is_gets_nothing(run_link, authority, tmp_path, name, days, other, said):
    signer = Authority(tmp_path, "theirs") if other else authority
    with Host(tls=signer.context(tmp_path, "host.test", days)) as host:
        lines = run_link(
            host,
            f"""
            link = start(ca={str(authority.path)!r}, server_name={name!r})
            await link.send("secret")
            await asyncio.sleep(0.5)
            print(link.connected.is_set(), link.counts["out"])
            await link.close()
            """,
        )
    assert lines == [f"SAID {said}", "False 0"]
    assert host.texts == []


def test_a_host_without_tls_is_said_and_gets_nothing(run_link, authority):
    with Host(say("hello " * 20)) as host:
        lines = run_link(
            host,
            f"""
            link = start(ca={str(authority.path)!r}, server_name="host.test")
            await link.send("secret")
            await asyncio.sleep(0.5)
            print(link.connected.is_set(), link.counts["out"])
            await link.close()
            """,
        )
    assert lines == ["SAID the host answers without TLS: is this the right port?", "False 0"]
    assert host.texts == []


def test_a_handshake_that_goes_on_for_ever_is_given_up(run_link, authority):
    with Host(deaf) as host:
        lines = run_link(
            host,
            f"""
            link = start(ca={str(authority.path)!r}, server_name="host.test", timeout=0.3)
            await asyncio.sleep(1)
            await link.close()
            """,
        )
        assert len(host.sessions) >= 2
    assert lines == [
        f"SAID cannot reach 127.0.0.1:{host.port} over TLS (no answer): is this the port of a host that speaks TLS?"
    ]


def test_a_clock_that_is_not_set_is_said(run_link, authority):
    with Host() as host:
        lines = run_link(
            host,
            f"""
            import otalink.clock
            class Clock:
                def __getattr__(self, name):
                    return getattr(time, name)
                def localtime(self):
                    return time.localtime(3600)
            otalink.clock.time = Clock()
            link = start(ca={str(authority.path)!r}, server_name="host.test", ntp=None)
            await asyncio.sleep(0.3)
            await link.close()
            """,
        )
    assert lines == ["SAID TLS needs the time, and this board's clock is not set: put a time server under ntp"]


def test_links_and_updates_ask_the_same_time_server(on_board):
    code = """
import otalink.config, otalink.link_setup
link, _ = otalink.link_setup.load({"link": {"host": "h"}})
print(link["ntp"] == otalink.config.NTP == otalink.config.configure({"name": "app", "host": "h"}).ntp)
"""
    assert on_board(code).lines == ["True"]


def test_a_clock_that_is_not_set_is_set_by_the_time_server_of_the_settings(run_link, authority, tmp_path):
    def reply(request):
        return answer(request, int(time.time()))

    with Host(tls=authority.context(tmp_path, "host.test")) as host, TimeServer(reply) as server:
        lines = run_link(
            host,
            f"""
            import otalink.board_clock, otalink.clock
            otalink.board_clock.PORT = {server.port}
            class Clock:
                year = 2000
                def localtime(self):
                    return (self.year,)
            class RTC:
                def datetime(self, fields):
                    Clock.year = fields[0]
            sys.modules["machine"] = type("machine", (), {{"RTC": RTC}})
            otalink.clock.time = Clock()
            settings = {{"host": host, "port": port, "ca": {str(authority.path)!r}, "server_name": "host.test"}}
            link = otalink.Link.from_config({{"ntp": "127.0.0.1", "link": settings}}, message=say)
            asyncio.create_task(link.run())
            await link.connected.wait()
            await link.close()
            """,
        )
    assert lines == [f"SAID connected to 127.0.0.1:{host.port}"]
    assert len(server.requests) == 1


def test_a_plain_link_to_a_host_that_speaks_tls_only_goes_on_trying(run_link, authority, tmp_path):
    with Host(tls=authority.context(tmp_path, "host.test")) as host:
        lines = run_link(
            host,
            """
            link = start()
            await link.send("text", keep=True)
            await until(lambda: link.counts["connections"] > 2)
            await link.close(0)
            """,
        )
    assert lines[0] == f"SAID connected to 127.0.0.1:{host.port}"
    assert len(set(lines)) <= 3
    assert host.delivered == []


def test_an_address_with_nobody_at_it_is_no_error_of_the_constructor(run_link):
    assert run_link(("127.0.0.1", unused_port()), "make(); print(json.dumps(1))") == ["1"]
