"""How an FTP session goes over to explicit TLS (RFC 4217). Loaded for that alone, where the settings have "tls".

Rules that it keeps:
- The user is named after the handshake, and a server without TLS gets neither name nor password.
- What a server sent in the clear behind its answer to AUTH counts for nothing: anybody can have put it there.

tls.py has the handshake, ftp_tls_data.py the data connections.
"""

from otalink.errors import OtaError
from otalink.phase import call
from otalink.tls import secure, trust


async def begin(session):
    """Takes the control connection of an FtpSession over to TLS, and says how data connections are to be.

    `session.tls` is as tls_setup.check gives it; the last of it becomes what data connections are secured with, or None
    where they are to be in the clear.
    """
    ca, name, is_private, ntp, _ = session.tls
    timeout_ms = session._timeout_ms
    await session._command("AUTH TLS")
    reply = session._replies.next()
    if reply is not None or not session._replies.is_idle():
        raise call("ftp_errors.unasked", session, reply)
    # For the time, and for the handshake.
    session._arm(3 * timeout_ms)
    try:
        context = await trust(ca, ntp, timeout_ms)
        # RFC 4217 section 9: PBSZ comes before PROT, and says nothing.
        session._control = await secure(session._control, context, name, b"PBSZ 0\r\n", timeout_ms)
    except (OtaError, OSError) as error:
        raise session._failure("broken", error)
    session._arm(timeout_ms)
    code, text = await session._reply()
    if code // 100 != 2:
        raise session._refusal("PBSZ 0", code, text)
    await session._command("PROT P" if is_private else "PROT C")
    session.tls = ca, name, is_private, ntp, context if is_private else None
