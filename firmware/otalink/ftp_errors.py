"""What went wrong with an FTP session, as an error of one line. Loaded when something has; see phase.py."""

import asyncio
import errno

from micropython import const

from otalink.errors import FtpError, OtaError, ProtocolError, ReleaseError, ResumeError, TransferError
from otalink.phase import call

# The server's word on a broken data connection is worth a short wait, no more.
_LAST_WORD_MS = const(2000)

_REASONS = {
    errno.ECONNREFUSED: "connection refused: is the server running, and is this its port?",
    errno.ECONNRESET: "the server broke the connection",
    errno.EHOSTUNREACH: "no route to it: is the network up, and is this its address?",
    errno.ETIMEDOUT: "no answer: is the network up, and is this its address?",
}
# Any other: once there was a connection, and before.
_OTHERS = (
    "the connection broke (error {})",
    "cannot be reached (error {}): is the network up, and is this its address?",
)

# A TransferError each. An OSError that comes last is explained in words.
_FAILURES = {
    "broken": "{}",
    "closed": "the session was closed",
    "connect": "{}",
    "ended": "it closed the session without an answer: try again later",
    "no data": "no data connection to its port {}: {}",
    "not all": "{} has {} bytes there although {} were sent",
    "silent": "nothing came for {:g} s: is the network up?",
    "too long": "{} is longer than the {} bytes it promised: was it replaced?",
    "too short": "{} ended after {} of {} bytes although the server says it is whole",
    "unasked": "it sent a reply that nothing had asked for",
    "unknown": "its name cannot be looked up: is it right, is the network up?",
}
# A ResumeError each.
_RESUMES = {
    "no rest": "{}: more came from byte {} on than there is: the server ignores REST",
    "replaced": "{} has {} bytes on the server, and {} are here: it was replaced",
}


def failure(session, key, arguments):
    """The error that has this key above."""
    if key in _RESUMES:
        return ResumeError(_RESUMES[key].format(*arguments))
    number = errno.ETIMEDOUT if key == "silent" else None
    words = list(arguments)
    if words and session.tls is not None:
        words[-1] = call("tls_errors.words", words[-1])
    if words and isinstance(words[-1], OSError):
        number = words[-1].errno
        words[-1] = _REASONS.get(number) or _OTHERS[key in ("connect", "no data")].format(number)
        # The Unix port puts text where others put a number.
        number = number if isinstance(number, int) else None
    text = _FAILURES[key].format(*words)
    return TransferError(f"FTP server {session._host}:{session._port}: {text}", number)


def refusal(session, line, code, text):
    """The error that the server's reply to `line` makes."""
    command = line
    if line.startswith(("USER ", "PASS ")):
        line = f"the login of {session._user} (check user and password)"
    answer = "refused" if code >= 400 else "gave no fitting answer to"
    text = quote(session, f"{code} {text}")
    text = f"FTP server {session._host}:{session._port} {answer} {line}: {text}"
    if session.tls is not None:
        hint = call("tls_errors.hint", command, code, session.tls[-1] is not None)
        if hint is not None:
            text = f"{text}: {hint}"
    return FtpError(text, code) if code >= 400 else ProtocolError(text)


def quote(session, text):
    """The server's words for one line of an error, without the password if it sends that back."""
    if session._password and session._user != "anonymous":
        text = text.replace(session._password, "***")
    found = bytearray(text[:200].encode())
    for i in range(len(found)):
        if found[i] < 32:
            found[i] = 32
    return found.decode()


def unreadable(filename, rows):
    """The error of a file that is in the listing `rows`, those of NLST, and that the server does not know."""
    raw = filename.encode()
    for row in rows:
        if row[-len(raw) :] == raw:
            return ReleaseError(f"{filename} is in the listing and cannot be read: check its permissions")
    # text_of has changed it.
    return ReleaseError(f"{filename} in the listing has a name that is not UTF-8: rename it")


def unasked(session, reply):
    """The error of a server that has sent `reply`, (code, text) or a part of it, before there was a command."""
    if reply is not None and reply[0] == 421:
        return refusal(session, "to go on", *reply)
    return failure(session, "unasked", ())


def wrong_length(session, path, came, offset, size, skip):
    """The error of a transfer of `path` from byte `offset` on, which gave `came` bytes behind it.

    `size` is the promised length, or None. `skip` is `offset`, or 0 where the server has said that it heeds REST.
    """
    end = offset + came
    if size is None:
        return failure(session, "replaced", (path, end, offset))
    if end < size:
        return failure(session, "too short", (path, end, size))
    if offset > skip:
        session._has_rest = False
        return failure(session, "no rest", (path, offset))
    return failure(session, "too long", (path, size))


async def broken_data(session, line, error):
    """The error of a broken data connection: the server's reply, if it still comes, says why."""
    session._arm(min(session._timeout_ms, _LAST_WORD_MS))
    try:
        code, text = await session._reply()
    except OtaError:
        code = 0
    except asyncio.CancelledError:
        if session._stopped is None:
            raise
        code = 0
    return refusal(session, line, code, text) if code >= 400 else failure(session, "broken", (error,))


def nonsense(session, error):
    """The error of a server that says what is no reply."""
    return ProtocolError(f"FTP server {session._host}:{session._port}: {quote(session, str(error))}")
