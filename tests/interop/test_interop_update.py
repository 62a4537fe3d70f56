"""Whole updates of a board, on MicroPython, from the FTP servers that others wrote."""

import contextlib
import random
import threading
from dataclasses import dataclass

import pytest
from servers import PASSWORD, STARTERS, USER, Tls
from updater_support import publish, wait_for, write

from otalink_host import keys
from otalink_host.build import build

# What is under way between server and board when the session is killed must not be all of it.
BIG = random.Random(1).randbytes(8 << 20)
ONE = {"app.py": b"VERSION = 1\n", "lib/font.bin": BIG[:30_000], "manual.txt": b"a line of the manual\n" * 3000}
TWO = ONE | {"app.py": b"VERSION = 2\n", "net.py": b"NET = 2\n"}
THREE = {"app.py": b"VERSION = 3\n", "big.bin": BIG}


@dataclass(frozen=True)
class Way:
    """A server, and how the board speaks to it: `data` is as in the setting "tls", or None for plain FTP."""

    server: str
    data: str | None

    def __str__(self):
        return f"{self.server} {self.data or 'plain'}"

    def start(self, folder, tls_files):
        """Starts the server; with TLS it demands as much as it can where data are private, or the board has none."""
        tls = Tls(tls_files / "server.pem", private=self.data == "private", reuse=self.data == "clear")
        return STARTERS[self.server](folder, tls if self.data else None)


WAYS = [Way(server, data) for server in STARTERS for data in (None, "private", "clear")]


@pytest.fixture(params=WAYS, ids=str)
def way(request):
    return request.param


@pytest.fixture
def start(way, folder, tls_files):
    """Starts the server on `folder`."""
    return lambda: way.start(folder, tls_files)


@pytest.fixture(scope="session")
def signer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    keys.create(folder, "release")
    return keys.load_signer(folder, "release", lambda *_: b""), keys.for_boards([keys.load_public(folder, "release")])


@pytest.fixture
def known(signer):
    """The keys that the board has."""
    return signer[1]


@pytest.fixture
def build_release(tmp_path, folder, signer):
    """Puts a signed release file into the server's folder, beside what is there."""

    def run(version, files):
        source = tmp_path / f"source-{version}"
        write(source, files)
        build(source, signer=signer[0], name="app", version=f"1.0.0.{version}", compiled=False, output=folder)

    return run


@pytest.fixture
def settings(way, tls_files):
    """The board's."""
    tls = {"tls": {"ca": str(tls_files / "ca.der"), "data": way.data}} if way.data else {}
    return {"user": USER, "password": PASSWORD, **tls}


# Without a signature a board takes no data in the clear.
unsigned = pytest.mark.parametrize("way", [way for way in WAYS if way.data != "clear"], ids=str)


@contextlib.contextmanager
def sessions_killed_once(server, place):
    """Kills the server's sessions when there is a file `kill` in `place`, and makes a file `killed` then."""

    def run():
        wait_for((place / "kill").exists)
        server.kill_sessions()
        (place / "killed").touch()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


# The board waits in the middle of a file until its session is dead.
UPDATE_THAT_IS_BROKEN = """
def progress(done, total):
    if done > 1000000 and "kill" not in os.listdir():
        open("kill", "w").close()
        while "killed" not in os.listdir():
            time.sleep_ms(5)
print(await make(progress=progress).update())
"""


def test_a_signed_release_is_installed_and_the_next_one_brings_what_differs(
    board, start, build_release, known, settings
):
    build_release(1, ONE)
    with start() as server:
        board.install(server, keys=known, **settings)
        assert board.files() == ONE
        build_release(2, TWO)
        lines = board.run(server, keys=known, **settings)
    assert lines[-1] == "True", lines
    assert "downloaded 4104 bytes: 2 of 4 files differ" in lines
    assert board.files() == TWO
    assert board.installed()[1] == (1, 0, 0, 2)


def test_a_signed_release_whose_connection_breaks_goes_on_where_it_was(
    board, start, build_release, known, settings, tmp_path
):
    build_release(3, THREE)
    with start() as server, sessions_killed_once(server, tmp_path):
        lines = board.run(server, UPDATE_THAT_IS_BROKEN, keys=known, **settings)
    assert lines[-1] == "True", lines
    assert sum("; going on where it was in 0.05 s" in line for line in lines) == 1, lines
    (received,) = [int(line.split(" ")[1]) for line in lines if line.startswith("downloaded ")]
    assert len(BIG) <= received < len(BIG) + 100_000
    assert board.files() == THREE


@unsigned
@pytest.mark.parametrize("with_sums", [True, False], ids=["sums", "no sums"])
def test_a_plain_folder_is_installed_and_the_next_one_brings_what_differs(board, start, folder, settings, with_sums):
    files = {"display.py": b"DISPLAY = 1\n", "font.bin": BIG[:30_000]} | ({"lib/net.py": b"NET"} if with_sums else {})
    one, two = ({f"app_1.0.0.{n}.py": b"VERSION = %d\n" % n} | files for n in (1, 2))
    publish(folder, one, with_sums=with_sums)
    with start() as server:
        board.install(server, **settings)
        assert board.files() == {"app.py": b"VERSION = 1\n"} | files
        publish(folder, two, with_sums=with_sums)
        lines = board.run(server, **settings)
    assert lines[-1] == "True", lines
    assert board.files() == {"app.py": b"VERSION = 2\n"} | files
    assert ("font.bin: unchanged" in lines) == (not with_sums)  # what no SUMS describe is fetched to be compared


@unsigned
def test_a_plain_folder_whose_connection_breaks_goes_on_where_it_was(board, start, folder, settings, tmp_path):
    publish(folder, {"app_1.0.0.3.py": b"VERSION = 3\n", "big.bin": BIG})
    with start() as server, sessions_killed_once(server, tmp_path):
        lines = board.run(server, UPDATE_THAT_IS_BROKEN, **settings)
    assert lines[-1] == "True", lines
    (place,) = [int(line.split("; going on at byte ")[1].split(" ")[0]) for line in lines if "; going on at" in line]
    assert place > 1_000_000
    assert board.files() == {"app.py": b"VERSION = 3\n", "big.bin": BIG}
