"""The FTP client over explicit TLS against a real server: pyftpdlib, with OpenSSL, in a thread of this process."""

import hashlib
import threading
import warnings

import pytest

with warnings.catch_warnings():  # before CPython 3.12 it takes CPython's own asyncore
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

SIZES = (0, 1, 4095, 4096, 4097, 16384, 1 << 20)
PROTECTIONS = ("private", "clear")


class SecureServer:
    """pyftpdlib on a free port, with the certificate `path`; it serves `folder` to bob, over TLS only."""

    host = "127.0.0.1"

    def __init__(self, folder, path, needs_private):
        authorizer = DummyAuthorizer()
        authorizer.add_user("bob", "hidden", str(folder), perm="elradfmwMT")
        handler = type(
            "Handler",
            (TLS_FTPHandler,),
            {
                "authorizer": authorizer,
                "auth_failed_timeout": 0,
                "certfile": str(path),
                "tls_control_required": True,
                "tls_data_required": needs_private,
            },
        )
        self._loop = IOLoop()
        self._server = FTPServer((self.host, 0), handler, ioloop=self._loop)
        self.port = self._server.socket.getsockname()[1]
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


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "served"
    path.mkdir()
    return path


@pytest.fixture(params=PROTECTIONS)
def run(request, run_client, authority, tmp_path, folder):
    """Runs the body of `async def main()` with a client for a server of `folder`, data over TLS and in the clear."""
    path = authority.certificate(tmp_path, "ftp.test")
    tls = {"tls": {"ca": str(authority.path), "server_name": "ftp.test", "data": request.param}}

    def run_by_tls(body, **options):
        with SecureServer(folder, path, request.param == "private") as server:
            return run_client(server, body, tls=tls, **options)

    return run_by_tls


def content_of(size):
    return (b"%07d\n" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size]


def test_files_of_every_size_come_with_their_sha_256(run, folder):
    for size in SIZES:
        (folder / f"f{size}").write_bytes(content_of(size))
    body = f"""
    for size in {SIZES}:
        digest = hashlib.sha256()
        await fetch("f%d" % size, sink=digest.update)
        print(digest.digest())
    print(sorted(await client.nlst()))
    print(sorted((name, size) for name, kind, size, modify in await client.mlsd()))
    print(client._control is not None)
    """
    expected = []
    for size in SIZES:
        expected += [f"gave {size}", repr(hashlib.sha256(content_of(size)).digest())]
    names = sorted(f"f{size}" for size in SIZES)
    assert run(body) == [*expected, repr(names), repr([(name, int(name[1:])) for name in names]), "True"]


def test_any_offset_gives_the_rest(run, folder):
    content = content_of(12_288)
    (folder / "f").write_bytes(content)
    offsets = (0, 1, 4096, 12_287, 12_288)
    body = f"""
    for offset in {offsets}:
        digest = hashlib.sha256()
        await fetch("f", offset, sink=digest.update)
        print(digest.digest())
    """
    expected = []
    for offset in offsets:
        rest = content[offset:]
        expected += [f"gave {len(rest)}", repr(hashlib.sha256(rest).digest())]
    assert run(body) == expected


def test_an_empty_folder_lists_nothing_and_a_missing_file_is_an_error(run):
    lines = run("await attempt(client.nlst())\nawait attempt(client.mlsd())\nawait fetch('missing', 0, 5)")
    assert lines[:2] == ["gave []"] * 2
    assert lines[2].startswith("FtpError 550")


def test_a_sink_that_has_enough_leaves_a_client_that_works(run, folder):
    (folder / "f").write_bytes(content_of(3 << 20))
    body = """
    def first(view):
        got.extend(view)
        return len(got) > 5000
    await fetch("f", sink=first)
    print(len(got) < 20000)
    await attempt(client.size("f"))
    """
    lines = run(body)
    assert lines[0].startswith("gave ")
    assert lines[1:] == ["True", f"gave {3 << 20}"]


def test_stored_files_are_there(run, folder):
    body = f"""
    import io
    for size in {SIZES[1:]}:
        await attempt(client.store("f%d" % size, io.BytesIO(bytes(size)), buffer))
    """
    assert run(body, heap="16m") == [f"gave {size}" for size in SIZES[1:]]
    for size in SIZES[1:]:
        assert (folder / f"f{size}").read_bytes() == bytes(size)


def test_a_cancelled_download_leaves_a_client_that_works(run, folder):
    (folder / "f").write_bytes(content_of(3 << 20))
    body = """
    def slow(view):
        time.sleep_ms(2)
    try:
        await asyncio.wait_for(client.retrieve("f", buffer, slow), 0.2)
    except asyncio.TimeoutError:
        print(sockets())
    await fetch("f", sink=lambda view: None)
    """
    assert run(body) == ["0", f"gave {3 << 20}"]


def test_a_wrong_password_is_said_without_it(run):
    (line,) = run("await attempt(client.connect())", password="mistaken")
    assert line.startswith("FtpError 530")
    assert "mistaken" not in line
