"""otalink as mip installs it: by an unmodified mpremote, from a web server, onto a virtual board that then updates."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from flashed import PASSWORD, PATIENCE

from otalink import __version__
from otalink_host.repository import publish
from otalink_host.server import FtpServer
from otalink_host.vboard import VirtualBoard

ROOT = Path(__file__).parents[2]


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server that serves the clone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(ROOT))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def settings(server: FtpServer) -> dict[str, object]:
    return {
        "name": "thermostat",
        "host": "127.0.0.1",
        "port": server.port,
        "user": "board",
        "password": PASSWORD,
        "folder": "/test",
        "interval": 1,
        "jitter": 0,
        "start_delay": 0,
        "confirm_after": 1,
    }


def install(board: VirtualBoard, web: str) -> None:
    """Installs otalink and the boot guard with the two commands that the documentation names."""
    board.mpremote("mip", "install", f"{web}/firmware/package.json")
    board.mpremote("mip", "install", "--target", "/", f"{web}/firmware/guard/package.json")


def install_from_the_board(board: VirtualBoard, web: str) -> None:
    """As `install`, by the board's own mip, which fetches by its network."""
    board.mpremote("exec", f"import mip; mip.install({web + '/firmware/package.json'!r})")
    board.mpremote("exec", f"import mip; mip.install({web + '/firmware/guard/package.json'!r}, target='/')")


@pytest.mark.parametrize("installing", [install, install_from_the_board])
def test_mip_puts_every_file_where_a_board_wants_it(
    board: VirtualBoard, web: str, installing: Callable[[VirtualBoard, str], None]
) -> None:
    installing(board, web)
    board.kill()
    guard = {f"/{path.name}" for path in (ROOT / "firmware" / "guard").glob("*.py") if path.name != "__init__.py"}
    sources = {f"/lib/otalink/{path.name}": path for path in (ROOT / "firmware" / "otalink").glob("*.py")}
    files = board.files()
    assert files.keys() == sources.keys() | guard
    for place, path in sources.items():
        assert files[place] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_board_that_mip_installed_otalink_on_updates_itself(
    board: VirtualBoard,
    web: str,
    server: FtpServer,
    served: Path,
    release: Callable[..., Path],
    tmp_path: Path,
) -> None:
    install(board, web)
    asked = board.mpremote("exec", "import otalink; print(otalink.__version__, otalink.Updater.__name__)")
    assert asked.split() == [__version__, "Updater"]
    (tmp_path / "otalink.json").write_text(json.dumps(settings(server)))
    first = release("1.0.0.1", "one")
    for source, target in (
        (tmp_path / "otalink.json", "otalink.json"),
        (first / "main.py", "main.py"),
        (first / "thermostat_1.0.0.1.py", "thermostat.py"),
    ):
        board.mpremote("fs", "cp", str(source), f":{target}")
    seen = board.mark()

    def sees(pattern: str) -> None:
        nonlocal seen
        seen = board.wait_for(re.compile(pattern), PATIENCE, since=seen).end()

    board.reset()
    sees("runs one")
    publish(release("1.0.0.2", "two", **{"curves.bin": bytes(100_000)}), served)
    sees(r"thermostat 1\.0\.0\.2 is committed; restarting")
    sees("runs two")
    sees(r"thermostat 1\.0\.0\.2 is confirmed")
    board.kill()
    assert not [path for path in board.names() if path.endswith((".ota-new", "committed", "swapping"))]
