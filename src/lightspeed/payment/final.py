"""What a book ends with: the elements that prove, to the unit, how much of it was paid.

    scheme    elements, one per lock, ascending                 units
    outputs   the deepest of every touched lock not settled     t for each e(j, t)
    ladder    the secret of the highest completed lock,         all of the locks up to it,
              then the deepest of the locks above it            t for each

Settled locks are the first of the book; their units are paid already and do not count again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lightspeed.payment.book import Book
from lightspeed.payment.chain import ELEMENT_SIZE, lock_hash, walk
from lightspeed.payment.errors import ProofRefused
from lightspeed.payment.terms import BookTerms, Scheme

__all__ = [
    "LockElement",
    "check_final",
    "check_secret",
    "completed_run",
    "final_elements",
    "final_units",
]


class LockElement(NamedTuple):
    """The element e(lock, unit); `unit` is counted within the lock, from 1."""

    lock: int
    unit: int
    element: bytes

    def __repr__(self) -> str:
        return f"LockElement(lock={self.lock}, unit={self.unit})"


def completed_run(terms: BookTerms, completed: Iterable[int], *, settled_locks: int) -> int:
    """The last lock that may be settled when `completed` are; `settled_locks` if none.

    The unbroken run behind what is settled; in scheme ladder the highest, which pays all below.
    """
    locks = {lock for lock in completed if lock > settled_locks}
    if terms.scheme is Scheme.LADDER:
        return max(locks, default=settled_locks)
    run = settled_locks
    while run + 1 in locks:
        run += 1
    return run


def final_elements(
    terms: BookTerms, elements: Iterable[LockElement], *, settled_locks: int
) -> tuple[LockElement, ...]:
    """Those that count, out of the deepest redeemed element of every lock."""
    above = settled_locks
    known = sorted(elements)
    if terms.scheme is Scheme.LADDER:
        completed = [element.lock for element in known if element.unit == terms.chain_length]
        above = max([settled_locks, *(lock - 1 for lock in completed)])
    return tuple(element for element in known if element.lock > above)


def final_units(terms: BookTerms, elements: Sequence[LockElement], *, settled_locks: int) -> int:
    """How many units `final_elements` count, settled ones not among them."""
    units = sum(element.unit for element in elements)
    if terms.scheme is Scheme.LADDER and elements and elements[0].unit == terms.chain_length:
        units += (elements[0].lock - settled_locks - 1) * terms.chain_length
    return units


def check_secret(book: Book, lock: int, secret: bytes) -> None:
    """Raises ProofRefused unless it is s_j: one hash."""
    if len(secret) != ELEMENT_SIZE or lock_hash(secret) != book.lock_hash(lock):
        raise ProofRefused(f"not the secret of lock {lock}")


def check_final(book: Book, elements: Sequence[LockElement], *, settled_locks: int) -> None:
    """The payer's check of what the payee says at the end; raises ProofRefused.

    Completed locks cost one hash each. They say what the exposure rule let the payee serve, and
    no element may lie above that: so the others cost at most `c + window` hashes together, however
    many a payee invents.
    """
    terms = book.terms
    _check_form(terms, elements, settled_locks=settled_locks)
    completed = [element for element in elements if element.unit == terms.chain_length]
    for element in completed:
        check_secret(book, element.lock, element.element)
    secured = completed_run(
        terms, (element.lock for element in completed), settled_locks=settled_locks
    )
    limit_unit = (secured + 1) * terms.chain_length + terms.window
    if elements:
        last_unit = (elements[-1].lock - 1) * terms.chain_length + elements[-1].unit
        if last_unit > limit_unit:
            raise ProofRefused(f"unit {last_unit} could not be served, only up to {limit_unit}")
    for lock, unit, deepest in elements:
        if unit < terms.chain_length and walk(deepest, unit) != book.anchor(lock):
            raise ProofRefused(f"not unit {unit} of lock {lock}")


def _check_form(terms: BookTerms, elements: Sequence[LockElement], *, settled_locks: int) -> None:
    before = settled_locks
    for index, (lock, unit, element) in enumerate(elements):
        if not before < lock <= terms.locks:
            raise ProofRefused(f"lock {lock} after lock {before}, of {terms.locks}")
        if not 1 <= unit <= terms.chain_length or len(element) != ELEMENT_SIZE:
            raise ProofRefused(f"unit {unit} in a lock of {terms.chain_length}")
        if terms.scheme is Scheme.LADDER and index and unit == terms.chain_length:
            raise ProofRefused("elements below the highest completed lock")
        before = lock
