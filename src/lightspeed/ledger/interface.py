"""What every ledger does: keep books, redeem exactly once, lease, fence."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from lightspeed.payment import Book, BookState, Credential, LockElement, Price, Receipt

__all__ = ["BookStatus", "FinalState", "Ledger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookStatus:
    """A book's row. `open_until` is in seconds since 1970 on the ledger's clock."""

    book_id: bytes
    state: BookState
    open_until: float
    secured_locks: int
    next_unit: int
    redeemed_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalState:
    """What a fenced book ends with: the deepest redeemed element of every touched lock, ascending.

    `payment.final_elements` picks those that prove what was paid.
    """

    status: BookStatus
    elements: tuple[LockElement, ...] = field(repr=False)


class Ledger(Protocol):
    """One book belongs to exactly one ledger; any number of processes may share it.

    Every coroutine raises LedgerUnavailable when the store does not answer.
    """

    async def redeem(self, credential: Credential, *, prices: Iterable[Price] = ()) -> Receipt:
        """Redeem all units of the credential, durably before it returns, or none.

        `prices`: what the call costs, one per asset that it is sold for; without any, one unit
        is enough. Raises PaymentRefused; GarbageLock has fenced the book, durably, when it is
        raised. If the caller is cancelled the units may still be redeemed.
        """

    async def book(self, book_id: bytes) -> Book:
        """The public part of a book; raises UnknownBook."""

    async def store_book(self, book: Book, *, open_until: float = 0.0) -> None:
        """Add a book that is in both irrevocably committed commitments; raises BookExists."""

    async def extend_lease(
        self,
        book_id: bytes,
        *,
        open_until: float,
        generation: bytes,
        redeemed_at_least: int = 0,
    ) -> BookStatus:
        """Let the book be used until then; a lease is never shortened. The node's alone.

        `generation` and `redeemed_at_least` are what the node stored last. If the ledger's differ
        or are fewer the book is set `closing` first and LedgerRolledBack is raised. A book that
        is closing stays so: read the returned status.
        """

    async def fence(self, book_id: bytes) -> FinalState:
        """Set `closing`, wait for it to be durable, then read the final elements.

        Every redeem is in the answer or was refused. May be repeated.
        """

    async def close_book(self, book_id: bytes) -> None:
        """Mark a fenced book `closed`; raises BookNotFenced."""

    async def prune(self, book_id: bytes, *, settled_locks: int = 0) -> int:
        """Let go of what is known of locks that are irrevocably settled; how many there were.

        Only of those below `next_unit`: their units count as redeemed for ever, while units of
        settled locks that were not presented yet stay redeemable. Of a closed book everything
        goes but its row, so that it is never opened again. Elements of these locks are told no
        more.
        """

    async def status(self, book_id: bytes) -> BookStatus:
        """The book's row; raises UnknownBook."""

    async def statuses(self) -> tuple[BookStatus, ...]:
        """The rows of all books."""

    async def completed_secrets(
        self, book_id: bytes, *, after_lock: int = 0
    ) -> tuple[LockElement, ...]:
        """The secrets of completed locks above `after_lock`, ascending.

        Locks may complete out of order: pass the end of the unbroken run that you hold.
        """

    async def generation(self) -> bytes:
        """What a redeem compares; another one means that the ledger is not what it was."""

    async def declare_restored(self) -> None:
        """After a backup was restored: a new generation, and every open book is `closing`."""

    async def aclose(self) -> None:
        """Finish what was begun and let go of the store."""
