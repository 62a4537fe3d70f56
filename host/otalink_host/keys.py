"""Release keys: making them, keeping them, signing with them. What a board verifies is in otalink.signature.

A key NAME is two files in the keys folder: NAME.pem, the private key (PKCS#8, mode 0600, with a passphrase if wanted),
and NAME.pub, the public one. The folder is never one that is served (private.py). Nothing here overwrites a file.
"""

import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from otalink.signature import key_id
from otalink_host.errors import UserError
from otalink_host.secrets_file import check_mode

FOLDER_NAME = "keys"
BITS = 3072
EXPONENT = 65537
PRIVATE, PUBLIC = ".pem", ".pub"

# Gives the passphrase of the private key in a file.
Ask = Callable[[Path], bytes]


@dataclass(frozen=True)
class Key:
    """A public key. `private` is the file with its private key, or None; `encrypted` when that has a passphrase."""

    name: str
    modulus: bytes
    private: Path | None = None
    encrypted: bool = False

    @property
    def id(self) -> str:
        return key_id(self.modulus)

    @property
    def bits(self) -> int:
        return int.from_bytes(self.modulus, "big").bit_length()


class Signer:
    """A private key that was loaded. `key` is its public key."""

    def __init__(self, key: Key, private: rsa.RSAPrivateKey) -> None:
        self.key = key
        self._private = private

    def sign(self, data: bytes) -> bytes:
        """The RSA PKCS#1 v1.5 SHA-256 signature of `data`, as long as the key's modulus."""
        return self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def create(folder: Path, name: str, passphrase: bytes | None = None) -> Key:
    """Makes the key `name` in `folder`, which is made if need be. Raises UserError when there is one already."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name):
        raise UserError(f"key {name!r}: its name must be 1 to 32 letters, digits, _ and -, a letter or digit first")
    private_file, public_file = folder / (name + PRIVATE), folder / (name + PUBLIC)
    for path in (private_file, public_file):
        if os.path.lexists(path):
            raise UserError(f"{path} is there already: choose another name with --name")
    private = rsa.generate_private_key(public_exponent=EXPONENT, key_size=BITS)
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    secret = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(private_file, secret, 0o600)
        try:
            _write_new(public_file, public, 0o644)
        except OSError:
            private_file.unlink()
            raise
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be made ({error.strerror})") from None
    return Key(name, _modulus(private.public_key(), private_file), private_file, passphrase is not None)


def load_all(folder: Path) -> list[Key]:
    """The keys in `folder`, by name; none when there is no such folder. Raises UserError for one that is broken."""
    if not folder.is_dir():
        return []
    names = {path.stem for path in folder.iterdir() if path.suffix in (PRIVATE, PUBLIC) and path.name[0] != "."}
    return [_load_pair(folder, name) for name in sorted(names)]


def load_public(folder: Path, text: str) -> Key:
    """The public key that `text` names: a key in `folder`, or else a file with a public or private key in PEM."""
    path = _find(folder, text, (PUBLIC, PRIVATE))
    if path.suffix in (PRIVATE, PUBLIC):
        return _load_pair(path.parent, path.stem)
    return _load_file(path)


def load_signer(folder: Path, text: str, ask: Ask) -> Signer:
    """The private key that `text` names: a key in `folder`, or else a file in PEM. `ask` gives its passphrase."""
    path = _find(folder, text, (PRIVATE,))
    check_mode(path, path.stat().st_mode)
    data = _read(path)
    try:
        private = serialization.load_pem_private_key(data, ask(path) if _is_encrypted(data) else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "the passphrase is wrong, or the file is broken" if _is_encrypted(data) else "it holds no private key"
        raise UserError(f"{path} cannot be used: {why}") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise UserError(f"{path} is no RSA key: make one with `otalink keys new`")
    key = Key(path.stem, _modulus(private.public_key(), path), path, _is_encrypted(data))
    return Signer(key, private)


def for_boards(keys: Iterable[Key]) -> dict[str, str]:
    """The keys as `/otalink.json` has them: id -> modulus in base64."""
    return {key.id: b64encode(key.modulus).decode() for key in keys}


def _find(folder: Path, text: str, suffixes: tuple[str, ...]) -> Path:
    for suffix in suffixes:
        if re.fullmatch(r"[A-Za-z0-9_-]+", text) and (folder / (text + suffix)).is_file():
            return folder / (text + suffix)
    path = Path(text)
    if not path.is_file():
        raise UserError(f"there is no key {text} in {folder}, and no such file: `otalink keys list` names them")
    return path


def _load_pair(folder: Path, name: str) -> Key:
    private, public = folder / (name + PRIVATE), folder / (name + PUBLIC)
    encrypted = private.is_file() and _is_encrypted(_read(private))
    if not public.is_file() and encrypted:
        raise UserError(f"{private} has a passphrase, and {public} is missing: take that from where the key was made")
    key = _load_file(public if public.is_file() else private)
    return Key(name, key.modulus, private if private.is_file() else None, encrypted)


def _load_file(path: Path) -> Key:
    data = _read(path)
    try:
        if b"PRIVATE KEY" in data:
            public = serialization.load_pem_private_key(data, None).public_key()
        else:
            public = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{path} is no key in PEM, or one with a passphrase: name the {PUBLIC} file") from None
    return Key(path.stem, _modulus(public, path))


def _modulus(public: object, path: Path) -> bytes:
    if not isinstance(public, rsa.RSAPublicKey):
        raise UserError(f"{path} is no RSA key: make one with `otalink keys new`")
    numbers = public.public_numbers()
    if numbers.e != EXPONENT or not 2048 <= public.key_size <= 4096:
        raise UserError(f"{path}: boards take RSA keys of 2048 to 4096 bits whose exponent is {EXPONENT}")
    return numbers.n.to_bytes((public.key_size + 7) // 8, "big")


def _is_encrypted(data: bytes) -> bool:
    return b"ENCRYPTED" in data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Makes the file `path`, which must not be there; its mode is given as it is made, so that nobody is quicker."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
