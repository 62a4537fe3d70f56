"""`otalink demo` shows what it says, and says so when something was not seen."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from otalink_host import demo

OTALINK = Path(sys.executable).with_name("otalink")


def test_the_demo_sees_everything_that_it_shows() -> None:
    completed = subprocess.run(
        [OTALINK, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
    table = completed.stdout[completed.stdout.rindex("┡") :]
    assert table.count(" yes │") == 21
    assert "│ NO " not in table


def test_the_demo_fails_when_the_board_does_not_find_the_release(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 3.0)
    monkeypatch.setattr(demo._Demo, "_publish", lambda *arguments, **keywords: None)
    assert not demo.run_demo(Console())
    assert "│ NO " in capsys.readouterr().out


def test_the_demo_fails_when_a_forged_release_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for scene in ("_update_all", "_update_one_file", "_stay", "_update_plain", "_go_back", "_look"):
        monkeypatch.setattr(demo._Demo, scene, lambda self: None)
    monkeypatch.setattr(demo, "PATIENCE", 5.0)
    monkeypatch.setattr(demo, "_changed", lambda content, place: content)
    assert not demo.run_demo(Console())
    assert "│ NO " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "line"),
    [(signal.SIGHUP, "a virtual board is on"), (signal.SIGTERM, "copying"), (signal.SIGTERM, "download")],
)
def test_the_demo_leaves_nothing_behind_when_it_is_ended(tmp_path: Path, number: signal.Signals, line: str) -> None:
    with subprocess.Popen(
        [OTALINK, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert any(line in said for said in process.stdout)
        assert [path.name.startswith("otalink-demo-") for path in tmp_path.iterdir()].count(True) == 1
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(20) == 128 + number
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
