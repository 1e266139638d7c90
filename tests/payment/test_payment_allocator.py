"""The payer's allocator: in order, without a gap, durable first, and never robbed of much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import (
    Allocator,
    AlreadyRedeemed,
    BookExhausted,
    BookStopped,
    ExposureExceeded,
    GarbageLock,
    Receipt,
    StopReason,
    WindowFull,
    WrongSecret,
)
from lightspeed.payment.ranges import UnitRanges
from payment_books import make_book

BOOK = make_book(locks=100, chain_length=10, window=16).book
REDEEMED = AlreadyRedeemed.slug


class Payer:
    """An allocator and what it stored."""

    def __init__(self, **options):
        self.stored = []
        self.allocator = Allocator(
            BOOK.book_id,
            BOOK.terms,
            reserve=lambda low, end: self.stored.append((low, end)),
            **options,
        )

    def pay(self, count=1):
        return self.allocator.allocate(count)

    def served(self, allocation, next_unit=None):
        receipt = Receipt(BOOK.book_id, allocation.first_unit, allocation.count, next_unit or 1)
        self.allocator.served(allocation, receipt)

    def refused(self, allocation, slug, next_unit=None, redeemed_unit=None):
        receipt = None if next_unit is None else Receipt(BOOK.book_id, 0, 0, next_unit)
        self.allocator.refused(allocation, slug, receipt=receipt, redeemed_unit=redeemed_unit)


def ends(allocation):
    return allocation.first_unit, allocation.last_unit


@pytest.fixture
def payer():
    return Payer()


def test_units_are_handed_out_in_order(payer):
    assert [ends(payer.pay(count)) for count in (1, 3, 2)] == [(1, 1), (2, 4), (5, 6)]


def test_low_and_reserved_end_are_stored_before_use(payer):
    first = payer.pay()
    assert payer.stored == [(1, 17)]
    for _ in range(16):
        payer.pay()
    assert payer.stored == [(1, 17)]
    payer.served(first)
    payer.pay()
    assert payer.stored == [(1, 17), (2, 18)]


def test_nothing_is_handed_out_when_storing_fails():
    def fail(low, end):
        raise OSError("disk full")

    allocator = Allocator(BOOK.book_id, BOOK.terms, reserve=fail)
    with pytest.raises(OSError, match="disk full"):
        allocator.allocate(1)
    assert (allocator.handed_out, allocator.reserved_end) == (0, 0)


def test_a_unit_is_at_most_low_plus_window(payer):
    calls = [payer.pay() for _ in range(17)]
    with pytest.raises(WindowFull):
        payer.pay()
    payer.served(calls[1])
    with pytest.raises(WindowFull):
        payer.pay()
    payer.served(calls[0])
    assert [ends(payer.pay()), ends(payer.pay())] == [(18, 18), (19, 19)]
    with pytest.raises(WindowFull):
        payer.pay()


def test_one_credential_alone_may_be_longer_than_the_window(payer):
    long = payer.pay(60)
    assert ends(long) == (1, 60)
    assert payer.stored == [(1, 60)]
    with pytest.raises(WindowFull):
        payer.pay()
    payer.served(long)
    payer.pay()
    with pytest.raises(WindowFull):
        payer.pay(60)


def test_a_credential_has_at_most_max_count_units():
    payer = Payer(max_count=50)
    for count in (0, 51):
        with pytest.raises(ValueError):
            payer.pay(count)
    assert ends(payer.pay(50)) == (1, 50)


def test_next_acknowledges_so_one_slow_call_does_not_stop_the_others(payer):
    slow = payer.pay()
    for _ in range(100):
        call = payer.pay()
        payer.served(call, next_unit=call.last_unit + 1)
    payer.served(slow)
    assert payer.allocator.low == 102
    assert payer.allocator.unserved == 0


def test_next_above_what_was_handed_out_is_ignored(payer):
    first, second = payer.pay(), payer.pay()
    payer.served(second, next_unit=4)
    assert payer.allocator.low == 1
    payer.served(first, next_unit=10**6)
    assert payer.allocator.low == 3


def test_a_receipt_for_other_units_or_another_book_acknowledges_nothing(payer):
    for receipt in (
        Receipt(BOOK.book_id, 1, 1, 3),
        Receipt(BOOK.book_id, 0, 0, 3),
        Receipt(bytes(16), 1, 2, 3),
    ):
        payer.allocator.served(payer.pay(2), receipt)
        assert payer.allocator.low == 1


def test_lost_units_are_presented_again_before_new_ones(payer):
    calls = [payer.pay(2) for _ in range(3)]
    for call in (calls[1], calls[0]):
        payer.allocator.lost(call)
    again = payer.pay(2)
    assert ends(again) == (1, 2)
    assert again.first_new_unit == 7
    assert [ends(payer.pay(2)) for _ in range(2)] == [(3, 4), (7, 8)]


def test_lost_units_may_be_cut_and_joined(payer):
    payer.allocator.lost(payer.pay(3))
    assert ends(payer.pay(1)) == (1, 1)
    joined = payer.pay(4)
    assert ends(joined) == (2, 5)
    assert joined.first_new_unit == 4


def test_an_exposure_refusal_makes_the_units_be_presented_again(payer):
    first = payer.pay()
    payer.refused(payer.pay(2), ExposureExceeded.slug, next_unit=1)
    assert ends(payer.pay(2)) == (2, 3)
    payer.served(first)


@pytest.mark.parametrize("slug", ["exposure", "too-far"])
def test_a_payee_that_does_not_take_the_lowest_unit_is_left(payer, slug):
    payer.refused(payer.pay(), slug, next_unit=1)
    assert payer.allocator.stopped is StopReason.NOT_TAKEN


def test_after_a_crash_all_reserved_units_are_presented_again_first():
    payer = Payer(low=5, reserved_end=9)
    first = payer.pay(2)
    assert (ends(first), first.first_new_unit) == ((5, 6), 10)
    payer.refused(first, REDEEMED, next_unit=8, redeemed_unit=5)
    assert ends(payer.pay()) == (8, 8)
    assert ends(payer.pay()) == (9, 9)
    assert payer.stored == []
    assert ends(payer.pay()) == (10, 10)
    assert payer.stored == [(8, 24)]
    assert payer.allocator.stopped is None
    assert payer.allocator.unserved == 0


def test_what_was_stored_covers_every_unit_ever_presented():
    """A crash at any moment: no unit above the stored end was out."""
    payer = Payer()
    for _ in range(60):
        call = payer.pay()
        assert call.last_unit <= payer.stored[-1][1]
        payer.served(call)


def test_giving_back_leaves_nothing_reserved(payer):
    payer.served(payer.pay())
    payer.allocator.give_back()
    assert payer.stored[-1] == (2, 1)
    again = Payer(low=2, reserved_end=1)
    assert again.pay().first_new_unit == 2


def test_a_hole_too_small_for_the_calls_made_is_given_up_when_it_holds_up_everything(payer):
    hole = payer.pay(1)
    for _ in range(5):
        payer.served(payer.pay(3))
    payer.allocator.lost(hole)
    waiting = payer.pay(1)
    assert ends(waiting) == (1, 1)
    with pytest.raises(WindowFull):
        payer.pay(3)
    payer.allocator.lost(waiting)
    assert ends(payer.pay(3)) == (17, 19)
    assert payer.allocator.unserved == 1


def test_already_redeemed_units_end_as_unserved_and_repeating_ends(payer):
    payer.allocator.lost(payer.pay(3))
    for expected in ((1, 2), (2, 3)):
        call = payer.pay(2)
        assert ends(call) == expected
        payer.refused(call, REDEEMED, next_unit=1, redeemed_unit=call.first_unit)
    call = payer.pay(2)
    assert ends(call) == (3, 4)
    payer.refused(call, REDEEMED)
    assert ends(payer.pay(2)) == (5, 6)
    assert payer.allocator.unserved == 4


@pytest.mark.parametrize("redeemed_unit", [None, 2, 4])
def test_already_redeemed_for_units_never_presented_stops_the_book(redeemed_unit):
    payer = Payer()
    payer.served(payer.pay())
    payer.refused(payer.pay(3), REDEEMED, next_unit=2, redeemed_unit=redeemed_unit)
    assert payer.allocator.stopped is StopReason.ALREADY_REDEEMED
    with pytest.raises(BookStopped):
        payer.pay()


def test_a_joined_credential_stops_the_book_only_for_its_new_units(payer):
    payer.allocator.lost(payer.pay(2))
    payer.refused(payer.pay(3), REDEEMED, next_unit=3, redeemed_unit=1)
    assert payer.allocator.stopped is None
    payer.allocator.lost(payer.pay(1))
    joined = payer.pay(2)
    assert ends(joined) == (3, 4)
    payer.refused(joined, REDEEMED, next_unit=3, redeemed_unit=4)
    assert payer.allocator.stopped is StopReason.ALREADY_REDEEMED


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        (WrongSecret.slug, StopReason.WRONG_SECRET),
        (GarbageLock.slug, StopReason.GARBAGE_LOCK),
    ],
)
def test_who_calls_a_secret_or_a_seal_wrong_gets_no_more(payer, slug, reason):
    payer.refused(payer.pay(), slug, next_unit=1)
    assert payer.allocator.stopped is reason


def test_max_unserved_units_stop_the_book_whatever_next_says():
    payer = Payer(max_unserved=3)
    for unit in (1, 2, 3):
        assert payer.allocator.stopped is None
        payer.allocator.lost(payer.pay())
        call = payer.pay()
        payer.refused(call, REDEEMED, next_unit=unit + 1, redeemed_unit=unit)
    assert payer.allocator.stopped is StopReason.UNSERVED


def test_units_that_next_passes_and_whose_call_is_lost_are_unserved():
    payer = Payer(max_unserved=2)
    first, second, third = payer.pay(), payer.pay(), payer.pay()
    payer.served(third, next_unit=4)
    payer.served(first)
    assert payer.allocator.unserved == 0
    payer.allocator.lost(second)
    assert payer.allocator.unserved == 1


def test_while_max_unserved_units_are_lost_nothing_new_is_handed_out():
    payer = Payer(max_unserved=2)
    calls = [payer.pay() for _ in range(4)]
    for call in calls:
        payer.allocator.lost(call)
    again = [payer.pay() for _ in range(4)]
    assert [ends(call) for call in again] == [ends(call) for call in calls]
    with pytest.raises(WindowFull):
        payer.pay()
    payer.served(again[0])
    payer.served(again[1])
    with pytest.raises(WindowFull):
        payer.pay()
    payer.served(again[2])
    assert ends(payer.pay()) == (5, 5)


def test_a_stopped_book_stays_stopped(payer):
    payer.allocator.stop()
    payer.allocator.stop(StopReason.UNSERVED)
    assert payer.allocator.stopped is StopReason.REQUESTED
    with pytest.raises(BookStopped):
        Payer(stopped=StopReason.UNSERVED).pay()


def test_the_book_ends_with_its_last_unit():
    payer = Payer(low=998, reserved_end=997)
    assert payer.allocator.remaining_units == 3
    with pytest.raises(BookExhausted):
        payer.pay(4)
    assert ends(payer.pay(3)) == (998, 1000)
    assert payer.stored == [(998, 1000)]
    with pytest.raises(BookExhausted):
        payer.pay()


def test_a_call_ends_once(payer):
    call = payer.pay()
    payer.served(call)
    for end in (payer.served, payer.allocator.lost):
        with pytest.raises(ValueError):
            end(call)
    with pytest.raises(ValueError):
        Payer().allocator.lost(payer.pay())


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 30), st.integers(0, 9)),
        max_size=40,
    )
)
def test_unit_ranges_are_a_set(steps):
    ranges = UnitRanges()
    expected = set()
    for adds, first, extra in steps:
        units = set(range(first, first + extra + 1))
        if adds:
            assert ranges.add(first, first + extra) == len(units - expected)
            expected |= units
        else:
            assert ranges.remove(first, first + extra) == len(units & expected)
            expected -= units
        held = list(ranges)
        assert [unit for low, high in held for unit in range(low, high + 1)] == sorted(expected)
        assert all(held[at][1] + 1 < held[at + 1][0] for at in range(len(held) - 1))
        assert ranges.size == len(expected)
        assert ranges.size_above(9) == len([unit for unit in expected if unit > 9])
        assert bool(ranges) == bool(expected)
