"""Small books for the tests of payment, ledger and http, and a payee that forgets nothing."""

import hashlib
from dataclasses import replace
from functools import cache

from lightspeed.payment import (
    BookRecord,
    BookState,
    BookTerms,
    Credential,
    GarbageLock,
    Receipt,
    Scheme,
    SecretBook,
    check,
)

ORIGIN = "https://api.example"
CHANNEL_ID = bytes(range(32))
FOREVER = 1e12


def make_terms(
    *, locks=4, chain_length=5, window=8, scheme=Scheme.OUTPUTS, unit_value=1_000, **other
):
    return BookTerms(
        scheme=scheme,
        locks=locks,
        chain_length=chain_length,
        lock_amount=unit_value * chain_length // (1 if other.get("asset") else 1_000),
        window=window,
        origins=(ORIGIN,),
        **other,
    )


def seal_of(secret: bytes) -> bytes:
    """Stands for RGB's: payment and ledger take any function."""
    return hashlib.sha256(b"seal" + secret).digest()


@cache
def make_book(*, seed=bytes(32), seal_of=seal_of, **terms) -> SecretBook:
    """The same book for the same arguments; nobody changes it."""
    return SecretBook.create(
        channel_id=CHANNEL_ID, terms=make_terms(**terms), seed=seed, seal_of=seal_of
    )


def with_garbage(secret_book: SecretBook, *locks: int) -> SecretBook:
    """The same secrets, in a book that lists false seals for some locks."""
    seals = bytearray(secret_book.book.seals)
    for lock in locks:
        seals[32 * lock - 1] ^= 1
    return SecretBook(book=replace(secret_book.book, seals=bytes(seals)), seed=secret_book.seed)


class MemoryPayee:
    """The payee's side of one book without a database: the reference for every ledger."""

    def __init__(self, secret_book: SecretBook, **record) -> None:
        defaults = {"book": secret_book.book, "open_until": FOREVER, "seal_of": seal_of}
        self.record = BookRecord(**{**defaults, **record})

    def redeem(self, credential: Credential, **options) -> Receipt:
        try:
            parts = check(credential, self.record, **{"now": 0.0, **options})
        except GarbageLock:
            self.record.state = BookState.CLOSING
            raise
        return self.record.redeem(parts)
