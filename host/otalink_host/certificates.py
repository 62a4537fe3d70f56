"""A private CA and the server's certificate, made with `otalink init` and `otalink cert`. It opens no socket.

The keys are on P-256, which MicroPython's TLS takes and is quick with. The CA lasts as long as boards do, since they
get its certificate over the cable; the server's is replaced now and then, and a server that runs takes the new one
over. Both are certificates as in RFC 5280: the CA may sign server certificates and no further CA.
"""

import contextlib
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from otalink_host.errors import UserError
from otalink_host.ftp_addresses import EVERY_ADDRESS, own_address
from otalink_host.secrets_file import check_mode
from otalink_host.settings import Settings, Tls

FOLDER = "tls"
CA_DAYS = 20 * 365
SERVER_DAYS = 2 * 365
# So many days before its end a certificate should be renewed.
WARN_DAYS = 30
# Boards whose clocks are a little slow take it, too.
_EARLIER = timedelta(days=1)

TLS_SECTION = """
[tls]
# FTP over TLS (RFC 4217): "off", "optional" (a board chooses), or "required" for login and files.
mode = "optional"
certificate = "{folder}/server.pem"
key = "{folder}/server.key"
# What boards check the server by. The key beside it, ca.key, signs certificates: keep it elsewhere if you can.
ca = "{folder}/ca.der"
"""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says: whose it is, the `names` and addresses that it is good for, and until when (UTC)."""

    subject: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    fingerprint: str

    def days_left(self, now: datetime | None = None) -> int:
        """Whole days until it ends; negative afterwards."""
        return (self.ends - (now or datetime.now(timezone.utc))).days


def check_name(name: str) -> str:
    """`name`, when a certificate may be for it: a host's name or an IP address. Raises ValueError."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    # RFC 1123 section 2.1; a name whose last part is a number would be a wrong address.
    if len(name) > 253 or not re.fullmatch(rf"{label}(\.{label})*", name) or name.rpartition(".")[2].isdecimal():
        raise ValueError("a host's name such as updates.example.com, or an IP address")
    return name.lower()


def usual_names(settings: Settings) -> list[str]:
    """The names and addresses at which boards may look for a server with these settings on this machine."""
    names = ["localhost", "127.0.0.1", "::1"]
    with contextlib.suppress(ValueError):
        names.append(check_name(socket.gethostname()))
    names += [address for address in settings.addresses if address not in EVERY_ADDRESS]
    names += [name for name in (settings.masquerade_address, own_address()) if name is not None]
    return list(dict.fromkeys(names))


def create(settings: Settings, names: Sequence[str]) -> list[Path]:
    """Makes a CA and a server certificate for `names` in the folder `tls` beside the settings, and names them there.

    Returns what it made. Raises UserError when the settings have a section [tls], or one of the files is there.
    """
    assert settings.path is not None
    if settings.tls.certificate is not None:
        raise UserError(f"{settings.path} names a certificate: `otalink cert renew` makes it anew")
    folder = settings.path.parent / FOLDER
    ca, ca_pem, ca_key, certificate, key = (
        folder / name for name in ("ca.der", "ca.pem", "ca.key", "server.pem", "server.key")
    )
    for path in (ca, ca_pem, ca_key, certificate, key):
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: move it away, or name it in [tls]")
    signer = ec.generate_private_key(ec.SECP256R1())
    root = _sign(_root(signer, _title(names)), signer)
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
        _write(ca_key, _private(signer), 0o600)
        _write(ca, root.public_bytes(Encoding.DER))
        _write(ca_pem, root.public_bytes(Encoding.PEM))
        _make_server(root, signer, names, certificate, key)
        with settings.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(TLS_SECTION.format(folder=FOLDER))
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written ({error.strerror})") from None
    return [certificate, key, ca, ca_key]


def renew(tls: Tls, names: Sequence[str], ca_key: Path) -> Certificate:
    """Makes the server's key and certificate anew, by the same CA, for `names` or, if there are none, the old ones.

    Boards take it as they took the old one. Raises UserError when the CA's key is not there, or not that CA's.
    """
    assert tls.certificate is not None
    assert tls.key is not None
    if tls.ca is None:
        raise UserError("[tls] names no ca: only a certificate of otalink's own CA can be made anew here")
    root = load(tls.ca)
    signer = _load_key(ca_key)
    if signer.public_key() != root.public_key():
        raise UserError(f"{ca_key} is not the key of {tls.ca}: name the CA's own with --ca-key")
    if not names:
        names = describe(load(tls.certificate)).names
    try:
        _make_server(root, signer, names, tls.certificate, tls.key)
    except OSError as error:
        raise UserError(f"{error.filename or tls.certificate} cannot be written ({error.strerror})") from None
    return describe(load(tls.certificate))


def load(path: Path) -> x509.Certificate:
    """The first certificate in the file, in PEM or DER. Raises UserError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no {path}: make it with `otalink cert new`") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError:
        raise UserError(f"{path} holds no certificate in PEM or DER: name another file") from None


def describe(certificate: x509.Certificate) -> Certificate:
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        for name in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
            if isinstance(name, (x509.DNSName, x509.IPAddress)):
                names.append(str(name.value))
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        names=tuple(names),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _make_server(
    root: x509.Certificate, signer: ec.EllipticCurvePrivateKey, names: Sequence[str], certificate: Path, key: Path
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    made = _sign(_leaf(private, root, names), signer)
    # Each file is whole or the old one. A server that looks between the two finds a pair that does not fit, and keeps
    # what it has until it looks again.
    _write(key, _private(private), 0o600)
    _write(certificate, made.public_bytes(Encoding.PEM))


def _title(names: Sequence[str]) -> str:
    named = [name for name in names if name not in ("localhost", "127.0.0.1", "::1")]
    # RFC 5280 appendix A.1: a common name has at most 64 characters.
    return f"otalink CA of {named[0] if named else 'localhost'}"[:64]


def _root(key: ec.EllipticCurvePrivateKey, title: str) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    return (
        _builder(key, name, name, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )


def _leaf(key: ec.EllipticCurvePrivateKey, root: x509.Certificate, names: Sequence[str]) -> x509.CertificateBuilder:
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "otalink server")])
    return (
        _builder(key, subject, root.subject, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )


def _builder(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(signer, hashes.SHA256())


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        data = path.read_bytes()
        check_mode(path, stat.S_IMODE(path.stat().st_mode))
    except FileNotFoundError:
        raise UserError(f"there is no {path}: bring the CA's key back, or name it with --ca-key") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{path} holds no private key of otalink's CA: name the CA's own with --ca-key")
    return key


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes the file as a whole: it is the old one or the new one, and never readable by more than `mode` says."""
    part = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(part, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
