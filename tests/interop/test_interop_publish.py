"""`otalink release publish`, `list` and `withdraw` on servers that others wrote, plain and over TLS; and a board that
takes what was published."""

import shutil

import pytest
from servers import PASSWORD, STARTERS, USER, Tls
from updater_support import Board

from otalink_host.build import build
from otalink_host.cli import main
from otalink_host.cli_options import PASSWORD_VARIABLE
from otalink_host.keys import create, for_boards, load_all, load_signer

ONE = {"app_1.0.0.1.py": b"one", "lib/sensor.py": b"sensor", "lib/old.py": b"old"}
TWO = {"app_1.0.0.2.py": b"two", "lib/sensor.py": b"sensor 2", "new/x.mpy": b"x"}


@pytest.fixture(params=STARTERS)
def kind(request):
    return request.param


@pytest.fixture(params=["ftp", "ftps"])
def address(request, kind, folder, tls_files):
    """The address of a server where the publisher may write; over TLS it demands that sessions are resumed."""
    tls = None if request.param == "ftp" else Tls(tls_files / "server.pem", reuse=kind != "Pure-FTPd")
    with STARTERS[kind](folder, tls, writes=True) as server:
        yield f"{request.param}://{USER}@{server.host}:{server.port}"


@pytest.fixture
def run(address, tls_files, tmp_path, monkeypatch, capsys):
    """Runs `otalink release …` there; gives what it prints. It must end well, unless a `status` is expected."""
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    monkeypatch.chdir(tmp_path)

    def command(*arguments, to=None, status=0, below=""):
        capsys.readouterr()
        ca = ("--ca", str(tls_files / "ca.pem")) if address.startswith("ftps") else ()
        ended = main(["release", *arguments, *((to, address + below) if to else (address + below,)), *ca])
        output = capsys.readouterr()
        assert ended == status, output.err
        assert PASSWORD not in output.out + output.err
        return output.out if status == 0 else output.err

    return command


def fill(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return str(folder)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }


def test_a_signed_release_is_published_listed_withdrawn_and_put_back(run, folder, tmp_path):
    create(tmp_path / "keys", "release", None)
    signer = load_signer(tmp_path / "keys", "release", lambda path: b"")
    files = {}
    for number, text in ((3, b"x" * 50_000), (4, b"y")):
        (tmp_path / f"source{number}").mkdir()
        (tmp_path / f"source{number}" / "data.bin").write_bytes(text)
        output = tmp_path / f"built{number}"
        output.mkdir()
        built = build(tmp_path / f"source{number}", signer=signer, name="app", version="1.0.0.3", output=output)
        files[number] = built.path
    name = files[3].name
    assert "Published app 1.0.0.3 as ftp" in run("publish", str(files[3]), to="--to")
    assert content(folder) == {name: files[3].read_bytes()}
    assert "there was nothing to do" in run("publish", str(files[3]), to="--to")
    assert "is published already, with other content" in run("publish", str(files[4]), to="--to", status=1)
    assert "release file" in run("list")
    run("withdraw", name, to="--from")
    assert content(folder) == {f".withdrawn-{name}": files[3].read_bytes()}
    run("withdraw", name, "--undo", to="--from")
    assert content(folder) == {name: files[3].read_bytes()}


def test_a_plain_release_takes_the_place_of_the_one_before(run, kind, folder, tmp_path):
    for files in (ONE, TWO):
        run("publish", fill(tmp_path / "source", files), to="--to", below="/releases")
        assert content(folder / "releases") == files
    old = fill(tmp_path / "old", ONE)
    assert "is older than" in run("publish", old, to="--to", status=1, below="/releases")
    assert content(folder / "releases") == TWO
    if kind == "ProFTPD":
        # There may be no /lib where a user's root is, which could make the server itself load what is in it.
        assert "the server refused MKD /lib: 550" in run("publish", old, to="--to", status=1)


def test_a_board_takes_what_was_published(on_board, kind, folder, tmp_path, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    create(tmp_path / "keys", "release", None)
    signer = load_signer(tmp_path / "keys", "release", lambda path: b"")
    source = fill(tmp_path / "source", {"app.py": b"VERSION = 3\n", "data.bin": bytes(range(256)) * 300})
    built = build(tmp_path / "source", signer=signer, name="app", version="1.0.0.3", output=tmp_path)
    assert source
    with STARTERS[kind](folder, writes=True) as server:
        address = f"ftp://{USER}@{server.host}:{server.port}"
        keys = ("--keys", str(tmp_path / "keys"))
        assert main(["release", "publish", str(built.path), "--to", address, *keys]) == 0
        board = Board(on_board)
        settings = {"user": USER, "password": PASSWORD, "keys": for_boards(load_all(tmp_path / "keys"))}
        assert board.run(server, **settings)[-1] == "True"
    assert board.installed()[:2] == ("app", (1, 0, 0, 3))
    assert board.files()["data.bin"] == bytes(range(256)) * 300
