"""`otalink reports`, and where reports may lie."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink_host.cli import main

Run = Callable[..., tuple[int, str, str]]
SAID = {
    "name": "thermostat",
    "version": "1.0.0.2",
    "state": "confirmed",
    "failed": None,
    "reason": None,
    "messages": ["one", "thermostat 1.0.0.2 is the latest version"],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    assert command("init")[0] == 0
    return command


def put(name: str, content: str) -> None:
    Path("reports").mkdir(exist_ok=True)
    file = Path("reports", name)
    file.write_text(content)
    os.utime(file, (1_800_000_000, 1_800_000_000))


def test_the_last_report_of_each_account_is_listed(run: Run) -> None:
    put("shop-2.json", json.dumps({**SAID, "state": "reverted", "failed": "1.0.0.3", "reason": "ValueError: x"}))
    put("shop-1.json", json.dumps(SAID))
    put("odd.json", json.dumps({"name": 3, "version": ["1"], "state": "\x1b[2J", "messages": [{}], "more": "x"}))
    status, output, _ = run("reports")
    assert status == 0
    heads, odd, first, second = output.splitlines()
    assert heads.split() == ["ACCOUNT", "APPLICATION", "VERSION", "STATE", "REPORTED", "LAST", "MESSAGE"]
    assert odd.split()[:2] == ["odd", "\\x1b[2J"]
    assert first.split()[:4] == ["shop-1", "thermostat", "1.0.0.2", "confirmed"]
    assert first.endswith("thermostat 1.0.0.2 is the latest version")
    assert "reverted from 1.0.0.3: ValueError: x" in second


def test_programs_get_all_that_was_said(run: Run) -> None:
    put("shop-1.json", json.dumps(SAID))
    status, output, _ = run("reports", "--json")
    assert (status, json.loads(output)) == (0, [{"account": "shop-1", "when": 1_800_000_000, "report": SAID}])


def test_where_there_is_none_that_is_said(run: Run) -> None:
    said = 'No report in reports yet: boards send them whose settings have "report": true.\n'
    assert run("reports") == (0, said, "")
    assert run("reports", "--json") == (0, "[]\n", "")


def test_what_is_no_report_is_one_line(run: Run) -> None:
    put("shop-1.json", "{")
    status, _, error = run("reports")
    assert status == 1
    assert error == ("otalink: reports/shop-1.json is no report: remove it, and the board's next one takes its place\n")


def test_reports_lie_in_no_folder_that_boards_read(run: Run) -> None:
    config = Path("otalink.toml")
    config.write_text('reports = "releases/reports"\n' + config.read_text())
    status, _, error = run("serve", "--port", "0")
    assert status == 1
    assert error.count("\n") == 1
    assert "releases/reports" in error
