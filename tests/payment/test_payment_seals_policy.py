"""What a payer puts behind seals, whose blindings have 64 bits."""

import pytest

from lightspeed.payment import (
    Scheme,
    SealsPolicy,
    SealsTooValuable,
)
from payment_books import make_terms

ASSET = bytes(range(32))
POLICY = SealsPolicy(max_lock_amount=20, max_book_amount=100)


def terms(*, scheme=Scheme.SEALS, locks=5, lock_amount=20):
    return make_terms(
        scheme=scheme, locks=locks, chain_length=1, unit_value=lock_amount, asset=ASSET
    )


def test_a_lock_and_the_whole_book_are_bounded_each():
    POLICY.check(terms())
    for what, more in (("a lock", {"lock_amount": 21, "locks": 1}), ("the book", {"locks": 6})):
        with pytest.raises(SealsTooValuable, match=f"{what} of"):
            POLICY.check(terms(**more))


def test_other_schemes_are_not_bounded():
    POLICY.check(terms(scheme=Scheme.LADDER, locks=100, lock_amount=1_000))
