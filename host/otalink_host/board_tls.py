"""What a board needs to update itself over TLS: the setting "tls" (docs/tls.md), and the CA that it checks by."""

from cryptography.hazmat.primitives.serialization import Encoding

from otalink_host import certificates
from otalink_host.errors import UserError
from otalink_host.settings import Account, Settings

# Where the CA's certificate lies on a board.
CA_PATH = "/ca.der"
# What a board may send over TLS: all, the login alone, or nothing.
CHOICES = ("private", "clear", "off")


def needed(settings: Settings, account: Account, has_keys: bool) -> str:
    """One of CHOICES: the least that the server asks of a board that logs in with `account`.

    Without keys a board takes no data in the clear: nothing would tell it that they were changed on the way.
    """
    if settings.tls.mode == "required" or account.tls == "full":
        return "private"
    if account.tls == "control":
        return "clear" if has_keys else "private"
    return "off"


def ca_for(settings: Settings, host: str) -> bytes:
    """The certificate, in DER, by which a board checks the server that it knows as `host`. Raises UserError."""
    tls = settings.tls
    if tls.mode == "off" or tls.certificate is None:
        raise UserError(f"{settings.path} has no TLS: make a certificate with `otalink cert new`")
    if tls.ca is None:
        raise UserError(f"{settings.path}: [tls] names no ca, which boards check the server by: name it")
    names = certificates.describe(certificates.load(tls.certificate)).names
    if host not in names:
        raise UserError(
            f"the server's certificate is for {', '.join(names)}, and boards would look for {host}: "
            f"`otalink cert renew --name {host}`, or give them another host with --set host=NAME"
        )
    return certificates.load(tls.ca).public_bytes(Encoding.DER)
