"""The counters, and the page on which Prometheus reads them."""

import contextlib
import ftplib
import http.client
import os
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from otalink_host.counters import SERIES, Counters
from otalink_host.errors import UserError
from otalink_host.server import FtpServer

Serve = Callable[..., FtpServer]
PASSWORD = "correct-horse-battery"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(server: FtpServer, method: str = "GET", path: str = "/metrics") -> tuple[int, str]:
    assert server.metrics_port is not None
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def values(page: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) (-?\d+)$", page, re.MULTILINE)}


def test_the_page_says_what_has_happened(serve: Serve, connect: Any) -> None:
    server = serve(metrics_port=free_port(), sessions=2)
    first, _ = connect(server), connect(server)
    first.fetch("lib/sensor.py")
    with pytest.raises(ftplib.error_temp):
        connect(server)
    found = values(ask(server)[1])
    assert found["otalink_sessions"] == 2
    assert found["otalink_sessions_total"] == 3
    assert found["otalink_refused_total"] == 1
    assert found['otalink_logins_total{result="ok"}'] == 2
    assert found['otalink_transfers_total{direction="sent",result="complete"}'] == 1
    assert found['otalink_data_bytes_total{direction="sent"}'] == 7000
    assert found["otalink_workers"] == 1
    first.quit()
    with pytest.raises(ftplib.error_perm):
        connect(server, None).login("board", "wrong")
    wait_until(lambda: values(ask(server)[1])['otalink_logins_total{result="failed"}'] == 1)
    assert found["otalink_certificate_expiry_seconds"] == 0


def test_the_page_is_in_prometheuss_text_format() -> None:
    page = Counters().exposition()
    # https://prometheus.io/docs/instrumenting/exposition_formats/: HELP and TYPE once, ahead of a name's samples.
    blocks = re.findall(r"# HELP (\S+) \S.*\n# TYPE (\S+) (?:counter|gauge)\n((?:[^#\n].*\n)+)", page)
    assert "".join(re.findall(r"(?m)^[^#].*\n", page)) == "".join(samples for _, _, samples in blocks)
    names = [name for name, _, _ in blocks]
    assert len(names) == len(set(names))
    for name, typed, samples in blocks:
        assert name == typed
        assert all(re.fullmatch(rf'{name}(\{{([a-z]+="[a-z_]+",?)+\}})? -?\d+', line) for line in samples.splitlines())
    assert sum(len(samples.splitlines()) for _, _, samples in blocks) == len(SERIES)


def test_nothing_else_is_there(serve: Serve) -> None:
    server = serve(metrics_port=free_port())
    assert ask(server, path="/") == (404, "It is at /metrics.\n")
    assert ask(server, path="/../otalink.secrets")[0] == 404
    assert ask(server, "POST")[0] == 405
    assert ask(server, "HEAD") == (200, "")
    assert ask(server, path="/metrics?x=1")[0] == 200


@pytest.mark.parametrize(
    "sent", [b"x" * 20_000, b"\r\n\r\n", b"GET\r\n\r\n", b"\0\xff\r\n\r\n", b"GET /metrics HTTP/1.1"]
)
def test_what_is_no_request_does_not_disturb_the_server(
    serve: Serve, connect: Any, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otalink_host.metrics_page.REQUEST_TIMEOUT", 0.3)
    server = serve(metrics_port=free_port())
    with socket.create_connection(("127.0.0.1", server.metrics_port), timeout=10) as client:
        client.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1000):
                pass
    connect(server).voidcmd("NOOP")
    assert ask(server)[0] == 200


def test_many_who_ask_and_say_nothing_take_no_place_from_boards(
    serve: Serve, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otalink_host.metrics_page.REQUEST_TIMEOUT", 0.5)
    server = serve(metrics_port=free_port(), sessions=3)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.metrics_port), timeout=10))
        boards = [connect(server) for _ in range(3)]
        for board in boards:
            assert board.fetch("lib/sensor.py") == b"sensor\n" * 1000
    wait_until(lambda: not server._pages[0].requests)
    assert ask(server)[0] == 200


def test_a_port_for_the_page_that_is_taken_is_one_line_and_nothing_stays_open(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"^\[metrics\]: port {port} is in use: "):
            serve(metrics_port=port)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="several processes need POSIX")
def test_several_processes_count_together() -> None:
    counters = Counters(3)
    counters.add("logins_ok")
    child = os.fork()
    if not child:
        counters.row = 1
        counters.add("logins_ok", 5)
        counters.add("sessions", 2)
        os._exit(0)
    os.waitpid(child, 0)
    assert counters.total("logins_ok") == 6
    # Who died has no sessions any more.
    counters.set("sessions", 0, row=1)
    assert (counters.total("sessions"), counters.total("logins_ok")) == (0, 6)
