"""What is known and shown of a board at the cable, without one: what scripts said, settings, wrong command lines."""

import json
import os
import stat
from pathlib import Path

import pytest

from otalink_host.attached import Release, Status, Update, parse_lines, parse_status
from otalink_host.attached_cli import describe
from otalink_host.board_secrets import forget_board, load_board_secrets
from otalink_host.board_settings import (
    check_link,
    check_settings,
    masked,
    parse_settings,
    references,
    secrets_in,
    value_of,
    with_value,
    without,
)
from otalink_host.cli import main
from otalink_host.errors import UserError

DIGEST = "0" * 64
HEAD = [b"otalink-plan 1\n", b"name thermostat\n", b"version 1.0.0.2\n"]
OLD = [b"otalink 1 99\n", b"name thermostat\n", b"version 1.0.0.1\n"]
IS = ("is", "micropython", "3.4.0; MicroPython v1.28.0 on 2026-04-06", "esp32", "ESP32 board", 2822, "a0b1", 1, 90000)
SETTINGS = {"name": "thermostat", "host": "192.168.1.10", "password": "of-the-account"}


def answer(*lines: tuple[object, ...], settings: object = SETTINGS) -> str:
    """What a board prints that says this beside what each one says."""
    content = settings if isinstance(settings, bytes) else json.dumps(settings).encode()
    every = [
        (*IS[:7], "PWRON_RESET", 90000),
        ("flash", 4096, 512, 100),
        ("fat", False),
        ("otalink", "0.1.0", ".frozen/otalink"),
        ("states", ["installed"]),
        ("boot", ["try:", "import otaguard", "otaguard.boot()"]),
        ("settings", len(content)),
        ("setting", content[:20]),
        ("setting", content[20:]),
    ]
    told = [line for line in every if line[0] not in [other[0] for other in lines]] + list(lines)
    return "boot.py says hello\n" + "".join(f"\notalink> {line!r}\n" for line in told)


def status(*lines: tuple[object, ...], settings: object = SETTINGS) -> Status:
    return parse_status("COM3", list(parse_lines(answer(*lines, settings=settings))))


def test_what_a_board_says_is_told_from_what_else_it_prints() -> None:
    text = "otalink: ready\nnoise\notalink> ('a', 1)\notalink> ('b', b'\\xff', [None])\notalink> ('c', \notalink> 5\n"
    assert list(parse_lines(text)) == [("a", (1,)), ("b", (b"\xff", [None]))]


def test_a_board_where_all_is_well_has_no_fault() -> None:
    found = status(("head", "/.otalink/installed", OLD), ("equal", "a.py"), ("equal", "b/c.mpy"), ("whole",))
    assert found.faults == []
    assert (found.micropython, found.bytecode, found.files) == ("v1.28.0", "6.3", 2)
    assert (found.flash_total, found.flash_free) == (2097152, 409600)
    assert found.update == Update("none", None, Release("thermostat", "1.0.0.1"), None, None, None, None)
    assert found.settings == {**SETTINGS, "password": "***"}
    lines = describe(found, 5)
    assert ("otalink", "0.1.0, frozen into the firmware") in lines
    assert ("last reset", "pwron") in lines
    assert ("server", "192.168.1.10:21, folder /, as anonymous") in lines


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["installed", "installed.ota-old", "trial-2", "confirmed"], ("trial", 2, "on_trial", "kept")),
        (["installed", "installed.ota-old", "confirmed"], ("confirmed", None, "kept")),
        (["installed", "reverted"], ("reverted", None, "failed")),
        (["installed", "installed.ota-old", "forgetting"], ("forgetting", None)),
        (["installed", "broken"], ("broken", None)),
        (["incoming", "installed"], ("none", None, "incoming")),
    ],
)
def test_the_name_of_the_plan_is_the_state(states: list[str], expected: tuple[object, ...]) -> None:
    heads = [("head", f"/.otalink/{name}", OLD if name == "installed.ota-old" else HEAD) for name in states]
    update = status(("states", states), *heads).update
    there = [name for name in ("on_trial", "kept", "failed", "incoming") if getattr(update, name) is not None]
    assert (update.state, update.boot, *there) == expected
    if update.kept is not None:
        assert update.kept == Release("thermostat", "1.0.0.1")


@pytest.mark.parametrize(
    ("lines", "settings", "fault"),
    [
        ((("changed", "a"), ("changed", "b"), ("changed", "c"), ("changed", "d"), ("whole",)), SETTINGS,
         "not as it was installed: a, b, c, ...: flash it again"),
        ((("missing", "a"), ("damaged",)), SETTINGS, "the record of what is installed is damaged: flash it again"),
        ((("no record",),), SETTINGS, "no release is recorded: flash it again"),
        ((("hidden", "a.mpy"), ("whole",)), SETTINGS, "a.py hides a.mpy: remove it"),
        ((("boot", []), ("whole",)), SETTINGS, "/boot.py does not call the boot guard: flash it again"),
        ((("guard", "otaswap.py", ""), ("whole",)), SETTINGS, "the boot guard is not whole: flash it again"),
        ((("fat", True), ("whole",)), SETTINGS, "its flash is FAT, on which it will not update: format it as littlefs"),
        ((("settings", None), ("setting", b""), ("whole",)), SETTINGS,
         "it has no /otalink.json: make it with `otalink flash`, or with `otalink config set`"),
        ((("whole",),), b"[]", "/otalink.json on the board is no JSON object: put otalink on it again with "
         "`otalink flash`"),
        ((("whole",),), b"\xff", "/otalink.json on the board is no JSON: put otalink on it again with `otalink flash`"),
        ((("whole",),), {"name": "x"}, "the board's settings: host is missing"),
    ],
)  # fmt: skip
def test_each_fault_is_said_with_what_to_do(
    lines: tuple[tuple[object, ...], ...], settings: object, fault: str
) -> None:
    assert fault in status(*lines, settings=settings).faults


def test_what_only_a_newer_otalink_knows_is_no_fault() -> None:
    assert status(("whole",), settings={**SETTINGS, "channel": "beta"}).faults == []


def test_without_otalink_that_alone_is_said() -> None:
    lines = list(parse_lines(answer(("no otalink", "ImportError: no module named 'otalink'"), ("settings", None))))
    found = parse_status("COM3", [line for line in lines if line[0] != "otalink"])
    assert found.faults == ["otalink is not on the board: put it there with `otalink flash`"]
    assert describe(found, 5)[-1] == ("otalink", "otalink is not on the board")


def test_what_is_not_micropython_or_breaks_off_is_refused() -> None:
    with pytest.raises(UserError, match="COM3: it runs circuitpython, and otalink needs MicroPython"):
        status(("is", "circuitpython", *IS[2:]))
    with pytest.raises(
        UserError, match=r"does not answer as MicroPython does \(no flash\): run the same command again"
    ):
        parse_status("COM3", list(parse_lines(answer().partition("\notalink> ('flash'")[0])))


# Settings


def test_secrets_are_masked_wherever_they_stand() -> None:
    settings = {
        "password": "a",
        "wifi": [{"ssid": "s", "password": "b"}],
        "link": {"secret": "c", "board": "d"},
        "ap.password": "e",
        "other": {"password": {"deep": "f"}},
        "user": "g",
    }
    assert masked(settings) == {
        "password": "***",
        "wifi": [{"ssid": "s", "password": "***"}],
        "link": {"secret": "***", "board": "d"},
        "ap.password": "***",
        "other": {"password": "***"},
        "user": "g",
    }


def test_a_value_that_the_board_keeps_elsewhere_is_no_secret() -> None:
    settings = {"password": {"nvs": "otalink/password"}, "wifi": {"ssid": "s", "password": {"nvs": "otalink/wifi"}}}
    assert masked(settings) == settings
    assert references(settings) == [("otalink", "password"), ("otalink", "wifi")]
    assert secrets_in(settings["password"], "password") == []
    assert secrets_in({"ssid": "s", "password": "x"}, "wifi") == ["wifi.password"]


def test_one_value_is_changed_and_the_rest_and_the_original_stay() -> None:
    before = {"name": "thermostat", "wifi": {"ssid": "shop"}}
    assert with_value(before, "wifi.password", "x") == {"name": "thermostat", "wifi": {"ssid": "shop", "password": "x"}}
    assert with_value(before, "link.port", 4) == {**before, "link": {"port": 4}}
    assert without(before, "wifi.ssid") == {"name": "thermostat", "wifi": {}}
    assert value_of(before, "wifi") == {"ssid": "shop"}
    assert before == {"name": "thermostat", "wifi": {"ssid": "shop"}}
    with pytest.raises(UserError, match=r"has no wifi\.sid: did you mean ssid\?"):
        value_of(before, "wifi.sid")


def test_settings_that_are_no_object_are_refused_without_what_they_hold() -> None:
    for content in (b'{"password": "secret-of-mine"', b'"secret-of-mine"', b"\xffsecret-of-mine"):
        with pytest.raises(UserError) as refusal:
            parse_settings(content)
        assert "secret-of-mine" not in str(refusal.value)


def test_an_unknown_setting_is_a_slip_unless_it_was_there() -> None:
    settings = {"name": "x", "host": "x", "chanel": 1}
    with pytest.raises(UserError, match="'chanel' is not known"):
        check_settings(settings)
    check_settings(settings, ["chanel"])


def test_a_link_is_checked_but_for_what_lies_on_the_board() -> None:
    check_link({})
    check_link({"link": {"host": "x", "ca": "/ca.der", "server_name": "x", "secret": {"nvs": "otalink/link"}}})
    for link, line in (
        ({"host": "x", "prot": 1}, "no option prot"),
        ({"host": "x", "port": 0}, "port must be"),
        (5, "object"),
    ):
        with pytest.raises(UserError, match=line):
            check_link({"link": link})


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("set", "password=abc"), 2, "password is a secret"),
        (("set", 'wifi={"ssid": "x", "password": "y"}'), 2, "wifi.password is a secret"),
        (("set", "interval"), 2, "say what it is to be"),
        (("set", "keys={}"), 2, "the keys are given by"),
        (("set", "keys.x=1"), 2, "the keys are given by"),
        (("unset", "keys"), 2, "the keys are given by"),
        (("set", "password"), 1, "password needs a value: give it by --from-fd or in OTALINK_VALUE"),
        (("set", "password", "--from-fd", "97"), 1, "file descriptor 97 gives no value"),
    ],
)
def test_a_wrong_command_line_is_refused_before_a_board_is_looked_for(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, line: str
) -> None:
    assert main(["config", *arguments, "--port", "/dev/none"]) == status
    printed = " ".join(capsys.readouterr().err.replace("\u2502", " ").split())
    assert line in printed
    assert "abc" not in printed


def test_an_empty_value_and_one_for_two_secrets_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTALINK_VALUE", "")
    assert main(["config", "set", "password", "--port", "/dev/none"]) == 1
    assert "the value for password is empty" in capsys.readouterr().err
    assert main(["config", "set", "password", "wifi.password", "--port", "/dev/none"]) == 1
    assert "password and wifi.password need one each" in capsys.readouterr().err


# boards.secrets


def test_a_board_is_forgotten_and_the_other_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "boards.secrets"
    path.touch(mode=0o600)
    path.write_text('# ours\n[board]\nshop-1 = "12345678"\n# of the shop 2\n"shop 2" = "abcdefgh" # here\n')
    assert forget_board(path, "shop 2")
    assert path.read_text() == '# ours\n[board]\nshop-1 = "12345678"\n# of the shop 2\n'
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not forget_board(path, "shop 2")
    assert forget_board(path, "shop-1")
    assert load_board_secrets(path) == {}
    assert list(tmp_path.iterdir()) == [path]


def test_a_board_whose_line_cannot_be_told_is_left_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "boards.secrets"
    path.touch(mode=0o600)
    text = 'board = {shop-1 = "12345678", shop-2 = "abcdefgh"}\n'
    path.write_text(text)
    with pytest.raises(UserError, match="shop-1 does not stand in a line of its own: remove it by hand"):
        forget_board(path, "shop-1")
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]
