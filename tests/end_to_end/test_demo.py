"""`otalink demo` shows what it says, and says so when something was not seen."""

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
    assert table.count(" yes │") == 9
    assert "NO" not in table
    assert "74 bytes of files" in table


def test_the_demo_fails_when_the_board_does_not_find_the_release(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 3.0)
    monkeypatch.setattr(demo._Demo, "_publish", lambda *arguments, **keywords: None)
    assert not demo.run_demo(Console())
    assert "NO" in capsys.readouterr().out
