"""How an FTP session begins: the name looked up, the connection, the login. Loaded for it alone; see phase.py."""

from otalink.connect import connect_socket
from otalink.ftp_reply import check_argument
from otalink.ftp_session import FtpSession
from otalink.phase import run
from otalink.resolve import resolve


async def begin(job):
    """Logs in, enters the folder and leaves the session in `job.link`, see FtpSession.suspend.

    What a session that was there before has learned of the server is kept.
    """
    async with FtpSession(*job.config.server) as session:
        if job.link:
            session.resume(job.link)
        session.folder = job.config.folder
        try:
            await session.connect()
        finally:
            session.suspend(job.link)


async def log_in(session):
    """Connects and logs in."""
    # Until the login has come through, no address counts as the right one.
    addresses, session._addresses = session._addresses, None
    failure = None
    if not addresses:
        try:
            addresses = resolve(session._host, session._port)
        except OSError as error:
            raise session._failure("unknown", error)
    for address in addresses:
        session._arm(2 * session._timeout_ms)
        try:
            sock = await connect_socket(address, session._port, session._timeout_ms)
        except OSError as error:
            failure = error
            continue
        session._take(sock, address)
        session._arm(session._timeout_ms)
        break
    else:
        raise session._failure("connect", failure)
    code, text = await session._reply()
    while code == 120:  # it will be ready in a while; the deadline holds
        code, text = await session._reply()
    if code != 220:
        raise session._refusal("a session", code, text)
    if session.tls is not None:
        await run("ftp_tls.begin", session)
    code, text = await session._command("USER " + session._user, (2, 3))
    if code == 331:
        code, text = await session._command("PASS " + session._password, (2, 3))
    if code >= 300:
        raise session._refusal("a login with user and password alone", code, text)
    # Many servers speak UTF-8 without being asked, and refuse the question (RFC 2640).
    await session._command("OPTS UTF8 ON", (2, 3, 4, 5))
    await session._command("TYPE I")
    if session.folder is not None:
        check_argument(session.folder)
        await session._command("CWD " + session.folder)
    session._addresses = [session._address]
