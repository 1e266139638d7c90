"""Whether a credential pays: cheapest first, each refusal before the next.

A refused credential costs at most `2 x window + count` hashes, an accepted one normally `count`:
a lock's part costs its distance to what is known, and unit c costs one more, which is made up
for by the units that no hash is spent on. In scheme seals a lock that is completed costs its seal
besides: two hashes.
"""

from collections.abc import Sequence

from lightspeed.payment.chain import ELEMENT_SIZE, lock_hash, step, walk
from lightspeed.payment.credential import Credential
from lightspeed.payment.errors import (
    AlreadyRedeemed,
    BookClosed,
    ExposureExceeded,
    GarbageLock,
    LeaseExpired,
    MalformedCredential,
    PaymentRefused,
    TooFar,
    TooLittle,
    TooMany,
    WrongSecret,
)
from lightspeed.payment.parts import lock_count, split
from lightspeed.payment.price import Price, units_due
from lightspeed.payment.record import UNTOUCHED, BookRecord, BookState, Part

__all__ = ["DEFAULT_MAX_COUNT", "check"]

DEFAULT_MAX_COUNT = 4_096

_OPEN = BookState.OPEN  # an enum's member costs more to look up than all the rest of a test


def check(
    credential: Credential,
    record: BookRecord,
    *,
    now: float,
    prices: Sequence[Price] = (),
    max_count: int = DEFAULT_MAX_COUNT,
) -> Sequence[Part]:
    """The parts of a credential that pays, ready for `record.redeem`; else PaymentRefused.

    `now` is in seconds on the same clock as the record's lease. `prices`: what the call costs,
    one per asset that it is sold for; without any, one unit is enough. Changes nothing. The
    refusal carries the book id and `next_unit` for its receipt.
    """
    book_id, first_unit, count, element = credential
    # The usual case in one piece: one unit, the next of its lock, at a price that it pays. What
    # is not that goes through the rules one by one; they would say the same.
    if (
        count == 1
        and first_unit <= record.limit_unit
        and book_id == record.book_id
        and record.state is _OPEN
        and now < record.open_until
        and len(element) == ELEMENT_SIZE
    ):
        chain_length = record.chain_length
        lock = (first_unit - 1) // chain_length
        unit = first_unit - lock * chain_length
        known = record.locks.get(lock + 1, UNTOUCHED)
        if (
            unit == known.deepest + 1
            and lock >= record.secured_locks
            and (
                not prices
                or (prices[0].amount <= record.unit_value and prices[0].asset == record.asset)
            )
        ):
            at = lock * ELEMENT_SIZE
            end = at + ELEMENT_SIZE
            if (unit < chain_length or lock_hash(element) == record.lock_hashes[at:end]) and (
                chain_length == 1 or step(element) == (known.element or record.anchors[at:end])
            ):
                parts = ((lock + 1, unit, unit, element),)
                if unit == chain_length and record.seals:
                    _check_seals(parts, record)
                return parts
            refusal = WrongSecret(lock + 1)
            _tell(refusal, record)
            raise refusal
    return _check_each_rule(credential, record, now, prices, max_count)


def _check_each_rule(
    credential: Credential,
    record: BookRecord,
    now: float,
    prices: Sequence[Price],
    max_count: int,
) -> list[Part]:
    try:
        _check_admission(credential, record, now)
        _check_range(credential, record, prices, max_count)
        parts = _parts(credential, record.chain_length)
        _check_not_redeemed(parts, record)
        _check_exposure(credential.last_unit, parts, record)
        _check_distance(parts, record)
        _check_elements(parts, record)
        if record.seals:
            _check_seals(parts, record)
    except PaymentRefused as refusal:
        _tell(refusal, record)
        raise
    return parts


def _tell(refusal: PaymentRefused, record: BookRecord) -> None:
    refusal.book_id = record.book_id
    refusal.next_unit = record.next_unit


def _check_admission(credential: Credential, record: BookRecord, now: float) -> None:
    if credential.book_id != record.book_id:
        raise MalformedCredential("the credential is for another book")
    if record.state is not BookState.OPEN:
        raise BookClosed(f"the book is {record.state.value}")
    if now >= record.open_until:
        raise LeaseExpired("the book's lease has expired")


def _check_range(
    credential: Credential, record: BookRecord, prices: Sequence[Price], max_count: int
) -> None:
    _, first_unit, count, elements = credential
    if first_unit + count - 1 > record.units:
        raise MalformedCredential("the range ends outside the book")
    locks = lock_count(first_unit, count, record.chain_length)
    if len(elements) != locks * ELEMENT_SIZE:
        raise MalformedCredential(f"the range touches {locks} locks: one element for each")
    if count > max_count:
        raise TooMany(count, max_count)
    if prices:
        required_units = units_due(prices, record.book.terms)
        if count < required_units:
            raise TooLittle(count, required_units)


def _parts(credential: Credential, chain_length: int) -> list[Part]:
    _, first_unit, count, elements = credential
    if count == 1:
        lock, before = divmod(first_unit - 1, chain_length)
        return [(lock + 1, before + 1, before + 1, elements)]
    spans = split(first_unit, count, chain_length)
    return [
        (lock, first, last, elements[index * ELEMENT_SIZE : (index + 1) * ELEMENT_SIZE])
        for index, (lock, first, last) in enumerate(spans)
    ]


def _check_not_redeemed(parts: list[Part], record: BookRecord) -> None:
    for lock, first, last, _ in parts:
        redeemed = record.locks[lock].lowest_redeemed(first, last)
        if redeemed is not None:
            raise AlreadyRedeemed((lock - 1) * record.chain_length + redeemed)


def _check_exposure(last_unit: int, parts: list[Part], record: BookRecord) -> None:
    if last_unit > record.limit_unit:
        limit_unit = record.limit_unit_for(record.secured_locks_with(parts))
        if last_unit > limit_unit:
            raise ExposureExceeded(last_unit, limit_unit)


def _check_distance(parts: list[Part], record: BookRecord) -> None:
    for lock, first, last, _ in parts:
        deepest = record.locks[lock].deepest
        distance = deepest - last if deepest > last else first - deepest - 1
        if distance > record.window:
            raise TooFar(lock, distance, record.window)


def _check_elements(parts: list[Part], record: BookRecord) -> None:
    for lock, _, last, element in parts:
        known = record.locks[lock]
        if last == record.chain_length:
            # Only the lock hash proves that the lock can be enforced.
            right = lock_hash(element) == record.book.lock_hash(lock) and (
                not known.deepest or walk(element, last - known.deepest) == known.element
            )
        elif known.deepest > last:
            right = walk(known.element, known.deepest - last) == element
        elif known.deepest:
            right = walk(element, last - known.deepest) == known.element
        else:
            right = walk(element, last) == record.book.anchor(lock)
        if not right:
            raise WrongSecret(lock)


def _check_seals(parts: Sequence[Part], record: BookRecord) -> None:
    """Of locks that are completed: what RGB would not open for `s_j` is worth nothing."""
    seal_of = record.seal_of
    for lock, _, last, element in parts:
        if last == record.chain_length and (
            seal_of is None or seal_of(element) != record.book.seal(lock)
        ):
            refusal = GarbageLock(lock)
            _tell(refusal, record)
            raise refusal
