"""A board's report to its server, `"report": true`: what is in it, when it comes, and that it harms no update."""

import json
import time
from types import SimpleNamespace

import pytest
from updater_support import PASSWORD, Server, publish

from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings, Tls

ONE = {"app_1.0.0.1.py": b"VERSION = 1\n", "display.py": b"one"}
TWO = {"app_1.0.0.2.py": b"VERSION = 2\n", "display.py": b"two"}
KEYS = ["board", "failed", "messages", "name", "otalink_version", "platform", "reason", "state", "version"]
# One check by `run`, which then waits for the next one.
CHECK = """
import otalink.updater

class Done(Exception):
    pass

async def sleep(seconds):
    if seconds:
        raise Done

otalink.updater._sleep = sleep
try:
    await make().run()
except Done:
    pass
print([name for name in sys.modules if "report" in name])
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "served"
    publish(folder, ONE)
    return folder


@pytest.fixture
def reports(tmp_path):
    return tmp_path / "reports"


def serve(folder, reports, **changes):
    settings = Settings((Account("bob", folder),), passive_ports=None, reports=reports, **changes)
    return BackgroundServer(settings, {"bob": PASSWORD})


def at(server):
    return SimpleNamespace(host="127.0.0.1", port=server.port)


def told(reports):
    """What the board has reported, and forgets it: the next one may come at once."""
    file = reports / "bob.json"
    report = json.loads(file.read_text())
    file.unlink()
    return report


def check(board, server, report=True, body=CHECK, **settings):
    """What a board says of a check; it has loaded nothing for good."""
    *lines, loaded = board.run(server, body, report=report, jitter=0, **settings)
    assert loaded == "[]"
    return lines


def test_a_board_reports_what_it_runs_after_each_check(board, folder, reports):
    with serve(folder, reports) as server:
        lines = check(board, at(server))
        report = told(reports)
        assert sorted(report) == KEYS
        # What was applied runs after the restart.
        assert (report["name"], report["version"], report["platform"]) == ("app", None, "unix")
        assert report["messages"] == lines[-3:]
        assert lines[-1].startswith("app 1.0.0.1 is committed")
        lines = check(board, at(server))
        report = told(reports)
        assert (report["version"], report["state"]) == ("1.0.0.1", "confirmed")
        assert report["messages"] == lines == ["app 1.0.0.1 is the latest version"]
        publish(folder, {"other_1.0.py": b""})
        lines = check(board, at(server))
        report = told(reports)
        assert report["version"] == "1.0.0.1"
        assert report["messages"] == lines
        assert "other" in lines[-1]


def test_a_board_that_went_back_reports_why(board, folder, reports):
    line = 'ValueError: 7 "quoted" größer'
    with serve(folder, reports) as server:
        board.run(at(server))
        plan = "otalink-plan 1\nname app\nversion 1.0.0.2\n"
        log = f"on trial: app 1.0.0.2\n{line}\nwent back from app 1.0.0.2\n"
        board.put({".otalink/reverted": plan.encode(), ".otalink/log": log.encode()})
        check(board, at(server), settle=False)
        report = told(reports)
    assert (report["version"], report["state"], report["failed"]) == ("1.0.0.1", "reverted", "1.0.0.2")
    assert report["reason"] == line


def test_without_the_setting_nothing_is_sent(board, folder, reports):
    with serve(folder, reports) as server:
        check(board, at(server), report=False)
    assert board.installed()[1] == (1, 0, 0, 1)
    assert not reports.exists()


def test_a_server_that_takes_no_report_harms_no_update(board, folder):
    # It lets nobody write.
    with Server(folder) as server:
        lines = check(board, server)
        assert server.count("STOR") == 1
    assert lines[-1].startswith("the report was not sent: FTP server 127.0.0.1:")
    assert "550" in lines[-1]
    assert board.installed()[1] == (1, 0, 0, 1)


def test_a_server_that_is_gone_is_said_once_more_and_no_more(board, folder):
    with Server(folder) as server:
        pass
    lines = check(board, server, attempts=1)
    assert len(lines) == 2
    assert lines[1].startswith("the report was not sent: FTP server 127.0.0.1:")


def test_a_server_that_is_silent_is_left_in_time(board, folder):
    def silent(command, argument):
        if command == "STOR":
            time.sleep(1.5)

    with Server(folder, before=silent) as server:
        lines = check(board, server, timeout=0.5)
    assert lines[-1].startswith("the report was not sent: ")
    assert board.installed()[1] == (1, 0, 0, 1)


def test_an_ordinary_server_has_it_in_the_account_s_folder(board, folder):
    with Server(folder) as server:
        server._handler.authorizer.user_table["bob"].update(perm="elrw")
        check(board, server)
    report = json.loads((folder / "report.json").read_text())
    assert report["name"] == "app"


HOG = """updater = make()
    hog = []
    try:
        while True:
            hog.append(bytearray(512))
    except MemoryError:
        del hog[-60:]
    await updater"""


def test_a_heap_that_is_too_small_is_said_and_the_updater_goes_on(board, folder, reports):
    with serve(folder, reports) as server:
        board.run(at(server))
        lines = check(board, at(server), body=CHECK.replace("await make()", HOG), settle=False)
    # Not even the report passes; what the check said stands.
    assert [line[:40] for line in lines] == ["the memory is too small for the update: "]
    assert not reports.exists()


@pytest.mark.parametrize("data", ["private", "clear"])
def test_a_report_goes_over_tls_too(board, folder, reports, authority, tmp_path, data):
    certificate = authority.certificate(tmp_path, "127.0.0.1")
    certificate.chmod(0o600)
    tls = Tls("required" if data == "private" else "optional", certificate, certificate, authority.path)
    key = {} if data == "private" else {"keys": {"0" * 16: ""}}
    with serve(folder, reports, tls=tls) as server:
        settings = {"tls": {"ca": str(authority.path), "data": data}, **key}
        lines = check(board, at(server), timeout=20, **settings)
        assert not [line for line in lines if "report" in line], lines
    assert told(reports)["name"] == "app"


def test_the_setting_is_true_or_false(board, folder):
    body = "try:\n    make()\nexcept ValueError as error:\n    print(error)"
    nowhere = SimpleNamespace(host="127.0.0.1", port=1)
    assert board.run(nowhere, body, report="yes") == ["report must be true or false, not 'yes'"]


def test_a_report_that_cannot_be_sent_does_not_put_off_what_a_trial_waits_for(board):
    body = CHECK.replace("    if seconds:\n        raise Done", "    print(seconds)\n    raise Done").replace(
        "await make().run()",
        "updater = make()\n    otalink.updater.call = lambda *arguments: 7\n"
        "    updater._job.checked = updater.busy = True\n    await updater.run()",
    )
    assert check(board, SimpleNamespace(host="127.0.0.1", port=1), body=body) == ["7"]
