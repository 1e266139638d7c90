"""What a payer puts behind the 64 bits of a seal's blinding.

A payee that finds the blinding of a lock takes the lock without its secret. It costs one SHA-256
to try a blinding against all seals of a book at once, so the first is found after about
2^64 / N hashes, and each hash earns N x lock_amount / 2^64 however the book is divided.
docs/security.md has the figures.
"""

from dataclasses import dataclass

from lightspeed.payment.errors import SealsTooValuable
from lightspeed.payment.terms import BookTerms, Scheme

__all__ = ["SealsPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealsPolicy:
    """For one asset, in its units: what one lucky guess may take, and what a whole book is worth.

    What a unit is worth only its owner knows: there is no default.
    """

    max_lock_amount: int
    max_book_amount: int

    def check(self, terms: BookTerms) -> None:
        """Raises SealsTooValuable for a book of scheme seals; others have locks of 256 bits."""
        if terms.scheme is not Scheme.SEALS:
            return
        for what, amount, limit in (
            ("a lock", terms.lock_amount, self.max_lock_amount),
            ("the book", terms.locks * terms.lock_amount, self.max_book_amount),
        ):
            if amount > limit:
                raise SealsTooValuable(what, amount=amount, limit=limit)
