"""Many boards at once: `otalink flash --devices` and `--all`, on virtual boards, against `otalink serve`'s server."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from otalink_host import accounts, keys
from otalink_host.accounts import ChangedAccounts, load_passwords
from otalink_host.board_secrets import load_board_secrets
from otalink_host.cli import main
from otalink_host.errors import UserError
from otalink_host.ports import Port
from otalink_host.provision import Device, load_devices, match
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import load_settings
from otalink_host.vboard import VirtualBoard

COUNT = 3


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[list[VirtualBoard]]:
    with ExitStack() as stack:
        yield [stack.enter_context(VirtualBoard(tmp_path / f"board-{number}")) for number in range(COUNT)]


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FtpServer]:
    """A server as `otalink serve` runs it, in the current folder; it was started before any board had an account."""
    monkeypatch.chdir(tmp_path)
    accounts.create_server_folder(Path())
    config = Path("otalink.toml")
    settings = load_settings(config)
    with BackgroundServer(settings, reread=ChangedAccounts(settings, lambda _: None)) as running:
        text = config.read_text().replace('address = "0.0.0.0"', 'address = "127.0.0.1"')
        config.write_text(text.replace("port = 2121", f"port = {running.port}"))
        yield running


def settings_on(board: VirtualBoard) -> "dict[str, object]":
    found: dict[str, object] = json.loads(board.mpremote("fs", "cat", ":otalink.json"))
    return found


def write_list(*lines: str) -> Path:
    path = Path("shops.csv")
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.usefixtures("serving")
def test_each_board_gets_an_account_and_a_secret_of_its_own_and_those_that_failed_are_named(
    boards: list[VirtualBoard], release: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    keys.create(Path("keys"), "release")
    application = release("1.0.0.1", "one")
    first, second, third = boards
    write_list(
        "name, port, wifi_ssid, wifi_password, interval",
        f"shop-1, {first.pty}, shop, open sesame, 600",
        f"shop-2, {second.pty}, , , ",
        "shop-3, /dev/nowhere, , , ",
    )
    command = ["flash", str(application), "--devices", "shops.csv"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert re.search(r"^shop-1 +/dev/\S+ +[0-9a-f]{12} +flashed *$", printed.out, re.MULTILINE)
    assert re.search(r"^shop-3 +/dev/nowhere +/dev/nowhere: there is no such port", printed.out, re.MULTILINE)
    assert printed.err.startswith("otalink: 1 of 3 boards failed (the table says why): mend that, and run the same")
    # Each has looked on the server by its own account, which the server had not known when it started.
    for name in ("shop-1", "shop-2"):
        assert f"{name}: the board says: no release of thermostat on 127.0.0.1 in /" in printed.out
    values = [settings_on(board) for board in (first, second)]
    passwords = load_passwords(load_settings(Path("otalink.toml")))
    secrets = load_board_secrets(Path("boards.secrets"))
    for name, value in zip(("shop-1", "shop-2"), values, strict=True):
        link = value["link"]
        assert isinstance(link, dict)
        assert value["user"] == link["board"] == name
        assert value["password"] == passwords[name]
        assert link["secret"] == secrets[name]
        assert value["keys"] == keys.for_boards(keys.load_all(Path("keys")))
        for secret in (passwords[name], secrets[name]):
            assert secret not in printed.out + printed.err
    assert len({*passwords.values(), *secrets.values()}) == 2 + len(passwords)
    assert values[0]["wifi"] == {"ssid": "shop", "password": "open sesame"}
    assert "open sesame" not in printed.out + printed.err
    assert values[0]["interval"] == 600
    assert "wifi" not in values[1]
    # The cable of the third is plugged in; the others have all that they need.
    write_list("name,port", f"shop-1,{first.pty}", f"shop-2,{second.pty}", f"shop-3,{third.pty}")
    before = Path("otalink.secrets").read_text()
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "3 boards are flashed. Their peer is: otalink peer --secrets boards.secrets" in printed.out
    assert "shop-2: to send: 0 of " in printed.out
    assert settings_on(second)["password"] == passwords["shop-2"]
    assert Path("otalink.secrets").read_text().startswith(before)


@pytest.mark.usefixtures("serving")
def test_every_connected_board_is_called_by_its_unique_id(
    boards: list[VirtualBoard],
    release: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ports = [Port(board.pty, (0x303A, 0x1001), "", None) for board in boards[:2]]
    monkeypatch.setattr("otalink_host.ports.usb_ports", lambda: ports)
    application = release("1.0.0.1", "one")
    assert main(["flash", str(application), "--all", "--dry-run"]) == 0
    assert "2 boards are planned" in capsys.readouterr().out
    assert not Path("boards.secrets").exists()
    assert main(["flash", str(application), "--all"]) == 0
    capsys.readouterr()
    for board in boards[:2]:
        name = f"thermostat-{(board.directory / 'unique_id').read_text()}"
        assert settings_on(board)["user"] == name
    # Again, and each is what it was.
    assert main(["flash", str(application), "--all"]) == 0
    assert capsys.readouterr().out.count(": to send: 0 of ") == 2


def test_which_board_is_which(boards: list[VirtualBoard]) -> None:
    first, second, third = boards
    identities = [(board.directory / "unique_id").read_text() for board in boards]
    second.mpremote("exec", "with open('/otalink.json', 'w') as f: f.write('{\"link\": {\"board\": \"known\"}}')")
    devices = [Device("any"), Device("known"), Device("by-id", identity=identities[2]), Device("gone")]
    ports = [third.pty, second.pty, first.pty, "/dev/nowhere"]
    found = {each.device.name: each for each in match(devices, ports, "thermostat")}
    assert (found["any"].port, found["known"].port, found["by-id"].port) == (first.pty, second.pty, third.pty)
    assert found["gone"].why == "no board is left for it: connect it, or name its port in the list"
    assert found["?"].why is not None
    assert found["?"].why.startswith("/dev/nowhere: there is no such port")
    # A board that was made somebody else is not given away.
    found = {each.device.name: each for each in match([Device("other")], [second.pty], "thermostat")}
    assert found["other"].port is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "its first line must name the columns, and one of them must be name"),
        (("port,id", "a,b"), "its first line must name the columns, and one of them must be name"),
        (("name",), "names no device: write a line for each behind the first"),
        (("name", "a b"), ":2: name 'a b': it must be 1 to 32 letters"),
        (("name,port", "a,b,c"), ":2: it has more fields than the first line names"),
        (("name", "a", "a"), "name a comes twice: each line is a board of its own"),
        (("name,port", "a,x", "b,x"), "port x comes twice"),
        (("name,id", "a,xyz"), ":2: id 'xyz' is none: write the digits that `otalink status` shows"),
        (("name,wifi_password", "a,b"), ":2: there is a wifi_password and no wifi_ssid"),
    ],
)
def test_a_list_that_is_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_list(*lines)
    with pytest.raises(UserError) as caught:
        load_devices(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_with_passwords_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_list("name,wifi_ssid,wifi_password", "shop-1,shop,open sesame")
    path.chmod(0o644)
    with pytest.raises(UserError, match=r"^shops\.csv can be read by others: chmod 600 shops\.csv$"):
        load_devices(path)


def test_spreadsheets_write_a_mark_and_other_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("shops.csv")
    path.write_bytes(b'\xef\xbb\xbfname,port,id,folder\r\nshop-1,COM3,24:0A:C4:00:01:10,"/a, b"\r\n')
    assert load_devices(path) == [Device("shop-1", "COM3", "240ac4000110", {"folder": "/a, b"})]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("intervall", "5", "'intervall' is not known: did you mean interval?"),
        ("link", "peer", 'link must be an object, as in {"link": {"host": "192.168.0.10"}}'),
    ],
)
def test_a_setting_that_no_board_takes_is_told_before_a_board_is_touched(
    boards: list[VirtualBoard],
    release: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    setting: str,
    value: str,
    why: str,
) -> None:
    write_list(f"name,port,{setting}", f"shop-1,{boards[0].pty},{value}")
    mark = boards[0].mark()
    assert main(["flash", str(release("1.0.0.1", "one")), "--devices", "shops.csv"]) == 1
    assert capsys.readouterr().err == f"otalink: shops.csv: shop-1: the board's settings: {why}\n"
    assert boards[0].mark() == mark
