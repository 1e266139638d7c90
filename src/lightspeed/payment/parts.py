"""How a range of units falls onto locks."""

__all__ = ["lock_count", "split"]


def split(first_unit: int, count: int, chain_length: int) -> list[tuple[int, int, int]]:
    """(lock, its first unit, its last unit) for every lock that the range touches, in order.

    Units within a lock run from 1 to c.
    """
    lock, before = divmod(first_unit - 1, chain_length)
    spans = []
    first = before + 1
    while count:
        last = min(chain_length, first + count - 1)
        lock += 1
        spans.append((lock, first, last))
        count -= last - first + 1
        first = 1
    return spans


def lock_count(first_unit: int, count: int, chain_length: int) -> int:
    """Number of locks that the range touches."""
    return (first_unit + count - 2) // chain_length - (first_unit - 1) // chain_length + 1
