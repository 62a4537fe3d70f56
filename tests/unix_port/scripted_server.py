"""An FTP server on this machine that behaves well but for what a test says.

    with ScriptedServer({"f": b"content"}, SIZE="550 no such file", RETR=[CLOSE, None]) as server:

A keyword names a command (BANNER is the greeting) and says what happens when it comes:

    text             is sent as the reply; "" is no reply at all
    bytes            are sent as they are
    a function       is called with (session, argument) and answers by itself
    None             what a well-behaved server does
    a list of these  each time the next; the last one stays

`server.commands` is what came, as (number of the session, line). Sockets block; a thread serves a session. What a test
leaves running ends with the `with`, and an assertion that failed in a thread is raised there.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable


class ScriptedServer:
    @property
    def session_class(self):
        return Session

    def __init__(self, files=None, host="127.0.0.1", **answers):
        self.files = dict(files or {})
        self.answers = {verb: list(a) if isinstance(a, list) else [a] for verb, a in answers.items()}
        self.commands = []
        self.sessions = 0
        self.ended = threading.Semaphore(0)
        self.failures = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._sockets = []
        self._threads = []
        self._listener = self.keep(socket.create_server((host, 0), family=_family(host), backlog=20))
        self.host = host
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, kind, *exception):
        self.stopping.set()
        with self._lock:
            for sock in self._sockets:
                _close(sock)
        for thread in self._threads:
            thread.join()
        if self.failures and kind is None:
            raise self.failures[0]

    def lines(self, session=None):
        """What clients said, in one session or in all of them."""
        return [line for number, line in self.commands if session in (None, number)]

    def verbs(self, session=None):
        return [line.split(" ")[0] for line in self.lines(session)]

    def wait_ended(self, sessions):
        """Waits until `sessions` sessions have ended."""
        for _ in range(sessions):
            assert self.ended.acquire(timeout=10), "the client keeps a session"

    def keep(self, sock):
        """Closes `sock` in the end."""
        with self._lock:
            if self.stopping.is_set():
                sock.close()
            self._sockets.append(sock)
        return sock

    def next_answer(self, verb):
        with self._lock:
            answers = self.answers.get(verb, [None])
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or two replies in a row take 40 ms
            session = self.session_class(self, self.keep(sock), self.sessions)
            self.sessions += 1
            self._start(self._serve, session)

    def _serve(self, session):
        try:
            session.run()
        except (OSError, ValueError):  # the client or the test closed it
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            session.close()
            self.ended.release()


class Session:
    """One control connection, as the functions of a test see it. `number` counts from 0."""

    def __init__(self, server, sock, number):
        self.server = server
        self.socket = sock
        self.number = number
        self.rest = 0
        self.folder = "/"
        self._passive = None

    def run(self):
        self.answer("BANNER", "")
        received = b""
        while piece := self.socket.recv(4096):
            *lines, received = (received + piece).split(b"\n")
            for line in lines:
                assert line.endswith(b"\r"), line
                text = line[:-1].decode()
                self.server.commands.append((self.number, text))
                verb, _, argument = text.partition(" ")
                self.answer(verb, argument)

    def answer(self, verb, argument):
        answer = self.server.next_answer(verb)
        if answer is None:
            self.behave(verb, argument)
        elif isinstance(answer, bytes):
            self.raw(answer)
        elif isinstance(answer, str):
            if answer:
                self.say(answer)
        else:
            answer(self, argument)

    def behave(self, verb, argument):
        """What a well-behaved server does."""
        if verb in ("RETR", "NLST", "MLSD"):
            content = self.content(argument) if verb == "RETR" else self.listing(verb)
            if content is None:
                self.say("550 no such file")
                return
            with self.begin() as data:
                data.sendall(content[self.rest :])
            self.rest = 0
            self.say("226 done")
        elif verb == "STOR":
            with self.begin() as data:
                self.server.files[argument] = drain(data)
            self.say("226 done")
        elif verb == "SIZE":
            content = self.content(argument)
            self.say("550 no such file" if content is None else f"213 {len(content)}")
        elif verb == "REST":
            self.rest = int(argument)
            self.say("350 go on")
        elif verb == "EPSV":
            self.say(f"229 Entering Extended Passive Mode (|||{self.passive()}|)")
        elif verb == "PASV":
            high, low = divmod(self.passive(), 256)
            self.say(f"227 Entering Passive Mode (127,0,0,1,{high},{low}).")
        elif verb == "QUIT":
            self.say("221 goodbye")
            self.close()
        else:
            self.say(_REPLIES.get(verb, "500 what?"))

    def content(self, path):
        return self.server.files.get(path)

    def listing(self, verb):
        form = "{}\r\n" if verb == "NLST" else "type=file;size={};modify=20200102030405; {}\r\n"
        entries = self.server.files.items()
        return "".join(form.format(*((name,) if verb == "NLST" else (len(c), name))) for name, c in entries).encode()

    def say(self, text):
        self.raw(text.encode() + b"\r\n")

    def raw(self, data):
        self.socket.sendall(data)

    def drip(self, data, pause=0.05):
        """Sends byte by byte until the client goes."""
        for byte in data:
            self.raw(bytes([byte]))
            if self.server.stopping.wait(pause):
                return

    def passive(self):
        """Listens for a data connection; gives its port."""
        host = self.server.host
        self._passive = self.server.keep(socket.create_server((host, 0), family=_family(host)))
        return self._passive.getsockname()[1]

    def accept(self):
        """The data connection."""
        data = self.server.keep(self._passive.accept()[0])
        self._passive.close()
        return data

    def begin(self):
        """Says 150; gives the data connection."""
        self.say("150 here it comes")
        return self.accept()

    def close(self):
        _close(self.socket)

    def reset(self):
        reset(self.socket)

    def wait_gone(self):
        """Waits until the client has closed this session."""
        while self.socket.recv(100):
            pass


Answer = str | bytes | Callable[[Session, str], None] | None

_REPLIES = {
    "BANNER": "220 ready",
    "USER": "331 and the password?",
    "PASS": "230 welcome",
    "OPTS": "200 it is on",
    "TYPE": "200 binary",
    "NOOP": "200 fine",
    "CWD": "250 there",
    "MDTM": "213 20200102030405",
}


def CLOSE(session, argument):  # noqa: N802  (it reads as a constant in a script)
    session.close()


def RESET(session, argument):  # noqa: N802
    session.reset()


def reset(sock):
    """Ends a connection by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def drain(sock, chunk=65536, pause=0.0):
    """Everything that comes until the end."""
    received = bytearray()
    while piece := sock.recv(chunk):
        received += piece
        time.sleep(pause)
    return bytes(received)


def unused_port():
    """A bound socket that nothing listens on: connecting to its port is refused. The caller closes it."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def _family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _close(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
