"""Hashes of passwords: what matches what, and when one is to be made anew."""

from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from otalink_host.passwords import dummy_hash, hash_password, is_hash, is_outdated, is_password, new_password, verify


def test_a_hash_is_owasps_argon2id() -> None:
    parameters = extract_parameters(hash_password("x"))
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        Type.ID,
        19 * 1024,
        2,
        1,
    )


def test_a_hash_matches_its_password_and_nothing_else() -> None:
    made = hash_password("pässwörd", cheap=True)
    assert "pässwörd" not in made
    assert made != hash_password("pässwörd", cheap=True)
    assert verify(made, "pässwörd")
    for wrong in ("", "pässwör", "Pässwörd", "pässwörd ", "password", "\udcff"):
        assert not verify(made, wrong)


def test_what_is_no_hash_matches_nothing() -> None:
    for text in ("", "x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$x", "$1$abc$def"):
        assert not is_hash(text)
        assert not verify(text, "x")
        assert not verify(text, "")


def test_nobody_knows_the_password_of_who_is_not_there() -> None:
    assert not verify(dummy_hash(), "")
    assert not verify(dummy_hash(), dummy_hash())
    # As long as a right one takes.
    assert not is_outdated(dummy_hash())


def test_a_hash_with_other_parameters_is_outdated_and_still_matches() -> None:
    old = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash("x")
    assert is_outdated(old)
    assert verify(old, "x")
    assert not is_outdated(hash_password("x"))


def test_a_password_has_128_random_bits_and_begins_with_no_dash() -> None:
    made = {new_password() for _ in range(200)}
    assert len(made) == 200
    assert {len(password) for password in made} == {22}
    assert not any(password.startswith("-") for password in made)


def test_a_password_is_what_ftp_can_send() -> None:
    assert all(map(is_password, ("x", "x" * 128, "пароль", "with blanks")))
    assert not any(map(is_password, ("", "x" * 129, "a\nb", "a\x00", None, 1)))
