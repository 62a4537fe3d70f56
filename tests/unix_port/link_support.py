"""A host that does what a test says, and a board with a Link to it.

    with Host(script, ...) as host:         # each connection runs the next script; the last one stays
        lines = run_link(host, "...")

A script is a function of a Session; when it returns the connection is closed. Sockets block, a thread serves each. An
assertion that fails in a script is raised at the end of the `with`.
"""

import contextlib
import socket
import struct
import textwrap
import threading

from otalink.frame import FrameDecoder, encode_frame
from otalink.message import format_message, is_message, parse_message

# Short, so that tests are.
RETRY = (0.05, 0.2)

PRELUDE = """
import asyncio, errno, gc, json, os, sys, time
import otalink
from otalink.errors import *

host, port = {address!r}

def say(line):
    print("SAID", line)

def make(**keywords):
    keywords.setdefault("retry", {retry!r})
    keywords.setdefault("message", say)
    return otalink.Link(keywords.pop("host", host), keywords.pop("port", port), **keywords)

def start(**keywords):
    link = make(**keywords)
    asyncio.create_task(link.run())
    return link

def descriptors():
    return len(list(os.ilistdir("/proc/self/fd")))

def attempt(function, *arguments, **keywords):
    try:
        print("gave", function(*arguments, **keywords))
    except Exception as error:
        print(type(error).__name__, error)

async def until(condition, seconds=20):
    end = time.ticks_add(time.ticks_ms(), seconds * 1000)
    while not condition():
        assert time.ticks_diff(end, time.ticks_ms()) > 0, "it did not come to that"
        await asyncio.sleep_ms(5)

class Ticker:
    # The rest of the application: the longest time for which it could not go on, in milliseconds.
    gap = 0

    async def run(self):
        last = time.ticks_ms()
        while True:
            await asyncio.sleep_ms(1)
            now = time.ticks_ms()
            self.gap = max(self.gap, time.ticks_diff(now, last))
            last = now

async def main():
{body}

async def check():
    at_first = descriptors()
    await main()
    # What was cancelled ends when it is scheduled, and nothing else may be there.
    await asyncio.sleep_ms(1)
    assert asyncio.core._task_queue.peek() is None, "a task is left"
    assert not asyncio.core._io_queue.map, "a socket is waited for"
    gc.collect()
    assert descriptors() == at_first, "a socket or file is left open"

asyncio.run(check())
"""


def script(address, body, retry=RETRY):
    """The source of a board's program whose `async def main()` is `body`."""
    return PRELUDE.format(address=address, body=textwrap.indent(textwrap.dedent(body).strip(), "    "), retry=retry)


class Host:
    """`texts` are the application's that came plainly, `delivered` those of `keep` messages, each once; `own` the other
    messages of otalink's, as (kind, fields). `sessions` are the connections so far; `wire` is all that came on them."""

    def __init__(self, *scripts, port=0, tls=None, backlog=20):
        self.scripts = list(scripts) or [deliver]
        self.texts = []
        self.delivered = []
        self.own = []
        self.sessions = []
        self.highest = {}
        self.failures = []
        self.stopping = threading.Event()
        self.host = "127.0.0.1"
        self._tls = tls
        self.delivering = threading.Lock()
        self._lock = threading.Lock()
        self._threads = []
        self._backlog = backlog
        self._listener = None
        self.port = port
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        self.stopping.set()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        if self.failures and kind is None:
            raise self.failures[0]

    @property
    def address(self):
        return self.host, self.port

    @property
    def wire(self):
        return b"".join(bytes(session.raw) for session in self.sessions)

    def listen(self):
        """Takes connections, on the same port as before."""
        self._listener = socket.create_server((self.host, self.port), backlog=self._backlog)
        self.port = self._listener.getsockname()[1]
        self.start(self._accept, self._listener)

    def hang_up(self):
        """Stops to listen, and breaks all connections, as a host does that is killed."""
        _close(self._listener)
        self.cut()

    def cut(self):
        """Breaks all connections."""
        with self._lock:
            for session in self.sessions:
                _close(session.socket)

    def start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                session = Session(self, sock)
                self.sessions.append(session)
                if self.stopping.is_set():
                    _close(sock)
                chosen = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            self.start(self._serve, session, chosen)

    def _serve(self, session, chosen):
        try:
            if self._tls is not None:
                with self._lock:
                    session.socket = self._tls.wrap_socket(
                        session.socket, server_side=True, do_handshake_on_connect=False
                    )
                session.socket.do_handshake()
            chosen(session)
        except (OSError, ValueError):  # the board or the test closed it
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            _close(session.socket)


class Session:
    """One connection; `raw` has the bytes that came."""

    def __init__(self, host, sock):
        self.host = host
        self.socket = sock
        self.raw = bytearray()
        self.decoder = FrameDecoder(400000)

    def receive(self):
        """The next text; None at the end."""
        while (text := self.decoder.next_text()) is None:
            space = self.decoder.space()
            count = self.socket.recv_into(space)
            if not count:
                return None
            self.raw += space[:count]
            self.decoder.received(count)
        return text

    def read_all(self):
        """Reads what comes until the end."""
        while count := len(piece := self.socket.recv(65536)):
            self.raw += piece[:count]

    def send(self, text):
        self.socket.sendall(encode_frame(text))

    def say(self, kind, **fields):
        self.send(format_message(kind, **fields))

    def deliver(self, text, acknowledge=True):
        """What a host does with a text that came."""
        host = self.host
        if not is_message(text):
            host.texts.append(text)
            return
        kind, fields = parse_message(text)
        if kind == "ping":
            host.own.append((kind, fields))
            self.say("pong")
        elif kind == "keep":
            sequence, number = fields["sequence"], fields["id"]
            # The connection before may be read to its end meanwhile.
            with host.delivering:
                if number > host.highest.get(sequence, 0):
                    host.highest[sequence] = number
                    host.delivered.append(fields["data"])
            if acknowledge:
                self.say("ack", sequence=sequence, id=number)
        else:
            host.own.append((kind, fields))

    def reset(self):
        """Breaks the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait(self, seconds=30):
        """Says and reads nothing until the test ends."""
        self.host.stopping.wait(seconds)


def deliver(session):
    """The script of a host that does everything right."""
    while (text := session.receive()) is not None:
        session.deliver(text)


def say(*texts):
    """The script of a host that sends these texts, and does everything right."""

    def run(session):
        for text in texts:
            session.send(text)
        deliver(session)

    return run


def raw(*pieces):
    """The script of a host that sends these bytes, and does everything right."""

    def run(session):
        for piece in pieces:
            session.socket.sendall(piece)
        deliver(session)

    return run


def silent(session):
    """The script of a host that reads, and never says anything."""
    session.read_all()


def deaf(session):
    """The script of a host that never reads."""
    session.wait()


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _close(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
