"""The audit log as a server writes it: what is recorded, how it is kept, and what it makes of faults on the disk."""

import contextlib
import errno
import hashlib
import hmac
import json
import os
import random
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otalink_host import audit, audit_read
from otalink_host.audit import (
    DAY,
    LINE_MAX,
    AuditLog,
    create_audit_key,
    fingerprint,
    head_path,
    load_audit_key,
    open_audit,
)
from otalink_host.audit_read import Filter, Reader, Verified, verify
from otalink_host.errors import UserError
from otalink_host.settings import AuditSettings

KEY = bytes(range(32))
# 2026-01-31T12:00:00Z
NOON = 1_769_860_800.0
FETCH = {"event": "fetch", "account": "board", "address": "192.168.0.55", "path": "/a.py", "bytes": 15}
Open = Callable[..., AuditLog]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def opened(folder: Path) -> Open:
    """Opens the log, at noon by default, and knows the account `board` alone."""

    def open_log(**options: Any) -> AuditLog:
        return AuditLog(folder, KEY, **{"known": lambda name: name == "board", "clock": lambda: NOON, **options})

    return open_log


def records(folder: Path) -> list[dict[str, Any]]:
    return list(Reader(folder, Filter()).records())


def events(folder: Path) -> list[str]:
    return [record["event"] for record in records(folder)]


def verified(folder: Path) -> Verified:
    (found,) = verify(folder, KEY)
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jsonl"))


# What is recorded


def test_a_record_says_who_did_what_when_and_from_where(opened: Open, folder: Path) -> None:
    with opened(clock=lambda: NOON + 0.1234) as log:
        log.append({**FETCH, "outcome": "broken_off", "detail": "it left"})
    (record,) = records(folder)
    del record["mac"]
    assert record == {
        "n": 1,
        "time": "2026-01-31T12:00:00.123Z",
        "event": "fetch",
        "outcome": "broken_off",
        "account": "board",
        "address": "192.168.0.55",
        "path": "/a.py",
        "bytes": 15,
        "detail": "it left",
    }


def test_what_is_not_known_of_an_event_takes_no_place(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append({"event": "start", "account": None, "path": None})
    assert records(folder)[0].keys() == {"n", "time", "event", "outcome", "mac"}


def test_the_chain_is_as_the_documentation_says(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append({"event": "start"})
        log.append(FETCH)
    secret = hmac.digest(KEY, b"otalink audit 1 chain server", hashlib.sha256)
    before = b"0" * 64
    for line in (folder / "server-00000001.jsonl").read_bytes().splitlines():
        body, mac = line[: -len(b',"mac":""}') - 64], line[-66:-2]
        assert hmac.digest(secret, before + body, hashlib.sha256).hex().encode() == mac
        before = mac
    head = json.loads(head_path(folder, "server").read_bytes())
    assert (head["end"]["number"], head["end"]["mac"]) == (2, before.decode())


def test_a_name_that_no_account_has_may_be_a_password_and_is_not_recorded(opened: Open, folder: Path) -> None:
    typed = ["correct horse", "hunter2", "hunter2", "пароль", "../board", ""]
    with opened() as log:
        for name in typed:
            log.append({"event": "login_failed", "outcome": "refused", "account": name})
        log.append({"event": "login_failed", "outcome": "refused", "account": "board"})
    *unknown, known = [record["account"] for record in records(folder)]
    assert known == "board"
    assert unknown == [fingerprint(KEY, name) for name in typed]
    assert unknown[1] == unknown[2] != unknown[0]
    assert fingerprint(bytes(32), "hunter2") != unknown[1]
    content = (folder / "server-00000001.jsonl").read_text()
    assert not any(name in content for name in ("horse", "hunter2", "парол", "\\u043f"))


def test_a_path_is_the_clients_and_leads_nowhere_else(opened: Open, folder: Path) -> None:
    with opened() as log:
        for path in ("//lib//a.py", "../../etc/passwd", "/a\n{\x1b[2J", "/\udcff"):
            log.append({"event": "refuse", "path": path})
    assert [record["path"] for record in records(folder)] == ["/lib/a.py", "/etc/passwd", "/a\n{\x1b[2J", "/\udcff"]
    lines = (folder / "server-00000001.jsonl").read_bytes().splitlines()
    assert len(lines) == 4
    assert all(0x20 <= byte < 0x7F for line in lines for byte in line)


def test_the_longest_record_is_one_that_is_read(opened: Open, folder: Path) -> None:
    long = "\U0001f600" * 10_000
    with opened() as log:
        log.append(
            {
                "event": "e" * 32,
                "outcome": "o" * 32,
                "account": long,
                "address": long,
                "path": long,
                "detail": long,
                "bytes": 2**63,
            }
        )
    assert len((folder / "server-00000001.jsonl").read_bytes()) < LINE_MAX
    assert verified(folder).records == 1
    assert records(folder)[0]["path"].endswith("…")


@pytest.mark.parametrize(
    "event",
    [
        {"event": "two words"},
        {"event": ""},
        {"event": 3},
        {"event": "fetch", "outcome": "a\n"},
        {"event": "fetch", "bytes": -1},
        {"event": "fetch", "bytes": "many"},
        {"event": "fetch", "password": "secret"},
    ],
)
def test_what_is_no_event_is_the_callers_mistake(opened: Open, folder: Path, event: dict[str, Any]) -> None:
    with opened() as log:
        with pytest.raises(ValueError, match="no event"):
            log.append(event)
        log.append(FETCH)
    assert verified(folder).records == 1


# The key


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "otalink.audit-key"
    key = create_audit_key(path)
    assert len(key) == 32
    assert load_audit_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UserError, match="cannot be made"):
        create_audit_key(path)
    path.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        load_audit_key(path)
    path.write_text("abc")
    path.chmod(0o600)
    with pytest.raises(UserError, match="must hold 64 hexadecimal digits"):
        load_audit_key(path)


def test_the_log_and_its_head_are_for_their_owner_alone(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append(FETCH)
    modes = [path.stat().st_mode for path in (folder / "server-00000001.jsonl", head_path(folder, "server"))]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o600, 0o600]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_first_use_makes_a_key_and_no_later_one(tmp_path: Path) -> None:
    settings = AuditSettings(tmp_path / "audit", tmp_path / "key")
    for _ in range(2):
        with open_audit(settings, lambda name: True) as log:
            log.append(FETCH)
    assert verify(settings.folder, load_audit_key(settings.key))[0].records == 2
    settings.key.unlink()
    with pytest.raises(UserError, match="without that key the audit log cannot be checked nor go on"):
        open_audit(settings, lambda name: True)


# One writer


def test_a_second_process_does_not_write_into_the_same_chain(opened: Open, folder: Path) -> None:
    with opened() as log:
        with pytest.raises(UserError, match="another process that writes as server"):
            opened(wait=0.05)
        log.append(FETCH)
        with opened(writer="worker2") as other:
            other.append(FETCH)
            log.append(FETCH)
    with opened() as log:
        log.append(FETCH)
    assert [(each.writer, each.records, each.fault) for each in verify(folder, KEY)] == [
        ("server", 3, None),
        ("worker2", 1, None),
    ]


def test_a_writer_may_be_waited_for(opened: Open, folder: Path) -> None:
    first = opened()
    ending = threading.Timer(0.1, first.close)
    ending.start()
    with opened(wait=20) as second:
        second.append(FETCH)
    ending.join()
    assert verified(folder).records == 1


def test_a_child_does_not_write_into_its_parents_chain(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened() as log:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RuntimeError):
            log.append(FETCH)
        monkeypatch.undo()


def test_threads_share_a_log(opened: Open, folder: Path) -> None:
    with opened() as log:
        threads = [threading.Thread(target=lambda: [log.append(FETCH) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (verified(folder).records, verified(folder).fault) == (200, None)


# Killed


def test_whatever_is_killed_leaves_whole_records_and_a_log_that_goes_on(opened: Open, folder: Path) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    acknowledged = 0
    for _ in range(10):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                log = opened(file_size=100_000, clock=time.time)
                while True:
                    log.append(FETCH)
                    os.write(writing, b".")
                    log.tick()
            finally:
                os._exit(1)
        os.close(writing)
        assert os.read(reading, 1) == b"."
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged += 1
        while data := os.read(reading, 65536):
            acknowledged += len(data)
        os.close(reading)
        found = verified(folder)
        assert found.fault is None, f"seed {seed}: {found.fault}"
        assert found.records >= acknowledged, f"seed {seed}"
    with opened(clock=time.time) as log:
        assert log.damage is None
    assert verified(folder).fault is None
    assert events(folder).count("fetch") >= acknowledged


def test_half_a_record_is_cut_off_and_that_is_recorded(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append(FETCH)
    with (folder / "server-00000001.jsonl").open("ab") as file:
        file.write(b'{"n":2,"ti')
    assert (verified(folder).fault, verified(folder).torn) == (None, 10)
    with opened() as log:
        log.append(FETCH)
    found = records(folder)
    assert [record["event"] for record in found] == ["fetch", "recovered", "fetch"]
    assert found[1]["detail"] == "0 records are newer than the head, 10 bytes of half a record were cut off"
    assert (verified(folder).fault, verified(folder).torn) == (None, 0)


def test_a_head_that_lags_is_caught_up(opened: Open, folder: Path) -> None:
    log = opened(file_size=500)
    log.append(FETCH)
    log._write_head()
    head = head_path(folder, "server").read_bytes()
    for _ in range(9):
        log.append(FETCH)
    log.close()
    # As if the process had been killed before the head was written.
    head_path(folder, "server").write_bytes(head)
    assert (verified(folder).fault, verified(folder).newer) == (None, 9)
    with opened(file_size=500) as log:
        assert log.damage is None
    assert (verified(folder).newer, events(folder)[-1]) == (0, "recovered")


def test_records_that_follow_the_head_are_believed_only_with_the_key(opened: Open, folder: Path) -> None:
    log = opened()
    log.append(FETCH)
    log._write_head()
    head = head_path(folder, "server").read_bytes()
    log.append(FETCH)
    log.close()
    head_path(folder, "server").write_bytes(head)
    path = folder / "server-00000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"192.168.0.55", b"192.168.0.66"))
    with opened() as log:
        assert log.damage == f"{path}:2: record 2 was changed, or is none that this key made"


def test_the_head_is_never_further_behind_than_is_said(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "HEAD_RECORDS", 5)
    now = [NOON]
    with opened(clock=lambda: now[0]) as log:
        for number in range(1, 18):
            log.append(FETCH)
            assert number - json.loads(head_path(folder, "server").read_bytes())["end"]["number"] <= 5
        now[0] += audit.HEAD_SECONDS
        log.tick()
        assert verified(folder).newer == 0
        # A clock that is set back is no reason to wait.
        log.append(FETCH)
        now[0] -= 1000
        log.tick()
        assert verified(folder).newer == 0


def test_the_records_are_on_the_disk_before_the_head_is(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    sync, swap = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def replace(old: Path, new: Path) -> None:
        swap(old, new)
        done.append(new.name)

    with opened(file_size=100) as log:
        log.append(FETCH)
        log.append(FETCH)
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)
        log.append(FETCH)
    first, *others = [f"server-{index:08}.jsonl" for index in (2, 3)]
    assert done == [first, *others, "audit.server.head.new", "audit.server.head"]


def test_an_exception_of_a_signal_leaves_a_record_whole_or_none(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        write(descriptor, data)
        raise KeyboardInterrupt

    with opened() as log:
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append(FETCH)
        monkeypatch.undo()
        log.append({"event": "stop"})
    assert events(folder) == ["stop"]
    assert verified(folder).fault is None


# Rotation and retention


def test_a_full_file_is_followed_by_another(opened: Open, folder: Path) -> None:
    with opened(file_size=500) as log:
        for _ in range(10):
            log.append(FETCH)
    assert files(folder) == [f"server-{index:08}.jsonl" for index in range(1, 5)]
    assert all(path.stat().st_size < 500 + LINE_MAX for path in folder.glob("*.jsonl"))
    assert (verified(folder).records, verified(folder).fault) == (10, None)


def test_a_day_has_a_file_of_its_own(opened: Open, folder: Path) -> None:
    now = [NOON]
    with opened(clock=lambda: now[0]) as log:
        log.append(FETCH)
        now[0] += DAY
        log.append(FETCH)
        now[0] += DAY
        log.tick()
        log.tick()
    with opened(clock=lambda: now[0]) as log:
        log.append(FETCH)
        now[0] += DAY
    with opened(clock=lambda: now[0]) as log:
        log.append(FETCH)
    assert files(folder) == [f"server-{index:08}.jsonl" for index in range(1, 5)]
    assert (verified(folder).records, verified(folder).fault) == (4, None)


def fill_days(opened: Open, days: int, keep_days: int = 3650) -> float:
    """A record of each day, from noon on; gives when the last one is."""
    now = [NOON]
    with opened(clock=lambda: now[0], keep_days=keep_days) as log:
        for day in range(days):
            now[0] = NOON + day * DAY
            log.append(FETCH)
    return now[0]


def test_what_is_older_than_is_said_is_destroyed_and_verify_knows(opened: Open, folder: Path) -> None:
    fill_days(opened, 8, keep_days=3)
    times = [record["time"][:10] for record in records(folder) if record["event"] == "fetch"]
    assert times == ["2026-02-04", "2026-02-05", "2026-02-06", "2026-02-07"]
    destroyed = [record["detail"] for record in records(folder) if record["event"] == "destroyed"]
    assert destroyed[-1].endswith("older than 3 days")
    found = verified(folder)
    assert found.fault is None
    assert found.first == "2026-02-04T12:00:00.000Z"


def test_a_quiet_server_destroys_what_is_old_too(opened: Open, folder: Path) -> None:
    now = [NOON]
    with opened(clock=lambda: now[0], keep_days=1) as log:
        log.append(FETCH)
        now[0] += 3 * DAY
        log.tick()
        assert events(folder) == ["destroyed"]
        assert verified(folder).fault is None


def test_what_is_removed_before_its_time_is_missed(opened: Open, folder: Path) -> None:
    fill_days(opened, 8, keep_days=3)
    first, *_ = files(folder)
    (folder / first).unlink()
    assert str(verified(folder).fault).startswith(f"{folder / first} is missing")


def test_an_old_file_that_was_changed_stays_as_evidence(opened: Open, folder: Path) -> None:
    now = fill_days(opened, 3)
    first = folder / files(folder)[0]
    first.write_bytes(first.read_bytes().replace(b"192.168.0.55", b"192.168.0.66"))
    with opened(clock=lambda: now + 400 * DAY, keep_days=1):
        pass
    assert first.exists()
    assert "record 1 was changed" in str(verified(folder).fault)


def test_a_new_file_that_is_made_to_look_old_is_not_destroyed(opened: Open, folder: Path) -> None:
    now = fill_days(opened, 3)
    first = folder / files(folder)[0]
    content = first.read_bytes()
    old = content.replace(b"2026-01-31", b"2001-01-31")
    for forged in (old, content + old, content + old.rstrip()):
        first.write_bytes(forged)
        with opened(clock=lambda: now, keep_days=30):
            pass
        assert first.exists()
    # A half line behind what is old is not what was written, either.
    with opened(clock=lambda: now + 60 * DAY, keep_days=30):
        pass
    assert first.exists()


def test_the_newest_record_of_a_file_counts_whatever_the_clock_did(opened: Open, folder: Path) -> None:
    now = [NOON]
    with opened(clock=lambda: now[0], keep_days=2) as log:
        log.append(FETCH)
        now[0] -= 10 * DAY
        log.append(FETCH)
        now[0] = NOON + DAY
        log.append(FETCH)
    assert events(folder) == ["fetch"] * 3


def test_a_file_that_was_made_for_the_next_record_is_nothing_that_is_wrong(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append(FETCH)
    (folder / "server-00000002.jsonl").touch()
    with (folder / "server-00000001.jsonl").open("ab") as file:
        file.write(b'{"n":2,"ti')
    assert (verified(folder).fault, verified(folder).torn) == (None, 10)
    with opened(file_size=300) as log:
        assert log.damage is None
        log.append(FETCH)
    assert len(files(folder)) == 2
    assert (verified(folder).records, verified(folder).fault) == (3, None)


def test_what_is_destroyed_while_it_is_checked_is_not_missed(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [fill_days(opened, 5)]
    snapshot = audit_read._snapshot
    with opened(clock=lambda: now[0], keep_days=1) as log:
        before = files(folder)

        def destroyed_meanwhile(*arguments: Any) -> Any:
            found = snapshot(*arguments)
            now[0] += 3 * DAY
            for _ in before:
                log.tick()
            monkeypatch.undo()
            return found

        monkeypatch.setattr(audit_read, "_snapshot", destroyed_meanwhile)
        assert verified(folder).fault is None
        assert not set(before) & set(files(folder))


def test_a_process_that_is_killed_while_it_destroys_leaves_a_log_that_verifies(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = fill_days(opened, 3)
    left = files(folder)
    kept = {name: (folder / name).read_bytes() for name in left}
    with opened(clock=lambda: now + 2 * DAY, keep_days=1):
        pass
    assert len(files(folder)) < len(left)
    for name, content in kept.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)
    assert verified(folder).fault is None
    with opened(clock=lambda: now + 2 * DAY, keep_days=1):
        pass
    assert left[0] not in files(folder)
    assert verified(folder).fault is None


# Faults of the disk, and of what is found on it


def test_a_full_disk_is_told_once_and_what_is_missing_is_counted(opened: Open, folder: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = folder / "server-00000001.jsonl"
    with opened() as log:
        log.append(FETCH)
        for outage in (1, 2):
            # Room for half a record.
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, before[1]))
            try:
                with pytest.raises(UserError) as told:
                    log.append(FETCH)
                log.append(FETCH)
                log.append(FETCH)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            said = f"{path} cannot be written ({os.strerror(errno.EFBIG)}): no event is recorded until it can"
            assert str(told.value) == said
            assert log.lost == 3 * outage
            assert verified(folder).torn == 0
            log.append(FETCH)
    assert events(folder) == ["fetch", "outage", "fetch", "outage", "fetch"]
    assert records(folder)[1]["detail"] == "3 records are missing since 2026-01-31T12:00:00.000Z"
    assert (verified(folder).records, verified(folder).fault) == (5, None)


def test_a_log_is_opened_on_a_full_disk_too(opened: Open, folder: Path) -> None:
    import resource

    with opened() as log:
        log.append(FETCH)
    path = folder / "server-00000001.jsonl"
    with path.open("ab") as file:
        file.write(b'{"n":2,"ti')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, before[1]))
    try:
        log = opened()
        with pytest.raises(UserError, match="no event is recorded until it can"):
            log.append(FETCH)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.append(FETCH)
    log.close()
    assert events(folder) == ["fetch", "recovered", "outage", "fetch"]
    assert verified(folder).fault is None


def test_a_head_that_cannot_be_written_is_an_outage_before_the_log_is_too_far_ahead(
    opened: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "HEAD_RECORDS", 5)
    in_the_way = head_path(folder, "server").with_name("audit.server.head.new")
    with opened() as log:
        in_the_way.mkdir()
        for _ in range(5):
            log.append(FETCH)
        with pytest.raises(UserError, match="no event is recorded until it can"):
            log.append(FETCH)
        in_the_way.rmdir()
        log.append(FETCH)
    assert events(folder) == [*["fetch"] * 5, "outage", "fetch"]
    assert verified(folder).fault is None


def test_a_log_that_was_damaged_goes_on_in_a_new_file_and_stays_damaged(opened: Open, folder: Path) -> None:
    with opened(file_size=500) as log:
        for _ in range(7):
            log.append(FETCH)
    last = folder / files(folder)[-1]
    last.write_bytes(b"")
    with opened(file_size=500) as log:
        assert log.damage == f"{last} is cut off: its record 7 is missing"
        log.append(FETCH)
    assert events(folder)[-2:] == ["damaged", "fetch"]
    assert "records are missing, or in another order" in str(verified(folder).fault)
    with opened() as log:
        assert log.damage is None
    assert verified(folder).fault is not None


def test_a_log_whose_head_was_removed_or_whose_folder_was_stays_damaged(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append(FETCH)
        log.append(FETCH)
    head = head_path(folder, "server")
    kept = head.read_bytes()
    head.unlink()
    assert str(verified(folder).fault) == f"{head} is missing, which says where the log ends"
    with opened() as log:
        assert log.damage == f"{head} is missing, which says where the log ends"
    assert verified(folder).fault is not None
    for path in folder.iterdir():
        path.unlink()
    head.write_bytes(kept)
    assert "the log is cut off: it ends with record 0, and had 2" in str(verified(folder).fault)
    with opened() as log:
        assert "server-00000001.jsonl is missing" in str(log.damage)
    assert "server-00000001.jsonl is missing" in str(verified(folder).fault)


@pytest.mark.parametrize(
    "line",
    [b'{"n":"\\n\\u001b[2J"}', b"[" * 8000, b"\0" * 9000, b'{"n":' + b"9" * 6000 + b"}", b'{"time":5}', b"\xff\n"],
)
def test_no_line_that_somebody_put_there_ends_the_server(opened: Open, folder: Path, line: bytes) -> None:
    now = fill_days(opened, 3)
    for name in files(folder):
        with (folder / name).open("ab") as file:
            file.write(line + b"\n")
    with opened(clock=lambda: now + 100 * DAY, keep_days=1) as log:
        log.append(FETCH)
        assert log.damage is not None
        assert log.damage.isprintable()
    assert str(verified(folder).fault).isprintable()
    assert events(folder)[-1] == "fetch"


def test_a_file_of_a_far_number_takes_no_place(opened: Open, folder: Path) -> None:
    with opened() as log:
        log.append(FETCH)
    (folder / "server-99999999.jsonl").write_text("theirs\n")
    with opened() as log:
        assert "server-00000002.jsonl is missing" in str(log.damage)
        log.append(FETCH)
    assert events(folder) == ["fetch", "damaged", "fetch"]
    assert verified(folder).fault is not None


@pytest.mark.parametrize("index", [1, 2])
def test_nothing_is_written_where_a_link_or_a_pipe_leads(
    opened: Open, folder: Path, tmp_path: Path, index: int
) -> None:
    """Who can write to the folder, and to nothing else, must not have the server do it."""
    victim = tmp_path / "otalink.toml"
    victim.write_text("")
    path = folder / f"server-{index:08}.jsonl"
    folder.mkdir()
    for make in (lambda: path.symlink_to(victim), lambda: os.mkfifo(path), lambda: path.write_text("theirs\n")):
        make()
        with contextlib.suppress(UserError), opened(file_size=100) as log:
            log.append(FETCH)
            log.append(FETCH)
        assert victim.read_text() == ""
        if path.exists():
            path.unlink()


def test_a_file_in_the_way_of_the_next_is_an_outage(opened: Open, folder: Path) -> None:
    with opened(file_size=100) as log:
        log.append(FETCH)
        path = folder / "server-00000002.jsonl"
        path.write_text("theirs\n")
        with pytest.raises(UserError, match=r"cannot be written \(File exists\)"):
            log.append(FETCH)
        assert path.read_text() == "theirs\n"
        path.write_text("")
        log.append(FETCH)
    assert events(folder) == ["fetch", "outage", "fetch"]
    assert verified(folder).fault is None


def test_a_folder_that_cannot_be_had_is_one_line(tmp_path: Path, opened: Open, folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        opened()
