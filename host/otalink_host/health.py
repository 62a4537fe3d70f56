"""Whether a server serves: for a container's health check, a monitor, or whoever wonders. It logs in nowhere."""

import ftplib
import ssl

from otalink_host.errors import UserError

TIMEOUT = 5.0


def check_health(address: str, port: int, *, tls: bool) -> str:
    """What the server there says when it is greeted, and with `tls` secured. Raises UserError when it does not serve.

    One whose sessions are all in use serves: it says so (421).
    """
    # The certificate is the boards' business: one that has ended is no reason to start the server anew.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = ftplib.FTP_TLS(timeout=TIMEOUT, context=context)
    try:
        welcome = client.connect(address, port)
        if tls:
            client.auth()
        client.quit()
    except ftplib.error_temp as error:
        if str(error).startswith("421"):
            return str(error)
        raise UserError(f"{address} port {port} does not serve: {error}") from None
    except (ftplib.Error, EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it broke the connection"
        raise UserError(f"{address} port {port} does not serve: {reason}") from None
    finally:
        client.close()
    return welcome
