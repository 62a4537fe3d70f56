"""Who must wait after wrong logins, and who need not: pure, the clock is the test's."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otalink_host.lockout import Lockout, source_of
from otalink_host.settings import LockoutSettings, plain_address

HERE, THERE = plain_address("203.0.113.7"), plain_address("198.51.100.9")
SETTINGS = LockoutSettings(failures=3, delay=1, delay_max=60)


def lockout(entries: int = 10_000) -> Lockout:
    return Lockout(SETTINGS, entries)


def fail(lock: Lockout, times: int, account: str = "board", now: float = 0.0) -> float:
    wait = 0.0
    for _ in range(times):
        wait = lock.failed(account, HERE, now)
    return wait


def test_some_wrong_logins_are_free() -> None:
    lock = lockout()
    assert fail(lock, 2) == 0.0
    assert lock.wait("board", HERE, 0.0) == 0.0


def test_then_the_wait_doubles_up_to_the_most() -> None:
    lock, now, waits = lockout(), 0.0, []
    fail(lock, 2)
    for _ in range(9):
        wait = lock.failed("board", HERE, now)
        waits.append(wait)
        assert lock.wait("board", HERE, now + wait - 0.001) > 0
        now += wait
        assert lock.wait("board", HERE, now) == 0.0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_no_number_of_failures_is_too_many() -> None:
    assert fail(lockout(), 5000) == 60.0


def test_a_right_login_clears_what_was_counted() -> None:
    lock = lockout()
    fail(lock, 5)
    lock.succeeded("board", HERE)
    assert lock.wait("board", HERE, 0.0) == 0.0
    assert fail(lock, 2) == 0.0


def test_what_is_long_past_is_forgotten() -> None:
    lock = lockout()
    wait = fail(lock, 4)
    assert lock.failed("board", HERE, wait + 60.0) == 4.0
    assert lock.failed("board", HERE, wait + 4.0 + 121.0) == 0.0


def test_one_who_tries_many_accounts_is_locked_out_of_all() -> None:
    lock = lockout()
    for number in range(3):
        lock.failed(f"shop-{number}", HERE, 0.0)
    assert lock.wait("shop-99", HERE, 0.0) == 1.0
    assert lock.wait("shop-99", THERE, 0.0) == 0.0


def test_a_stranger_locks_no_board_out_that_is_elsewhere() -> None:
    lock = lockout()
    fail(lock, 100)
    assert lock.wait("board", HERE, 0.0) == 60.0
    assert lock.wait("board", THERE, 0.0) == 0.0


def test_a_board_with_a_wrong_password_does_not_lock_out_those_behind_the_same_router() -> None:
    lock = lockout()
    lock.succeeded("shop-2", HERE)
    fail(lock, 10, "shop-1")
    assert lock.wait("shop-2", HERE, 0.0) == 0.0
    assert lock.wait("shop-3", HERE, 0.0) > 0.0
    # Who guesses at that one is counted for it.
    fail(lock, 3, "shop-2")
    assert lock.wait("shop-2", HERE, 0.0) == 1.0


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_source_is_what_one_host_may_take_of_addresses(address: str, source: str) -> None:
    assert source_of(plain_address(address)) == source


def test_the_memory_is_bounded_and_the_oldest_go() -> None:
    lock = lockout(entries=100)
    fail(lock, 3)
    for number in range(1000):
        address = ipaddress.IPv4Address(number)
        lock.failed("x" * 3000, address, 0.0)
        lock.succeeded("y" * 3000, address)
        lock.failed("board", address, 0.0)
    assert len(lock._failures) == len(lock._known) == 100
    assert lock.wait("board", HERE, 0.0) == 0.0
    assert all(len(str(key)) < 100 for key in (*lock._failures, *lock._known))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([HERE, THERE]), st.booleans(), st.floats(0, 100))))
def test_whatever_happens_a_wait_ends_within_the_most(
    happens: list[tuple[str, ipaddress.IPv4Address, bool, float]],
) -> None:
    lock, now = lockout(), 0.0
    for account, address, right, passed in happens:
        now += passed
        if right:
            lock.succeeded(account, address)
        else:
            lock.failed(account, address, now)
        for each in "abc":
            assert 0.0 <= lock.wait(each, address, now) <= 60.0
            assert lock.wait(each, address, now + 60.0) == 0.0
