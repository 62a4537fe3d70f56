"""`otalink status`, `rollback`, `config` and `unprovision` of virtual boards, as they are typed."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flashed import MAIN, PASSWORD, PATIENCE, Flashed

from otalink_host import attached
from otalink_host.board_secrets import load_board_secrets, secret_of
from otalink_host.cable import Cable
from otalink_host.cli import main
from otalink_host.repository import publish
from otalink_host.server import BackgroundServer
from otalink_host.settings import Account, Settings
from otalink_host.vboard import VirtualBoard

WIFI, SECRET = "the-password-of-the-shop", "the-secret-of-this-link"
SECRETS = (PASSWORD, WIFI, SECRET)
LINK = {"host": "127.0.0.1", "port": 1, "board": "shop-1", "secret": SECRET, "file": ".otalink/outbox"}


@dataclass(frozen=True)
class Images:
    """Flashes of boards, taken once: thermostat 1.0.0.1 as it was flashed; updated to 1.0.0.2; and that on trial."""

    flashed: Path
    updated: Path
    trial: Path


def write_release(folder: Path, version: str, greeting: str) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(MAIN)
    (folder / "lib").mkdir()
    (folder / "lib" / "names.txt").write_text(f"of {version}\n")
    (folder / f"thermostat_{version}.py").write_text(f"GREETING = {greeting!r}\n")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    work = tmp_path_factory.mktemp("attached")
    served = work / "served"
    served.mkdir()
    settings = Settings(accounts=(Account("board", served, "/test"),), passive_ports=None)
    with BackgroundServer(settings, {"board": PASSWORD}) as server, VirtualBoard(work / "board") as board:
        board.wait_for(">>> ")
        wifi = {"ssid": "shop", "password": WIFI}
        flashed = Flashed(board, server, write_release(work / "1", "1.0.0.1", "one"), wifi=wifi, link=LINK)
        flashed.sees("runs one")
        images = Images(*(work / f"{name}.bin" for name in ("flashed", "updated", "trial")))

        def take(image: Path) -> None:
            board.kill()
            shutil.copy(board.flash, image)
            board.start()

        take(images.flashed)
        publish(write_release(work / "2", "1.0.0.2", "two"), served)
        flashed.sees(r"thermostat 1\.0\.0\.2 is on trial")
        take(images.trial)
        flashed.sees(r"thermostat 1\.0\.0\.2 is confirmed")
        take(images.updated)
    return images


@pytest.fixture
def power_on(tmp_path: Path) -> Iterator[Callable[..., VirtualBoard]]:
    """Powers a board on that has this image on its flash."""
    boards = []

    def start(image: Path, heap: str = "128k") -> VirtualBoard:
        board = VirtualBoard(tmp_path / "board", heap=heap)
        board.directory.mkdir()
        shutil.copy(image, board.flash)
        boards.append(board)
        board.start()
        return board

    yield start
    for board in boards:
        board.stop()


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line on a board: (exit status, stdout, stderr). No secret is in either, and an error is a line."""
    monkeypatch.chdir(tmp_path)
    # A board that does not answer must not hold a test up.
    monkeypatch.setattr(attached, "Cable", functools.partial(Cable, timeout=20))
    monkeypatch.setattr(attached, "_SETTLE", 0.5)

    def command(board: VirtualBoard, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*arguments, "--port", board.tty])
        output = capsys.readouterr()
        if "--show-secrets" not in arguments:
            assert not [secret for secret in SECRETS if secret in output.out + output.err]
        if status == 1:
            assert re.fullmatch(r"otalink: .+\n", output.err)
        return status, output.out, output.err

    return command


def put(board: VirtualBoard, path: str, content: bytes) -> None:
    board.mpremote("exec", f"with open({path!r}, 'wb') as file: file.write({content!r})")


def shown(printed: str, name: str) -> list[str]:
    """What a status shows about `name`."""
    return [line[len(name) :].strip() for line in printed.splitlines() if line.startswith(f"{name} ")]


# status


def test_a_status_says_what_runs_and_the_application_goes_on(images: Images, power_on, run) -> None:
    board = power_on(images.updated)
    board.wait_for("runs two")
    mark = board.mark()
    status, printed, error = run(board, "status")
    assert (status, error) == (0, "")
    assert shown(printed, "application") == ["thermostat 1.0.0.2"]
    assert shown(printed, "update") == ["confirmed", "thermostat 1.0.0.1 is kept: `otalink rollback` goes back to it"]
    assert shown(printed, "files") == ["3, as installed"]
    assert shown(printed, "boot guard") == ["/boot.py calls it"]
    assert shown(printed, "otalink") == ["0.1.0, in /lib/otalink"]
    assert shown(printed, "link") == ["127.0.0.1:1, as shop-1"]
    assert re.fullmatch(r"boot \d of the trial of thermostat 1\.0\.0\.2", shown(printed, "log")[-1])
    assert board.wait_for("runs two", since=mark)
    assert board.hard_resets == 1
    told = json.loads(run(board, "status", "--json")[1])
    assert told["unique_id"] == (board.directory / "unique_id").read_text()
    assert told["settings"]["wifi"] == {"ssid": "shop", "password": "***"}
    assert told["settings"]["link"]["secret"] == told["settings"]["password"] == "***"
    assert told["update"]["kept"] == {"name": "thermostat", "version": "1.0.0.1"}
    assert told["guard"] == {"boot.py": "same", "otaswap.py": "same", "otaguard.py": "same"}


def test_three_status_during_a_trial_are_none_of_its_boots(images: Images, power_on, run) -> None:
    # The server is not there any more, so nothing confirms it.
    board = power_on(images.trial)
    board.wait_for("runs two")
    boots = []
    for _ in range(3):
        mark = board.mark()
        status, printed, error = run(board, "status")
        assert (status, error) == (0, "")
        boots.append(shown(printed, "update")[0])
        board.wait_for("runs two", since=mark)
    assert boots == ["trial: thermostat 1.0.0.2, boot 2 of 3"] * 3
    board.kill()
    board.start()
    assert shown(run(board, "status")[1], "update")[0] == "trial: thermostat 1.0.0.2, boot 3 of 3"


def test_a_status_takes_less_memory_than_any_board_has(images: Images, power_on, run) -> None:
    board = power_on(images.flashed, heap="48k")
    status, printed, error = run(board, "status")
    assert (status, error) == (0, "")
    assert shown(printed, "files") == ["3, as installed"]


def test_a_status_finds_each_file_that_is_not_as_installed(images: Images, power_on, run) -> None:
    board = power_on(images.flashed)
    put(board, "/thermostat.py", b"GREETING = 'own'\n")
    put(board, "/lib/otalink/frame.py", b"")
    put(board, "/otaguard.py", b"def boot():\n    pass\n")
    board.mpremote("fs", "rm", ":lib/names.txt")
    status, printed, error = run(board, "status")
    assert status == 1
    assert "not as it was installed: thermostat.py; installed, but not there: lib/names.txt: flash it again; " in error
    assert "lib/otalink/frame.py hides lib/otalink/frame.mpy: remove it" in error
    assert shown(printed, "files") == [
        "3, 2 of them not as installed",
        "lib/names.txt: missing",
        "thermostat.py: changed",
        "lib/otalink/frame.mpy: hidden by lib/otalink/frame.py",
    ]
    assert shown(printed, "boot guard") == ["/boot.py calls it; otaguard.py is not the one that is here"]


def test_a_status_of_a_board_without_otalink_says_what_to_do(board: VirtualBoard, run) -> None:
    status, printed, error = run(board, "status")
    assert status == 1
    assert error.endswith(": otalink is not on the board: put it there with `otalink flash`\n")
    assert shown(printed, "flash") == ["littlefs, 2,088,960 of 2,097,152 bytes free"]
    assert not shown(printed, "files")


@pytest.mark.parametrize(
    ("path", "content", "line"),
    [
        ("/otalink.json", b'{"name": "thermostat"', "/otalink.json on the board is no JSON"),
        ("/.otalink/installed", b"", "the record of what is installed is damaged: flash it again"),
        ("/.otalink/installed", b"otalink 1 99\nfile \xff\xff\n", "the record of what is installed is damaged"),
        ("/.otalink/installed", b"otalink 1 9999\nname x\nversion 1\n", "the record of what is installed is damaged"),
        ("/boot.py", b"import network\n", "/boot.py does not call the boot guard: flash it again"),
        ("/lib/otalink/__init__.mpy", b"M", "the board's otalink cannot be loaded (ValueError: incompatible .mpy"),
    ],
)  # fmt: skip
def test_what_is_broken_on_a_board_is_a_line_of_its_status(
    images: Images, power_on, run, path: str, content: bytes, line: str
) -> None:
    board = power_on(images.flashed)
    put(board, path, content)
    status, printed, error = run(board, "status")
    assert status == 1
    assert line in error
    assert shown(printed, "port") == [board.tty]


def test_evidence_of_crashes_and_the_whole_log_are_shown(images: Images, power_on, run) -> None:
    board = power_on(images.flashed)
    put(board, "/main.py", b"raise ValueError('a fault')\n")
    mark = board.mark()
    board.reset()
    for _ in range(2):
        mark = board.wait_for("ValueError: a fault", PATIENCE, since=mark).end()
    put(board, "/.otalink/log-1", b"".join(b"line %d\n" % number for number in range(40)))
    status, printed, _ = run(board, "status", "--log")
    assert status == 1
    assert shown(printed, "evidence")[0].startswith("crash")
    assert "ValueError: a fault" in shown(printed, "evidence")[0]
    log = shown(printed, "log")
    assert log[:2] == ["line 0", "line 1"]
    assert len(log) > 40
    assert len(shown(run(board, "status")[1], "log")) == 5


FAT = """
import os, vfs
class Memory:
    data = bytearray(64 * 512)
    def readblocks(self, number, buffer):
        buffer[:] = self.data[number * 512 : number * 512 + len(buffer)]
    def writeblocks(self, number, buffer):
        self.data[number * 512 : number * 512 + len(buffer)] = buffer
    def ioctl(self, operation, argument):
        return {4: 64, 5: 512, 6: 0}.get(operation, 0)
memory = Memory()
vfs.VfsFat.mkfs(memory)
vfs.umount("/")
vfs.mount(memory, "/")
os.mkdir("/.otalink")
with open("/otalink.json", "w") as file:
    file.write('{"name": "thermostat", "host": "x", "password": "a-password-on-fat"}')
print("it is FAT")
"""


def test_a_flash_that_is_fat_is_said_and_loses_its_secrets_too(board: VirtualBoard, run) -> None:
    put(board, "/boot.py", FAT.encode())

    def command(*arguments: str) -> tuple[int, str, str]:
        mark = board.mark()
        result = run(board, *arguments)
        # A Ctrl-C in the middle of that boot.py would leave half a file system.
        board.wait_for(re.compile(r"otalink: ready[\s\S]*it is FAT"), PATIENCE, since=mark)
        return result

    status, printed, _ = command("status")
    assert status == 1
    assert shown(printed, "flash")[0].startswith("FAT, ")
    assert json.loads(command("config", "get")[1])["name"] == "thermostat"
    status, printed, error = command("unprovision", "--yes")
    assert (status, error) == (0, ""), board.output[-2000:]
    assert "removed /otalink.json" in printed


# rollback


@pytest.mark.parametrize("state", ["updated", "trial"])
def test_a_board_goes_back_and_says_what_it_runs_then(images: Images, power_on, run, state: str) -> None:
    board = power_on(getattr(images, state))
    board.wait_for("runs two")
    mark = board.mark()
    status, printed, error = run(board, "rollback", "--yes")
    assert (status, error) == (0, "")
    assert printed == (
        "going back from thermostat 1.0.0.2 to thermostat 1.0.0.1; restarting\n"
        "It runs thermostat 1.0.0.1.\n"
        "thermostat 1.0.0.2 is not tried there again until another version is offered.\n"
    )
    board.wait_for("runs one", since=mark)
    assert shown(run(board, "status")[1], "update") == ["reverted: it went back from thermostat 1.0.0.2"]
    status, _, error = run(board, "rollback", "--yes")
    assert status == 1
    assert "which runs thermostat 1.0.0.1, can go back to: it went back from thermostat 1.0.0.2 already" in error


def test_a_board_whose_otalink_does_not_load_goes_back_all_the_same(images: Images, power_on, run) -> None:
    board = power_on(images.updated)
    put(board, "/lib/otalink/__init__.mpy", b"M")
    status, printed, error = run(board, "rollback", "--yes")
    assert (status, error) == (0, "")
    assert "It runs thermostat 1.0.0.1." in printed


def test_there_is_nothing_to_go_back_to_or_nobody_to_ask(images: Images, power_on, run) -> None:
    board = power_on(images.flashed)
    status, _, error = run(board, "rollback", "--yes")
    assert status == 1
    assert error.endswith("which runs thermostat 1.0.0.1, can go back to\n")
    board.stop()
    shutil.copy(images.updated, board.flash)
    board.start()
    status, _, error = run(board, "rollback")
    assert (status, error) == (1, "otalink: nobody is here to be asked: say --yes\n")
    put(board, "/boot.py", b"")
    assert run(board, "rollback", "--yes")[2].endswith("does not call the boot guard: flash it again\n")
    assert shown(run(board, "status")[1], "application") == ["thermostat 1.0.0.2"]


# config


def settings_on(board: VirtualBoard) -> dict[str, object]:
    found: dict[str, object] = json.loads(board.mpremote("fs", "cat", ":otalink.json"))
    return found


def test_settings_are_read_changed_and_removed(images: Images, power_on, run) -> None:
    board = power_on(images.flashed)
    before = settings_on(board)
    assert json.loads(run(board, "config", "get")[1]) == {
        **before,
        "password": "***",
        "wifi": {"ssid": "shop", "password": "***"},
        "link": {**LINK, "secret": "***"},
    }
    assert run(board, "config", "get", "wifi.ssid") == (0, "shop\n", "")
    assert run(board, "config", "get", "link.secret") == (0, "***\n", "")
    assert run(board, "config", "get", "wifi.password", "--show-secrets") == (0, f"{WIFI}\n", "")
    assert run(board, "config", "get", "intervall")[2].endswith("has no intervall: did you mean interval?\n")
    mark = board.mark()
    status, printed, error = run(board, "config", "set", "interval=600", "wifi.ssid=42 é", "link.heartbeat=30")
    assert (status, error) == (0, "")
    assert printed == f"Set interval, wifi.ssid, link.heartbeat on {board.tty}; it restarts with that.\n"
    board.wait_for("runs one", since=mark)
    wifi = {"ssid": "42 é", "password": WIFI}
    assert settings_on(board) == {**before, "interval": 600, "wifi": wifi, "link": {**LINK, "heartbeat": 30}}
    assert "has these settings already" in run(board, "config", "set", "interval=600")[1]
    status, printed, _ = run(board, "config", "unset", "wifi", "interval")
    assert status == 0
    assert set(settings_on(board)) == set(before) - {"wifi", "interval"}
    assert "ota-new" not in board.mpremote("fs", "ls", "/")


def test_what_a_board_would_not_take_changes_nothing(images: Images, power_on, run) -> None:
    board = power_on(images.flashed)
    board.wait_for("runs one")
    for arguments, line in (
        (("set", "intervall=600"), "'intervall' is not known: did you mean interval?"),
        (("set", "interval=soon"), "interval must be a number from 1 to 31536000, not 'soon'"),
        (("set", "link.hots=x"), "link: there is no option hots of a link"),
        (("unset", "wifi.ssid"), "wifi must be an object of texts"),
        (("unset", "zone"), "has no zone: "),
    ):
        mark = board.mark()
        status, _, error = run(board, "config", *arguments)
        assert status == 1
        assert line in error
        board.wait_for("runs one", since=mark)
    board.kill()
    before = board.files()
    shutil.copy(images.flashed, board.flash)
    assert before["/otalink.json"] == board.files()["/otalink.json"]


def test_a_secret_comes_from_a_descriptor_or_the_environment(
    images: Images, power_on, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = power_on(images.flashed)
    reading, writing = os.pipe()
    os.write(writing, b"new-of-the-account\nnew-of-the-shop\n")
    os.close(writing)
    status, printed, error = run(board, "config", "set", "password", "wifi.password", "--from-fd", str(reading))
    assert (status, error) == (0, "")
    assert "new-of" not in printed
    monkeypatch.setenv("OTALINK_VALUE", "new-of-the-link")
    assert run(board, "config", "set", "link.secret")[0] == 0
    assert run(board, "config", "set", "link.secret", "password")[0] == 1
    settings = settings_on(board)
    assert settings["password"] == "new-of-the-account"
    assert settings["wifi"] == {"ssid": "shop", "password": "new-of-the-shop"}
    assert settings["link"] == {**LINK, "secret": "new-of-the-link"}


def typed(board: VirtualBoard, *arguments: str, answers: dict[str, bytes]) -> tuple[int, str]:
    """Runs the command at a terminal, where somebody types each of the `answers` behind the prompt that it is for:
    (exit status, all that it shows)."""
    terminal, slave = os.openpty()
    command = [sys.executable, "-c", "import sys; from otalink_host.cli import main; sys.exit(main())"]
    printed = ""
    try:
        with subprocess.Popen(
            [*command, *arguments, "--port", board.tty],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            while piece := process.stdout.read(1):
                printed += piece
                for prompt in [prompt for prompt in answers if printed.endswith(prompt)]:
                    os.write(terminal, answers.pop(prompt))
        return process.returncode, printed
    finally:
        os.close(terminal)
        os.close(slave)


def test_somebody_at_a_terminal_is_asked_and_may_say_no(images: Images, power_on, run) -> None:
    board = power_on(images.updated)
    status, printed = typed(board, "rollback", answers={"[y/N]: ": b"n\n"})
    assert status == 1
    assert "runs thermostat 1.0.0.2. Take it back to thermostat 1.0.0.1? [y/N]: otalink: nothing was done" in printed
    status, printed = typed(board, "unprovision", answers={"[y/N]: ": b"n\n"})
    assert (status, "Wipe the settings, passwords and secrets of shop-1 on" in printed) == (1, True)
    assert settings_on(board)["password"] == PASSWORD
    twice = {"password: ": b"typed-by-hand\n", "confirmation: ": b"typed-by-hand\n"}
    status, printed = typed(board, "config", "set", "password", answers=twice)
    assert (status, "typed-by-hand" in printed) == (0, False)
    assert settings_on(board)["password"] == "typed-by-hand"


# unprovision

NVS = """
import json
class NVS:
    def __init__(self, namespace):
        self.namespace = namespace
        with open("/nvs.json") as file:
            self.values = json.load(file)
    def erase_key(self, key):
        if self.namespace + "/" + key not in self.values:
            raise OSError(-4354)
        del self.values[self.namespace + "/" + key]
    def commit(self):
        with open("/nvs.json", "w") as file:
            json.dump(self.values, file)
"""


def test_no_secret_is_left_on_the_flash_of_a_board_that_was_unprovisioned(
    images: Images, power_on, run, tmp_path: Path
) -> None:
    board = power_on(images.updated)
    # Older blocks of the flash have them too, and short settings lie in the log of the folder.
    put(board, "/short", json.dumps({"password": PASSWORD}).encode())
    board.mpremote("fs", "rm", ":short")
    put(board, "/.otalink/outbox", b'a0b1c2d3 1 0 "a-text-that-was-kept"\n')
    secret_of(tmp_path / "boards.secrets", "other")
    secret_of(tmp_path / "boards.secrets", "shop-1")
    held = (*SECRETS, "a-text-that-was-kept")
    assert [board.flash.read_bytes().count(secret.encode()) > 0 for secret in held] == [True] * 4
    mark = board.mark()
    status, printed, error = run(board, "unprovision", "--yes", "--forget")
    assert (status, error) == (0, "")
    board.wait_for("runs two", since=mark)
    board.kill()
    assert [board.flash.read_bytes().count(secret.encode()) for secret in held] == [0] * 4
    assert list(load_board_secrets(tmp_path / "boards.secrets")) == ["other"]
    assert "removed shop-1 from boards.secrets\n" in printed
    assert "removed /.otalink/outbox\n" in printed
    assert "removed /otalink.json\n" in printed
    assert "Still to do: remove the account board on 127.0.0.1, if no other board uses it." in printed
    assert not {"/otalink.json", "/.otalink/outbox", "/.otalink/log"} & board.names()
    board.start()
    status, printed, error = run(board, "status")
    assert error.endswith("it has no /otalink.json: make it with `otalink flash`, or with `otalink config set`\n")
    assert shown(printed, "files") == ["3, as installed"]
    # A second time there is nothing left to be removed, and the flash is written over again.
    status, printed, _ = run(board, "unprovision", "--yes")
    assert (status, re.findall("removed .*", printed)) == (0, [])


def test_the_keys_in_nvs_that_the_settings_name_are_erased(images: Images, power_on, run) -> None:
    board = power_on(images.flashed)
    # No machine here has an ESP32's NVS.
    put(board, "/esp32.py", NVS.encode())
    put(board, "/nvs.json", b'{"otalink/password": "x", "otalink/wifi": "y", "own/calibration": "z"}')
    settings = {
        "name": "thermostat",
        "host": "x",
        "password": {"nvs": "otalink/password"},
        "wifi": {"ssid": "s", "password": {"nvs": "otalink/wifi"}},
        "link": {"host": "x", "board": "shop-1", "secret": {"nvs": "otalink/link"}},
    }
    put(board, "/otalink.json", json.dumps(settings).encode())
    status, printed, error = run(board, "unprovision", "--yes")
    assert (status, error) == (0, "")
    assert "erased otalink/password in NVS" in printed
    assert "erased otalink/wifi in NVS" in printed
    assert "otalink/link is not in NVS" in printed
    assert json.loads(board.mpremote("fs", "cat", ":nvs.json")) == {"own/calibration": "z"}


def test_short_settings_are_wiped_from_the_log_of_their_folder(board: VirtualBoard, run) -> None:
    # littlefs keeps so few bytes there, and not in a block of their own.
    text = json.dumps({"name": "t", "host": "x", "password": PASSWORD})
    assert len(text) < 100
    for _ in range(3):
        put(board, "/otalink.json", text.encode())
    assert board.flash.read_bytes().count(PASSWORD.encode()) >= 3
    status, _, error = run(board, "unprovision", "--yes")
    assert (status, error) == (0, "")
    board.kill()
    assert PASSWORD.encode() not in board.flash.read_bytes()


# What goes wrong with the cable


def pulled(board: VirtualBoard, pattern: str, since: int) -> threading.Thread:
    """Pulls the board's plug when it prints `pattern`."""

    def pull() -> None:
        board.wait_for(re.compile(pattern), PATIENCE, since=since)
        board.stop()

    thread = threading.Thread(target=pull)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (("status",), r"raw REPL"),
        (("config", "set", "interval=600"), r"otalink> \('setting',[^$]*otalink: ready"),
        (("config", "set", "interval=600"), r"otalink> \('setting',[^$]*otalink: ready[^$]*otalink> \('states'"),
        (("rollback", "--yes"), r"otalink> \('reverting'"),
        (("unprovision", "--yes"), r"otalink> \('removed', '/.otalink/log'"),
        (("unprovision", "--yes"), r"otalink> \('filled', 163840"),
    ],
)
def test_a_board_that_is_pulled_in_mid_command_is_one_line_and_the_command_again_mends_it(
    images: Images, power_on, run, arguments: tuple[str, ...], pattern: str
) -> None:
    board = power_on(images.updated)
    board.wait_for("runs two")
    thread = pulled(board, pattern, board.mark())
    status, _, error = run(board, *arguments)
    thread.join()
    assert (status, Path(board.directory, "tty").exists()) == (1, False), error
    mark = board.mark()
    board.start()
    board.wait_for(re.compile("runs (one|two)"), since=mark)
    status, _, error = run(board, *arguments)
    if "went back from" in error:  # the one that was pulled had come so far
        assert arguments[0] == "rollback"
        assert shown(run(board, "status")[1], "application") == ["thermostat 1.0.0.1"]
        return
    assert (status, error) == (0, "")
    board.kill()
    assert not [name for name in board.names() if name.endswith("ota-new")]
    if arguments[0] == "unprovision":
        assert not [secret for secret in SECRETS if secret.encode() in board.flash.read_bytes()]
    if arguments[0] == "config":
        board.start()
        assert settings_on(board)["interval"] == 600


def test_a_board_that_loses_its_power_behind_a_usb_chip_of_its_own_is_one_line(
    images: Images, power_on, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = power_on(images.flashed)
    board.wait_for("runs one")
    # Its port stays, and nothing comes from it any more.
    monkeypatch.setattr(attached, "Cable", functools.partial(Cable, timeout=1))
    thread = threading.Thread(
        target=lambda mark: board.wait_for("('boot'", PATIENCE, since=mark) and board.kill(), args=(board.mark(),)
    )
    thread.start()
    status, _, error = run(board, "status")
    thread.join()
    assert status == 1
    assert error.endswith("did not answer in 1 s: press its reset button, try again\n")
    board.start()
    assert run(board, "config", "get", "user") == (0, "board\n", "")


@pytest.mark.parametrize("command", [("status",), ("rollback", "--yes"), ("config", "get"), ("unprovision", "--yes")])
def test_no_board_and_one_that_does_not_answer_are_one_line(
    run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(attached, "Cable", functools.partial(Cable, entry_timeout=0.5))
    monkeypatch.setattr("otalink_host.cable._LISTEN", 0.2)
    assert main([*command, "--port", "/dev/none"]) == 1
    assert capsys.readouterr().err == "otalink: /dev/none: there is no such port: is the board plugged in?\n"
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    assert main([*command]) == 1
    assert capsys.readouterr().err.startswith("otalink: no board is connected: plug one in")
    master, slave = os.openpty()
    try:
        assert main([*command, "--port", os.ttyname(slave)]) == 1
        assert re.fullmatch(r"otalink: /dev/\S+: nothing answers there: .*\n", capsys.readouterr().err)
    finally:
        os.close(master)
        os.close(slave)
