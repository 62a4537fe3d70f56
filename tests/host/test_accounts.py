"""The secrets file: who may read it, and what is said when it is wrong."""

import os
import stat
from pathlib import Path

import pytest

from otalink_host.accounts import (
    ChangedAccounts,
    add_account,
    create_server_folder,
    load_passwords,
    new_password,
    password_matches,
)
from otalink_host.errors import UserError
from otalink_host.settings import Account, Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings((Account("board", tmp_path),), secrets=tmp_path / "otalink.secrets")


def write(settings: Settings, text: str, mode: int = 0o600) -> None:
    assert settings.secrets is not None
    settings.secrets.write_text(text)
    settings.secrets.chmod(mode)


def complaint(settings: Settings) -> str:
    with pytest.raises(UserError) as error:
        load_passwords(settings)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_init_makes_a_password_that_only_its_owner_can_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        create_server_folder(tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "otalink.secrets").stat().st_mode) == 0o600
    password = load_passwords(load_settings(tmp_path / "otalink.toml"))["board"]
    assert len(password) == 22
    assert password not in (tmp_path / "otalink.toml").read_text()


def test_init_makes_another_password_each_time() -> None:
    passwords = {new_password() for _ in range(200)}
    assert len(passwords) == 200
    assert not any(password.startswith("-") for password in passwords)


@pytest.mark.parametrize("name", ["otalink.toml", "otalink.secrets"])
def test_init_overwrites_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"{name} is there already"):
        create_server_folder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_init_keeps_a_release_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "a.py").write_text("a")
    create_server_folder(tmp_path)
    assert (tmp_path / "releases" / "a.py").read_text() == "a"


def test_init_makes_the_folder_and_says_why_it_cannot(tmp_path: Path) -> None:
    create_server_folder(tmp_path / "new" / "server")
    assert (tmp_path / "new" / "server" / "releases").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        create_server_folder(tmp_path / "file" / "server")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secrets_file_that_others_can_read_is_refused(settings: Settings, mode: int) -> None:
    write(settings, '[password]\nboard = "x"\n', mode)
    assert complaint(settings).endswith(f"can be read by others: chmod 600 {settings.secrets}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it must hold one section, [password], and nothing else"),
        ('board = "x"\n', "it must hold one section"),
        ("[password]\n", 'there is no password for account board: add the line board = "…"'),
        ('[password]\nbord = "x"\n', "there is no password for account board: it has one for bord"),
        ('[password]\nboard = ""\n', "must be text of 1 to 128 printable characters"),
        ("[password]\nboard = 1234\n", "must be text of 1 to 128 printable characters"),
        ('[password]\nboard = "a\\nb"\n', "must be text of 1 to 128 printable characters"),
    ],
)
def test_a_wrong_secrets_file_is_one_line(settings: Settings, text: str, said: str) -> None:
    write(settings, text)
    assert said in complaint(settings)


def test_a_password_is_not_quoted_when_the_file_cannot_be_read(settings: Settings) -> None:
    write(settings, "[password]\nboard = hunter2\n")
    assert "this is not TOML" in complaint(settings)
    assert "hunter2" not in complaint(settings)


def test_no_secrets_file_says_how_to_make_one(settings: Settings) -> None:
    assert "make it, readable by you alone, with the lines [password] and board =" in complaint(settings)


def test_a_password_matches_itself_and_nothing_else() -> None:
    assert password_matches("pässwörd", "pässwörd")
    assert not password_matches("password", "Password")
    assert not password_matches("pass", "password")


def test_no_password_opens_an_account_that_is_not_there() -> None:
    assert not password_matches("", None)
    assert not password_matches("x", None)


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    """A server's folder, as `otalink init` makes it."""
    create_server_folder(tmp_path)
    return load_settings(tmp_path / "otalink.toml")


def test_an_account_that_is_added_has_the_folder_of_the_one_that_is_named(made: Settings) -> None:
    password = add_account(made, "shop-1", made.accounts[0])
    assert add_account(made, "shop-1", made.accounts[0]) == password
    assert made.path is not None
    found = load_settings(made.path)
    assert [account.name for account in found.accounts] == ["board", "shop-1"]
    assert found.accounts[1].folder.resolve() == made.accounts[0].folder.resolve()
    passwords = load_passwords(found)
    assert passwords["shop-1"] == password != passwords["board"]
    assert made.secrets is not None
    assert stat.S_IMODE(made.secrets.stat().st_mode) == 0o600
    # Nothing of the password is in the file that anybody may read.
    assert password not in made.path.read_text()


def test_an_addition_that_was_cut_off_is_completed(made: Settings) -> None:
    assert made.secrets is not None
    with made.secrets.open("a") as file:
        file.write('"shop-1" = "a-password-that-stands-there"')
    assert add_account(made, "shop-1", made.accounts[0]) == "a-password-that-stands-there"
    assert add_account(made, "shop-2", made.accounts[0]) != add_account(made, "shop-1", made.accounts[0])
    assert made.path is not None
    assert len(load_passwords(load_settings(made.path))) == 3


def test_what_no_account_may_be_called_is_one_line(made: Settings) -> None:
    with pytest.raises(UserError, match=r"^no account can be called 'a b': it must be 1 to 32 letters, digits"):
        add_account(made, "a b", made.accounts[0])


def test_changes_are_told_once_and_a_broken_file_changes_nothing(made: Settings) -> None:
    checked: list[Settings] = []
    changed = ChangedAccounts(made, checked.append)
    assert changed() is None
    add_account(made, "shop-1", made.accounts[0])
    found = changed()
    assert found is not None
    assert [account.name for account in found[0]] == ["board", "shop-1"]
    assert set(found[1]) == {"board", "shop-1"}
    assert len(checked) == 1
    assert changed() is None
    assert made.path is not None
    with made.path.open("a") as file:
        file.write("nonsense\n")
    assert changed() is None
