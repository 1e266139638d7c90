"""Scheme seals: a lock is completed only if its seal belongs to its secret."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import (
    BookRecord,
    BookState,
    ExposureExceeded,
    GarbageLock,
    PaymentRefused,
    Scheme,
    SealCheckMissing,
    WrongSecret,
)
from payment_books import FOREVER, MemoryPayee, make_book, seal_of, with_garbage


class CountingSeals:
    """`seal_of` that remembers of which secrets it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, secret):
        self.asked.append(secret)
        return seal_of(secret)


def seals_book(**terms):
    return make_book(
        **{"locks": 6, "chain_length": 4, "window": 9, **terms, "scheme": Scheme.SEALS}
    )


def test_nothing_is_redeemed_from_a_seals_book_without_the_function_of_its_seals():
    secret_book = seals_book()
    with pytest.raises(SealCheckMissing):
        BookRecord(book=secret_book.book, open_until=FOREVER)
    payee = MemoryPayee(secret_book)
    payee.record.seal_of = None  # no program of ours does this
    payee.redeem(secret_book.credential(1, 3))
    with pytest.raises(GarbageLock):
        payee.redeem(secret_book.credential(4, 1))


def test_other_schemes_need_no_function():
    for scheme in (Scheme.OUTPUTS, Scheme.LADDER):
        secret_book = make_book(scheme=scheme)
        payee = MemoryPayee(secret_book, seal_of=None)
        assert payee.redeem(secret_book.credential(1, 10)).count == 10


@pytest.mark.parametrize("chain_length", [1, 4])
def test_each_lock_that_is_completed_costs_its_seal_once(chain_length):
    secret_book = seals_book(locks=24 // chain_length, chain_length=chain_length)
    seals = CountingSeals()
    payee = MemoryPayee(secret_book, seal_of=seals)
    for first_unit, count in ((1, 3), (4, 1), (5, 7), (12, 1), (13, 12)):
        payee.redeem(secret_book.credential(first_unit, count))
    locks = range(1, 24 // chain_length + 1)
    assert seals.asked == [secret_book.lock_secret(lock) for lock in locks]


def test_a_seal_is_looked_at_only_once_the_secret_is_proven():
    secret_book = with_garbage(seals_book(), 1)
    seals = CountingSeals()
    payee = MemoryPayee(secret_book, seal_of=seals)
    credential = secret_book.credential(1, 4)
    with pytest.raises(WrongSecret):
        payee.redeem(credential._replace(elements=bytes(32)))
    assert seals.asked == []
    assert payee.record.state is BookState.OPEN, "a stranger's guess fences nothing"


@pytest.mark.parametrize("chain_length", [1, 4])
@pytest.mark.parametrize("before", [0, 2])
def test_a_garbage_lock_refuses_the_whole_credential_and_counts_for_nothing(chain_length, before):
    secret_book = with_garbage(seals_book(chain_length=chain_length), 2)
    payee = MemoryPayee(secret_book)
    if before:
        payee.redeem(secret_book.credential(1, before * chain_length - 1))
    shown = repr(payee.record)
    first_unit = payee.record.next_unit
    credential = secret_book.credential(first_unit, 3 * chain_length - first_unit + 1)
    with pytest.raises(GarbageLock) as caught:
        payee.redeem(credential)
    refusal = caught.value
    assert (refusal.lock, refusal.book_id) == (2, secret_book.book.book_id)
    assert refusal.next_unit == first_unit
    payee.record.state = BookState.OPEN  # else its state would differ, as it must
    assert repr(payee.record) == shown


def test_units_below_a_garbage_lock_are_bounded_by_the_exposure_rule():
    """Whoever plants garbage gets at most what it gets by stopping in mid-lock."""
    secret_book = with_garbage(seals_book(window=2), 2)
    payee = MemoryPayee(secret_book)
    payee.redeem(secret_book.credential(1, 7))
    payee.redeem(secret_book.credential(9, 2))
    with pytest.raises(ExposureExceeded):
        payee.redeem(secret_book.credential(11, 1))
    with pytest.raises(GarbageLock):
        payee.redeem(secret_book.credential(8, 1))
    assert payee.record.secured_locks == 1


@given(st.data())
def test_no_order_completes_a_garbage_lock(data):
    """Whatever is presented, by one who opens the book again each time that it is fenced."""
    chain_length = data.draw(st.sampled_from([1, 2, 4]))
    locks = 16 // chain_length
    garbage = data.draw(st.sets(st.integers(1, locks), min_size=1))
    secret_book = with_garbage(
        seals_book(locks=locks, chain_length=chain_length, window=5), *garbage
    )
    payee = MemoryPayee(secret_book)
    for _ in range(data.draw(st.integers(1, 20))):
        first_unit = data.draw(st.integers(1, 16) | st.just(min(16, payee.record.next_unit)))
        count = data.draw(st.integers(1, 17 - first_unit))
        payee.record.state = BookState.OPEN
        with suppress(PaymentRefused):
            payee.redeem(secret_book.credential(first_unit, count))
    for lock in garbage:
        assert payee.record.locks[lock].deepest < chain_length
    assert payee.record.secured_locks < min(garbage)
