"""The server's side of TLS: which versions and ciphers, and the certificate. It opens no socket.

Versions and ciphers are those of RFC 9325 sections 3.1.1 and 4.2: TLS 1.2 with ECDHE and an AEAD cipher, and TLS 1.3.
MicroPython's mbedTLS speaks TLS 1.2 and offers ECDHE-ECDSA and ECDHE-RSA with AES-GCM, over P-256 among others.
"""

import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from otalink_host.certificates import load
from otalink_host.errors import UserError
from otalink_host.secrets_file import check_mode
from otalink_host.settings import Tls

# TLS 1.2's; those of TLS 1.3 are OpenSSL's own, all of which are sound.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(tls: Tls) -> SSL.Context:
    """What new connections are secured with. Raises UserError when the certificate or its key cannot be used."""
    assert tls.certificate is not None
    assert tls.key is not None
    certificate, key = load(tls.certificate), _load_key(tls.key)
    if certificate.public_key() != key.public_key():
        raise UserError(f"{tls.key} is not the key of {tls.certificate}: name the two that belong together")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    # Nothing is resumed: MicroPython cannot, and each connection then has keys of its own.
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    try:
        context.use_certificate_chain_file(str(tls.certificate))
        context.use_privatekey(key)
    except (SSL.Error, TypeError):
        raise UserError(f"{tls.certificate} cannot be used: it must be in PEM, with a key of RSA or EC") from None
    return context


def _load_key(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            check_mode(path, os.fstat(file.fileno()).st_mode)
            data = file.read()
    except FileNotFoundError:
        raise UserError(f"there is no {path}: make it with `otalink cert new`, or name it in [tls]") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{path} holds no private key in PEM without a passphrase: name another file") from None
