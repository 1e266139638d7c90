"""Thefts by what is presented: calls that were not paid for, or could never be enforced.

The payee serves at most one lock and `window` units that no chain would give it (the exposure
rule); everything else is refused, and a refusal changes nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lightspeed.lsf.limits import exposure
from lightspeed.payment import (
    Book,
    BookRecord,
    BookTerms,
    Credential,
    PaymentRefused,
    Scheme,
    SecretBook,
    check,
    step,
)
from lightspeed.rgb import secret_lock_seal

FOREVER = 1e12
TERMS = BookTerms(
    scheme=Scheme.OUTPUTS,
    locks=40,
    chain_length=10,
    lock_amount=1_000,
    window=25,
    origins=("https://api.example",),
)
SEALS = replace(TERMS, scheme=Scheme.SEALS, asset=bytes(range(32)))
NO_CHAINS = replace(TERMS, locks=400, chain_length=1)


def book_of(terms: BookTerms = TERMS, seed: bytes = b"\x01" * 32) -> SecretBook:
    return SecretBook.create(
        channel_id=b"\x0c" * 32, terms=terms, seed=seed, seal_of=secret_lock_seal
    )


class Victim:
    """A payee that serves a call for each credential that it redeems."""

    def __init__(self, book: Book) -> None:
        self.record = BookRecord(book=book, open_until=FOREVER, seal_of=secret_lock_seal)
        self.served_units = 0

    def serves(self, credential: Credential) -> bool:
        try:
            parts = check(credential, self.record, now=0.0)
        except PaymentRefused:
            return False
        self.served_units += self.record.redeem(parts).count
        return True

    @property
    def lost_msat(self) -> int:
        """What was served and can never be claimed: not of a lock that the chain can open."""
        terms = self.record.book.terms
        known = [self.record.locks[lock] for lock in range(1, terms.locks + 1)]
        served_of_completed = sum(
            lock.through + lock.above.bit_count()
            for lock in known
            if self.record.secured_locks and lock.deepest == terms.chain_length
        )
        return (self.served_units - served_of_completed) * terms.unit_value


def all_units(secret: SecretBook, *, count: int = 1) -> Iterator[Credential]:
    units = secret.book.terms.units
    for first_unit in range(1, units + 1, count):
        yield secret.credential(first_unit, min(count, units - first_unit + 1))


@pytest.mark.parametrize("terms", [TERMS, NO_CHAINS], ids=["chains", "no chains"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_payer_that_leaves_out_the_last_unit_of_every_lock(terms: BookTerms, rounds: int) -> None:
    """However often it tries, and whatever it presents in between."""
    secret = book_of(terms)
    victim = Victim(secret.book)
    chain_length = terms.chain_length
    for _ in range(rounds):
        for unit in range(1, terms.units + 1):
            if unit % chain_length or (chain_length == 1 and unit == 1):
                continue
            victim.serves(secret.credential(unit, 1))
        for unit in range(1, terms.units + 1):
            if chain_length == 1 and unit == 1:
                continue
            if unit % chain_length or chain_length == 1:
                victim.serves(secret.credential(unit, 1))
    assert victim.lost_msat <= exposure(terms)


@pytest.mark.parametrize("skipped", [1, 2, 17])
@pytest.mark.parametrize("terms", [TERMS, NO_CHAINS], ids=["chains", "no chains"])
def test_payer_that_never_completes_one_lock(terms: BookTerms, skipped: int) -> None:
    """The run of secured locks ends before it; what lies behind is within the window."""
    secret = book_of(terms)
    victim = Victim(secret.book)
    missing = skipped * terms.chain_length
    for credential in all_units(secret):
        if credential.first_unit != missing:
            victim.serves(credential)
    assert victim.record.secured_locks == skipped - 1
    assert victim.lost_msat <= exposure(terms)


@pytest.mark.parametrize("count", [2, 7, 35])
def test_payer_that_stops_at_the_worst_moment(count: int) -> None:
    """At every unit the loss is bounded, with calls of any size."""
    secret = book_of()
    victim = Victim(secret.book)
    for credential in all_units(secret, count=count):
        assert victim.serves(credential)
        assert victim.lost_msat <= exposure(TERMS)
    assert victim.lost_msat == 0


def garbage(secret: SecretBook, *, lock_hashes: bool, anchors: bool) -> Book:
    """The book with random hashes where asked for."""
    size = secret.book.terms.locks * 32
    noise = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(size // 32))
    return replace(
        secret.book,
        lock_hashes=noise if lock_hashes else secret.book.lock_hashes,
        anchors=noise if anchors else secret.book.anchors,
    )


@pytest.mark.parametrize(("lock_hashes", "anchors"), [(True, False), (False, True), (True, True)])
def test_garbage_lock_hashes_or_anchors(lock_hashes: bool, anchors: bool) -> None:
    """A lock whose hash does not belong to its chain is never completed."""
    secret = book_of()
    book = garbage(secret, lock_hashes=lock_hashes, anchors=anchors)
    victim = Victim(book)
    for count in (1, 10, 3):
        for credential in all_units(secret, count=count):
            victim.serves(credential._replace(book_id=book.book_id))
    assert victim.lost_msat <= exposure(TERMS)
    if lock_hashes:
        assert victim.record.secured_locks == 0


@pytest.mark.parametrize("count", [1, 3, 10, 25])
@pytest.mark.parametrize("first_garbage", [1, 2, 5])
def test_false_seals(first_garbage: int, count: int) -> None:
    """Locks that RGB would open for nobody, from one lock on: even if nothing were fenced."""
    secret = book_of(SEALS)
    noise = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(SEALS.locks))
    honest = (first_garbage - 1) * 32
    seals = secret.book.seals[:honest] + noise[honest:]
    book = replace(secret.book, seals=seals)
    victim = Victim(book)
    for units in (count, 1):
        for credential in all_units(secret, count=units):
            victim.serves(credential._replace(book_id=book.book_id))
            assert victim.lost_msat <= exposure(SEALS)
    assert victim.record.secured_locks == first_garbage - 1


def test_anchor_chain_that_leads_nowhere() -> None:
    """Anchors of other secrets: c - 1 units of each lock can be shown, the last one never."""
    real, shown = book_of(seed=b"\x01" * 32), book_of(seed=b"\x02" * 32)
    book = replace(real.book, anchors=shown.book.anchors)
    victim = Victim(book)
    for credential in all_units(shown):
        victim.serves(credential._replace(book_id=book.book_id))
    for credential in all_units(real):
        victim.serves(credential._replace(book_id=book.book_id))
    assert victim.lost_msat <= exposure(TERMS)


def public_elements(secret: SecretBook, victim: Victim) -> set[bytes]:
    """All that a stranger can know or compute: the book, and elements seen in other calls."""
    book = secret.book
    known = {bytes(32), b"\xff" * 32}
    for lock in range(1, book.terms.locks + 1):
        known |= {book.lock_hash(lock), book.anchor(lock)}
    seen = [secret.element(1, unit) for unit in range(1, 5)] + [secret.lock_secret(2)]
    known |= set(seen)
    for element in tuple(known):
        if not element:
            known.discard(element)
            continue
        for hashed in (
            hashlib.sha256(element).digest(),
            hashlib.sha256(hashlib.sha256(element).digest()).digest(),
            step(element),
            step(step(element)),
            element[::-1],
        ):
            known.add(hashed)
    return known


def test_units_computed_from_public_data() -> None:
    """Only what a seen element itself proves: it and the units below it."""
    secret = book_of()
    victim = Victim(secret.book)
    for unit in range(1, 5):
        assert victim.serves(secret.credential(unit, 1))
    assert victim.serves(secret.credential(11, 10))
    before = victim.served_units
    elements = public_elements(secret, victim)
    assert len(elements) > 200
    for unit in [*range(5, 11), *range(21, 36)]:
        for element in elements:
            thief = Credential(secret.book.book_id, unit, 1, element)
            assert not victim.serves(thief)
    assert victim.served_units == before


def test_credential_of_another_book_or_channel() -> None:
    """The same seed twice would be the payer's fault; the ids still tell books apart."""
    secret = book_of()
    victim = Victim(secret.book)
    other_channel = SecretBook.create(channel_id=b"\x0d" * 32, terms=TERMS, seed=b"\x01" * 32)
    other_terms = book_of(replace(TERMS, window=26))
    for other in (other_channel, other_terms):
        assert other.book.book_id != secret.book.book_id
        assert not victim.serves(other.credential(1, 1))
    assert not victim.serves(book_of(seed=b"\x03" * 32).credential(1, 1))
    foreign = book_of(seed=b"\x03" * 32).credential(1, 1)
    assert not victim.serves(foreign._replace(book_id=secret.book.book_id))


def test_same_units_in_other_clothes() -> None:
    """Overlapping ranges, a part of what was redeemed, and the whole again."""
    secret = book_of()
    victim = Victim(secret.book)
    assert victim.serves(secret.credential(5, 12))
    for first_unit, count in [(5, 12), (5, 1), (16, 1), (1, 5), (16, 2), (1, 30), (4, 3), (10, 2)]:
        assert not victim.serves(secret.credential(first_unit, count))
    assert victim.serves(secret.credential(1, 4))
    assert victim.serves(secret.credential(17, 1))
    assert victim.served_units == 17


def test_ranges_that_end_where_no_unit_is() -> None:
    secret = book_of()
    victim = Victim(secret.book)
    good = secret.credential(391, 10)
    for first_unit, count in [
        (392, 10),
        (400, 2),
        (401, 1),
        (2**40 - 1, 1),
        (1, 65_535),
        (0, 1),
        (391, 0),
    ]:
        assert not victim.serves(good._replace(first_unit=first_unit, count=count))
