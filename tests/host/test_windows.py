"""The host's commands where there is only what Windows has: the nearest to Windows that another system comes.

as_on_windows.py says what is taken away and what stands in. What Windows does with files that are open, with rights and
with a terminal is not seen here.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from otalink_host.cli import app

HERE = Path(__file__).parent
SCRIPT = HERE / "as_on_windows.py"
Answers = list[tuple[int, str, str]]


@pytest.fixture
def on_windows(tmp_path: Path) -> Callable[..., Answers]:
    """Runs command lines one after the other, as on Windows, in an empty folder: (exit status, stdout, stderr) each."""

    def run(*command_lines: str | list[str]) -> Answers:
        lines = [line.split() if isinstance(line, str) else line for line in command_lines]
        done = subprocess.run(
            [sys.executable, SCRIPT],
            cwd=tmp_path,
            input=json.dumps(lines),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers: Answers = [tuple(answer) for answer in json.loads(done.stdout)]
        return answers

    return run


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The command lines of all commands below `command`, and of itself."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


def test_what_windows_does_not_have_is_not_there(tmp_path: Path) -> None:
    code = """
import as_on_windows, os, signal, sys
as_on_windows.import_all()
as_on_windows.become_windows()
for name in ("fcntl", "termios", "pty", "pwd", "resource"):
    try:
        __import__(name)
        print(name)
    except ImportError:
        pass
print(hasattr(os, "fork"), hasattr(os, "O_CLOEXEC"), hasattr(signal, "SIGKILL"), "otalink_host" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "False False False False\n"


def test_the_server_serves_there_and_keeps_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "releases" / "lib").mkdir(parents=True)
    (tmp_path / "releases" / "lib" / "sensor.py").write_bytes(b"sensor\r\n")
    (tmp_path / "secret").write_bytes(b"SECRET")
    code = """
import as_on_windows, ftplib, sys
as_on_windows.import_all()
as_on_windows.become_windows()
from pathlib import Path
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
settings = Settings((Account("board", Path(sys.argv[1])),), passive_ports=None)
with BackgroundServer(settings, {"board": "a-password"}) as server, ftplib.FTP() as client:
    client.connect("127.0.0.1", server.port)
    client.login("board", "a-password")
    print(client.nlst("lib"))
    client.retrbinary("RETR lib/sensor.py", lambda data: print(data))
    for path in ("../secret", "..\\\\secret", "lib\\\\sensor.py", "C:/secret", "lib/sensor.py:stream"):
        try:
            client.retrbinary("RETR " + path, lambda data: print("it came:", data))
        except ftplib.error_perm as error:
            print(str(error)[:3])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "releases")]
    done = subprocess.run(command, cwd=HERE, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    names, content, *replies = done.stdout.splitlines()
    assert (names, content) == ("['sensor.py']", r"b'sensor\r\n'")
    assert replies == ["550"] * 5


def test_the_audit_log_is_written_and_checked_there(tmp_path: Path) -> None:
    code = """
import as_on_windows, os, sys
as_on_windows.import_all()
as_on_windows.become_windows()
from otalink_host.audit import AuditLog
from otalink_host.audit_read import verify
from otalink_host.errors import UserError
from pathlib import Path
folder = Path(sys.argv[1]) / "audit"
for count in (3, 4):
    with AuditLog(folder, bytes(32), known=lambda name: True, file_size=200) as log:
        for number in range(count):
            log.append({"event": "fetch", "account": "board", "bytes": number})
found, = verify(folder, bytes(32))
print(found.records, found.fault, len(list(folder.glob("*.jsonl"))))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "7 None 4\n")


def test_every_module_imports_and_every_command_has_its_help(on_windows: Callable[..., Answers]) -> None:
    lines = [[*path, "--help"] for path in commands(typer.main.get_command(app))]
    assert ["release", "publish", "--help"] in lines
    assert ["peer", "--help"] in lines
    for line, (status, out, err) in zip(lines, on_windows(*lines), strict=True):
        assert (status, err) == (0, ""), line
        assert "Usage: otalink" in out


def test_what_needs_linux_says_so_in_one_line(on_windows: Callable[..., Answers]) -> None:
    for status, _, err in on_windows("demo", "vboard board-1"):
        assert status == 1
        assert err == "otalink: the virtual board runs on Linux only: connect a board, or use a Linux machine\n"


def test_from_a_key_to_a_published_release_with_files_as_windows_writes_them(
    on_windows: Callable[..., Answers], tmp_path: Path
) -> None:
    def ok(answers: Answers) -> str:
        for status, out, err in answers:
            assert (status, err) == (0, ""), (out, err)
        return answers[-1][1]

    application = tmp_path / "application"
    (application / "lib" / "язык").mkdir(parents=True)
    boot = "# ours\r\ntry:\r\n    import otaguard\r\n    otaguard.boot()\r\nfinally:\r\n    pass\r\n"
    (application / "boot.py").write_bytes(boot.encode())
    (application / "thermostat.py").write_bytes(b"x = 1\r\n")
    (application / "lib" / "язык" / "font.bin").write_bytes(b"font")
    (application / ".otaignore").write_bytes(b"*.csv\r\n")
    (application / "table.csv").write_bytes(b"1;2\r\n")
    ok(on_windows("init", "keys new"))
    # An editor's line ends, and its mark of UTF-8.
    for name in ("otalink.toml", "otalink.secrets"):
        text = (tmp_path / name).read_bytes().replace(b"\n", b"\r\n")
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text)
    options = "--name thermostat --version 1.0.0.3"
    listed = ok(
        on_windows(
            f"release build application {options}",
            "release verify thermostat_1.0.0.3.ota",
            "release publish thermostat_1.0.0.3.ota",
            "release withdraw thermostat 1.0.0.3",
            "release withdraw thermostat_1.0.0.3.ota --undo",
            "keys export",
            f"release publish application {options} --to plain",
            "release list releases",
        )
    )
    assert listed.splitlines()[1].split()[:4] == ["thermostat", "1.0.0.3", "release", "file"]
    header = (tmp_path / "releases" / "thermostat_1.0.0.3.ota").read_bytes()[:2000].decode("utf-8", "replace")
    assert " lib/язык/font.bin\n" in header
    assert ".csv" not in header
    sums = (tmp_path / "plain" / "SHA256SUMS").read_bytes()
    assert b"\r" not in sums
    assert "  lib/язык/font.bin\n".encode() in sums


def test_a_mistake_is_one_line_there_too(on_windows: Callable[..., Answers]) -> None:
    answers = on_windows("serve", "release list nowhere", ["release", "verify", "температура_1.0.ota"], "fleet none.db")
    for status, out, err in answers:
        assert status == 1
        assert err.startswith("otalink: ")
        assert err.count("\n") == 1
        assert out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["peer", "--help"], ["release", "list", "."]])
def test_a_terminal_that_shows_few_characters_gets_what_it_can_show(arguments: list[str], tmp_path: Path) -> None:
    for name in ("температура_1.0.0.3.py", "thermostat_1.0.0.3.py"):
        folder = tmp_path / name[:4]
        folder.mkdir()
        (folder / name).touch()
    done = subprocess.run(
        [Path(sys.executable).with_name("otalink"), *arguments],
        cwd=tmp_path,
        env={"PYTHONIOENCODING": "cp1252", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done.stdout.decode("cp1252")
