"""Passwords and their hashes: Argon2id (RFC 9106) with OWASP's parameters. It opens no file and prints nothing.

A hash is text in the form of the PHC string format, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`, and holds its own
parameters. Making or checking one takes some 25 ms and 19 MiB: a server does that in threads (logins.py).
"""

import functools
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

PASSWORD_MAX = 128
# Of what somebody thinks out; a made one has 22 characters.
PASSWORD_MIN = 8

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# The least that Argon2 knows: for a test's or a demonstration's passwords, which protect nothing.
_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def new_password() -> str:
    """A password of 128 random bits, of characters that need no quoting anywhere."""
    while True:
        password = secrets.token_urlsafe(16)
        # A leading dash would be an option to every command line that it is pasted into.
        if not password.startswith("-"):
            return password


def is_password(password: object) -> bool:
    """True for what a password may be: text of 1 to PASSWORD_MAX printable characters, which FTP can send."""
    return isinstance(password, str) and 1 <= len(password) <= PASSWORD_MAX and password.isprintable()


def hash_password(password: str, *, cheap: bool = False) -> str:
    """A hash of `password`, each time another one. `cheap` is for passwords that protect nothing."""
    return (_CHEAP if cheap else _HASHER).hash(_encoded(password))


def verify(hash_: str, password: str) -> bool:
    """True when `hash_` was made of `password`."""
    try:
        return _HASHER.verify(hash_, _encoded(password))
    except (VerificationError, InvalidHashError):
        return False


def is_hash(text: object) -> bool:
    """True when `text` is a hash that `verify` can check."""
    try:
        _HASHER.check_needs_rehash(str(text))
    except InvalidHashError:
        return False
    return True


def is_outdated(hash_: str) -> bool:
    """True when `hash_` has other parameters than today's: at the next login it is made anew."""
    return _HASHER.check_needs_rehash(hash_)


@functools.cache
def dummy_hash() -> str:
    """The hash of a password that nobody knows: whoever may not log in is checked against it, and takes as long."""
    return hash_password(secrets.token_hex())


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
