"""What a board and its host prove to each other with the secret that they share. Pure; docs/link.md.

The secret never crosses the link: an HMAC-SHA256 (RFC 2104) over a number that the other side has just made up does.
So what was heard once is of no use later, on another link, or for another board.
"""

import hashlib
from binascii import hexlify

_BLOCK = 64


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """The HMAC-SHA256 of `data`, 32 bytes (RFC 2104)."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key += bytes(_BLOCK - len(key))
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
    inner.update(data)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
    outer.update(inner.digest())
    return outer.digest()


def prove(secret: str, *facts: object) -> str:
    """What proves that its sender has the `secret` (text) and means the `facts`: 64 hexadecimal digits.

    No fact, as text, may hold a line end.
    """
    lines = [str(fact) for fact in facts]
    if any("\n" in line for line in lines):
        raise ValueError("a fact to prove must be one line")
    return hexlify(hmac_sha256(secret.encode(), "\n".join(lines).encode())).decode()


def is_proven(mac: object, secret: str, *facts: object) -> bool:
    """True when `mac` is what `prove` gives. How long it takes does not tell how much of it is right."""
    try:
        expected = prove(secret, *facts)
    except ValueError:
        return False
    if not isinstance(mac, str) or len(mac) != len(expected):
        return False
    differences = 0
    for index, digit in enumerate(mac):
        differences |= ord(digit) ^ ord(expected[index])
    return not differences


def prove_board(secret: str, board: str, welcome: str, hello: str) -> str:
    """A board's proof of who it is: `welcome` and `hello` are the challenges of the two messages of this name."""
    return prove(secret, "otalink board", board, welcome, hello)


def prove_ask(secret: str, board: str, hello: str, number: int, what: str) -> str:
    """A host's proof that it may ask for `what`: `hello` is the board's challenge on this connection, and each `number`
    on it must be above the one before."""
    return prove(secret, "otalink ask", board, hello, number, what)
