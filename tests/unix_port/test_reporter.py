"""What a board says of itself over a link, and whom it obeys (docs/link.md)."""

import json
import textwrap

import pytest
from link_support import Host, deliver, script
from updater_support import Server, publish

from otalink.record import format_header
from otalink.secret import is_proven, prove_ask, prove_board
from otalink.version import parse_version

SECRET = "a-secret-of-the-tests"
BOARD = "shop-1"
# A log of the boot guard, as docs/update.md has it.
LOG = """went back from thermostat 1.0.0.2
on trial: thermostat 1.0.0.4
ValueError: a fault of this release
boot 1 of the trial of thermostat 1.0.0.4
ValueError: a fault of this release
thermostat 1.0.0.4 was not confirmed: going back
went back from thermostat 1.0.0.4
"""
PLAN = "otalink-plan 1\nname thermostat\nversion {version}\ndeadline 600\nend\n"

START = """
import sys
restarts = []
class machine:
    reset = lambda: restarts.append("reset")
    unique_id = lambda: b"\\x01\\xab"
sys.modules["machine"] = machine
settings = {settings!r}
settings["link"]["port"] = port
updater = otalink.Updater(settings, message=None, root="board")
link = make()
reporter = otalink.Reporter(link, updater, settings)
asyncio.create_task(link.run())
"""


@pytest.fixture
def run(on_board, tmp_path):
    """Runs a board that reports itself to `host`; `body` comes behind its start. Gives the lines that it printed.

    No FTP server is where the settings say: each check fails.
    """

    def run(host, body, *, secret=SECRET, board=BOARD, **settings):
        link = {"host": host.host, "secret": secret, "board": board}
        link = {key: value for key, value in link.items() if value is not None}
        values = {"name": "thermostat", "host": "127.0.0.1", "port": 1, "attempts": 1, "link": link, **settings}
        body = START.format(settings=values) + textwrap.dedent(body) + "\nawait link.close()\n"
        return on_board(script(host.address, body)).lines

    (tmp_path / "board" / ".otalink").mkdir(parents=True)
    return run


@pytest.fixture
def installed(tmp_path):
    """Puts the record of an installed release, and of an update's state, on the board."""

    def put(version, state=None, of=None, log=""):
        folder = tmp_path / "board" / ".otalink"
        record = format_header("thermostat", parse_version(version), [])
        (folder / "installed").write_bytes(b"".join(record))
        if state is not None:
            (folder / state).write_text(PLAN.format(version=of or version))
        (folder / "log").write_text(log)

    return put


def conversation(*steps, welcome="c0ffee"):
    """A host that welcomes the board, then takes the steps: each gets the session and the hello, and may say something;
    the next one comes when an answer did."""

    def serve(session):
        hello = None
        waiting = list(steps)
        while (message := receive(session)) is not None:
            kind, fields = message
            is_first = kind == "hello" and hello is None
            if is_first:
                hello = fields
                session.say("welcome", challenge=welcome)
            if is_first or kind == "answer":
                if not waiting:
                    return
                waiting.pop(0)(session, hello)

    return serve


def receive(session):
    """The next of otalink's own messages; those that are kept are acknowledged."""
    while True:
        text = session.receive()
        if text is None:
            return None
        before = len(session.host.own)
        session.deliver(text)
        if len(session.host.own) > before:
            return session.host.own[-1]


def ask(what, number, *, secret=SECRET, board=BOARD, mac=None, challenge=None):
    def step(session, hello):
        proof = mac or prove_ask(secret, board, challenge or hello["challenge"], number, what)
        session.say("ask", id=number, what=what, mac=proof)

    return step


def answers(host):
    return [(fields["id"], fields["done"], fields["text"]) for kind, fields in host.own if kind == "answer"]


def hellos(host):
    return [fields for kind, fields in host.own if kind == "hello"]


WAIT = "await until(lambda: link.connections == 2)"


def test_a_board_says_what_it_is_and_what_it_runs(run, installed):
    installed("1.0.0.2", "confirmed")
    with Host(conversation(ask("report", 1)), deliver) as host:
        run(host, WAIT)
    first = hellos(host)[0]
    challenge = first.pop("challenge")
    assert len(challenge) == 32
    assert set(challenge) <= set("0123456789abcdef")
    assert first == {
        "board": BOARD,
        "name": "thermostat",
        "version": "1.0.0.2",
        "state": "confirmed",
        "failed": None,
        "reason": None,
        "platform": "unix",
        "otalink_version": "0.1.0",
    }


def test_a_board_says_that_a_release_is_on_trial(run, installed):
    installed("1.0.0.4", "trial-1")
    with Host(conversation(ask("report", 1)), deliver) as host:
        run(host, WAIT)
    assert hellos(host)[0]["state"] == "trial"


def test_a_board_says_from_what_it_went_back_and_why(run, installed):
    installed("1.0.0.3", "reverted", of="1.0.0.4", log=LOG)
    with Host(conversation(ask("report", 1)), deliver) as host:
        run(host, WAIT)
    found = hellos(host)[0]
    assert (found["state"], found["version"], found["failed"]) == ("reverted", "1.0.0.3", "1.0.0.4")
    assert found["reason"] == "ValueError: a fault of this release"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("on trial: thermostat 1.0.0.4\nwent back from thermostat 1.0.0.4\n", "it was asked to"),
        (
            "on trial: thermostat 1.0.0.4\nboot 1 of the trial of thermostat 1.0.0.4\n"
            "thermostat 1.0.0.4 was not confirmed: going back\nwent back from thermostat 1.0.0.4\n",
            "thermostat 1.0.0.4 was not confirmed: going back",
        ),
        (
            "ValueError: of a release before\non trial: thermostat 1.0.0.4\nthermostat 1.0.0.4 was not confirmed in "
            "time\nwent back from thermostat 1.0.0.4\n",
            "thermostat 1.0.0.4 was not confirmed in time",
        ),
        ("", "it was asked to"),
    ],
)
def test_the_reason_of_a_way_back_is_that_of_its_own_trial(run, installed, log, reason):
    installed("1.0.0.3", "reverted", of="1.0.0.4", log=log)
    with Host(conversation(ask("report", 1)), deliver) as host:
        run(host, WAIT)
    assert hellos(host)[0]["reason"] == reason


def test_a_board_without_a_name_is_called_by_its_chip(run):
    with Host(conversation(ask("report", 1, board="01ab")), deliver) as host:
        run(host, WAIT, board=None)
    assert hellos(host)[0]["board"] == "01ab"


def test_a_board_proves_who_it_is_without_saying_its_secret(run):
    with Host(conversation(ask("report", 1), welcome="0123"), deliver) as host:
        run(host, WAIT)
    macs = [fields["mac"] for kind, fields in host.own if kind == "proof"]
    assert macs[0] == prove_board(SECRET, BOARD, "0123", hellos(host)[0]["challenge"])
    assert SECRET.encode() not in host.wire.replace(b"\0", b"")


def test_a_host_with_the_secret_is_obeyed(run):
    with Host(conversation(ask("report", 1), ask("check", 2), ask("restart", 7)), deliver) as host:
        lines = run(host, "await until(lambda: restarts)\nprint(restarts, updater.messages)")
    assert answers(host) == [(1, True, ""), (2, True, ""), (7, True, "")]
    # It said once more who it is, by the same challenge.
    assert len(hellos(host)) >= 2
    assert hellos(host)[0]["challenge"] == hellos(host)[1]["challenge"]
    assert "['reset']" in lines[-1]
    assert "cannot be reached" in lines[-1] or "refused" in lines[-1], "it did check"


RESTARTS = """
import sys
class machine:
    pass
restarts = []
machine.{} = lambda: restarts.append(descriptors() - before)
sys.modules["machine"] = machine
"""
LINKED = """
settings["link"] = {{"host": "127.0.0.1", "port": {port}, "board": "shop-1"}}
link = otalink.Link.from_config(settings, message=None)
updater = make()
otalink.Reporter(link, updater, settings)
before = globals()["before"] = descriptors()
task = asyncio.create_task(link.run())
await link.connected.wait()
await updater.update()
print(restarts, link.connected.is_set())
await link.close()
"""


@pytest.mark.parametrize("kind", ["reset", "soft_reset"])
def test_a_board_that_restarts_into_a_release_has_ended_its_connection(board, tmp_path, kind):
    publish(tmp_path / "served", {"app_1.0.0.1.py": b"VERSION = 1\n"})
    with Server(tmp_path / "served") as server, Host() as host:
        body = LINKED.format(port=host.port)
        lines = board.run(server, body, RESTARTS.format(kind), restart=kind.partition("_")[0])
    # Its socket was closed by then, and what it had to say had come.
    assert lines[-2:] == ["app 1.0.0.1 is committed; restarting", "[0] False"]
    assert [fields["event"] for kind, fields in host.own if kind == "report"][-1] == "applying"


def test_a_board_that_cannot_restart_by_itself_keeps_its_connection(board, tmp_path):
    publish(tmp_path / "served", {"app_1.0.0.1.py": b"VERSION = 1\n"})
    with Server(tmp_path / "served") as server, Host() as host:
        lines = board.run(server, LINKED.format(port=host.port), RESTARTS.format("reset"), restart="soft")
    assert lines[-2:] == ["this board cannot restart by soft: restart it by hand", "[] True"]


def test_a_board_that_restarts_has_ended_its_connection_and_not_its_application(run):
    with Host(conversation(ask("restart", 1), lambda session, hello: session.read_all())) as host:
        lines = run(
            host,
            """
            # The sender waits for room in the end: nothing of the application's is acknowledged.
            before = descriptors()
            machine.reset = lambda: restarts.append((descriptors() - before, list(told)))
            told = []

            async def listen():
                async for text in link:
                    pass
                told.append("received")

            async def send():
                try:
                    while True:
                        await link.send("x", keep=True)
                except ValueError:
                    told.append("sent")

            tasks = [asyncio.create_task(task) for task in (listen(), send())]
            await until(lambda: restarts)
            print(restarts)
            for task in tasks:
                await task
            """,
        )
    assert answers(host) == [(1, True, "")]
    assert lines[-1] == "[(0, [])]"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (ask("restart", 1, secret="another-secret"), "who asks has not this board's secret"),
        (ask("restart", 1, board="shop-2"), "who asks has not this board's secret"),
        (ask("restart", 1, challenge="00" * 16), "who asks has not this board's secret"),
        (ask("restart", 1, mac="0" * 64), "who asks has not this board's secret"),
        (lambda session, hello: session.say("ask", id=1, what="restart"), "who asks has not this board's secret"),
        (lambda session, hello: session.say("ask", what="restart"), "this is no ask"),
        (lambda session, hello: session.say("ask", id=True, what="restart"), "this is no ask"),
        (lambda session, hello: session.say("ask", id=1, what=["restart"]), "this is no ask"),
        (ask("dance", 1), "this board cannot dance"),
    ],
)
def test_nobody_else_is_obeyed(run, step, reason):
    with Host(conversation(step), deliver) as host:
        lines = run(host, WAIT + "\nprint(restarts)")
    assert [(done, text) for _, done, text in answers(host)] == [(False, reason)]
    assert lines[-1] == "[]"


def test_an_ask_that_was_recorded_is_of_no_use_again(run):
    def same(session, hello):
        recorded.append(prove_ask(SECRET, BOARD, hello["challenge"], 3, "report"))
        session.say("ask", id=3, what="report", mac=recorded[0])

    def again(session, hello):
        session.say("ask", id=3, what="report", mac=recorded[0])

    recorded = []
    with Host(conversation(same, again), conversation(again), deliver) as host:
        run(host, "await until(lambda: link.connections == 3)")
    assert answers(host) == [
        (3, True, ""),
        (3, False, "this was asked before"),
        # On the next connection its challenge is another.
        (3, False, "who asks has not this board's secret"),
    ]


def test_a_board_without_a_secret_obeys_nobody_and_proves_nothing(run):
    with Host(conversation(ask("restart", 1, secret="")), deliver) as host:
        lines = run(host, WAIT + "\nprint(restarts)", secret=None)
    assert answers(host) == [(1, False, "this board has no secret, and obeys nobody")]
    assert not [kind for kind, _ in host.own if kind == "proof"]
    assert lines[-1] == "[]"


def test_a_check_that_fails_is_reported_although_the_connection_breaks(run):
    def vanish(session):
        receive(session)

    with Host(vanish, deliver) as host:
        run(host, "await updater.update()\nawait until(lambda: link.counts['kept'] == 0)")
    (report,) = [json.loads(text) for text in host.delivered]
    assert (report["otalink"], report["event"]) == ("report", "failed")
    assert "127.0.0.1:1" in report["reason"]


def test_a_report_that_cannot_be_kept_ends_nothing(run):
    with Host(deliver) as host:
        lines = run(
            host,
            """
            def refuse(text, keep=False):
                raise InstallError("outbox cannot be written (error 28): the flash is full")
            link.send_own = refuse
            print(await updater.update(), updater.messages)
            """,
        )
    assert "the host does not hear of it: outbox cannot be written (error 28): the flash is full" in lines
    assert "False ['FTP server 127.0.0.1:1: connection refused" in lines[-1]


def test_an_event_that_fails_ends_nothing(run):
    with Host(deliver) as host:
        lines = run(host, "updater.event = lambda kind, detail: 1 / 0\nprint(await updater.update(), updater.messages)")
    assert lines[-1].startswith("False ['FTP server 127.0.0.1:1: connection refused")
    assert "event failed: divide by zero" in lines[-1]


def test_an_update_under_way_is_not_begun_twice(run):
    with Host(conversation(ask("check", 1)), deliver) as host:
        run(host, "updater.busy = True\n" + WAIT)
    assert answers(host) == [(1, False, "an update is under way already")]


@pytest.mark.parametrize(
    ("link", "line"),
    [
        ({"board": "", "host": "h"}, "link: board must be text of 1 to 64 characters, such as shop-1"),
        ({"board": "a\nb", "host": "h"}, "link: board must be text of 1 to 64 characters, such as shop-1"),
        ({"board": "b" * 65, "host": "h"}, "link: board must be text of 1 to 64 characters, such as shop-1"),
        ({"board": "b", "host": "h", "secret": 7}, "link: secret must be text of 1 to 128 characters, such as shop-1"),
        ({"host": "h"}, "link: board must be text of 1 to 64 characters, such as shop-1"),
        (None, 'link must be an object, as in {"link": {"host": "192.168.0.10"}}'),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(on_board, link, line):
    settings = {"name": "thermostat", "host": "127.0.0.1", "link": link}
    body = f"settings = {settings!r}\nattempt(otalink.Reporter, make(), otalink.Updater(settings), settings)"
    assert on_board(script(("127.0.0.1", 1), body)).lines == [f"ValueError {line}"]


def test_a_proof_of_a_board_is_no_proof_of_an_ask():
    assert not is_proven(prove_board(SECRET, BOARD, "1", "2"), SECRET, "otalink ask", BOARD, "1", "2")
