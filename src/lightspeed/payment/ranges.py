"""A set of unit numbers, held as ranges."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

__all__ = ["UnitRanges"]


class UnitRanges:
    """Disjoint ranges in ascending order, neighbours merged; all bounds are inclusive."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    @property
    def size(self) -> int:
        """Number of units in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def size_above(self, unit: int) -> int:
        """Number of units in the set that are higher than `unit`."""
        return sum(
            last - max(first, unit + 1) + 1
            for first, last in zip(self._firsts, self._lasts, strict=True)
            if last > unit
        )

    def add(self, first: int, last: int) -> int:
        """Add a range; returns how many of its units are new."""
        before = self.size
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]
        return self.size - before

    def remove(self, first: int, last: int) -> int:
        """Remove a range; returns how many of its units were there."""
        before = self.size
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        kept = []
        for index in range(low, high):
            if self._firsts[index] < first:
                kept.append((self._firsts[index], first - 1))
            if self._lasts[index] > last:
                kept.append((last + 1, self._lasts[index]))
        self._firsts[low:high] = [bound[0] for bound in kept]
        self._lasts[low:high] = [bound[1] for bound in kept]
        return before - self.size
