"""RSA signatures: PKCS#1 v1.5 with SHA-256 (RFC 8017 section 8.2.2), verified only. Pure; nothing here is secret.

A key is its modulus, 2,048 to 4,096 bits as big-endian bytes without leading zeros; the public exponent is 65537. The
whole block that the signature must open to is built and compared, so that there is no padding to be parsed wrongly.
"""

import hashlib
from binascii import a2b_base64, b2a_base64, hexlify


def key_id(modulus: bytes) -> str:
    """The id of the key with this `modulus`: 16 hexadecimal digits."""
    return hexlify(hashlib.sha256(modulus).digest()[:8]).decode()


def decode(text: str) -> bytes:
    """The bytes of base64 `text`. Raises ValueError unless it is exactly what encoding them gives."""
    raw = a2b_base64(text)
    # Decoders skip what they do not know: only the way back shows that nothing was skipped.
    if b2a_base64(raw)[:-1] != text.encode():
        raise ValueError("base64 without line breaks is wanted")
    return raw


def decode_key(identity: str, text: str) -> bytes:
    """The modulus that `/otalink.json` holds as `text` under the id `identity`. Raises ValueError when it is not."""
    try:
        modulus = decode(text)
    except ValueError:
        raise ValueError(f"key {identity}: it is no base64")
    if not 256 <= len(modulus) <= 512 or modulus[0] < (128 if len(modulus) == 256 else 1):
        raise ValueError(f"key {identity}: an RSA modulus has 2048 to 4096 bits")
    if key_id(modulus) != identity:
        raise ValueError(f"key {identity}: this is another key, whose id is {key_id(modulus)}")
    return modulus


def verify(modulus: bytes, digest: bytes, signature: bytes) -> bool:
    """True when `signature` is the one of the SHA-256 `digest` by the key with this `modulus`."""
    length = len(modulus)
    if len(signature) != length or len(digest) != 32:
        return False
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if s >= n:
        return False
    opened = s
    for _ in range(16):  # 65537 is 2 ** 16 + 1
        opened = opened * opened % n
    opened = opened * s % n
    # RFC 8017 section 9.2, note 1: what stands before a SHA-256 in the block.
    tail = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20" + digest
    block = b"\x00\x01" + b"\xff" * (length - len(tail) - 3) + b"\x00" + tail
    return opened == int.from_bytes(block, "big")
