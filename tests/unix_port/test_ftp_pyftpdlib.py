"""The FTP client against a real server: pyftpdlib, in a thread of this process."""

import hashlib
import threading
import warnings

import pytest

with warnings.catch_warnings():  # before CPython 3.12 it takes CPython's own asyncore
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

SIZES = (0, 1, 4095, 4096, 4097, 3 << 20)
NAMES = (
    "two words.py",
    " leading",
    "größe.py",
    "日本.py",
    "-dash",
    "-R",
    "100%.py",
    "%41",
    "[a].py",
    "star*.py",
    "(b)",
    'quo"te',
    "a;b=c",
    "back\\slash",
    "~home",
)


class RealServer:
    """pyftpdlib on a free port, serving `folder` to bob; `timeout` is how long a session may be idle, in seconds."""

    def __init__(self, folder, host="127.0.0.1", timeout=300):
        authorizer = DummyAuthorizer()
        authorizer.add_user("bob", "hidden", str(folder), perm="elradfmwMT")
        handler = type(
            "Handler", (FTPHandler,), {"authorizer": authorizer, "timeout": timeout, "auth_failed_timeout": 0}
        )
        self.folder = folder
        self._loop = IOLoop()
        self._server = FTPServer((host, 0), handler, ioloop=self._loop)
        self.host, self.port = self._server.socket.getsockname()[:2]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.is_set():
            self._loop.loop(timeout=0.02, blocking=False)
        self._server.close_all()
        self._loop.close()

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "served"
    path.mkdir()
    return path


@pytest.fixture
def server(folder):
    with RealServer(folder) as real:
        yield real


def content_of(size):
    return (b"%07d\n" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_files_of_every_size_come_with_their_sha_256(run_client, folder, host):
    with RealServer(folder, host) as server:
        for size in SIZES:
            server.write(f"f{size}", content_of(size))
        body = f"""
        for size in {SIZES}:
            digest = hashlib.sha256()
            await fetch("f%d" % size, sink=digest.update)
            await attempt(client.size("f%d" % size))
            print(digest.digest())
        """
        expected = []
        for size in SIZES:
            expected += [f"gave {size}"] * 2 + [repr(hashlib.sha256(content_of(size)).digest())]
        assert run_client(server, body) == expected


def test_any_offset_gives_the_rest(run_client, server):
    size = 3 * 4096
    offsets = (0, 1, 4095, 4096, 4097, size - 1, size)
    server.write("f", content_of(size))
    body = f"""
    for offset in {offsets}:
        digest = hashlib.sha256()
        await fetch("f", offset, sink=digest.update)
        print(digest.digest())
    await fetch("f", {size + 1})
    """
    lines = run_client(server, body)
    for n, offset in enumerate(offsets):
        rest = content_of(size)[offset:]
        assert lines[2 * n : 2 * n + 2] == [f"gave {len(rest)}", repr(hashlib.sha256(rest).digest())]
    assert lines[-1].startswith("ResumeError")


def test_names_of_every_kind_are_listed_fetched_measured_and_stored(run_client, server):
    for name in NAMES:
        server.write(name, name.encode())
    body = f"""
    import io
    names = {NAMES!r}
    listed = await client.nlst()
    print(sorted(listed) == sorted(names), sorted(entry[0] for entry in await client.mlsd()) == sorted(names))
    for name in names:
        got[:] = b""
        await client.retrieve(name, buffer, got.extend)
        assert got == name.encode(), name
        assert await client.size(name) == len(name.encode()), name
        await client.mdtm(name)
        await client.store(name, io.BytesIO(b"new " + name.encode()), buffer)
    """
    assert run_client(server, body) == ["True True"]
    for name in NAMES:
        assert (server.folder / name).read_bytes() == b"new " + name.encode()


def test_a_folder_of_200_files_is_listed(run_client, server):
    names = [f"module_number_{n:03}.mpy" for n in range(200)]
    for name in names:
        server.write(name, b"12345")
    body = """
    print(sorted(await client.nlst()))
    print(sorted((name, kind, size, len(modify)) for name, kind, size, modify in await client.mlsd()))
    """
    lines = run_client(server, body)
    assert lines == [repr(names), repr([(name, "file", 5, 14) for name in names])]


def test_an_empty_folder_lists_nothing_and_a_missing_one_is_an_error(run_client, server):
    body = """
    await attempt(client.nlst())
    await attempt(client.mlsd())
    await attempt(client.cwd("/missing"))
    await attempt(client.size("missing"))
    await fetch("missing")
    await fetch("missing", 0, 5)
    print(sockets())
    await attempt(client.nlst())
    """
    lines = run_client(server, body)
    assert lines[:2] == ["gave []", "gave []"]
    for line, command in zip(lines[2:6], ("CWD /missing", "SIZE missing", "SIZE missing", "RETR missing"), strict=True):
        assert line.startswith(f"FtpError 550 FTP server 127.0.0.1:{server.port} refused {command}: 550 ")
    assert lines[6:] == ["0", "gave []"]


def test_a_wrong_password_is_said_without_it(run_client, server):
    (line,) = run_client(server, "await attempt(client.connect())", password="mistaken")
    assert line.startswith("FtpError 530")
    assert "refused the login of bob (check user and password)" in line
    assert "mistaken" not in line


def test_a_folder_is_entered_again_in_a_new_session(run_client, server):
    server.write("sub/f", b"12345")
    body = "await attempt(client.cwd('/sub'))\nclient.close()\nawait fetch('f')\nawait client.quit()\nawait fetch('f')"
    assert run_client(server, body) == ["gave None", "gave 5", "gave 5"]


def test_a_session_that_the_server_ended_for_idleness_is_begun_anew(run_client, folder):
    with RealServer(folder, timeout=1) as server:
        server.write("f", b"12345")
        assert run_client(server, "await fetch('f')\nawait asyncio.sleep(1.5)\nawait fetch('f')") == ["gave 5"] * 2


def test_a_sink_that_stops_leaves_a_server_that_serves_the_rest(run_client, server):
    server.write("f", content_of(3 << 20))
    body = f"""
    def first(view):
        got.extend(view)
        if len(got) > 5000:
            raise SinkError("enough")
    await fetch("f", sink=first)
    print(sockets())
    digest = hashlib.sha256(got)
    await fetch("f", len(got), sink=digest.update)
    print(digest.digest() == {hashlib.sha256(content_of(3 << 20)).digest()!r})
    """
    lines = run_client(server, body)
    assert lines[:2] == ["SinkError enough", "0"]
    assert lines[3] == "True"


def test_a_sink_that_has_enough_keeps_its_session(run_client, server):
    server.write("f", content_of(3 << 20))
    body = """
    def first(view):
        got.extend(view)
        return len(got) > 5000
    await fetch("f", sink=first)
    print(len(got) < 20000, client._control is not None)
    await attempt(client.size("f"))
    """
    lines = run_client(server, body)
    assert lines[0].startswith("gave ")
    assert lines[1:] == ["True True", f"gave {3 << 20}"]


def test_stored_files_of_every_size_are_there(run_client, server):
    body = f"""
    import io
    for size in {SIZES}:
        await attempt(client.store("f%d" % size, io.BytesIO(bytes(size)), buffer))
    """
    assert run_client(server, body, heap="16m") == [f"gave {size}" for size in SIZES]
    for size in SIZES:
        assert (server.folder / f"f{size}").read_bytes() == bytes(size)


def test_a_cancelled_download_leaves_a_client_that_works(run_client, server):
    server.write("f", content_of(3 << 20))
    body = """
    def slow(view):
        time.sleep_ms(2)
    try:
        await asyncio.wait_for(client.retrieve("f", buffer, slow), 0.2)
    except asyncio.TimeoutError:
        print(sockets())
    await fetch("f", sink=lambda view: None)
    """
    assert run_client(server, body) == ["0", f"gave {3 << 20}"]
