"""Certificates for servers of the tests: made anew for each."""

import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; `path` is its own, in DER, in `folder`."""

    def __init__(self, folder, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        certificate = _certificate(self.name, self.key.public_key(), self.name, self.key, [])
        self.path = folder / f"{name}.der"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.DER))

    def certificate(self, folder, host, days=1):
        """The path of a certificate for `host`, a name or an address, with its key, in PEM; good for so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            names = [x509.IPAddress(ipaddress.ip_address(host))]
        except ValueError:
            names = [x509.DNSName(host)]
        certificate = _certificate(_name(host), key.public_key(), self.name, self.key, names, days)
        path = folder / "host.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path

    def context(self, folder, host, days=1):
        """What a server with such a certificate speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(folder, host, days))
        return context


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject, public_key, issuer, key, names, days=1):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())
