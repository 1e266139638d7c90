"""What a book ends with proves what was paid, to the unit, at a bounded cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.payment import (
    LockElement,
    PaymentRefused,
    ProofRefused,
    Scheme,
    check_final,
    check_secret,
    completed_run,
    final,
    final_elements,
    final_units,
)
from payment_books import MemoryPayee, make_book

SCHEMES = pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])


def element(book, lock, unit):
    return LockElement(lock, unit, book.element(lock, unit))


def proof(book, *parts, settled=0):
    terms = book.book.terms
    found = [element(book, lock, unit) for lock, unit in parts]
    return final_elements(terms, found, settled_locks=settled)


@SCHEMES
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_payee_served_it_can_prove(scheme, data):
    """In any order that the exposure rule admits, and after any settlement of it."""
    chain_length = data.draw(st.sampled_from([1, 2, 5]))
    book = make_book(locks=6, chain_length=chain_length, window=7, scheme=scheme)
    payee = MemoryPayee(book)
    for _ in range(data.draw(st.integers(0, 12))):
        first = data.draw(st.integers(1, 6 * chain_length))
        count = data.draw(st.integers(1, 6 * chain_length - first + 1))
        try:
            payee.redeem(book.credential(first, count))
        except PaymentRefused:
            continue
    record, terms = payee.record, book.book.terms
    touched = {lock: known for lock, known in record.locks.items() if known.deepest}
    completed = [lock for lock, known in touched.items() if known.deepest == chain_length]
    run = completed_run(terms, completed, settled_locks=0)
    assert run == record.secured_locks
    settled = data.draw(st.integers(0, run))
    deepest = [LockElement(lock, known.deepest, known.element) for lock, known in touched.items()]
    elements = final_elements(terms, deepest, settled_locks=settled)
    check_final(book.book, elements, settled_locks=settled)
    units = settled * chain_length + final_units(terms, elements, settled_locks=settled)
    assert units >= record.redeemed_units  # what was left out below a deeper unit is paid too
    if scheme is Scheme.LADDER:
        above = [known.deepest for lock, known in touched.items() if lock > run]
        assert units == run * chain_length + sum(above)
    else:
        assert units == sum(
            chain_length if lock <= settled else known.deepest for lock, known in touched.items()
        )


def test_outputs_counts_the_deepest_of_every_touched_lock():
    book = make_book(locks=6, chain_length=5, window=20)
    elements = proof(book, (1, 5), (2, 3), (3, 5), (4, 1))
    assert [(each.lock, each.unit) for each in elements] == [(1, 5), (2, 3), (3, 5), (4, 1)]
    assert final_units(book.book.terms, elements, settled_locks=0) == 14
    assert proof(book, (1, 5), (2, 3), settled=1) == (element(book, 2, 3),)


def test_ladder_counts_all_units_up_to_the_highest_completed_lock():
    book = make_book(locks=6, chain_length=5, window=20, scheme=Scheme.LADDER)
    elements = proof(book, (1, 2), (2, 5), (3, 5), (4, 1), (5, 2))
    assert [(each.lock, each.unit) for each in elements] == [(3, 5), (4, 1), (5, 2)]
    assert final_units(book.book.terms, elements, settled_locks=0) == 15 + 3
    assert final_units(book.book.terms, elements, settled_locks=2) == 5 + 3
    check_final(book.book, elements, settled_locks=2)


@SCHEMES
def test_nothing_was_paid(scheme):
    book = make_book(scheme=scheme)
    check_final(book.book, (), settled_locks=0)
    assert final_units(book.book.terms, (), settled_locks=2) == 0
    assert completed_run(book.book.terms, [], settled_locks=2) == 2


@pytest.mark.parametrize(
    ("scheme", "run"), [(Scheme.OUTPUTS, 2), (Scheme.LADDER, 5), (Scheme.SEALS, 2)]
)
def test_what_may_be_settled(scheme, run):
    terms = make_book(locks=6, scheme=scheme).book.terms
    assert completed_run(terms, [1, 2, 4, 5], settled_locks=0) == run
    assert completed_run(terms, [1, 2, 4, 5], settled_locks=5) == 5


def test_a_secret_belongs_to_its_lock():
    book = make_book()
    check_secret(book.book, 2, book.lock_secret(2))
    for wrong in (book.lock_secret(1), book.lock_secret(2)[:31], b"", book.element(2, 4)):
        with pytest.raises(ProofRefused):
            check_secret(book.book, 2, wrong)


OUTPUTS = make_book(locks=6, chain_length=5, window=8)
LADDER = make_book(locks=6, chain_length=5, window=8, scheme=Scheme.LADDER)


@pytest.mark.parametrize(
    ("book", "parts", "problem"),
    [
        (OUTPUTS, [(2, 1), (1, 1)], "lock 1 after lock 2"),
        (OUTPUTS, [(2, 1), (2, 2)], "lock 2 after lock 2"),
        (OUTPUTS, [(1, 5), (2, 5), (4, 4)], None),
        (OUTPUTS, [(1, 5), (3, 5), (4, 4)], "unit 19 could not be served, only up to 18"),
        (LADDER, [(3, 5), (4, 5)], "below the highest"),
        (LADDER, [(3, 2), (4, 5)], "below the highest"),
        (LADDER, [(3, 5), (5, 5)], "below the highest"),
        (LADDER, [(3, 5), (5, 4), (6, 1)], None),
        (LADDER, [(2, 5), (5, 4)], "unit 24 could not be served, only up to 23"),
        (LADDER, [(3, 5)], None),
    ],
)
def test_only_what_could_be_served_is_a_proof(book, parts, problem):
    elements = [element(book, lock, unit) for lock, unit in parts]
    if problem is None:
        check_final(book.book, elements, settled_locks=0)
    else:
        with pytest.raises(ProofRefused, match=problem):
            check_final(book.book, elements, settled_locks=0)


@SCHEMES
def test_a_settled_lock_proves_nothing_again(scheme):
    book = make_book(locks=6, chain_length=5, scheme=scheme)
    elements = [element(book, 2, 5)]
    check_final(book.book, elements, settled_locks=1)
    with pytest.raises(ProofRefused, match="lock 2 after lock 2"):
        check_final(book.book, elements, settled_locks=2)


@pytest.mark.parametrize("unit", [3, 5])
@pytest.mark.parametrize(
    "change",
    [
        {"unit": 4},
        {"unit": 1},
        {"unit": 0},
        {"unit": 6},
        {"lock": 0},
        {"lock": 7},
        {"element": bytes(32)},
        {"element": b""},
    ],
)
def test_an_element_stands_for_its_own_unit_only(unit, change):
    good = element(OUTPUTS, 1, unit)
    with pytest.raises(ProofRefused):
        check_final(OUTPUTS.book, [good._replace(**change)], settled_locks=0)


@SCHEMES
@pytest.mark.parametrize("honest", [True, False])
def test_invented_elements_cost_the_payer_no_more_than_one_lock_and_a_window(
    scheme, honest, monkeypatch
):
    locks, chain_length, window = 40, 30, 8
    book = make_book(locks=locks, chain_length=chain_length, window=window, scheme=scheme)
    steps = 0
    real = final.walk

    def counted(start, count):
        nonlocal steps
        steps += count
        return real(start, count)

    monkeypatch.setattr(final, "walk", counted)
    if honest:
        check_final(book.book, proof(book, (1, 29), (2, 8)), settled_locks=0)
        assert steps == 37
        return
    invented = [LockElement(lock, chain_length - 1, bytes(32)) for lock in range(1, locks + 1)]
    for count in range(1, locks + 1):
        with pytest.raises(ProofRefused):
            check_final(book.book, invented[:count], settled_locks=0)
    assert steps <= chain_length + window


def test_repr_shows_no_element():
    shown = repr(element(OUTPUTS, 1, 2))
    assert shown == "LockElement(lock=1, unit=2)"
