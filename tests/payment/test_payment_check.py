"""The check: its order, its rules, its cost, and what public data is good for (nothing)."""

import importlib
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import (
    AlreadyRedeemed,
    BookClosed,
    BookState,
    Credential,
    ExposureExceeded,
    LeaseExpired,
    MalformedCredential,
    PaymentRefused,
    Price,
    Receipt,
    Scheme,
    TooFar,
    TooLittle,
    TooMany,
    WrongAsset,
    WrongSecret,
    check,
    lock_hash,
    step,
    walk,
)
from payment_books import MemoryPayee, make_book, with_garbage

# The package exports the function under the module's name.
check_module = importlib.import_module("lightspeed.payment.check")


@contextmanager
def counted_hashes():
    """Counts every hash that the check makes, in a list of one."""
    count = [0]

    def counting(function, cost):
        def counted(*args):
            count[0] += cost(*args)
            return function(*args)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for name, cost in (
            ("step", lambda _: 1),
            ("lock_hash", lambda _: 1),
            ("walk", lambda _, steps: steps),
        ):
            patch.setattr(check_module, name, counting(getattr(check_module, name), cost))
        yield count


def with_elements(credential: Credential, elements: bytes) -> Credential:
    return credential._replace(elements=elements)


def wrong(credential: Credential) -> Credential:
    return with_elements(credential, bytes([0x55]) * len(credential.elements))


# The order


def test_each_refusal_comes_before_the_next():
    """Start with a credential that breaks every rule, then mend one rule after the other."""
    secret_book = make_book(locks=6, chain_length=20, window=4)
    payee = MemoryPayee(secret_book, state=BookState.CLOSING, open_until=0.0)
    payee.record.redeem([(1, 1, 1, secret_book.element(1, 1))])
    prices = (Price(1_000, bytes([9]) * 32),)
    options = {"now": 1.0, "prices": prices, "max_count": 30}

    def refusal(credential):
        with counted_hashes() as count, pytest.raises(PaymentRefused) as caught:
            payee.redeem(credential, **options)
        if not isinstance(caught.value, WrongSecret):
            assert count == [0], "hashes come last"
        return type(caught.value)

    everything = wrong(secret_book.credential(1, 120))._replace(count=121)
    assert refusal(everything) is BookClosed
    payee.record.state = BookState.OPEN
    assert refusal(everything) is LeaseExpired
    payee.record.open_until = 2.0
    assert refusal(everything) is MalformedCredential
    inside = everything._replace(count=120)
    assert refusal(with_elements(inside, inside.elements + bytes(32))) is MalformedCredential
    assert refusal(with_elements(inside, inside.elements[:-32])) is MalformedCredential
    assert refusal(inside) is TooMany
    few = wrong(secret_book.credential(1, 30))
    assert refusal(few) is WrongAsset
    options["prices"] = (Price(31_000),)
    assert refusal(few) is TooLittle
    options["prices"] = (Price(30_000),)
    assert refusal(few) is AlreadyRedeemed
    far = wrong(secret_book.credential(60, 30))
    assert refusal(far) is ExposureExceeded
    beyond_window = wrong(secret_book.credential(7, 18))
    options["prices"] = ()
    assert refusal(beyond_window) is TooFar
    reachable = wrong(secret_book.credential(6, 18))
    assert refusal(reachable) is WrongSecret
    assert payee.redeem(secret_book.credential(6, 18), **options).count == 18


def test_a_refusal_tells_book_and_next_unit():
    secret_book = make_book()
    payee = MemoryPayee(secret_book)
    payee.redeem(secret_book.credential(1, 2))
    for credential in (secret_book.credential(2, 1), wrong(secret_book.credential(3, 1))):
        with pytest.raises(PaymentRefused) as caught:
            payee.redeem(credential)
        assert caught.value.book_id == secret_book.book.book_id
        assert caught.value.next_unit == 3


def test_a_lease_ends_at_its_second():
    secret_book = make_book()
    payee = MemoryPayee(secret_book, open_until=10.0)
    check(secret_book.credential(1, 1), payee.record, now=9.999)
    with pytest.raises(LeaseExpired):
        check(secret_book.credential(1, 1), payee.record, now=10.0)


@pytest.mark.parametrize("state", [BookState.CLOSING, BookState.CLOSED])
def test_a_book_that_is_not_open_takes_nothing(state):
    secret_book = make_book()
    with pytest.raises(BookClosed):
        MemoryPayee(secret_book, state=state).redeem(secret_book.credential(1, 1))


def test_a_range_that_ends_outside_the_book_is_malformed():
    secret_book = make_book(locks=2, chain_length=3, window=64)
    credential = secret_book.credential(6, 1)
    for outside in (credential._replace(count=2), credential._replace(first_unit=7)):
        with pytest.raises(MalformedCredential):
            MemoryPayee(secret_book).redeem(outside)


# Redeem


def test_refused_credentials_change_nothing():
    secret_book = make_book()
    payee = MemoryPayee(secret_book)
    payee.redeem(secret_book.credential(1, 7))
    before = repr(payee.record)
    for credential in (
        secret_book.credential(7, 2),
        wrong(secret_book.credential(8, 1)),
        wrong(secret_book.credential(8, 6)),
        secret_book.credential(18, 3),
    ):
        with pytest.raises(PaymentRefused):
            payee.redeem(credential)
    assert repr(payee.record) == before


@given(
    ranges=st.lists(st.tuples(st.integers(1, 24), st.integers(1, 9)), max_size=25),
    chain_length=st.sampled_from([1, 2, 5, 24]),
    scheme=st.sampled_from(Scheme),
)
def test_unit_redeems_at_most_once(ranges, chain_length, scheme):
    """Against a set of units; `next`, `secured` and the receipt follow from it."""
    secret_book = make_book(
        locks=24 // chain_length, chain_length=chain_length, window=7, scheme=scheme
    )
    payee = MemoryPayee(secret_book)
    record = payee.record
    redeemed = set()
    book_units = secret_book.book.terms.units
    for first, count in ranges:
        first = min(first, book_units)
        units = set(range(first, min(first + count, book_units + 1)))
        credential = secret_book.credential(first, len(units))
        try:
            receipt = payee.redeem(credential)
        except AlreadyRedeemed as refusal:
            lowest = refusal.unit
            assert lowest == min(units & redeemed)
        except (ExposureExceeded, TooFar):
            assert not units & redeemed
        else:
            assert not units & redeemed
            redeemed |= units
            next_unit = min(set(range(1, book_units + 2)) - redeemed)
            assert receipt == Receipt(secret_book.book.book_id, first, len(units), next_unit)
        assert record.redeemed_units == len(redeemed)
        completed = [unit // chain_length for unit in redeemed if unit % chain_length == 0]
        if scheme is Scheme.LADDER:
            assert record.secured_locks == max(completed, default=0)
        else:
            gap = min(set(range(1, 26)) - set(completed))
            assert record.secured_locks == gap - 1


# The exposure rule


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
def test_the_last_unit_is_at_most_secured_plus_one_lock_plus_window(scheme):
    secret_book = make_book(locks=9, chain_length=5, window=7, scheme=scheme)
    payee = MemoryPayee(secret_book)
    with pytest.raises(ExposureExceeded) as caught:
        payee.redeem(secret_book.credential(13, 1))
    assert (caught.value.last_unit, caught.value.limit_unit) == (13, 12)
    payee.redeem(secret_book.credential(12, 1))
    payee.redeem(secret_book.credential(1, 5))
    with pytest.raises(ExposureExceeded):
        payee.redeem(secret_book.credential(18, 1))
    payee.redeem(secret_book.credential(17, 1))


def test_locks_that_the_credential_completes_count():
    secret_book = make_book(locks=9, chain_length=5, window=7)
    MemoryPayee(secret_book).redeem(secret_book.credential(1, 37))
    MemoryPayee(secret_book).redeem(secret_book.credential(1, 45))


def test_a_lock_that_was_not_completed_ends_the_run():
    """A payer that leaves out the last unit of a lock is held at one lock plus the window."""
    secret_book = make_book(locks=9, chain_length=5, window=7)
    payee = MemoryPayee(secret_book)
    payee.redeem(secret_book.credential(1, 4))
    with pytest.raises(ExposureExceeded):
        payee.redeem(secret_book.credential(6, 10))
    payee.redeem(secret_book.credential(6, 7))
    with pytest.raises(ExposureExceeded):
        payee.redeem(secret_book.credential(13, 1))
    payee.redeem(secret_book.credential(5, 1))
    assert payee.record.secured_locks == 2


def test_in_a_ladder_a_higher_lock_secures_all_below():
    secret_book = make_book(locks=9, chain_length=5, window=7, scheme=Scheme.LADDER)
    payee = MemoryPayee(secret_book)
    payee.redeem(secret_book.credential(6, 5))
    assert payee.record.secured_locks == 2
    payee.redeem(secret_book.credential(22, 1))


@given(st.data())
def test_exposure_stays_below_one_lock_plus_window(data):
    """Whatever the payer presents: units redeemed of locks that are not secured."""
    chain_length, window = data.draw(st.sampled_from([(1, 3), (4, 2), (5, 9)]))
    secret_book = make_book(locks=12, chain_length=chain_length, window=window)
    payee = MemoryPayee(secret_book)
    for _ in range(data.draw(st.integers(0, 30))):
        first = data.draw(st.integers(1, secret_book.book.terms.units))
        count = data.draw(st.integers(1, secret_book.book.terms.units - first + 1))
        try:
            payee.redeem(secret_book.credential(first, count))
        except PaymentRefused:
            continue
    record = payee.record
    highest = max(
        ((lock - 1) * chain_length + known.deepest for lock, known in record.locks.items()),
        default=0,
    )
    assert record.redeemed_units <= highest
    # At least the run is enforceable, whatever lies in its gaps.
    assert highest - record.secured_locks * chain_length <= chain_length + window


# Distance and cost


def test_a_gap_of_window_units_is_the_widest():
    secret_book = make_book(locks=2, chain_length=30, window=8)
    payee = MemoryPayee(secret_book)
    with pytest.raises(TooFar):
        payee.redeem(secret_book.credential(10, 1))
    payee.redeem(secret_book.credential(9, 1))
    with pytest.raises(TooFar):
        payee.redeem(secret_book.credential(19, 2))
    payee.redeem(secret_book.credential(18, 2))


def test_a_skipped_unit_is_taken_down_to_window_units_below_the_deepest():
    secret_book = make_book(locks=2, chain_length=30, window=8)
    payee = MemoryPayee(secret_book)
    payee.redeem(secret_book.credential(2, 10))
    payee.redeem(secret_book.credential(13, 1))
    payee.redeem(secret_book.credential(12, 1))
    with pytest.raises(TooFar):
        payee.redeem(secret_book.credential(1, 1))


def test_an_accepted_credential_in_order_costs_its_count_at_most():
    secret_book = make_book(locks=4, chain_length=5, window=20)
    payee = MemoryPayee(secret_book)
    for first, count, cost in ((1, 1, 1), (2, 3, 3), (5, 1, 2), (6, 9, 5), (15, 1, 2), (16, 5, 1)):
        with counted_hashes() as hashes:
            payee.redeem(secret_book.credential(first, count))
        assert hashes == [cost], (first, count)


@given(st.data())
def test_no_credential_costs_more_than_two_windows_and_its_count(data):
    chain_length = data.draw(st.sampled_from([1, 2, 7, 40]))
    window = data.draw(st.sampled_from([1, 2, 5, 50]))
    secret_book = make_book(locks=80 // chain_length, chain_length=chain_length, window=window)
    payee = MemoryPayee(secret_book)
    units = secret_book.book.terms.units
    for _ in range(data.draw(st.integers(1, 15))):
        first = data.draw(st.integers(1, units) | st.just(payee.record.next_unit % units + 1))
        credential = secret_book.credential(first, data.draw(st.integers(1, units - first + 1)))
        elements = bytearray(credential.elements)
        for index in range(0, len(elements), 32):
            if data.draw(st.integers(0, 5)) == 0:
                elements[index] ^= 1
        presented = with_elements(credential, bytes(elements))
        with counted_hashes() as hashes:
            try:
                payee.redeem(presented)
            except PaymentRefused:
                pass
            else:
                assert presented == credential
        assert hashes[0] <= 2 * window + credential.count


@given(st.data())
def test_the_short_way_says_what_the_long_way_says(data):
    """The next unit of a lock is checked in one piece; the readable rules are its oracle."""
    chain_length = data.draw(st.sampled_from([1, 2, 5]))
    scheme = data.draw(st.sampled_from([Scheme.OUTPUTS, Scheme.SEALS]))
    secret_book = make_book(
        locks=20 // chain_length, chain_length=chain_length, window=3, scheme=scheme
    )
    if scheme is Scheme.SEALS:
        secret_book = with_garbage(secret_book, data.draw(st.integers(1, 20 // chain_length)))
    payee = MemoryPayee(secret_book, open_until=5.0)
    for _ in range(data.draw(st.integers(1, 20))):
        unit = data.draw(st.integers(1, 20) | st.just(min(payee.record.next_unit, 20)))
        credential = secret_book.credential(unit, 1)
        if data.draw(st.integers(0, 5)) == 0:
            credential = wrong(credential)
        now = data.draw(st.sampled_from([0.0, 0.0, 0.0, 5.0]))
        prices = data.draw(
            st.sampled_from([(), (Price(1_000),), (Price(1_001),), (Price(1, bytes(32)),)])
        )
        found = outcome(check, credential, payee.record, now=now, prices=prices)
        each_rule = check_module._check_each_rule
        assert found == outcome(each_rule, credential, payee.record, now, prices, 4_096)
        if isinstance(found, list):
            payee.record.redeem(found)


def outcome(judge, *args, **options):
    try:
        return list(judge(*args, **options))
    except PaymentRefused as refusal:
        return type(refusal), refusal.args, refusal.book_id, refusal.next_unit


# Nobody gets in


def test_only_the_lock_secret_completes_a_lock():
    """What steps to the anchor but is not behind the lock hash proves nothing on chain."""
    secret_book = make_book(locks=3, chain_length=3, window=9)
    forged = bytes([3]) * 32
    book = make_book(locks=3, chain_length=3, window=9).book
    anchors = walk(forged, 3) + book.anchors[32:]
    cheat = type(book)(
        channel_id=book.channel_id,
        terms=book.terms,
        lock_hashes=book.lock_hashes,
        anchors=anchors,
    )
    payee = MemoryPayee(secret_book)
    payee.record = type(payee.record)(book=cheat, open_until=1.0)
    payee.redeem(Credential(cheat.book_id, 1, 1, walk(forged, 2)))
    payee.redeem(Credential(cheat.book_id, 2, 1, step(forged)))
    for element in (forged, secret_book.lock_secret(1)):
        with pytest.raises(WrongSecret):
            payee.redeem(Credential(cheat.book_id, 3, 1, element))
    assert payee.record.secured_locks == 0


@given(
    redeemed=st.integers(0, 14),
    unit=st.integers(1, 20),
    chain_length=st.sampled_from([1, 4]),
    data=st.data(),
)
def test_what_is_public_or_was_seen_pays_nothing(redeemed, unit, chain_length, data):
    """Lock hashes, anchors, elements already seen, their steps and their SHA256: all refused."""
    secret_book = make_book(locks=20 // chain_length, chain_length=chain_length, window=20)
    book = secret_book.book
    payee = MemoryPayee(secret_book)
    seen = []
    for number in range(1, redeemed + 1):
        credential = secret_book.credential(number, 1)
        payee.redeem(credential)
        seen.append(credential.elements)
    locks = range(1, book.terms.locks + 1)
    public = [book.lock_hash(lock) for lock in locks] + [book.book_id * 2, bytes(32)]
    if chain_length > 1:
        public += [book.anchor(lock) for lock in locks]
    known = public + seen
    derived = known + [step(item) for item in known] + [lock_hash(item) for item in known]
    element = data.draw(st.sampled_from(derived))
    with pytest.raises((WrongSecret, AlreadyRedeemed)):
        payee.redeem(Credential(book.book_id, unit, 1, element))


def test_credentials_of_another_book_or_channel_pay_nothing():
    secret_book = make_book()
    payee = MemoryPayee(secret_book)
    other = make_book(seed=bytes([1]) * 32).credential(1, 1)
    with pytest.raises(MalformedCredential):
        payee.redeem(other)
    with pytest.raises(WrongSecret):
        payee.redeem(other._replace(book_id=secret_book.book.book_id))


@given(st.data())
def test_mutated_credentials_are_refused(data):
    secret_book = make_book()
    payee = MemoryPayee(secret_book)
    first = data.draw(st.integers(1, 4))
    credential = secret_book.credential(first, data.draw(st.integers(1, 8)))
    raw = bytearray(credential.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        receipt = payee.redeem(Credential.from_bytes(bytes(raw)))
    except PaymentRefused:
        return
    # Only a range that the same elements prove as well may be left.
    mutated = Credential.from_bytes(bytes(raw))
    assert mutated == secret_book.credential(mutated.first_unit, mutated.count)
    assert receipt.count == mutated.count
