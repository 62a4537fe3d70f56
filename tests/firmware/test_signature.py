"""RSA signatures: what the package cryptography signs verifies, and nothing else does."""

import hashlib
from binascii import a2b_base64, b2a_base64

from signature_vectors import FORGED, MESSAGE, VECTORS
from support import raised

from otalink.signature import decode, decode_key, key_id, verify

DIGEST = hashlib.sha256(MESSAGE).digest()


def vector(index):
    modulus, signature = VECTORS[index]
    return a2b_base64(modulus), a2b_base64(signature)


def number(data):
    return int.from_bytes(data, "big")


def test_signatures_of_2048_3072_and_4096_bits_verify():
    for index, length in enumerate((256, 384, 512)):
        modulus, signature = vector(index)
        assert len(modulus) == length
        assert verify(modulus, DIGEST, signature)


def test_a_signature_is_for_one_digest_and_one_key():
    modulus, signature = vector(1)
    assert not verify(modulus, hashlib.sha256(MESSAGE + b"!").digest(), signature)
    assert not verify(modulus, DIGEST[:-1], signature)
    assert not verify(modulus, DIGEST + b"\0", signature)
    other = bytearray(modulus)
    other[100] ^= 1
    assert not verify(bytes(other), DIGEST, signature)


def test_blocks_that_only_look_like_a_signature_are_refused():
    modulus, _ = vector(1)
    for what, signature in FORGED:
        assert not verify(modulus, DIGEST, a2b_base64(signature)), what


def test_any_changed_bit_of_a_signature_is_refused():
    modulus, signature = vector(0)
    for at in range(0, len(signature), 5):
        changed = bytearray(signature)
        changed[at] ^= 1 << at % 8
        assert not verify(modulus, DIGEST, bytes(changed)), at


def test_a_signature_must_have_the_length_of_its_key():
    modulus, signature = vector(1)
    assert not verify(modulus, DIGEST, signature[:-1])
    assert not verify(modulus, DIGEST, signature + b"\0")
    assert not verify(modulus, DIGEST, b"\0" + signature)
    assert not verify(modulus, DIGEST, b"")


def test_a_signature_must_be_below_its_modulus():
    for index in range(3):
        modulus, signature = vector(index)
        n, s, length = number(modulus), number(signature), len(modulus)
        assert not verify(modulus, DIGEST, b"\0" * length)
        assert not verify(modulus, DIGEST, (1).to_bytes(length, "big"))
        assert not verify(modulus, DIGEST, (n - 1).to_bytes(length, "big"))
        assert not verify(modulus, DIGEST, modulus)
        # The same number to the arithmetic, and one that a second spelling of a signature could use.
        if n + s < 1 << 8 * length:
            assert not verify(modulus, DIGEST, (n + s).to_bytes(length, "big"))
        assert not verify(modulus, DIGEST, (n + s).to_bytes(length + 1, "big"))


def test_the_number_whose_cube_ends_in_the_block_is_no_signature():
    # What forges signatures where the exponent is 3: the cube root of the block, rounded up.
    modulus, _ = vector(1)
    block = b"\0\1" + b"\xff" * 8 + b"\0" + DIGEST
    wanted = number(block + b"\xff" * (384 - len(block)))
    low, high = 0, 1 << 1024
    while low < high:
        middle = (low + high) // 2
        if middle * middle * middle < wanted:
            low = middle + 1
        else:
            high = middle
    assert not verify(modulus, DIGEST, low.to_bytes(384, "big"))


def test_a_keys_id_is_the_beginning_of_its_modulus_digest():
    assert key_id(b"abc") == "ba7816bf8f01cfea"


def test_a_configured_key_must_be_the_one_of_its_id():
    text = VECTORS[1][0]
    modulus = a2b_base64(text)
    identity = key_id(modulus)
    assert decode_key(identity, text) == modulus
    other = key_id(a2b_base64(VECTORS[0][0]))
    error = str(raised(ValueError, decode_key, other, text))
    assert identity in error
    assert other in error


def test_a_configured_key_is_base64_of_2048_to_4096_bits():
    for text in ("", "!", VECTORS[1][0] + "\n", VECTORS[1][0][:-1], VECTORS[1][0][:-4] + "é"):
        assert "0123456789abcdef" in str(raised(ValueError, decode_key, "0123456789abcdef", text))
    for length in (0, 128, 255, 513):
        modulus = b"\xc5" * length
        text = b2a_base64(modulus)[:-1].decode()
        assert "bits" in str(raised(ValueError, decode_key, key_id(modulus), text)), length
    for modulus in (b"\x7f" * 256, b"\0" + b"\xc5" * 383):
        text = b2a_base64(modulus)[:-1].decode()
        assert "bits" in str(raised(ValueError, decode_key, key_id(modulus), text))


def test_base64_has_one_form():
    assert decode("QUJD") == b"ABC"
    assert decode("QQ==") == b"A"
    for text in ("QUJD\n", " QUJD", "QU\nJD", "QR==", "QQ", "QQ=", "QQ==QQ==", "Q*UJD", "Q-_A", "ä"):
        raised(ValueError, decode, text)
