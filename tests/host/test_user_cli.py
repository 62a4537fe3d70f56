"""`otalink user`: what it says, what it writes, and that a password is nowhere that it should not be."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink_host import certificates
from otalink_host.accounts import create_server_folder, load_hashes, load_passwords
from otalink_host.cli import main
from otalink_host.passwords import verify
from otalink_host.settings import Account, Settings, load_settings

# Gives (exit status, stdout, stderr).
Run = Callable[..., tuple[int, str, str]]
CONFIG = Path("otalink.toml")
OTALINK = Path(sys.executable).with_name("otalink")
MINE = "a password of mine"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `otalink user` in a server's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTALINK_PASSWORD", raising=False)
    create_server_folder(Path())
    Path("beta").mkdir()
    CONFIG.write_text(CONFIG.read_text() + '\n[channels]\nstable = "releases"\nbeta = "beta"\n')

    def user(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["user", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return user


def settings() -> Settings:
    return load_settings(CONFIG)


def account(name: str) -> Account:
    return next(each for each in settings().accounts if each.name == name)


def shown(out: str) -> str:
    """The password that is printed."""
    found = re.search(r"^Its password, which is shown this once: (\S+)$", out, re.MULTILINE)
    assert found is not None
    return found[1]


def one_line(error: str) -> str:
    assert error.startswith("otalink: ")
    assert error.count("\n") == 1
    return error.rstrip("\n")


def test_a_board_is_added_with_a_password_that_is_shown_once_and_kept_for_flashing(run: Run) -> None:
    status, out, error = run("add", "shop-1", "--folder", "releases")
    assert (status, error) == (0, "")
    password = shown(out)
    assert len(password) == 22
    assert out.startswith("Added shop-1 to otalink.toml, as a board.\n")
    assert out.endswith("It is in otalink.secrets as well, for `otalink flash`.\n")
    assert account("shop-1") == Account("shop-1", Path("releases"))
    assert verify(load_hashes(settings())["shop-1"], password)
    assert load_passwords(settings())["shop-1"] == password
    for path in (CONFIG, Path("otalink.hashes")):
        assert password not in path.read_text()


def test_without_a_place_an_account_sees_the_only_folder_there_is(run: Run) -> None:
    assert run("add", "shop-1")[0] == 0
    assert account("shop-1").folder == Path("releases")
    run("add", "shop-2", "--folder", "beta")
    status, _, error = run("add", "shop-3")
    assert status == 1
    assert one_line(error).endswith("otalink.toml has several folders: say which with --folder or --channel")


def test_a_publisher_is_added_with_all_that_an_account_may_have(run: Run) -> None:
    options = "--role publisher --channel stable --channel beta --virtual-path /x --tls full"
    networks = ("--network", "192.168.0.0/16", "--network", "fd00::/8")
    status, _, error = run("add", "ci", *options.split(), *networks)
    assert status == 1
    assert "needs a section [tls], whose mode is not off" in error
    certificates.create(settings(), ["localhost"])
    status, out, error = run("add", "ci", *options.split(), *networks)
    assert (status, error) == (0, "")
    password = shown(out)
    found = account("ci")
    assert found.mounts == {"/x/stable": Path("releases"), "/x/beta": Path("beta")}
    assert (found.role, found.tls, [str(network) for network in found.networks]) == (
        "publisher",
        "full",
        ["192.168.0.0/16", "fd00::/8"],
    )
    # It is nowhere but on this screen.
    assert not any(password in path.read_text() for path in Path().iterdir() if path.is_file())
    assert verify(load_hashes(settings())["ci"], password)
    lines = run("list")[1].splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["NAME", "ROLE", "SEES", "TLS", "NETWORKS", "STATE"],
        ["board", "board", "/", "=", "releases", "no", "any", "enabled"],
    ]
    assert re.fullmatch(
        r"ci +publisher +/x/stable = releases, /x/beta = beta +full +192\.168\.0\.0/16, fd00::/8 +enabled *", lines[2]
    )


def test_one_channel_is_written_as_one(run: Run) -> None:
    run("add", "shop-1", "--channel", "beta")
    assert 'channel = "beta"\n' in CONFIG.read_text()
    assert account("shop-1").mounts == {"/": Path("beta")}


def test_a_scripts_password_comes_by_the_environment_or_a_descriptor(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, MINE.encode() + b"\nmore\n")
    os.close(writer)
    assert_mine(*run("passwd", "board", "--password-fd", str(reader)))
    run("passwd", "board")
    monkeypatch.setenv("OTALINK_PASSWORD", MINE)
    assert_mine(*run("passwd", "board"))


def assert_mine(status: int, out: str, error: str) -> None:
    assert (status, error) == (0, "")
    assert out.startswith("board has another password.\n")
    assert MINE not in out
    assert verify(load_hashes(settings())["board"], MINE)
    assert load_passwords(settings())["board"] == MINE


def test_a_password_is_asked_for_twice_and_not_shown(run: Run) -> None:
    terminal, other = pty.openpty()
    try:
        with subprocess.Popen(
            [OTALINK, "user", "passwd", "board", "--ask"],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        ) as process:
            os.close(other)
            shown = b""
            for prompt in (b"Password of board", b"Repeat"):
                # The space comes once the terminal shows nothing that is typed.
                while prompt not in shown or not shown.endswith(b": "):
                    shown += os.read(terminal, 1000)
                os.write(terminal, MINE.encode() + b"\n")
            while b"needs it, too" not in shown:
                shown += os.read(terminal, 1000)
            assert process.wait(10) == 0
    finally:
        os.close(terminal)
    assert MINE.encode() not in shown
    assert verify(load_hashes(settings())["board"], MINE)


def test_without_a_terminal_nobody_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    status, _, error = run("passwd", "board", "--ask")
    assert status == 1
    assert one_line(error) == (
        "otalink: there is no terminal to ask on: give it by --password-fd or in OTALINK_PASSWORD"
    )


@pytest.mark.parametrize("password", ["short", "", "x" * 129, "with a\ttab in it"])
def test_a_password_that_is_none_is_one_line_that_does_not_hold_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("OTALINK_PASSWORD", password)
    before = load_hashes(settings())
    status, out, error = run("passwd", "board")
    assert (status, out) == (1, "")
    assert one_line(error) == "otalink: the password of board must be text of 8 to 128 printable characters"
    assert load_hashes(settings()) == before


def test_another_password_for_a_board_says_that_the_board_needs_it(run: Run) -> None:
    before = load_passwords(settings())["board"]
    _, out, _ = run("passwd", "board")
    assert load_passwords(settings())["board"] == shown(out) != before
    assert "A board that logs in as board needs it, too: `otalink flash`, or `otalink config set password`." in out
    # A server's machine that flashes no boards keeps none.
    Path("otalink.secrets").unlink()
    _, out, _ = run("passwd", "board")
    assert "otalink.secrets" not in out
    assert not Path("otalink.secrets").exists()


def test_an_account_is_disabled_enabled_and_removed(run: Run) -> None:
    run("add", "shop-1")
    assert run("disable", "shop-1")[1] == (
        "shop-1 does not log in any more: `otalink user enable shop-1` lets it again.\n"
    )
    assert account("shop-1").disabled
    assert run("list")[1].splitlines()[2].split()[-1] == "disabled"
    assert run("enable", "shop-1")[1] == "shop-1 may log in.\n"
    assert not account("shop-1").disabled
    assert run("remove", "shop-1")[1] == "Removed shop-1 from otalink.toml, and its password.\n"
    assert [each.name for each in settings().accounts] == ["board"]
    status, _, error = run("remove", "board")
    assert (status, one_line(error)[:34]) == (1, "otalink: board is the only account")


def test_an_account_without_a_hash_is_listed_as_such(run: Run) -> None:
    Path("otalink.hashes").unlink()
    assert run("list")[1].splitlines()[1].split()[-2:] == ["no", "password"]


@pytest.mark.parametrize("command", ["passwd", "remove", "disable", "enable"])
def test_an_account_that_is_not_there_is_one_line(run: Run, command: str) -> None:
    before = CONFIG.read_bytes()
    status, out, error = run(command, "shop-9")
    assert (status, out) == (1, "")
    assert one_line(error) == "otalink: otalink.toml has no account shop-9: it has board"
    assert CONFIG.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("board", "there is an account board: choose another name, or `otalink user passwd board`"),
        ("a/b", "no account can be called 'a/b': it must be 1 to 32 letters, digits"),
        ("shop-1 --folder nowhere", "there is no folder nowhere: make it with: mkdir nowhere"),
        ("shop-1 --channel best", "otalink.toml has no channel best: it has stable, beta"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_changes_nothing(run: Run, arguments: str, said: str) -> None:
    before = [Path(name).read_bytes() for name in ("otalink.toml", "otalink.hashes", "otalink.secrets")]
    status, out, error = run("add", *arguments.split())
    assert (status, out) == (1, "")
    assert said in one_line(error)
    assert [Path(name).read_bytes() for name in ("otalink.toml", "otalink.hashes", "otalink.secrets")] == before


@pytest.mark.parametrize(
    "arguments",
    [
        "x --role root",
        "x --tls yes",
        "x --network 192.168.0.1/16",
        "x --virtual-path up",
        "x --folder releases --channel beta",
        "",
    ],
)
def test_a_wrong_command_line_has_status_2(run: Run, arguments: str) -> None:
    status, _, error = run("add", *arguments.split())
    assert status == 2
    assert "Error" in error


@pytest.mark.parametrize("command", ["add", "passwd", "list", "remove", "disable", "enable"])
def test_each_command_has_help_with_an_example(run: Run, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"Example: otalink user {command}" in out


def test_settings_with_accounts_in_another_form_are_left_to_a_person(run: Run) -> None:
    CONFIG.write_text('account = [{name = "board", folder = "releases"}, {name = "b", folder = "releases"}]\n')
    status, _, error = run("add", "shop-1")
    assert status == 1
    assert one_line(error).startswith("otalink: otalink.toml: this is not TOML")
    # What can be changed there is.
    assert run("disable", "b")[0] == 0
    assert account("b").disabled


def test_a_release_is_not_built_into_any_of_the_channels_that_boards_read(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("add", "ci", "--role", "publisher", "--channel", "stable", "--channel", "beta")
    (tmp_path / "application").mkdir()
    (tmp_path / "application" / "main.py").write_text("")
    (tmp_path / "application" / "thermostat_1.0.0.1.py").write_text("")
    keys = ("--unsigned", "--keys", str(tmp_path / "keys"))
    for folder in ("releases", "beta"):
        assert main(["release", "build", str(tmp_path / "application"), "--output", folder, *keys]) == 1
        assert f"boards fetch from {folder}: build it elsewhere" in capsys.readouterr().err
