"""What the payee knows of a book in use: its state and lease, and what was redeemed of each lock.

Plain data with the arithmetic of redeeming; a ledger keeps it durable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from lightspeed.payment.book import Book, SealOf
from lightspeed.payment.errors import SealCheckMissing
from lightspeed.payment.receipt import Receipt
from lightspeed.payment.terms import Scheme

__all__ = ["UNTOUCHED", "BookRecord", "BookState", "LockRecord", "Part"]

Part = tuple[int, int, int, bytes]
"""A credential's range within one lock: (lock, first unit, last unit, element of the last)."""


class BookState(Enum):
    """A book's state never goes back."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class LockRecord(NamedTuple):
    """What is known and redeemed of one lock; units are numbered within the lock, from 1.

    `element` is e(deepest), the deepest that was redeemed; 0 and empty before the first. Units
    1 .. `through` are redeemed, unit `through + 1` is not; bit i of `above` stands for unit
    `through + 1 + i`.
    """

    deepest: int = 0
    element: bytes = b""
    through: int = 0
    above: int = 0

    def __repr__(self) -> str:
        return f"LockRecord(deepest={self.deepest}, through={self.through}, above={self.above:b})"

    def lowest_redeemed(self, first: int, last: int) -> int | None:
        """The lowest redeemed unit of the range, if there is one."""
        if first <= self.through:
            return first
        if not self.above:
            return None
        bits = self.above >> (first - self.through - 1) & ((1 << (last - first + 1)) - 1)
        return first + (bits & -bits).bit_length() - 1 if bits else None

    def with_redeemed(self, first: int, last: int, element: bytes) -> "LockRecord":
        """After redeeming a range of units that are not redeemed yet; `element` is its last."""
        deepest, deepest_element, through, above = self
        if last > deepest:
            deepest, deepest_element = last, element
        if not above and first == through + 1:
            return LockRecord(deepest, deepest_element, last, 0)
        above |= ((1 << (last - first + 1)) - 1) << (first - through - 1)
        ones = (~above & (above + 1)).bit_length() - 1
        return LockRecord(deepest, deepest_element, through + ones, above >> ones)


UNTOUCHED = LockRecord()
"""A lock of which nothing is known but the book."""


class _LockRecords(dict[int, LockRecord]):
    """Answers for untouched locks too."""

    def __missing__(self, lock: int) -> LockRecord:
        return UNTOUCHED


@dataclass(slots=True)
class BookRecord:
    """The payee's view of one book.

    `open_until` is in seconds since 1970, as the ledger's clock counts. `secured_locks` is the
    run of completed locks from lock 1 (scheme ladder: the highest completed lock), `limit_unit`
    follows from it, `next_unit` is the lowest unit not redeemed. `locks` holds every touched lock
    above `secured_locks` and answers for all others when indexed. `seal_of` is needed for a book
    of scheme seals: without it there is no record (SealCheckMissing). The fields after it are
    copies of the book's, for speed.
    """

    book: Book
    open_until: float
    state: BookState = BookState.OPEN
    secured_locks: int = 0
    next_unit: int = 1
    redeemed_units: int = 0
    locks: dict[int, LockRecord] = field(default_factory=_LockRecords)
    seal_of: SealOf | None = None
    limit_unit: int = field(init=False)
    units: int = field(init=False)
    chain_length: int = field(init=False)
    window: int = field(init=False)
    asset: bytes = field(init=False)
    unit_value: int = field(init=False)
    book_id: bytes = field(init=False)
    lock_hashes: bytes = field(init=False, repr=False)
    anchors: bytes = field(init=False, repr=False)
    seals: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.book.seals and self.seal_of is None:
            raise SealCheckMissing(self.book.book_id)
        self.units = self.book.terms.units
        self.chain_length = self.book.terms.chain_length
        self.window = self.book.terms.window
        self.asset = self.book.terms.asset
        self.unit_value = self.book.terms.unit_value
        self.book_id = self.book.book_id
        self.lock_hashes = self.book.lock_hashes
        self.anchors = self.book.anchors
        self.seals = self.book.seals
        self.limit_unit = self.limit_unit_for(self.secured_locks)

    def limit_unit_for(self, secured_locks: int) -> int:
        """The last unit that the exposure rule admits: `secured + c + window`, in the book."""
        return min(self.units, (secured_locks + 1) * self.chain_length + self.window)

    def secured_locks_with(self, parts: Sequence[Part]) -> int:
        """`secured_locks` as it would be once `parts` are redeemed."""
        completed = {lock for lock, _, last, _ in parts if last == self.chain_length}
        if self.book.terms.scheme is Scheme.LADDER:
            return max(completed | {self.secured_locks})
        run = self.secured_locks
        while run < self.book.terms.locks and (
            run + 1 in completed or self.locks[run + 1].deepest == self.chain_length
        ):
            run += 1
        return run

    def redeem(self, parts: Sequence[Part]) -> Receipt:
        """Record what `check` returned; the receipt is valid once that is durable."""
        count = 0
        completes = False
        for lock, first, last, element in parts:
            self.locks[lock] = self.locks[lock].with_redeemed(first, last, element)
            count += last - first + 1
            completes = completes or last == self.chain_length
        if completes:
            self.secured_locks = self.secured_locks_with(parts)
            self.limit_unit = self.limit_unit_for(self.secured_locks)
        self.redeemed_units += count
        first_unit = (parts[0][0] - 1) * self.chain_length + parts[0][1]
        if first_unit == self.next_unit:
            self._advance_next_unit(first_unit + count)
        return Receipt(self.book_id, first_unit, count, self.next_unit)

    def _advance_next_unit(self, unit: int) -> None:
        while unit <= self.units:
            lock, before = divmod(unit - 1, self.chain_length)
            through = self.locks[lock + 1].through
            if through == before:
                break
            unit += through - before
        self.next_unit = unit
