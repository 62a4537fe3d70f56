"""The kinds of board: what a board.toml may say, which one a board is, and how they are shown."""

import ast
import re
from pathlib import Path

import pytest

from otalink_host.boards import EspImage, Uf2Image, board_named, load_boards, recognise
from otalink_host.cli import main
from otalink_host.errors import UserError

ROOT = Path(__file__).parents[2]
BOARDS = load_boards()
GOOD = """\
name = "MY_BOARD"
title = "a board of mine"
port = "esp32"
platform = "esp32"
machines = ["My board"]
arch = "xtensawin"
usb = ["303A:1001"]
filesystem = "littlefs"
flash_size = 0x800000
filesystem_size = 0x600000
network = ["ethernet"]
verified = "with MicroPython 1.26.1"

[image]
kind = "esptool"
files = "MY_BOARD-*.bin"
chip = "esp32s3"
chip_id = 9
offset = 0

[heap]
free = 100000
stand_in = "140k"

[watchdog]
min = 1
max = 1000
"""
# The section in which each key of it stands.
SECTIONS = {
    key: section
    for section, body in re.findall(r"(?s)(?:^\[(\w+)\]|\A)(.*?)(?=^\[\w+\]$|\Z)", GOOD, re.MULTILINE)
    for key in re.findall(r"^(\w+) =", body, re.MULTILINE)
}
UF2 = 'kind = "uf2"\nfiles = "x"\nfamilies = [1]\nboard_id = "X"\noffset = 0\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder of boards, with one."""
    (tmp_path / "MY_BOARD").mkdir()
    (tmp_path / "MY_BOARD" / "board.toml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def refusal(folder: Path, text: str) -> str:
    path = folder / "MY_BOARD" / "board.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load_boards(folder)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line[len(str(path)) :]


# The packaged boards


def test_these_are_the_packaged_boards() -> None:
    assert list(BOARDS) == [
        "ESP32_GENERIC",
        "ESP32_GENERIC_C3",
        "ESP32_GENERIC_S3",
        "ESP8266_GENERIC",
        "RPI_PICO2_W",
        "RPI_PICO_W",
        "UNIX",
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_each_has_a_manifest_that_includes_otalinks(name: str) -> None:
    board = BOARDS[name]
    included = re.findall(r'^include\("(.*)"\)$', board.manifest.read_text(encoding="utf-8"), re.MULTILINE)
    assert included[0].startswith(("$(PORT_DIR)/", "$(BOARD_DIR)/"))
    assert (board.folder / included[1]).resolve() == ROOT / "firmware" / "manifest.py"
    assert len(included) == 2


def test_none_is_said_to_be_verified_on_hardware() -> None:
    assert {name for name, board in BOARDS.items() if board.verified is not None} == {"UNIX"}
    assert BOARDS["ESP32_GENERIC"].state == "not verified on hardware"


def test_the_esp8266_is_not_supported_and_why_is_said() -> None:
    board = BOARDS["ESP8266_GENERIC"]
    assert not board.supported
    assert board.reason is not None
    assert "does not fit" in board.reason
    assert "\n" not in board.reason
    assert all(board.supported for name, board in BOARDS.items() if name != "ESP8266_GENERIC")


def test_updates_are_safe_on_each_file_system() -> None:
    assert {board.filesystem for board in BOARDS.values()} == {"littlefs"}


def test_an_rp2040_watchdog_ends_before_one_of_an_rp2350() -> None:
    assert BOARDS["RPI_PICO_W"].watchdog == (1, 8388)
    assert BOARDS["RPI_PICO2_W"].watchdog == (1, 16777)


def test_no_code_knows_a_board_by_its_name() -> None:
    known = [
        f"{path.name}:{node.lineno}: {node.value}"
        for folder in ("host", "firmware")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in BOARDS
    ]
    assert known == []


# Which board it is


@pytest.mark.parametrize(
    ("platform", "build", "machine", "name"),
    [
        ("esp32", "ESP32_GENERIC", "Generic ESP32 module with ESP32", "ESP32_GENERIC"),
        ("esp32", "ESP32_GENERIC-SPIRAM", "Generic ESP32 module with SPIRAM with ESP32", "ESP32_GENERIC"),
        ("esp32", "ESP32_GENERIC_S3-SPIRAM_OCT", "whatever", "ESP32_GENERIC_S3"),
        # MicroPython before 1.25 has no build, and long before another name.
        ("esp32", None, "Generic ESP32 module with ESP32", "ESP32_GENERIC"),
        ("esp32", None, "Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "ESP32_GENERIC_S3"),
        ("esp32", None, "ESP32 module with ESP32", "ESP32_GENERIC"),
        ("esp32", None, "ESP32C3 module with ESP32C3", "ESP32_GENERIC_C3"),
        ("rp2", None, "Raspberry Pi Pico W with RP2040", "RPI_PICO_W"),
        ("rp2", None, "Raspberry Pi Pico 2 W with RP2350", "RPI_PICO2_W"),
        ("rp2", "RPI_PICO2_W-RISCV", "Raspberry Pi Pico 2 W with RP2350-RISCV", "RPI_PICO2_W"),
        ("esp8266", None, "ESP module (1M) with ESP8266", "ESP8266_GENERIC"),
        ("linux", "standard", "linux [GCC 14.2.1] version", "UNIX"),
        ("darwin", "standard", "darwin [Clang] version", "UNIX"),
        # A firmware of one's own, on a board that is known.
        ("esp32", "MINE", "Generic ESP32 module with ESP32", "ESP32_GENERIC"),
        # What is none of them.
        ("rp2", "RPI_PICO", "Raspberry Pi Pico with RP2040", None),
        ("esp32", None, "Generic ESP32S2 module with ESP32S2", None),
        ("rp2", "ESP32_GENERIC", "Generic ESP32 module", None),
        ("stm32", None, "PYBv1.1 with STM32F405RG", None),
    ],
)
def test_a_board_is_recognised(platform: str, build: str | None, machine: str, name: str | None) -> None:
    found = recognise(BOARDS, platform, build, machine)
    assert (found.name if found else None) == name


def test_a_variant_may_have_a_folder_of_its_own(folder: Path) -> None:
    text = GOOD.replace('"MY_BOARD"', '"ESP32_GENERIC-SPIRAM"')
    (folder / "MY_BOARD").rename(folder / "ESP32_GENERIC-SPIRAM")
    (folder / "ESP32_GENERIC-SPIRAM" / "board.toml").write_text(text, encoding="utf-8")
    boards = load_boards(folder)
    for build, name in (("ESP32_GENERIC-SPIRAM", "ESP32_GENERIC-SPIRAM"), ("ESP32_GENERIC-OTA", "ESP32_GENERIC")):
        found = recognise(boards, "esp32", build, "Generic ESP32 module with ESP32")
        assert found is not None
        assert found.name == name


def test_the_longest_beginning_of_the_machines_name_decides(folder: Path) -> None:
    path = folder / "MY_BOARD" / "board.toml"
    path.write_text(GOOD.replace('["My board"]', '["Generic ESP32 module with SPIRAM"]'), encoding="utf-8")
    found = recognise(load_boards(folder), "esp32", None, "Generic ESP32 module with SPIRAM with ESP32")
    assert found is not None
    assert found.name == "MY_BOARD"


# A user's own


def test_a_users_board_comes_on_top(folder: Path) -> None:
    boards = load_boards(folder)
    assert set(boards) == {*BOARDS, "MY_BOARD"}
    board = boards["MY_BOARD"]
    assert board.folder == folder / "MY_BOARD"
    assert board.usb == ((0x303A, 0x1001),)
    assert board.image == EspImage("MY_BOARD-*.bin", "esp32s3", 9, 0)
    assert board.state == "verified with MicroPython 1.26.1"
    assert board.notes == ()


def test_a_users_board_wins_over_a_packaged_one(folder: Path) -> None:
    (folder / "MY_BOARD").rename(folder / "RPI_PICO_W")
    (folder / "RPI_PICO_W" / "board.toml").write_text(GOOD.replace('"MY_BOARD"', '"RPI_PICO_W"'), encoding="utf-8")
    assert load_boards(folder)["RPI_PICO_W"].title == "a board of mine"
    assert BOARDS["RPI_PICO_W"].title == "Raspberry Pi Pico W"


def test_what_a_board_need_not_have(folder: Path) -> None:
    text = re.sub(r"(?s)\[image\].*(\[heap\].*)\[watchdog\].*", r"\1", GOOD)
    text = text.replace('verified = "with MicroPython 1.26.1"', 'verified = false\nsupported = false\nreason = "so"')
    (folder / "MY_BOARD" / "board.toml").write_text(text, encoding="utf-8")
    board = load_boards(folder)["MY_BOARD"]
    assert (board.image, board.watchdog, board.verified, board.reason) == (None, None, None, "so")
    assert board.state == "not supported: see otalink boards MY_BOARD"


def test_a_uf2_board(folder: Path) -> None:
    text = re.sub(r"(?s)\[image\].*(\[heap\])", "[image]\n" + UF2 + r"\n\1", GOOD)
    (folder / "MY_BOARD" / "board.toml").write_text(text, encoding="utf-8")
    assert load_boards(folder)["MY_BOARD"].image == Uf2Image("x", (1,), "X", 0)


def test_a_folder_without_boards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no board: make one as "):
        load_boards(tmp_path)
    with pytest.raises(UserError, match="is no folder of boards"):
        load_boards(tmp_path / "missing")


@pytest.mark.parametrize("key", SECTIONS)
def test_a_key_that_is_missing(key: str, folder: Path) -> None:
    section = SECTIONS[key]
    text = re.sub(rf"(?m)^{key} = .*\n", "", GOOD)
    if key == "chip_id":  # images of an ESP8266 have none
        (folder / "MY_BOARD" / "board.toml").write_text(text, encoding="utf-8")
        assert load_boards(folder)["MY_BOARD"].image == EspImage("MY_BOARD-*.bin", "esp32s3", None, 0)
        return
    line = refusal(folder, text)
    if section:
        head = text.splitlines().index(f"[{section}]") + 1
        assert line == f":{head}: {key} in [{section}] is missing"
    else:
        assert line == f": {key} is missing"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", '"OTHER"', "the name of its folder, 'MY_BOARD'"),
        ("name", "1", "text in quotes"),
        ("title", '""', "text of one line"),
        ("title", r'"two\nlines"', "text of one line"),
        ("port", '"ESP 32"', "small letters, digits and _"),
        ("platform", "32", "text in quotes"),
        ("machines", '"My board"', "a list in [ ] of 1 or more"),
        ("machines", "[]", "a list in [ ] of 1 or more"),
        ("machines", "[1]", "text in quotes"),
        ("arch", '"sparc"', '"x86" or "x64" or '),
        ("usb", '["303a1001"]', "the ids of vendor and product in hexadecimal, such as 303a:1001"),
        ("usb", "0x303a", "a list in [ ] of 0 or more"),
        ("filesystem", '"ext4"', '"littlefs" or "fat"'),
        ("flash_size", '"4M"', "a whole number from 1 to 4294967295, without quotes"),
        ("flash_size", "0", "a whole number from 1 to 4294967295"),
        ("filesystem_size", "1.5", "a whole number from 1"),
        ("network", '["lora"]', '"wifi" or "ethernet" or "system"'),
        ("verified", "true", "false, or on what in quotes"),
        ("kind", '"dfu"', '"esptool" or "uf2"'),
        ("files", "7", "text in quotes"),
        ("chip", '"ESP32-S3"', "small letters, digits and _"),
        ("chip_id", "-1", "a whole number from 0 to 65535"),
        ("offset", '"0x1000"', "a whole number from 0 to 4294967295, without quotes"),
        ("free", '"100k"', "a whole number from 1"),
        ("stand_in", "128", "text in quotes"),
        ("stand_in", '"128"', "a number with k or m behind it, as in 128k"),
        ("min", "0", "a whole number from 1 to 2147483647"),
        ("max", "0", "a whole number from 1 to 2147483647"),
    ],
)
def test_a_value_that_is_wrong(key: str, value: str, said: str, folder: Path) -> None:
    text = re.sub(rf"(?m)^{key} = .*$", lambda match: f"{key} = {value}", GOOD)
    number = 1 + next(index for index, line in enumerate(text.splitlines()) if line.startswith(f"{key} ="))
    line = refusal(folder, text)
    assert line.startswith(f":{number}: {key} ")
    assert f"; allowed: {said}" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("heep = 1\n" + GOOD, ":1: heep is not known: did you mean heap?"),
        (GOOD.replace("chip_id", "chipid"), ":18: chipid in [image] is not known: did you mean chip_id?"),
        (GOOD.replace("free", "size"), ":22: size in [heap] is not known: known here: free, stand_in"),
        (GOOD + "step = 1\n", ":28: step in [watchdog] is not known: known here: min, max"),
        ("supported = 1\n" + GOOD, ":1: supported is 1; allowed: true or false, without quotes"),
        ("supported = false\n" + GOOD, ": reason is missing"),
        ('reason = "x"\n' + GOOD, ":1: reason is for a board with supported = false"),
        ("notes = [1]\n" + GOOD, ":1: notes is [1]; allowed: text in quotes"),
        (re.sub(r"(?s)\[image\].*(\[heap\])", r"image = 1\n\1", GOOD), ":14: image must be a section that begins"),
        (re.sub(r"(?s)\[image\].*(\[heap\])", f"[image]\n{UF2}chip_id = 1\n\\1", GOOD), ":20: chip_id in [image] is "),
        ("name =", ": this is not TOML: "),
    ],
)
def test_a_file_that_is_wrong(text: str, said: str, folder: Path) -> None:
    assert refusal(folder, text).startswith(said)


# How they are shown


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards"]) == 0
    lines = [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["NAME", "PLATFORM", "ARCH", "IMAGE", "NETWORK", "HEAP", "STATE"]
    shown = {line[0]: line[1:] for line in lines[1:]}
    assert list(shown) == list(BOARDS)
    assert shown["ESP32_GENERIC"] == [
        "esp32", "xtensawin", "esptool", "wifi, ethernet", "about 112 KiB", "not verified on hardware"
    ]  # fmt: skip
    assert shown["RPI_PICO_W"][2] == "uf2"
    assert shown["UNIX"][2] == "none"
    assert shown["ESP8266_GENERIC"][-1] == "not supported: see otalink boards ESP8266_GENERIC"


@pytest.mark.parametrize("name", BOARDS)
def test_all_about_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    board = BOARDS[name]
    assert main(["boards", name.lower()]) == 0
    shown = capsys.readouterr().out
    said = [name, board.title, board.arch, board.reason or board.state, f"{board.flash_size:,} bytes", *board.notes]
    assert [each for each in said if each not in shown] == []
    assert f"about {board.heap:,} bytes free, an estimate" in shown


def test_a_users_folder_is_shown_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards", "MY_BOARD", "--boards", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "esptool --chip esp32s3, to 0x0" in shown
    assert "verified with MicroPython 1.26.1" in shown


def test_a_board_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards", "RPI_PICO_X"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("otalink: there is no board RPI_PICO_X: known are ESP32_GENERIC, ")
    assert error.count("\n") == 1
    assert board_named(BOARDS, "unix").name == "UNIX"
