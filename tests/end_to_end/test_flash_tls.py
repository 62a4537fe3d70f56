"""`otalink flash` gives a board what it needs to update itself over TLS, from a server that takes nothing else."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flashed import PATIENCE

from otalink_host import certificates, keys
from otalink_host.build import build
from otalink_host.cli import main
from otalink_host.repository import publish_file
from otalink_host.server import BackgroundServer, FtpServer
from otalink_host.settings import load_settings
from otalink_host.vboard import VirtualBoard

QUICK = ("interval=1", "jitter=0", "start_delay=0", "confirm_after=1")
CONFIG = Path("otalink.toml")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FtpServer]:
    """One that `otalink init` made, and that takes nothing but TLS."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--name", "127.0.0.1"]) == 0
    assert main(["keys", "new", "--name", "release"]) == 0
    text = CONFIG.read_text().replace('mode = "optional"', 'mode = "required"')
    with BackgroundServer(load_settings(CONFIG)) as probe:
        port = probe.port
    text = text.replace("port = 2121", f"port = {port}").replace('address = "0.0.0.0"', 'address = "127.0.0.1"')
    CONFIG.write_text(text)
    with BackgroundServer(load_settings(CONFIG), port=port) as running:
        yield running


def flash(application: Path, board: VirtualBoard, *options: str) -> int:
    settings = [part for setting in QUICK for part in ("--set", setting)]
    return main(["flash", str(application), "--port", board.pty, *settings, *options])


@pytest.mark.parametrize("data", [None, "clear"])
def test_a_flashed_board_updates_itself_over_tls(
    board: VirtualBoard,
    server: FtpServer,
    release: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    data: str | None,
) -> None:
    if data == "clear":
        # Required, data must go over TLS as well; an account may ask for less where it is optional.
        server.settings = replace(server.settings, tls=replace(server.settings.tls, mode="optional"))
        server._configure(server.settings, server._handler.ssl_context)
    assert flash(release("1.0.0.1", "one"), board, *(("--tls", data) if data else ())) == 0, capsys.readouterr().err
    signer = keys.load_signer(Path("keys"), "release", lambda path: b"")
    built = build(release("1.0.0.2", "two"), signer=signer, output=Path())
    publish_file(built.path, Path("releases"), keys.for_boards([signer.key]))
    seen = board.wait_for("runs two", PATIENCE).end()
    board.wait_for("thermostat 1.0.0.2 is confirmed", PATIENCE, since=seen)
    assert server.events.counters.total("tls_ok") > 1
    found = json.loads(board.mpremote("fs", "cat", ":otalink.json"))
    assert found["tls"] == {"ca": "/ca.der", "data": data or "private"}


def test_a_certificate_for_another_name_is_said_before_the_board_is_touched(
    board: VirtualBoard, server: FtpServer, release: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    certificates.renew(server.settings.tls, ["updates.example.com"], Path("tls/ca.key"))
    assert flash(release("1.0.0.1", "one"), board) == 1
    assert "is for updates.example.com, and boards would look for 127.0.0.1: `otalink cert" in capsys.readouterr().err


def test_what_a_board_is_to_do_over_tls_is_one_of_three(
    board: VirtualBoard, server: FtpServer, release: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    own = release("1.0.0.1", "one")
    assert flash(own, board, "--tls", "yes") == 2
    assert "it is one of private, clear, off" in capsys.readouterr().err
    (own / "ca.der").write_bytes(b"another")
    assert flash(own, board) == 1
    assert "the application has a /ca.der of its own" in capsys.readouterr().err
