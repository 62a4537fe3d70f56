"""The command line, as it is typed: what it prints, and how it ends."""

import contextlib
import ftplib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otalink import __version__
from otalink_host.cli import main

OTALINK = Path(sys.executable).with_name("otalink")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    # Help is laid out for a terminal of this width.
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: (exit status, stdout, stderr)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the real command in a process of its own, which is ended after the test."""
    with contextlib.ExitStack() as stack:

        def process(*arguments: str) -> "subprocess.Popen[str]":
            started = subprocess.Popen(
                [OTALINK, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
            )
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        yield process


def source(folder: Path, version: str = "1.0.0.2") -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lib").mkdir(parents=True)
    (folder / f"thermostat_{version}.py").write_text(f"print('{version}')\n")
    (folder / "lib" / "sensor.py").write_text("sensor\n")
    return folder


def one_line(error: str) -> str:
    assert error.startswith("otalink: ")
    assert error.count("\n") == 1
    return error.strip()


def ready(server: "subprocess.Popen[str]") -> tuple[str, int]:
    """What a server printed until it was ready, and its port."""
    assert server.stdout is not None
    printed = ""
    for line in server.stdout:
        printed += line
        if line.startswith("Ctrl-C"):
            break
    port = re.search(r"port +(\d+)", printed)
    assert port is not None, printed
    return printed, int(port[1])


# --- from nothing to a board's download, with the real command


def test_from_init_to_a_download_and_the_next_release(here: Path, start) -> None:
    init = start("init")
    out, error = init.communicate(timeout=20)
    assert (init.returncode, error) == (0, "")
    assert "otalink release publish DIR" in out
    assert "otalink serve" in out

    publish = start("release", "publish", str(source(here / "build")))
    out, error = publish.communicate(timeout=20)
    assert (publish.returncode, error) == (0, "")
    assert out.endswith("Published thermostat 1.0.0.2 in releases: 24 bytes of 24 bytes written.\n")

    server = start("serve", "--address", "127.0.0.1", "--port", "0")
    printed, port = ready(server)
    password = re.search('board = "(.+)"', (here / "otalink.secrets").read_text())
    assert password is not None
    assert re.search(r"address +127.0.0.1\n +port +\d+\n +user +board\n +virtual path +/ ", printed)
    assert f'"host": "127.0.0.1", "port": {port}, "user": "board", "folder": "/"' in printed
    with ftplib.FTP(timeout=10) as client:
        client.connect("127.0.0.1", port)
        client.login("board", password[1])
        assert client.nlst("/") == ["SHA256SUMS", "lib", "thermostat_1.0.0.2.py"]
        content = io.BytesIO()
        client.retrbinary("RETR //thermostat_1.0.0.2.py", content.write)
        assert content.getvalue() == b"print('1.0.0.2')\n"
        publish = start("release", "publish", str(source(here / "build", "1.0.0.3")))
        publish.communicate(timeout=20)
        assert client.nlst("/") == ["SHA256SUMS", "lib", "thermostat_1.0.0.3.py"]
    server.send_signal(signal.SIGTERM)
    out, error = server.communicate(timeout=10)
    assert (server.returncode, error) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d board at 127\.0\.0\.1 logged in", lines[-3])
    assert lines[-2].endswith(" fetched /thermostat_1.0.0.2.py: 17 bytes in 0.0 s, complete")
    assert lines[-1] == "Stopped."
    assert password[1] not in printed + out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_in_good_order_on_a_signal_with_boards_connected(run, start, number: int) -> None:
    run("init")
    server = start("serve", "--address", "127.0.0.1", "--port", "0")
    _, port = ready(server)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as board:
        assert board.recv(3) == b"220"
        server.send_signal(number)
        out, error = server.communicate(timeout=10)
    assert (server.returncode, error) == (0, "")
    assert out == "Stopped.\n"


def test_python_m_is_not_needed_and_the_command_knows_its_version(start) -> None:
    version = start("--version")
    assert version.communicate(timeout=20) == (f"otalink {__version__}\n", "")
    assert version.returncode == 0


def test_a_reader_that_leaves_early_is_no_traceback(here: Path) -> None:
    ended = subprocess.run(
        f"{OTALINK} release publish --help | true; {OTALINK} init --directory x | true",
        shell=True,
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr


# --- what each command says


def test_init_prints_what_it_made_and_what_comes_next(run, here: Path) -> None:
    status, out, error = run("init", "--directory", "server")
    assert (status, error) == (0, "")
    for name in ("server/otalink.toml", "server/otalink.secrets", "server/otalink.hashes", "server/releases"):
        assert f"Made {name}: " in out
    assert "otalink release publish DIR --config server/otalink.toml" in out
    assert (here / "server" / "otalink.secrets").read_text().split('"')[1] not in out


def test_init_again_is_one_line_and_status_1(run) -> None:
    run("init")
    status, out, error = run("init")
    assert (status, out) == (1, "")
    assert (
        one_line(error) == "otalink: otalink.toml is there already: edit it, or choose another folder with --directory"
    )


def test_serve_without_settings_says_how_to_make_them(run) -> None:
    status, _, error = run("serve")
    assert status == 1
    assert (
        one_line(error) == "otalink: there is no otalink.toml: make one with `otalink init`, or name one with --config"
    )


def test_serve_with_a_wrong_value_says_file_line_key_and_what_is_allowed(run, here: Path) -> None:
    run("init")
    text = (here / "otalink.toml").read_text()
    (here / "otalink.toml").write_text(text.replace("port = 2121", "port = 212121"))
    status, _, error = run("serve")
    assert status == 1
    assert re.fullmatch(
        r"otalink: otalink.toml:\d+: port in \[server\] is 212121; allowed: a whole number from 0 to 65535, "
        r"without quotes",
        one_line(error),
    )


def test_serve_on_a_port_in_use_is_one_line_and_status_1(run) -> None:
    run("init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, error = run("serve", "--address", "127.0.0.1", "--port", str(port))
    assert (status, out) == (1, "")
    assert one_line(error).startswith(f"otalink: port {port} is in use: ")


def test_serve_refuses_a_secrets_file_that_others_can_read(run, here: Path) -> None:
    run("init")
    (here / "otalink.secrets").chmod(0o644)
    status, _, error = run("serve")
    assert status == 1
    assert one_line(error) == "otalink: otalink.secrets can be read by others: chmod 600 otalink.secrets"


def test_serve_prints_the_firewalls_commands_when_asked(run, start, here: Path) -> None:
    run("init")
    server = start("serve", "--port", "0", "--firewall")
    printed, port = ready(server)
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=10)
    assert f"sudo ufw allow {port}/tcp" in printed
    assert f"--add-port={port}/tcp --add-port=30000-30099/tcp" in printed
    assert f"localport={port},30000-30099" in printed
    assert "Serving on every address of this machine" in printed
    # The address that a board would use, never "all of them".
    address = re.search(r"address +([0-9.]+)\n", printed)
    assert address is not None
    assert address[1] != "0.0.0.0"


def test_publish_prints_what_it_did(run, here: Path) -> None:
    run("init")
    source(here / "build")
    (here / "build" / "x.py~").write_text("")
    assert run("release", "publish", "build") == (
        0,
        "skipped x.py~\nwrote lib/sensor.py\nwrote SHA256SUMS\nwrote thermostat_1.0.0.2.py\n"
        "Published thermostat 1.0.0.2 in releases: 24 bytes of 24 bytes written.\n",
        "",
    )
    source(here / "build", "1.0.0.3")
    assert run("release", "publish", "build", "--to", "releases") == (
        0,
        "wrote SHA256SUMS\nwrote thermostat_1.0.0.3.py\nremoved thermostat_1.0.0.2.py\n"
        "Published thermostat 1.0.0.3 in releases: 17 bytes of 24 bytes written, unchanged: 1.\n",
        "",
    )


def test_a_name_that_no_terminal_shows_does_not_end_the_command(here: Path) -> None:
    source(here / "build")
    (here / "build" / os.fsdecode(b"\xff~")).write_text("")
    ended = subprocess.run(
        [OTALINK, "release", "publish", "build", "--to", "there"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "skipped \\udcff~\n" in ended.stdout


def test_publish_of_what_is_published_says_that_there_is_nothing_to_do(run, here: Path) -> None:
    source(here / "build")
    run("release", "publish", "build", "--to", "there")
    status, out, _ = run("release", "publish", "build", "--to", "there")
    assert status == 0
    assert out == "thermostat 1.0.0.2 is published in there already, with the same content: there was nothing to do.\n"


def test_publish_takes_a_name_and_a_version(run, here: Path) -> None:
    source(here / "build")
    (here / "build" / "thermostat_1.0.0.2.py").rename(here / "build" / "thermostat.py")
    status, out, _ = run("release", "publish", "build", "--to", "there", "--name", "thermostat", "--version", "1.0.0.2")
    assert status == 0
    assert "wrote thermostat_1.0.0.2.py\n" in out


def test_publish_refuses_in_one_line_and_takes_a_fleet_back_when_asked(run, here: Path) -> None:
    run("release", "publish", str(source(here / "build", "1.0.0.3")), "--to", "there")
    older = ("release", "publish", str(source(here / "build", "1.0.0.2")), "--to", "there")
    status, out, error = run(*older)
    assert (status, out) == (1, "")
    assert "is older than 1.0.0.3, which there offers" in one_line(error)
    assert run(*older, "--allow-older")[0] == 0


def test_publish_without_a_place_to_publish_to_is_one_line(run, here: Path) -> None:
    status, _, error = run("release", "publish", str(source(here / "build")))
    assert status == 1
    assert "there is no otalink.toml" in one_line(error)


def test_a_folder_that_cannot_be_written_is_one_line(run, here: Path) -> None:
    (here / "file").write_text("")
    status, _, error = run("release", "publish", str(source(here / "build")), "--to", "file/releases")
    assert status == 1
    assert "file/releases" in one_line(error)


def test_list_shows_what_is_published(run, here: Path) -> None:
    run("init")
    run("release", "publish", str(source(here / "build")))
    (here / "releases" / "thermostat_x.py").write_text("")
    status, out, error = run("release", "list")
    assert (status, error) == (0, "")
    head, row, note = out.splitlines()
    assert head.split() == ["NAME", "VERSION", "FORM", "SIGNED", "FILES", "BYTES", "PUBLISHED", "FOLDER"]
    assert re.fullmatch(
        r"thermostat +1\.0\.0\.2 +plain +no +2 +24 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +releases", row.rstrip()
    )
    assert "passed over thermostat_x.py" in note


def test_list_of_an_empty_folder_says_so(run, here: Path) -> None:
    (here / "empty").mkdir()
    assert run("release", "list", "empty") == (0, "No release in empty.\n", "")


def test_list_is_not_cut_in_a_pipe(run, here: Path) -> None:
    place = here / ("long" * 30)
    run("release", "publish", str(source(here / "build")), "--to", str(place))
    assert str(place) in run("release", "list", str(place))[1]


# --- help and usage

COMMANDS = [
    ("init",),
    ("serve",),
    ("release", "build"),
    ("release", "verify"),
    ("release", "publish"),
    ("release", "list"),
    ("release", "withdraw"),
    ("keys", "new"),
    ("keys", "list"),
    ("keys", "export"),
    ("flash",),
    ("vboard",),
    ("demo",),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run, command: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        status, out, _ = run(*command, option)
        assert status == 0
        assert f"Example: otalink {' '.join(command)}" in out


def test_the_commands_are_listed_with_what_they_do(run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for command in ("init", "serve", "release", "flash", "vboard", "demo"):
        assert re.search(rf"^. {command} +\w", out, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--port", "x"),
        ("serve", "--port", "65536"),
        ("serve", "--nonsense"),
        ("release", "publish"),
        ("release", "nonsense"),
        ("init", "too", "much"),
    ],
)
def test_a_wrong_command_line_is_status_2(run, arguments: tuple[str, ...]) -> None:
    run("init")
    status, _, error = run(*arguments)
    assert status == 2
    assert "Usage: otalink" in error


def test_an_address_that_is_none_is_a_usage_error(run) -> None:
    run("init")
    status, _, error = run("serve", "--address", "router")
    assert status == 2
    assert "router: it must be an IP address of this machine" in error


def test_a_size_of_flash_is_bytes_or_has_k_or_m_behind_it(run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Path, str, int]] = []
    monkeypatch.setattr(
        "otalink_host.vboard.run_vboard", lambda folder, *, heap, size, echo: ran.append((folder, heap, size))
    )
    assert run("vboard", "board", "--heap", "64k", "--size", "512k")[0] == 0
    assert run("vboard", "board")[0] == 0
    assert ran == [(Path("board"), "64k", 512 * 1024), (Path("board"), "128k", 2 * 1024 * 1024)]
    for wrong in ("2x", "", "-1", "m", "2.5m", "9" * 5000):
        status, _, error = run("vboard", "board", "--size", wrong)
        assert status == 2
        assert "a number with k or m behind it" in error


@pytest.mark.parametrize("size", ["99999999999m", "257m", "28k", "40000"])
def test_a_flash_that_no_board_has_is_refused_before_anything_is_made(run, here: Path, size: str) -> None:
    status, _, error = run("vboard", "board", "--size", size)
    assert status == 1
    assert "is no flash size: give a multiple of 4096 from 32768 to 268435456, as in 2m" in one_line(error)
    assert list(here.iterdir()) == []
