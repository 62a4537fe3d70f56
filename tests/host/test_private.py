"""No command hands passwords, settings or private keys to boards, however the folders and the links to them lie."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otalink_host.cli import main
from otalink_host.errors import UserError
from otalink_host.private import check_apart

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a server's folder, which has a key: (exit status, stdout, stderr)."""
    (tmp_path / "server").mkdir()
    monkeypatch.chdir(tmp_path / "server")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    assert command("init")[0] == command("keys", "new")[0] == 0
    Path("app").mkdir()
    Path("app", "thermostat_1.0.py").write_text("print(1)\n")
    return command


def change_settings(old: str, new: str) -> None:
    text = Path("otalink.toml").read_text()
    assert old in text
    Path("otalink.toml").write_text(text.replace(old, new))


def refused(answer: tuple[int, str, str], what: str, folder: str) -> None:
    status, out, error = answer
    assert (status, out) == (1, "")
    assert error == f"otalink: {what} lies in {folder}, which boards read: give one of them another folder\n"


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may listen."""

    def listen(*arguments: object, **keywords: object) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr("otalink_host.server.FtpServer", listen)


@pytest.mark.usefixtures("no_server")
def test_serve_refuses_a_folder_that_holds_the_secrets_the_settings_or_the_keys(run: Run) -> None:
    change_settings('folder = "releases"', 'folder = "."')
    refused(run("serve", "--port", "0"), "otalink.secrets", ".")
    Path("otalink.secrets").rename("../otalink.secrets")
    change_settings('secrets = "', 'secrets = "../')
    refused(run("serve", "--port", "0"), "otalink.hashes", ".")
    Path("otalink.hashes").rename("../otalink.hashes")
    change_settings('hashes = "', 'hashes = "../')
    refused(run("serve", "--port", "0"), "otalink.toml", ".")
    change_settings('folder = "."', 'folder = "keys"')
    refused(run("serve", "--port", "0"), "keys", "keys")


@pytest.mark.usefixtures("no_server")
def test_no_link_gets_round_it(run: Run, tmp_path: Path) -> None:
    # The folder is a link; the secrets are one into the folder; a private key is one; a link lies in the folder.
    Path("link").symlink_to(tmp_path / "server")
    change_settings('folder = "releases"', 'folder = "link"')
    refused(run("serve", "--port", "0"), "otalink.secrets", "link")
    change_settings('folder = "link"', 'folder = "releases"')
    Path("otalink.secrets").rename("releases/x")
    Path("otalink.secrets").symlink_to("releases/x")
    refused(run("serve", "--port", "0"), "otalink.secrets", "releases")
    Path("otalink.secrets").unlink()
    Path("releases/x").rename("otalink.secrets")
    Path("keys/release.pem").rename("releases/y")
    Path("keys/release.pem").symlink_to("../releases/y")
    refused(run("serve", "--port", "0"), "keys/release.pem", "releases")
    Path("keys/release.pem").unlink()
    Path("releases/y").rename("away.pem")
    Path("keys").rename("releases/keys")
    Path("keys").symlink_to("releases/keys")
    refused(run("serve", "--port", "0"), "keys", "releases")


@pytest.mark.usefixtures("no_server")
def test_what_is_refused_for_one_account_is_refused_for_each(run: Run) -> None:
    with Path("otalink.toml").open("a") as file:
        file.write('\n[[account]]\nname = "other"\nfolder = "keys"\nvirtual_path = "/other"\n')
    refused(run("serve", "--port", "0"), "keys", "keys")


def test_nothing_is_published_into_such_a_folder_or_made_of_one(run: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    refused(run("release", "publish", "app", "--to", "."), "otalink.secrets", ".")
    refused(run("release", "publish", "app", "--to", "keys"), "keys", "keys")
    Path("app", "otalink.secrets").symlink_to("../otalink.secrets")
    Path("app", "otalink.toml").write_text(Path("otalink.toml").read_text().replace("releases", "../releases"))
    refused(run("release", "publish", "app", "--config", "app/otalink.toml"), "app/otalink.secrets", "app")
    refused(
        run("flash", "app", "--port", "no-port", "--config", "app/otalink.toml", "--name", "x"),
        "app/otalink.secrets",
        "app",
    )
    for name in ("otalink.secrets", "otalink.toml"):
        Path("app", name).unlink()
    assert sorted(tmp_path.rglob("*")) == before
    change_settings('folder = "releases"', 'folder = "."')
    refused(run("release", "publish", "app"), "otalink.secrets", ".")


def test_a_folder_beside_them_is_served_and_one_that_is_not_there_yet_is_published_to(run: Run, tmp_path: Path) -> None:
    assert run("release", "publish", "app")[0] == 0
    assert run("release", "publish", "app", "--to", "new/folder")[0] == 0
    private = [tmp_path / "otalink.secrets", tmp_path / "keys", tmp_path / "releases-keys"]
    check_apart(private, [tmp_path / "releases", tmp_path / "none"])
    with pytest.raises(UserError, match="which boards read"):
        check_apart([tmp_path / "none" / "keys"], [tmp_path / "none"])


def test_another_spelling_of_the_folder_is_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a file system that does not tell capitals apart.
    same = os.path.samefile
    monkeypatch.setattr(os.path, "samefile", lambda a, b: same(str(a).lower(), str(b).lower()))
    folder = tmp_path / "releases"
    folder.mkdir()
    with pytest.raises(UserError, match="which boards read"):
        check_apart([tmp_path / "RELEASES" / "otalink.secrets"], [folder])
