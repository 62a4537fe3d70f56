"""The certificate on the board that TLS trusts."""

# mbedTLS's number (its x509.h) for a host's certificate that is refused, for which MicroPython has a ValueError.
UNTRUSTED = -0x2700


def read(path):
    """The content of the file `path`, a certificate in DER: the one form that every MicroPython takes.

    Raises ValueError when there is none.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        raise ValueError(f"ca: {path} cannot be read: put the certificate of who signed the host's on the board")
    if content[:1] != b"\x30":
        raise ValueError(
            f"ca: {path} is not in DER: convert it with `openssl x509 -in {path} -outform DER -out ca.der`"
        )
    return content
