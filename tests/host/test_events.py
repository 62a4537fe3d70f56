"""What happens on the server, as the audit log has it, and no password is in it."""

import ftplib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otalink_host.audit import KEYS, AuditLog
from otalink_host.counters import Counters
from otalink_host.errors import UserError
from otalink_host.events import Events
from otalink_host.flood import Flood
from otalink_host.server import FtpServer

PASSWORD = "correct-horse-battery"


def records(folder: Path) -> list[dict[str, Any]]:
    """What was recorded, without the chain and the times."""
    text = "".join(path.read_text() for path in sorted(folder.glob("*.jsonl")))
    return [
        {key: value for key, value in json.loads(line).items() if key in ("event", *KEYS)} for line in text.splitlines()
    ]


def test_the_audit_log_hears_who_did_what_and_what_became_of_it(
    serve: Callable[..., FtpServer], connect: Any, tmp_path: Path
) -> None:
    server = serve(sessions_per_account=1)
    with AuditLog(tmp_path / "audit", bytes(32), known=server.knows) as log:
        server.events.audit = log
        client = connect(server)
        client.fetch("lib/sensor.py")
        for user, password in (("board", "hunter2"), ("hunter3", "hunter2")):
            with pytest.raises(ftplib.error_perm):
                connect(server, None).login(user, password)
        with pytest.raises(ftplib.error_temp):
            connect(server)
        client.quit()
        # The reply to QUIT comes ahead of the end.
        connect(server, None)
        server.events.audit = None
    here = {"address": "127.0.0.1"}
    wrong = {"event": "login_failed", "outcome": "refused", "detail": "no such account, or a wrong password", **here}
    found = records(tmp_path / "audit")
    unknown = found[3].pop("account")
    full = "board at 127.0.0.1 refused: it has its 1 sessions already"
    assert found == [
        {"event": "login", "outcome": "ok", "account": "board", **here},
        {"event": "fetch", "outcome": "ok", "account": "board", "path": "/lib/sensor.py", "bytes": 7000, **here},
        {**wrong, "account": "board"},
        wrong,
        {"event": "refused", "outcome": "refused", "detail": full, **here},
        {"event": "logout", "outcome": "ok", "account": "board", **here},
    ]
    assert unknown.startswith("?")
    assert "hunter" not in str(found)


def test_an_audit_log_that_cannot_be_written_is_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(event: Any) -> None:
        raise UserError("the disk is full: make room")

    events = Events(Counters())
    with AuditLog(tmp_path / "audit", bytes(32), known=lambda name: True) as log:
        monkeypatch.setattr(log, "append", full)
        events.audit = log
        events.told("login", "board logged in", account="board", tls=True)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "the disk is full: make room"
    ]
    assert events.counters.total("errors") == 1


def test_who_is_refused_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    events = Events(Counters())
    events._flood = Flood(most=3, seconds=0.0)
    with AuditLog(tmp_path / "audit", bytes(32), known=lambda name: True) as log:
        events.audit = log
        for number in range(1000):
            # With IPv6 one host has many addresses.
            events.warn("login_failed", "refused", address=f"2001:db8::{number:x}", outcome="refused")
        events.warn("login_failed", "refused", address="192.0.2.7", outcome="refused")
        events.told("login", "board logged in", address="2001:db8::1", account="board")
        events.tick()
        events.warn("login_failed", "refused", address="2001:db8::1", outcome="refused")
    told = [(record["event"], record.get("detail", record.get("address"))) for record in records(tmp_path / "audit")]
    assert told == [
        *[("login_failed", f"2001:db8::{number}") for number in range(3)],
        ("login_failed", "192.0.2.7"),
        ("login", "2001:db8::1"),
        ("left_out", "997 more refusals of 2001:db8::/64 were not recorded"),
        ("login_failed", "2001:db8::1"),
    ]
    assert events.counters.total("logins_failed") == 1002


def test_the_memory_of_a_flood_is_bounded_and_ends() -> None:
    flood = Flood(most=1, seconds=10, sources=2)
    assert [flood.passes(source, 0) for source in ("a", "a", "b", "c", "c", "a")] == [
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    assert flood.over(9) == []
    assert flood.over(10) == [("a", 2)]
    assert [flood.passes(source, 10) for source in ("c", "c")] == [True, False]
