"""The files with accounts, hashes and passwords: who may read them, how they change, and what is said when wrong."""

import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from otalink_host import secrets_file
from otalink_host.accounts import (
    ChangedAccounts,
    Rehash,
    add_account,
    adopt_passwords,
    create_account,
    create_server_folder,
    load_hashes,
    load_passwords,
    password_of,
    remove_account,
    require_hashes,
    set_disabled,
    set_password,
)
from otalink_host.errors import UserError
from otalink_host.passwords import hash_password, verify
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
        password_of(settings, "board")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_init_makes_a_password_that_only_its_owner_can_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        create_server_folder(tmp_path)
    finally:
        os.umask(old)
    for name in ("otalink.secrets", "otalink.hashes"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    made = load_settings(tmp_path / "otalink.toml")
    password = password_of(made, "board")
    assert len(password) == 22
    assert verify(load_hashes(made)["board"], password)
    for name in ("otalink.toml", "otalink.hashes"):
        assert password not in (tmp_path / name).read_text()


@pytest.mark.parametrize("name", ["otalink.toml", "otalink.secrets", "otalink.hashes"])
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
        (
            "[password]\n",
            "has no password for account board, which a board needs: give it one with `otalink user passwd",
        ),
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
    assert "make it, readable by you alone, with the lines [password] and NAME =" in complaint(settings)


def test_a_lost_secrets_file_is_made_again_line_by_line(made: Settings) -> None:
    assert made.secrets is not None
    made.secrets.unlink()
    for name in ("board", "shop-1"):
        with pytest.raises(UserError, match="make it, readable by you alone"):
            add_account(made, name, made.accounts[0])
    made.secrets.touch(0o600)
    made.secrets.write_text("[password]\n")
    with pytest.raises(UserError, match="give it one with `otalink user passwd board`"):
        add_account(made, "board", made.accounts[0])
    set_password(made, "board", "another")
    assert add_account(made, "board", made.accounts[0]) == "another"


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


def test_an_added_account_sees_the_channel_of_the_one_that_is_named(made: Settings) -> None:
    assert made.path is not None
    text = made.path.read_text().replace('folder = "releases"', 'channel = "stable"\nnetworks = ["10.0.0.0/8"]')
    made.path.write_text(text + '\n[channels]\nstable = "releases"\n')
    add_account(made, "shop-1", load_settings(made.path).accounts[0])
    assert made.path.read_text().endswith(
        '[[account]]\nname = "shop-1"\nchannel = "stable"\nvirtual_path = "/"\nrole = "board"\n'
        'networks = ["10.0.0.0/8"]\n'
    )
    first, second = load_settings(made.path).accounts
    assert replace(first, name="shop-1") == second


def test_the_hashes_of_an_earlier_versions_folder_are_made_of_its_passwords_once(made: Settings) -> None:
    assert made.hashes is not None
    made.hashes.unlink()
    assert load_hashes(made) == {}
    # A plan writes nothing.
    password = password_of(made, "board")
    assert not made.hashes.exists()
    assert adopt_passwords(made) == ["board"]
    assert verify(load_hashes(made)["board"], password)
    assert stat.S_IMODE(made.hashes.stat().st_mode) == 0o600
    assert adopt_passwords(made) == []


def test_a_server_needs_no_passwords_but_a_hash_of_each_account_that_may_log_in(made: Settings) -> None:
    assert made.secrets is not None
    made.secrets.unlink()
    assert adopt_passwords(made) == []
    assert set(require_hashes(made)) == {"board"}
    other = Account("other", made.accounts[0].folder)
    with pytest.raises(
        UserError, match=r"^account other has no password: give it one with `otalink user passwd other`"
    ):
        require_hashes(replace(made, accounts=(*made.accounts, other)))
    assert require_hashes(replace(made, accounts=(*made.accounts, replace(other, disabled=True))))


@pytest.mark.parametrize("text", ["x", "$argon2id$v=19$m=1$x", "correct-horse"])
def test_what_is_no_hash_is_one_line_that_does_not_quote_it(made: Settings, text: str) -> None:
    assert made.hashes is not None
    made.hashes.write_text(f"[hash]\nboard = '{text}'\n")
    with pytest.raises(
        UserError, match="the hash of board is none: give it a password with `otalink user passwd board`"
    ):
        load_hashes(made)
    made.hashes.chmod(0o644)
    with pytest.raises(UserError, match="can be read by others: chmod 600"):
        load_hashes(made)


def test_a_password_that_the_server_does_not_have_is_not_flashed(made: Settings) -> None:
    assert made.secrets is not None
    made.secrets.write_text('[password]\nboard = "changed-by-hand"\n')
    with pytest.raises(UserError, match="has another password for account board than the server: give both a new one"):
        password_of(made, "board")


def test_a_boards_password_is_kept_for_flashing_and_a_publishers_is_not(made: Settings) -> None:
    assert made.path is not None
    assert made.secrets is not None
    assert create_account(made, {"name": "shop-1", "folder": "releases", "role": "board"}, "a-boards-password")
    assert not create_account(made, {"name": "ci", "folder": "releases", "role": "publisher"}, "a-publishers-password")
    found = load_settings(made.path)
    assert [(account.name, account.role) for account in found.accounts[1:]] == [
        ("shop-1", "board"),
        ("ci", "publisher"),
    ]
    assert verify(load_hashes(found)["ci"], "a-publishers-password")
    assert load_passwords(found).keys() == {"board", "shop-1"}
    assert set_password(found, "shop-1", "another")
    assert not set_password(found, "ci", "another")
    assert load_passwords(found)["shop-1"] == "another"
    assert verify(load_hashes(found)["ci"], "another")
    made.secrets.unlink()
    assert not set_password(found, "shop-1", "a-third")
    assert not made.secrets.exists()


def test_a_name_that_is_taken_is_one_line_and_changes_nothing(made: Settings) -> None:
    assert made.hashes is not None
    before = made.hashes.read_bytes()
    with pytest.raises(
        UserError, match=r"^there is an account board: choose another name, or `otalink user passwd board`"
    ):
        create_account(made, {"name": "board", "folder": "releases", "role": "board"}, "x")
    assert made.hashes.read_bytes() == before


def test_what_a_person_wrote_stays_when_accounts_change(made: Settings) -> None:
    assert made.path is not None
    text = made.path.read_text() + "\n# The shops.\n[[account]]\nname = 'shop-1' # Seoul\nfolder = 'releases'\n"
    made.path.write_bytes(text.replace("\n", "\r\n").encode())
    made.path.chmod(0o640)
    set_disabled(made, "shop-1", True)
    assert load_settings(made.path).accounts[1].disabled
    set_disabled(made, "shop-1", True)
    set_disabled(made, "shop-1", False)
    assert made.path.read_bytes() == text.replace("\n", "\r\n").encode()
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o640
    assert sorted(path.name for path in made.path.parent.iterdir() if path.name != ".otalink.lock") == [
        "otalink.hashes",
        "otalink.secrets",
        "otalink.toml",
        "releases",
    ]


def test_settings_that_are_a_link_stay_one(made: Settings, tmp_path: Path) -> None:
    assert made.path is not None
    kept = tmp_path / "kept.toml"
    made.path.rename(kept)
    made.path.symlink_to(kept)
    set_disabled(made, "board", True)
    assert made.path.is_symlink()
    assert load_settings(kept).accounts[0].disabled


def test_a_removed_account_leaves_nothing_behind(made: Settings) -> None:
    assert made.path is not None
    assert made.secrets is not None
    assert made.hashes is not None
    before = [path.read_bytes() for path in (made.secrets, made.hashes)]
    add_account(made, "shop-1", made.accounts[0])
    remove_account(load_settings(made.path), "shop-1")
    assert [account.name for account in load_settings(made.path).accounts] == ["board"]
    assert [path.read_bytes() for path in (made.secrets, made.hashes)] == before
    with pytest.raises(UserError, match=r"^board is the only account: add another one first, or `otalink user disable"):
        remove_account(made, "board")


def test_an_account_called_like_its_section_is_one_like_any_other(made: Settings) -> None:
    assert made.path is not None
    assert made.secrets is not None
    for name in ("password", "hash"):
        add_account(made, name, made.accounts[0])
        set_password(load_settings(made.path), name, "new")
        remove_account(load_settings(made.path), name)
    assert load_passwords(made).keys() == load_hashes(made).keys() == {"board"}


def test_an_outdated_hash_is_replaced_unless_the_password_changed_meanwhile(made: Settings) -> None:
    assert made.hashes is not None
    old, new = hash_password("x", cheap=True), hash_password("x")
    made.hashes.write_text(f'[hash]\nboard = "{old}"\n')
    Rehash(made)("board", "another", new)
    assert load_hashes(made)["board"] == old
    Rehash(made)("board", old, new)
    assert load_hashes(made)["board"] == new


def test_two_commands_at_once_wait_for_each_other(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made.path is not None
    threads = [
        threading.Thread(target=add_account, args=(made, f"shop-{number}", made.accounts[0])) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = load_settings(made.path)
    assert {account.name for account in found.accounts} == {"board", *(f"shop-{number}" for number in range(8))}
    assert load_hashes(found).keys() == load_passwords(found).keys() == {account.name for account in found.accounts}
    monkeypatch.setattr(secrets_file, "LOCK_TIMEOUT", 0.05)
    with (
        secrets_file.lock(made.path),
        pytest.raises(UserError, match=r"\.otalink\.lock is held by another otalink command: try again when that has"),
    ):
        set_disabled(made, "board", True)
