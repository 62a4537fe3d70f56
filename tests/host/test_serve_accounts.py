"""`otalink serve` and the files with accounts: a folder of an earlier version, none of the passwords, old hashes."""

import contextlib
import ftplib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from otalink_host.accounts import create_account, create_server_folder, load_hashes, load_passwords
from otalink_host.cli import main
from otalink_host.passwords import is_outdated, verify
from otalink_host.settings import load_settings

OTALINK = Path(sys.executable).with_name("otalink")
CONFIG = Path("otalink.toml")
# Gives what is printed before boards are served, and the port.
Start = Callable[[], tuple[str, int]]


@pytest.fixture
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of the account board, of a server's folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    create_server_folder(Path())
    return load_passwords(load_settings(CONFIG))["board"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the real command; the one before and, after the test, the last are ended."""
    with contextlib.ExitStack() as stack:

        def serve() -> tuple[str, int]:
            stack.close()
            command = [OTALINK, "serve", "--address", "127.0.0.1", "--port", "0"]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8"))
            stack.callback(process.terminate)
            printed = ""
            while not printed.endswith("Ctrl-C ends it.\n"):
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, printed
                printed += line
            port = re.search(r"port +(\d+)", printed)
            assert port is not None
            return printed, int(port[1])

        yield serve


def log_in(port: int, password: str) -> str:
    with ftplib.FTP(timeout=10) as client:
        client.connect("127.0.0.1", port)
        return client.login("board", password)


def test_a_folder_of_an_earlier_version_gets_its_hashes_as_it_is_served_first(start: Start, password: str) -> None:
    Path("otalink.hashes").unlink()
    CONFIG.write_text(CONFIG.read_text().replace('hashes = "otalink.hashes"\n', ""))
    printed, port = start()
    assert printed.startswith(
        "Hashed the password of otalink.secrets into otalink.hashes, which is all that the server reads.\n"
    )
    assert log_in(port, password).startswith("230")
    assert verify(load_hashes(load_settings(CONFIG))["board"], password)
    printed, port = start()
    assert printed.startswith("Serving on")
    assert log_in(port, password).startswith("230")


def test_a_server_that_has_hashes_alone_serves_and_renews_an_outdated_one(start: Start, password: str) -> None:
    Path("otalink.secrets").unlink()
    old = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash(password)
    Path("otalink.hashes").write_text(f'[hash]\nboard = "{old}"\n')
    _, port = start()
    assert log_in(port, password).startswith("230")
    deadline = time.monotonic() + 10
    while is_outdated(load_hashes(load_settings(CONFIG))["board"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert log_in(port, password).startswith("230")
    with pytest.raises(ftplib.error_perm, match="530"):
        log_in(port, password + "x")


def test_a_server_without_a_password_for_an_account_does_not_start(
    password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("otalink.secrets").unlink()
    Path("otalink.hashes").unlink()
    assert main(["serve", "--port", "0"]) == 1
    assert capsys.readouterr().err == (
        "otalink: account board has no password: give it one with `otalink user passwd board`\n"
    )


def test_of_many_accounts_the_first_are_shown_and_the_others_counted(start: Start, password: str) -> None:
    for number in range(2, 7):
        create_account(
            load_settings(CONFIG), {"name": f"shop-{number}", "folder": "releases", "role": "board"}, password
        )
    printed, _ = start()
    assert re.findall(r"^  user +(\S+)", printed, re.MULTILINE) == ["board", "shop-2", "shop-3"]
    assert "\nand 3 more accounts: `otalink user list` shows them.\n" in printed
