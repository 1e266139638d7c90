"""What a call costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from lightspeed.payment.errors import WrongAsset
from lightspeed.payment.terms import SATS, BookTerms

__all__ = ["Price", "units_due"]


@dataclass(frozen=True, slots=True)
class Price:
    """`amount` is in msat for sats, else in units of the token `asset`."""

    amount: int
    asset: bytes = SATS

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError("a price is not negative")

    def units(self, terms: BookTerms) -> int:
        """Units of a book in the same asset, rounded up."""
        if terms.asset != self.asset:
            raise WrongAsset("this call is not sold for the asset of the book")
        return -(-self.amount // terms.unit_value)


def units_due(prices: Iterable[Price], terms: BookTerms) -> int:
    """Units that a call costs which is sold at any of `prices`, one per asset."""
    for price in prices:
        if price.asset == terms.asset:
            return price.units(terms)
    raise WrongAsset("this call is not sold for the asset of the book")
