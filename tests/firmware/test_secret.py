"""What proves the secret: HMAC-SHA256 by its specification's vectors, and proofs that fit one question only."""

from binascii import hexlify, unhexlify

from support import raised

from otalink.secret import hmac_sha256, is_proven, prove, prove_ask, prove_board

# RFC 4231, sections 4.2 to 4.8 (key, data, HMAC-SHA-256); 4.6 is about truncation.
VECTORS = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
        b"hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def test_the_hmac_is_that_of_rfc_4231():
    for key, data, digest in VECTORS:
        assert hmac_sha256(key, data) == unhexlify(digest), data


def test_a_key_of_exactly_one_block_is_taken_as_it_is():
    assert len(hmac_sha256(b"k" * 64, b"")) == 32
    assert hmac_sha256(b"k" * 64, b"") != hmac_sha256(b"k" * 65, b"")


def test_a_proof_holds_for_its_facts_and_no_others():
    mac = prove_ask("secret", "shop-1", "00ff", 7, "check")
    assert len(mac) == 64
    assert is_proven(mac, "secret", "otalink ask", "shop-1", "00ff", 7, "check")
    for secret, *facts in (
        ("Secret", "otalink ask", "shop-1", "00ff", 7, "check"),
        ("secret", "otalink board", "shop-1", "00ff", 7, "check"),
        ("secret", "otalink ask", "shop-2", "00ff", 7, "check"),
        ("secret", "otalink ask", "shop-1", "00fe", 7, "check"),
        ("secret", "otalink ask", "shop-1", "00ff", 8, "check"),
        ("secret", "otalink ask", "shop-1", "00ff", 7, "restart"),
    ):
        assert not is_proven(mac, secret, *facts), facts


def test_what_is_no_proof_proves_nothing():
    right = prove("secret", "fact")
    for mac in (None, 7, "", right[:-1], right + "0", right[:-1] + "é", right.upper() + " ", ["a"] * 64, b"0" * 64):
        assert not is_proven(mac, "secret", "fact"), mac


def test_facts_cannot_be_shifted_into_each_other():
    raised(ValueError, prove, "secret", "a\nb")
    assert not is_proven(prove("secret", "a", "b"), "secret", "a\nb")
    assert prove("secret", "ab", "c") != prove("secret", "a", "bc")


def test_a_boards_proof_is_bound_to_both_challenges():
    mac = prove_board("secret", "shop-1", "aa", "bb")
    assert mac == prove_board("secret", "shop-1", "aa", "bb")
    assert mac != prove_board("secret", "shop-1", "bb", "aa")
    assert mac != prove_board("secret", "shop-1", "aa", "cc")


def test_a_secret_is_text_of_any_language():
    assert prove("schlüssel", "1") == hexlify(hmac_sha256("schlüssel".encode(), b"1")).decode()
