"""What went wrong with an FTP session, as an error of one line. Loaded when something has; see phase.py."""

import asyncio
import errno

from micropython import const

from otalink.errors import FtpError, OtaError, ProtocolError

# The server's word on a broken data connection is worth a short wait, no more.
_LAST_WORD_MS = const(2000)

_REASONS = {
    errno.ECONNREFUSED: "connection refused: is the server running, and is this its port?",
    errno.ECONNRESET: "the server broke the connection",
    errno.EHOSTUNREACH: "no route to it: is the network up, and is this its address?",
    errno.ETIMEDOUT: "no answer: is the network up, and is this its address?",
}


def explain(error):
    """What an OSError of a connection means, as text."""
    return _REASONS.get(error.errno) or f"the connection broke (error {error.errno})"


def refusal(session, line, code, text):
    """The error that the server's reply to `line` makes."""
    if line.startswith(("USER ", "PASS ")):
        line = f"the login of {session._user} (check user and password)"
    answer = "refused" if code >= 400 else "gave no fitting answer to"
    text = quote(session, f"{code} {text}")
    text = f"FTP server {session._host}:{session._port} {answer} {line}: {text}"
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
    return refusal(session, line, code, text) if code >= 400 else session._failure(explain(error), error.errno)
