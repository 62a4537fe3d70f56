"""Whole updates over TLS, from pyftpdlib with OpenSSL (docs/tls.md)."""

import random
import shutil

import pytest
from certificates import Authority
from updater_support import Server, publish, write

from otalink_host import keys
from otalink_host.build import build

NOISE = random.Random(1).randbytes(60_000)
OLD = {"app_1.0.0.1.py": b"VERSION = 1\n", "lib/noise.bin": NOISE[:9000], "empty.bin": b""}
NEW = {"app_1.0.0.2.py": b"VERSION = 2\n", "lib/noise.bin": NOISE, "empty.bin": b"", "new.bin": NOISE[5:]}
NO_MEMORY = 'not enough memory for TLS: free some, or set "data" under tls to "clear", which takes one connection less'


def on_board(files):
    return {("app.py" if path.startswith("app_") else path): data for path, data in files.items()}


@pytest.fixture
def certificate(authority, tmp_path):
    return authority.certificate(tmp_path, "127.0.0.1")


@pytest.fixture
def served(tmp_path):
    return tmp_path / "served"


@pytest.fixture
def tls(authority):
    return {"ca": str(authority.path)}


@pytest.fixture
def signed(tmp_path, served):
    """Publishes files as a signed release; gives the board's keys."""
    keys.create(tmp_path / "keys", "first")

    def run(files):
        shutil.rmtree(served, ignore_errors=True)
        served.mkdir()
        source = tmp_path / "source"
        shutil.rmtree(source, ignore_errors=True)
        version = next(path for path in files if path.startswith("app_"))[4:-3]
        write(source, on_board(files))
        signer = keys.load_signer(tmp_path / "keys", "first", lambda *_: b"")
        build(source, signer=signer, name="app", version=version, compiled=False, output=served)
        return keys.for_boards([keys.load_public(tmp_path / "keys", "first")])

    return run


def secured(commands):
    # Each session is over TLS before it names anybody.
    sessions = " ".join(line.split(" ")[0] for line in commands).split("AUTH")[1:]
    return bool(sessions) and all(session.startswith(" PBSZ PROT USER PASS") for session in sessions)


@pytest.mark.parametrize("lacks", [(), ("MLSD",), ("MLSD", "SIZE"), ("REST",)])
def test_a_plain_folder_is_installed_over_tls(board, served, certificate, tls, lacks):
    publish(served, OLD)
    with Server(served, lacks=lacks, certificate=certificate) as server:
        board.install(server, tls=tls)
        publish(served, NEW)
        board.install(server, tls=tls)
        assert board.files() == on_board(NEW)
        assert secured(server.commands)
        assert server.commands.count("PROT P") >= 2


@pytest.mark.parametrize("data", ["private", "clear"])
def test_a_signed_release_is_installed_over_tls(board, served, certificate, tls, signed, data):
    tls["data"] = data
    known = signed(OLD)
    with Server(served, certificate=certificate, needs_private=data == "private") as server:
        board.install(server, tls=tls, keys=known)
        signed(NEW)
        board.install(server, tls=tls, keys=known)
        assert board.files() == on_board(NEW)
        assert secured(server.commands)
        assert ("PROT C" in server.commands) is (data == "clear")


def test_a_download_that_was_cut_off_goes_on_over_tls(board, served, certificate, tls, signed):
    def cut(command, argument):
        # The first transfer behind the header, and the one that goes on.
        if command == "REST" and cuts:
            server.cut_off([cuts.pop()])

    cuts = []
    known = signed(OLD)
    with Server(served, before=cut, certificate=certificate) as server:
        board.install(server, tls=tls, keys=known)
        signed(NEW)
        cuts += [20_000, 30_000]
        board.install(server, tls=tls, keys=known)
        assert board.files() == on_board(NEW)
        assert not cuts
        assert server.count("REST") >= 3
        assert secured(server.commands)


def test_a_server_that_does_not_prove_who_it_is_changes_nothing(board, served, authority, tmp_path, certificate, tls):
    publish(served, OLD)
    with Server(served, certificate=certificate) as server:
        board.install(server, tls=tls)
        publish(served, NEW)
        theirs = Authority(tmp_path, "theirs")
        lines = board.run(server, tls={"ca": str(theirs.path)})
        assert lines[-1] == "False"
        assert any("the host's certificate is refused: The certificate is not correctly signed" in x for x in lines)
        assert board.files() == on_board(OLD)


def test_a_release_may_bring_the_next_ca(board, served, authority, tmp_path, certificate):
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path, "following")
    board.put({"ca.der": authority.path.read_bytes()})
    tls = {"ca": str(board.root / "ca.der")}
    ca = {"ca.der": following.path.read_bytes()}
    publish(served, OLD | ca)
    with Server(served, certificate=certificate) as server:
        board.install(server, tls=tls)
    publish(served, NEW | ca)
    with Server(served, certificate=following.certificate(tmp_path / "next", "127.0.0.1")) as server:
        board.install(server, tls=tls)
    assert board.files() == on_board(NEW | ca)


def test_settings_with_data_in_the_clear_need_a_key(board, served, certificate, tls):
    publish(served, OLD)
    tls["data"] = "clear"
    with Server(served, certificate=certificate) as server:
        body = 'print(await make(config="otalink.json").update())'
        assert board.run(server, body, tls=tls) == [
            "otalink.json: tls: data can be clear only on a board with keys: releases must be signed then; no updates "
            "until then",
            "otalink.json: tls: data can be clear only on a board with keys: releases must be signed then; no updates "
            "until then",
            "False",
        ]
        assert server.commands == []


def test_a_heap_that_does_not_suffice_for_tls_is_said_and_the_release_that_runs_stays(board, served, certificate, tls):
    publish(served, OLD)
    with Server(served, certificate=certificate) as server:
        board.install(server, tls=tls)
        publish(served, NEW)
        # From no update at all to a whole one, by what the application leaves of the heap.
        body = """
        updater = make(message=None)
        for left in range(8192, 200000, 6144):
            application = []
            try:
                while gc.mem_free() > left:
                    application.append(bytearray(1024))
            except MemoryError:
                pass
            done = await updater.update()
            application = None
            gc.collect()
            print(done, updater.messages[-1])
            if done:
                break
        """
        lines = board.run(server, body, heap="384k", attempts=1, tls=tls)
        ends = [line for line in lines if line.startswith(("False ", "True "))]
        assert ends[-1].startswith("True ")
        assert any(NO_MEMORY in line for line in ends), ends
        assert all("memory" in line for line in ends[:-1]), ends
        assert board.files() == on_board(NEW)
