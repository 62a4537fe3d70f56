"""`otalink audit`: what it prints of a log, which records it shows, and how it follows one that is being written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink_host.audit import DAY, AuditLog, fingerprint, load_audit_key, open_audit
from otalink_host.audit_read import parse_when
from otalink_host.cli import main
from otalink_host.cli_options import check_private
from otalink_host.errors import UserError
from otalink_host.settings import AuditSettings, load_settings

Run = Callable[..., tuple[int, str, str]]
# 2026-01-31T12:00:00Z
NOON = 1_769_860_800.0
EVENTS = [
    {"event": "start"},
    {"event": "login", "account": "board", "address": "192.168.0.55"},
    {"event": "fetch", "account": "board", "address": "192.168.0.55", "path": "/thermostat_1.0.0.2.py", "bytes": 15},
    {"event": "login_failed", "outcome": "refused", "account": "hunter2", "address": "192.168.0.66"},
    {"event": "refuse", "outcome": "refused", "account": "board", "path": "/\x1b[2J\n\u202e", "detail": "STOR"},
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a server's folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    main(["init"])

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["audit", *arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


@pytest.fixture
def settings(run: Run) -> AuditSettings:
    audit = load_settings(Path("otalink.toml")).audit
    assert audit is not None
    return audit


def write(settings: AuditSettings, writer: str = "server", start: float = NOON) -> None:
    """Records EVENTS, one a minute."""
    open_audit(settings, lambda name: name == "board", writer=writer).close()
    now = [start]
    with AuditLog(
        settings.folder,
        load_audit_key(settings.key),
        known=lambda name: name == "board",
        writer=writer,
        clock=lambda: now[0],
    ) as log:
        for event in EVENTS:
            log.append(event)
            now[0] += 60


def test_verify_prints_a_line_for_each_chain(run: Run, settings: AuditSettings) -> None:
    write(settings)
    write(settings, "worker2")
    status, out, error = run("verify")
    assert (status, error) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("server: 5 records, 2026-01-31T12:00:00.000Z to 2026-01-31T12:04:00.000Z; head server:5:")
    assert second.startswith("worker2: 5 records, ")


def test_what_verify_printed_is_what_it_expects_later(run: Run, settings: AuditSettings) -> None:
    write(settings)
    head = run("verify")[1].split()[-1]
    write(settings)
    assert run("verify", "--expect-head", head)[0] == 0
    status, out, error = run("verify", "--expect-head", head[:-1] + ("0" if head[-1] != "0" else "1"))
    assert (status, out) == (1, "")
    assert error.endswith("server-00000001.jsonl:5: record 5 is not the one that is expected: the log is another one\n")
    status, out, error = run("verify", "--expect-head", head, "--expect-head", "worker2:7:" + "0" * 32)
    assert (status, error.count("\n")) == (1, 1)
    assert "audit.worker2.head is missing" in error


def test_what_is_wrong_is_one_line_with_file_and_line(run: Run, settings: AuditSettings) -> None:
    write(settings)
    write(settings, "worker2")
    path = settings.folder / "server-00000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"bytes":15', b'"bytes":16'))
    status, out, error = run("verify")
    assert status == 1
    assert out.startswith("worker2: 5 records")
    assert error == f"otalink: {path}:3: record 3 was changed, or is none that this key made\n"


def test_verify_without_a_log_or_a_key_is_one_line(run: Run, settings: AuditSettings) -> None:
    assert run("verify") == (1, "", "otalink: audit holds no audit log: a server that records begins one\n")
    write(settings)
    settings.key.unlink()
    status, _, error = run("verify")
    assert (status, error.count("\n")) == (1, 1)
    assert "there is no otalink.audit-key" in error


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["verify", "--expect-head", "812"], 2),
        (["show", "--since", "yesterday"], 2),
        (["show", "--until", "7w"], 2),
        (["show", "--config", "none.toml"], 1),
    ],
)
def test_a_wrong_command_line_is_told(run: Run, settings: AuditSettings, arguments: list[str], status: int) -> None:
    found, out, error = run(*arguments)
    assert (found, out) == (status, "")
    assert error


def shown(answer: tuple[int, str, str]) -> list[str]:
    """The events of the records that `otalink audit show --json` printed."""
    status, out, error = answer
    assert (status, error) == (0, "")
    return [json.loads(line)["event"] for line in out.splitlines()]


def test_show_prints_a_line_for_each_record(run: Run, settings: AuditSettings) -> None:
    write(settings)
    status, out, error = run("show")
    assert (status, error) == (0, "")
    mark = fingerprint(load_audit_key(settings.key), "hunter2")
    rows = [line.split() for line in out.splitlines()]
    assert rows == [
        ["TIME", "EVENT", "OUTCOME", "ACCOUNT", "ADDRESS", "BYTES", "PATH"],
        ["2026-01-31T12:00:00.000Z", "start", "ok", "-", "-", "-"],
        ["2026-01-31T12:01:00.000Z", "login", "ok", "board", "192.168.0.55", "-"],
        ["2026-01-31T12:02:00.000Z", "fetch", "ok", "board", "192.168.0.55", "15", "/thermostat_1.0.0.2.py"],
        ["2026-01-31T12:03:00.000Z", "login_failed", "refused", mark, "192.168.0.66", "-"],
        ["2026-01-31T12:04:00.000Z", "refuse", "refused", "board", "-", "-", "/\\x1b[2J\\n\\u202e", "STOR"],
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ["start", "login", "fetch", "login_failed", "refuse"]),
        ("--account board", ["login", "fetch", "refuse"]),
        ("--account hunter2", ["login_failed"]),
        ("--address 192.168.0.55", ["login", "fetch"]),
        ("--event fetch", ["fetch"]),
        ("--outcome refused", ["login_failed", "refuse"]),
        ("--outcome refused --account board", ["refuse"]),
        ("--since 2026-01-31T12:03", ["login_failed", "refuse"]),
        ("--since 2026-01-31T14:03+02:00", ["login_failed", "refuse"]),
        ("--until 2026-01-31T12:01:00Z", ["start", "login"]),
        ("--since 2026-01-31 --until 2026-01-31", ["start", "login", "fetch", "login_failed", "refuse"]),
        ("--since 2026-02-01", []),
        ("--since 1h", []),
    ],
)
def test_show_picks_what_is_asked_for(run: Run, settings: AuditSettings, options: str, expected: list[str]) -> None:
    write(settings)
    assert shown(run("show", "--json", *options.split())) == expected


def test_show_merges_the_writers_by_time(run: Run, settings: AuditSettings) -> None:
    write(settings)
    write(settings, "worker2", NOON + 1)
    expected = [event["event"] for event in EVENTS for _ in range(2)]
    assert shown(run("show", "--json")) == expected


def test_show_without_the_key_shows_all_but_fingerprints_names(run: Run, settings: AuditSettings) -> None:
    write(settings)
    settings.key.unlink()
    assert shown(run("show", "--json", "--account", "board")) == ["login", "fetch", "refuse"]
    assert shown(run("show", "--json", "--account", "hunter2")) == []


def test_show_says_when_lines_are_no_records(run: Run, settings: AuditSettings) -> None:
    write(settings)
    with (settings.folder / "server-00000001.jsonl").open("ab") as file:
        file.write(b"oops\n")
    status, out, error = run("show", "--json")
    assert (status, len(out.splitlines())) == (1, 5)
    assert error == "otalink: 1 lines are no records: `otalink audit verify` says where\n"


def test_times_are_spans_dates_or_moments() -> None:
    assert [parse_when(text, NOON) for text in ("90s", "30m", "2h", "7d")] == [
        NOON - 90,
        NOON - 1800,
        NOON - 7200,
        NOON - 7 * DAY,
    ]
    assert parse_when("2026-01-31", 0) == NOON - DAY / 2
    assert parse_when("2026-01-31", 0, end_of_day=True) == pytest.approx(NOON + DAY / 2 - 0.001)
    with pytest.raises(ValueError, match="a time span such as"):
        parse_when("noon", 0)


def test_follow_shows_what_is_recorded_meanwhile_in_whatever_file(run: Run, settings: AuditSettings) -> None:
    write(settings)
    otalink = Path(sys.executable).with_name("otalink")
    with subprocess.Popen(
        [otalink, "audit", "show", "--json", "--follow", "--event", "upload"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as following:
        assert following.stdout is not None
        try:
            seen = []
            # Files of few records: it goes over their ends.
            with AuditLog(
                settings.folder, load_audit_key(settings.key), known=lambda name: False, file_size=500
            ) as log:
                for number in range(20):
                    log.append({"event": "upload", "bytes": number})
                    if number in (0, 10):
                        while len(seen) <= number:
                            seen.append(json.loads(following.stdout.readline())["bytes"])
            while len(seen) < 20:
                seen.append(json.loads(following.stdout.readline())["bytes"])
            assert seen == list(range(20))
            following.send_signal(signal.SIGINT)
            assert following.communicate(timeout=20) == ("", "")
        finally:
            following.kill()
    assert following.returncode == 0


def test_verify_and_show_stand_a_server_that_writes(run: Run, settings: AuditSettings) -> None:
    write(settings)
    key = load_audit_key(settings.key)
    child = os.fork()
    if not child:
        try:
            now = [NOON + DAY]
            with AuditLog(settings.folder, key, known=lambda name: True, clock=lambda: now[0], keep_days=2) as log:
                for number in range(10**6):
                    # Each day's file is destroyed on the third: also while it is read.
                    now[0] += 1000
                    log.append({"event": "fetch", "account": "board", "bytes": number})
        finally:
            os._exit(1)
    try:
        for _ in range(15):
            status, out, error = run("verify")
            assert (status, error) == (0, "")
            assert out.startswith("server: ")
            assert shown(run("show", "--json", "--account", "board"))
            time.sleep(0.01)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert run("verify")[0] == 0


@pytest.mark.parametrize("key", ["folder", "key"])
def test_what_is_recorded_lies_in_no_folder_that_boards_read(run: Run, tmp_path: Path, key: str) -> None:
    config = tmp_path / "otalink.toml"
    check_private(config, None, [tmp_path / "releases"])
    config.write_text(config.read_text().replace('folder = "audit"', f'{key} = "releases/audit"'))
    # Before there is any.
    with pytest.raises(UserError, match=r"releases/audit lies in .*releases, which boards read"):
        check_private(config, None, [tmp_path / "releases"])
