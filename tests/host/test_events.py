"""What happens on the server, as those hear it who record it, and nobody hears a password."""

import ftplib
from collections.abc import Callable
from typing import Any

import pytest

from otalink_host.counters import Counters
from otalink_host.errors import UserError
from otalink_host.events import RECORDED, Events
from otalink_host.server import FtpServer

PASSWORD = "correct-horse-battery"


def test_who_records_events_hears_who_did_what_and_what_became_of_it(
    serve: Callable[..., FtpServer], connect: Any
) -> None:
    server = serve(sessions_per_account=1)
    heard: list[Any] = []
    server.events.sinks.append(heard.append)
    client = connect(server)
    client.fetch("lib/sensor.py")
    with pytest.raises(ftplib.error_perm):
        connect(server, None).login("board", "hunter2")
    with pytest.raises(ftplib.error_temp):
        connect(server)
    client.quit()
    # The reply to QUIT comes ahead of the end.
    connect(server, None)
    here = {"address": "127.0.0.1"}
    full = "board at 127.0.0.1 refused: it has its 1 sessions already"
    assert heard == [
        {"event": "login", "account": "board", **here},
        {"event": "fetch", "outcome": "ok", "account": "board", "path": "/lib/sensor.py", "bytes": 7000, **here},
        {"event": "login_failed", "outcome": "refused", "account": "board", **here},
        {"event": "refused", "outcome": "refused", "detail": full, **here},
        {"event": "logout", "account": "board", **here},
    ]
    assert all(set(each) <= {"event", *RECORDED} for each in heard)


def test_who_records_and_cannot_is_a_line_in_the_log_and_the_others_hear(caplog: pytest.LogCaptureFixture) -> None:
    def full(event: Any) -> None:
        raise UserError("the disk is full: make room")

    heard: list[Any] = []
    events = Events(Counters())
    events.sinks += [full, heard.append]
    events.told("login", "board logged in", account="board", tls=True)
    assert heard == [{"event": "login", "account": "board"}]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "the disk is full: make room"
    ]
