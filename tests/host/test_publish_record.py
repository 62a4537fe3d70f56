"""What the command line publishes stands in the server's audit log, and a channel is a folder with a name."""

import getpass
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink_host.audit import open_audit
from otalink_host.cli import main
from otalink_host.settings import load_settings

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line beside settings with two channels and a plain release: (exit status, its output)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out + output.err

    assert command("init")[0] == 0
    config = tmp_path / "otalink.toml"
    text = config.read_text().replace('folder = "releases"', 'channel = "stable"')
    channels = '[channels]\nstable = "releases"\nbeta = "beta"\n\n'
    config.write_text(text.replace("[[account]]", f"{channels}[[account]]", 1))
    (tmp_path / "beta").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "thermostat_1.0.0.2.py").write_text("print(2)\n")
    return command


def begin() -> None:
    """Begins the log, as a server does when it starts."""
    audit = load_settings(Path("otalink.toml")).audit
    assert audit is not None
    with open_audit(audit, lambda name: True) as log:
        log.append({"event": "start"})


def recorded(run: Run) -> list[tuple[str, str, str, int | None]]:
    status, output = run("audit", "show", "--json")
    assert status == 0
    records = [json.loads(line) for line in output.splitlines()]
    return [(r["event"], r["account"], r["path"], r.get("bytes")) for r in records if r["event"] != "start"]


def test_what_is_published_and_withdrawn_is_recorded(run: Run) -> None:
    begin()
    assert run("release", "publish", "build", "--channel", "beta")[0] == 0
    assert Path("beta/thermostat_1.0.0.2.py").exists()
    assert run("release", "publish", "build", "--channel", "stable")[0] == 0
    # There is nothing to do, and nothing to tell.
    assert run("release", "publish", "build", "--channel", "stable")[0] == 0
    assert run("release", "withdraw", "thermostat", "1.0.0.2", "--channel", "beta")[0] == 0
    assert run("release", "withdraw", "thermostat", "1.0.0.2", "--channel", "beta", "--undo")[0] == 0
    user = getpass.getuser()
    assert recorded(run) == [
        ("publish", user, "/beta/thermostat_1.0.0.2.py", 9),
        ("publish", user, "/stable/thermostat_1.0.0.2.py", 9),
        ("withdraw", user, "/beta/thermostat_1.0.0.2.py", None),
        ("publish", user, "/beta/thermostat_1.0.0.2.py", None),
    ]
    status, output = run("audit", "verify")
    assert status == 0
    assert output.startswith("cli: 4 records")


def test_where_no_server_has_begun_a_log_none_is_begun(run: Run) -> None:
    assert run("release", "publish", "build", "--channel", "beta")[0] == 0
    assert not Path("audit").exists()
    assert not Path("otalink.audit-key").exists()


def test_what_boards_do_not_read_is_not_recorded(run: Run) -> None:
    begin()
    assert run("release", "publish", "build", "--to", "elsewhere")[0] == 0
    assert recorded(run) == []


@pytest.mark.skipif(os.name != "posix", reason="users of this kind are POSIX's")
def test_another_user_s_log_is_left_alone_and_that_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    begin()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    status, output = run("release", "publish", "build", "--channel", "beta")
    assert status == 0
    assert output.endswith("the audit log does not have it (audit is another user's): run it as the server's user\n")
    assert recorded(run) == []


def test_a_channel_that_is_not_there_or_beside_a_place_is_refused(run: Run) -> None:
    status, output = run("release", "list", "--channel", "gamma")
    assert (status, output) == (1, "otalink: otalink.toml has no channel gamma: it has stable, beta\n")
    status, output = run("release", "publish", "build", "--to", "x", "--channel", "beta")
    assert status == 2
    assert "it is either a channel or a place" in output
    assert run("release", "list", "--channel", "beta") == (0, "No release in beta.\n")
