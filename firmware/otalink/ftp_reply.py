"""What an FTP server says on the control connection. Pure: no sockets, no clock; `ftp_facts.py` has what is rarer.

A server is not trusted: every line, reply and listing is bounded, and what breaks the bounds or the grammar is a
ProtocolError.
"""

from otalink.errors import ProtocolError
from otalink.ftp_text import is_number, text_of

LINE_MAX = 1024
REPLY_MAX = 8192
# How much of a reply over several lines is kept as its text.
TEXT_MAX = 512


class LineSplitter:
    """Cuts a stream of bytes into lines. A line over LINE_MAX bytes is a ProtocolError."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The lines that `data` (copied) completes, without their line ends, as a list."""
        lines = (self._rest + data).split(b"\n")
        if max(map(len, lines)) > LINE_MAX:
            raise ProtocolError(f"the server sent a line of over {LINE_MAX} bytes")
        self._rest = lines.pop()
        return [line.rstrip(b"\r") for line in lines]

    def end(self) -> bytes | None:
        """The last line, when the stream ended without a line end behind it; else None."""
        rest, self._rest = self._rest, b""
        return rest.rstrip(b"\r") or None


class ReplyParser(LineSplitter):
    """Assembles the replies of a control connection (RFC 959 section 4.2), those over several lines included.

    The text of a reply is its lines without the code, with "\n" between; bytes that are not UTF-8 become "?".
    Of a long one, what comes after TEXT_MAX bytes is left out, but for the last line.
    """

    def __init__(self) -> None:
        super().__init__()
        self._replies: list[tuple[int, str]] = []
        self._code = b""  # of the reply that has begun
        self._text: list[str] = []
        self._size = 0

    def hear(self, data: bytes | bytearray | memoryview) -> None:
        """Takes what the server sent. Raises ProtocolError when it is no reply, or one without end."""
        for line in self.feed(data):
            code = line[:3]
            coded = len(code) == 3 and code.isdigit() and line[3:4] in (b" ", b"-", b"")
            if not self._code:
                if not coded or not b"1" <= code[:1] <= b"5":
                    raise ProtocolError(f"the server sent no FTP reply but {text_of(line[:40])!r}")
                self._code, self._text, self._size = code, [], 0
            self._size += len(line) + 1  # an empty line takes room too
            if self._size > REPLY_MAX:
                raise ProtocolError(f"the server sent a reply of over {REPLY_MAX} bytes")
            same = coded and code == self._code
            last = same and line[3:4] != b"-"
            if last or self._size <= TEXT_MAX:
                self._text.append(text_of(line[4:] if same else line))
            if last:
                self._replies.append((int(self._code), "\n".join(self._text)))
                self._code = b""

    def next(self) -> tuple[int, str] | None:
        """The next reply that is complete, as (code, text), or None."""
        return self._replies.pop(0) if self._replies else None

    def is_idle(self) -> bool:
        """True when there is neither a reply nor a part of one: what comes next answers the next command."""
        return not self._replies and not self._code and not self._rest


def check_argument(text: str) -> None:
    """Raises ValueError when `text` would end the command that it is put into, and begin another."""
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError("a path, name or password cannot hold CR, LF or NUL")  # not which: no password is shown


def parse_epsv(text: str) -> int:
    """The port in the text of a 229 reply, "(|||6446|)" (RFC 2428 section 3). Raises ProtocolError."""
    inner = text[text.find("(") + 1 :]
    # The separator may be any character; an address before the port is left out, as by parse_pasv.
    parts = inner.split(inner[:1]) if inner else []
    return check_port(parts[3] if len(parts) > 4 else "", text)


def check_port(digits: str, text: str) -> int:
    """The port that `digits` in a reply's `text` name. Raises ProtocolError."""
    if not is_number(digits, 5) or not 0 < int(digits) < 65536:
        raise ProtocolError(f"the server names no port for the data: {text[:80]!r}")
    return int(digits)
