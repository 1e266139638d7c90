"""The payer's allocator: which units pay the next call, in order and without a gap.

One allocator per book. Every allocation ends in exactly one of `served`, `refused` or `lost`.
Units that were handed out and not acknowledged are presented again before new ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lightspeed.payment.check import DEFAULT_MAX_COUNT
from lightspeed.payment.errors import (
    AlreadyRedeemed,
    BookExhausted,
    BookStopped,
    ExposureExceeded,
    GarbageLock,
    TooFar,
    WindowFull,
    WrongSecret,
)
from lightspeed.payment.ranges import UnitRanges
from lightspeed.payment.receipt import Receipt
from lightspeed.payment.terms import BookTerms

__all__ = ["Allocation", "Allocator", "StopReason"]


# All units below `low` are redeemed, so these cannot hold for it, unless a hole was given up.
_NEVER_FOR_THE_LOWEST = (ExposureExceeded.slug, TooFar.slug)


class StopReason(Enum):
    """Why the payer does not use a book any more; its node then sends `lsf_close_request`."""

    ALREADY_REDEEMED = "the payee calls units redeemed that were never presented"
    WRONG_SECRET = "the payee calls a secret wrong"
    GARBAGE_LOCK = "the payee calls a lock's seal wrong"
    UNSERVED = "too many units were taken without an answer"
    NOT_TAKEN = "the payee does not take the lowest unit"
    REQUESTED = "closed by its owner"


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """The units that one call presents; those from `first_new_unit` on for the first time."""

    first_unit: int
    count: int
    first_new_unit: int

    @property
    def last_unit(self) -> int:
        """The highest unit of the range."""
        return self.first_unit + self.count - 1


class Allocator:
    """State machine over (low, handed out, reserved end); no I/O of its own.

    `reserve(low, reserved_end)` must store both durably together before it returns; it is called
    before units above the reserved end are handed out. To go on after a crash, give what it
    stored last: all units in between count as handed out and are presented again.

    Unserved are units that the payee took, by its own word, while the call that presented them
    got no answer with a receipt for it. Once `max_unserved` of them came together the book is
    stopped; while unserved and lost units together reach that number nothing new is handed out.
    Units that were open at a crash are not counted: whether they were answered is not known.
    """

    def __init__(
        self,
        book_id: bytes,
        terms: BookTerms,
        *,
        reserve: Callable[[int, int], None],
        low: int = 1,
        reserved_end: int = 0,
        max_unserved: int | None = None,
        max_count: int = DEFAULT_MAX_COUNT,
        stopped: StopReason | None = None,
    ) -> None:
        self._book_id = book_id
        self._units = terms.units
        self._window = terms.window
        self._max_unserved = terms.window if max_unserved is None else max_unserved
        self._max_count = max_count
        self._reserve = reserve
        self._low = low
        self._reserved_end = reserved_end
        self._handed_out = max(reserved_end, low - 1)
        self._restored_end = self._handed_out
        self._acknowledged = UnitRanges()
        self._lost = UnitRanges()
        self._outstanding: set[Allocation] = set()
        self._presented_again = 0
        self._unserved = 0
        self._stopped = stopped
        if low <= reserved_end:
            self._lost.add(low, reserved_end)

    @property
    def low(self) -> int:
        """The lowest unit not acknowledged."""
        return self._low

    @property
    def handed_out(self) -> int:
        """The highest unit ever handed out, 0 before the first."""
        return self._handed_out

    @property
    def reserved_end(self) -> int:
        """The highest unit that may be handed out without storing anything."""
        return self._reserved_end

    @property
    def unserved(self) -> int:
        """Units that the payee took without answering for them."""
        return self._unserved

    @property
    def outstanding_units(self) -> int:
        """Units of calls that have not ended."""
        return sum(allocation.count for allocation in self._outstanding)

    @property
    def remaining_units(self) -> int:
        """Units of the book that were never handed out."""
        return self._units - self._handed_out

    @property
    def stopped(self) -> StopReason | None:
        """Why the book is not used any more."""
        return self._stopped

    def stop(self, reason: StopReason = StopReason.REQUESTED) -> None:
        """Hand out nothing more; the first reason stays."""
        self._stopped = self._stopped or reason

    def allocate(self, count: int) -> Allocation:
        """Units for one call of `count` units, reserved durably.

        Raises WindowFull (wait for a call to end), BookExhausted, BookStopped, and whatever
        `reserve` raises; then nothing was handed out.
        """
        if not 1 <= count <= self._max_count:
            raise ValueError(f"a credential has 1 to {self._max_count} units")
        while self._stopped is None:
            again = self._find_lost(count)
            if again is not None:
                return again
            first_unit = self._handed_out + 1
            if self._may_extend(first_unit, count):
                return self._hand_out(first_unit, count)
            self._forfeit_lowest()
        raise BookStopped(self._stopped.value)

    def served(self, allocation: Allocation, receipt: Receipt) -> None:
        """The call was answered with a receipt.

        One that does not name exactly the units of this call acknowledges none of them.
        """
        redeemed = (receipt.book_id, receipt.first_unit, receipt.count)
        if redeemed != (self._book_id, allocation.first_unit, allocation.count):
            self.lost(allocation)
            return
        self._end(allocation)
        self._acknowledge(allocation.first_unit, allocation.last_unit)
        self._heed(receipt)

    def lost(self, allocation: Allocation) -> None:
        """No answer came, or one without a receipt: nothing is acknowledged."""
        self._end(allocation)
        self._lose(allocation)

    def refused(
        self,
        allocation: Allocation,
        slug: str,
        *,
        receipt: Receipt | None = None,
        redeemed_unit: int | None = None,
    ) -> None:
        """The call was answered with a payment problem of this slug, and redeemed nothing.

        `redeemed_unit` is what an `already-redeemed` problem names. Such a refusal takes at
        least one unit out of what is presented again, so repeating ends.
        """
        self._end(allocation)
        first_unit, last_unit = allocation.first_unit, allocation.last_unit
        if slug == WrongSecret.slug:
            self.stop(StopReason.WRONG_SECRET)
        if slug == GarbageLock.slug:
            self.stop(StopReason.GARBAGE_LOCK)
        if redeemed_unit is None or not first_unit <= redeemed_unit <= last_unit:
            redeemed_unit = None
        if slug == AlreadyRedeemed.slug and (
            (redeemed_unit or first_unit) >= allocation.first_new_unit
        ):
            self.stop(StopReason.ALREADY_REDEEMED)
        elif slug in _NEVER_FOR_THE_LOWEST and first_unit == self._low:
            self.stop(StopReason.NOT_TAKEN)
        self._lose(allocation)
        before = self._lost.size
        if receipt is not None and receipt.book_id == self._book_id and not receipt.count:
            self._heed(receipt)
        if slug == AlreadyRedeemed.slug and self._lost.size == before:
            self._write_off(redeemed_unit or first_unit, redeemed_unit or last_unit)

    def give_back(self) -> None:
        """Store `low` and release what is reserved but not handed out; for an orderly end."""
        self._reserve(self._low, self._handed_out)
        self._reserved_end = self._handed_out

    def _find_lost(self, count: int) -> Allocation | None:
        """The lowest run of lost units that holds the call, if need be with new units after it."""
        for first_unit, last_unit in self._lost:
            if last_unit - first_unit + 1 >= count:
                admitted = self._in_window(first_unit, count)
            else:
                admitted = last_unit == self._handed_out and self._may_extend(first_unit, count)
            if admitted:
                return self._hand_out(first_unit, count)
        return None

    def _in_window(self, first_unit: int, count: int) -> bool:
        alone = first_unit == self._low and not self._outstanding
        return alone or first_unit + count - 1 <= self._low + self._window

    def _may_extend(self, first_unit: int, count: int) -> bool:
        """Whether a range that ends in new units may be handed out now."""
        if first_unit + count - 1 > self._units:
            raise BookExhausted(count, self.remaining_units)
        at_risk = self._unserved + self._lost.size_above(self._restored_end) + self._presented_again
        return at_risk < self._max_unserved and self._in_window(first_unit, count)

    def _hand_out(self, first_unit: int, count: int) -> Allocation:
        last_unit = first_unit + count - 1
        if last_unit > self._reserved_end:
            end = max(last_unit, min(self._low + self._window, self._units))
            self._reserve(self._low, end)
            self._reserved_end = end
        allocation = Allocation(first_unit, count, self._handed_out + 1)
        self._handed_out = max(self._handed_out, last_unit)
        self._lost.remove(first_unit, last_unit)
        self._outstanding.add(allocation)
        self._presented_again += self._retried_units(allocation)
        return allocation

    def _end(self, allocation: Allocation) -> None:
        if allocation not in self._outstanding:
            raise ValueError("this call has ended before, or is of another allocator")
        self._outstanding.remove(allocation)
        self._presented_again -= self._retried_units(allocation)

    def _retried_units(self, allocation: Allocation) -> int:
        """Units presented before and lost since then."""
        first_unit = max(allocation.first_unit, self._restored_end + 1)
        return max(0, min(allocation.first_new_unit, allocation.last_unit + 1) - first_unit)

    def _acknowledge(self, first_unit: int, last_unit: int) -> None:
        if last_unit < self._low:
            return
        self._acknowledged.add(max(first_unit, self._low), last_unit)
        run_first, run_last = next(iter(self._acknowledged))
        if run_first == self._low:
            self._acknowledged.remove(run_first, run_last)
            self._low = run_last + 1

    def _heed(self, receipt: Receipt) -> None:
        """Everything below `next` is acknowledged, unless it was never handed out."""
        last_unit = receipt.next_unit - 1
        if self._low <= last_unit <= self._handed_out:
            self._write_off(self._low, last_unit)

    def _write_off(self, first_unit: int, last_unit: int) -> None:
        """Acknowledge a range; what of it was lost was taken without an answer."""
        self._lost.remove(first_unit, min(last_unit, self._restored_end))
        self._count_unserved(self._lost.remove(first_unit, last_unit))
        self._acknowledge(first_unit, last_unit)

    def _lose(self, allocation: Allocation) -> None:
        """Present its units again, but for those that another answer acknowledged meanwhile."""
        units = UnitRanges()
        units.add(allocation.first_unit, allocation.last_unit)
        taken = 0
        for first_unit, last_unit in [(1, self._low - 1), *self._acknowledged]:
            units.remove(first_unit, min(last_unit, self._restored_end))
            taken += units.remove(first_unit, last_unit)
        for first_unit, last_unit in units:
            self._lost.add(first_unit, last_unit)
        self._count_unserved(taken)

    def _count_unserved(self, count: int) -> None:
        self._unserved += count
        if self._unserved >= self._max_unserved:
            self.stop(StopReason.UNSERVED)

    def _forfeit_lowest(self) -> None:
        """Give up the lowest lost run, which is too short for the calls made and holds up `low`."""
        if self._outstanding or not self._lost:
            raise WindowFull("units handed out before are not acknowledged yet")
        first_unit, last_unit = next(iter(self._lost))
        self._write_off(first_unit, last_unit)
