"""The payee's books in the ledger: leased while the chain is good, fenced before the end.

A lease says: until then the API's workers may redeem. It is extended only after good answers of
the chain backend that show the funding output in a block and unspent; a node that is off or
blind so stops its workers after a while. What a completed lock's secret proves is copied into
the node's own store, so that it can be claimed without the ledger.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightspeed.channel import Put
from lightspeed.ledger import (
    BookExists,
    BookNotFenced,
    BookStatus,
    Ledger,
    LedgerRolledBack,
    LedgerUnavailable,
    LockElement,
)
from lightspeed.lsf import BookUsable, Party, closed_books, usable_books
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.records import Document
from lightspeed.node.store import NodeStore
from lightspeed.payment import Book, BookState, UnknownBook

__all__ = ["LEASE_SECONDS", "PayeeBooks"]

_log = logging.getLogger(__name__)

LEASE_SECONDS = 600.0
_EXTEND_EVERY_SECONDS = 30.0

BOOK_LEASE_TABLE = "book_lease"
"""Key: book id."""
LOCK_SECRET_TABLE = "lock_secret"
"""Key: book id, lock number (4 bytes, big endian)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease(Document):
    """What the node remembers of a book, to see a ledger that went back in time."""

    book_id: str
    generation: str = ""
    """Of the ledger that has it, in hex; empty: none has it yet."""
    redeemed_units: int = 0
    fenced: bool = False
    closing: bool = False
    """To be closed in the channel, by our operator's wish or the ledger's."""

    @property
    def put(self) -> Put:
        return Put(BOOK_LEASE_TABLE, bytes.fromhex(self.book_id), self.dump())


@dataclass(slots=True, kw_only=True)
class _Secrets:
    """Completed locks of one book, as far as they are copied."""

    by_lock: dict[int, bytes] = field(default_factory=dict, repr=False)
    run: int = 0
    """Locks 1 .. run are all there."""

    def add(self, lock: int, secret: bytes) -> None:
        self.by_lock[lock] = secret
        while self.run + 1 in self.by_lock:
            self.run += 1


class PayeeBooks:
    """All books of channels whose payee we are, in one ledger."""

    def __init__(self, *, ledger: Ledger, store: NodeStore) -> None:
        self._ledger = ledger
        self._store = store
        self._extended_at: dict[bytes, float] = {}
        self._secrets: dict[bytes, _Secrets] = {}
        self._finished: set[bytes] = set()

    # --- what there is --------------------------------------------------------------------
    def books(self, driver: ChannelDriver) -> tuple[Book, ...]:
        """Usable books of a channel; none where we are not the payee."""
        if driver.record.party is not Party.PAYEE:
            return ()
        return usable_books(driver.channel)

    def lock_secrets(self, driver: ChannelDriver) -> dict[bytes, dict[int, bytes]]:
        """Book id -> lock -> secret, as copied so far."""
        return {
            book.book_id: dict(self._secrets_of(book.book_id).by_lock)
            for book in self.books(driver)
        }

    def completed(self, book: Book) -> Mapping[int, bytes]:
        """Lock -> secret, as copied so far."""
        return self._secrets_of(book.book_id).by_lock

    def redeemed_units(self, book: Book) -> int:
        """As of the last copy."""
        return self._lease(book.book_id).redeemed_units

    def is_closing(self, book: Book) -> bool:
        """To be closed in the channel, as `begin_closing` says."""
        return self._lease(book.book_id).closing

    def is_fenced(self, book: Book) -> bool:
        """Nothing is redeemed any more."""
        return self._lease(book.book_id).fenced

    def _has_lease(self, book: Book) -> bool:
        lease = self._lease(book.book_id)
        return not (lease.closing or lease.fenced)

    async def status(self, book_id: bytes) -> BookStatus:
        """Raises `UnknownBook` and `LedgerUnavailable`."""
        return await self._ledger.status(book_id)

    def _secrets_of(self, book_id: bytes) -> _Secrets:
        known = self._secrets.get(book_id)
        if known is None:
            known = self._secrets[book_id] = _Secrets()
            for key, secret in self._store.scan(LOCK_SECRET_TABLE, book_id):
                known.add(int.from_bytes(key[len(book_id) :], "big"), secret)
        return known

    def _lease(self, book_id: bytes) -> _Lease:
        data = self._store.get(BOOK_LEASE_TABLE, book_id)
        return _Lease(book_id=book_id.hex()) if data is None else _Lease.load(data)

    # --- opening --------------------------------------------------------------------------
    def records(self, driver: ChannelDriver, event: object) -> Sequence[Put]:
        """Stored with the turn that made a book usable."""
        if isinstance(event, BookUsable) and driver.record.party is Party.PAYEE:
            return (_Lease(book_id=event.book.book_id.hex()).put,)
        return ()

    async def on_event(self, event: object) -> None:
        if isinstance(event, BookUsable):
            await self.put_into_ledger(event.book)

    async def resume(self, driver: ChannelDriver) -> None:
        """At start: books that became usable but did not reach the ledger."""
        for book in self.books(driver):
            if self._has_lease(book) and not self._lease(book.book_id).generation:
                await self.put_into_ledger(book)

    async def put_into_ledger(self, book: Book) -> None:
        """Once, and without a lease: the next good look at the chain gives it one."""
        try:
            generation = await self._ledger.generation()
            with contextlib.suppress(BookExists):  # killed before the node's store knew of it
                await self._ledger.store_book(book)
        except LedgerUnavailable as error:
            _log.error("a book is not in the ledger yet", extra=_details(book, error))
            return
        lease = self._lease(book.book_id)
        self._store.apply((replace(lease, generation=generation.hex()).put,))
        _log.info("book opened", extra={"book": book.book_id.hex()})

    # --- the lease ------------------------------------------------------------------------
    def lease_is_due(self, driver: ChannelDriver, now: float) -> bool:
        """Whether `extend` would do anything."""
        return any(self._is_due(book, now) for book in self.books(driver))

    async def extend(self, driver: ChannelDriver, *, answered_at: float) -> None:
        """The chain showed the funding output, unspent, at `answered_at`."""
        for book in self.books(driver):
            if self._is_due(book, answered_at):
                await self._extend(book, answered_at)

    def _is_due(self, book: Book, now: float) -> bool:
        last = self._extended_at.get(book.book_id)
        return self._has_lease(book) and (last is None or now - last >= _EXTEND_EVERY_SECONDS)

    async def _extend(self, book: Book, answered_at: float) -> None:
        lease = self._lease(book.book_id)
        if not lease.generation:
            await self.put_into_ledger(book)
            return
        try:
            status = await self._ledger.extend_lease(
                book.book_id,
                open_until=answered_at + LEASE_SECONDS,
                generation=bytes.fromhex(lease.generation),
                redeemed_at_least=lease.redeemed_units,
            )
            await self._copy(book, status)
        except (LedgerRolledBack, UnknownBook) as error:
            _log.critical("the ledger is not what it was", extra=_details(book, error))
            await self.fence_book(book)
            return
        except LedgerUnavailable as error:
            _log.error("a lease was not extended", extra=_details(book, error))
            return
        self._extended_at[book.book_id] = answered_at
        if status.state is not BookState.OPEN:
            self.begin_closing(book)

    async def copy(self, book: Book) -> None:
        """Completed secrets, into our store. Raises `UnknownBook` and `LedgerUnavailable`."""
        await self._copy(book, await self._ledger.status(book.book_id))

    async def _copy(self, book: Book, status: BookStatus) -> None:
        completed = await self._ledger.completed_secrets(
            book.book_id, after_lock=self._secrets_of(book.book_id).run
        )
        lease = self._lease(book.book_id)
        redeemed = max(lease.redeemed_units, status.redeemed_units)
        self._keep(book, completed, replace(lease, redeemed_units=redeemed))

    # --- the fence ------------------------------------------------------------------------
    async def fence(self, driver: ChannelDriver) -> bool:
        """Nothing is redeemed after it returns True; every completed secret is in our store.

        False: the ledger did not answer for some book; to be called again.
        """
        return all([await self.fence_book(book) for book in self.books(driver)])

    def begin_closing(self, book: Book) -> None:
        """Durably: the book gets no lease any more, and is closed in the channel."""
        lease = self._lease(book.book_id)
        if not lease.closing:
            self._store.apply((replace(lease, closing=True).put,))

    async def fence_book(self, book: Book) -> bool:
        """`fence` for one book."""
        if self.is_fenced(book):
            return True
        try:
            final = await self._ledger.fence(book.book_id)
        except LedgerUnavailable as error:
            # No lease is extended any more, so it closes itself.
            _log.error("a book is not fenced yet", extra=_details(book, error))
            return False
        except UnknownBook:
            # It never reached the ledger or was lost with it; with this mark it never comes back.
            self._keep(book, (), replace(self._lease(book.book_id), fenced=True))
            return True
        complete = [e for e in final.elements if e.unit == book.terms.chain_length]
        lease = self._lease(book.book_id)
        redeemed = max(lease.redeemed_units, final.status.redeemed_units)
        self._keep(book, complete, replace(lease, redeemed_units=redeemed, fenced=True))
        _log.info(
            "book fenced",
            extra={"book": book.book_id.hex(), "redeemed_units": final.status.redeemed_units},
        )
        return True

    # --- the end --------------------------------------------------------------------------
    async def final_elements(self, book: Book) -> tuple[LockElement, ...]:
        """The deepest redeemed element of every lock of a fenced book.

        What the ledger forgot (an old backup) and we have is among them. Raises
        `LedgerUnavailable`.
        """
        copied = {
            lock: LockElement(lock, book.terms.chain_length, secret)
            for lock, secret in self.completed(book).items()
        }
        try:
            final = await self._ledger.fence(book.book_id)
        except UnknownBook:  # it never reached the ledger, or was lost with it
            return tuple(sorted(copied.values()))
        return tuple(sorted(({e.lock: e for e in final.elements} | copied).values()))

    async def prune(self, book_id: bytes, *, settled_locks: int) -> None:
        """These locks are irrevocably in our balance."""
        try:
            await self._ledger.prune(book_id, settled_locks=settled_locks)
        except (LedgerUnavailable, UnknownBook) as error:
            _log.warning("a ledger was not pruned", extra=_of(book_id, error))

    async def finish_closed(self, driver: ChannelDriver) -> None:
        """Books that are in no commitment any more: closed in the ledger, their secrets forgotten.

        What the ledger does not take now is tried again at the next call.
        """
        if driver.record.party is not Party.PAYEE:
            return
        for book_id in closed_books(driver.channel).keys() - self._finished:
            if self._store.get(BOOK_LEASE_TABLE, book_id) is not None:
                try:
                    await self._finish(book_id)
                except LedgerUnavailable as error:
                    _log.warning("a book was not closed", extra=_of(book_id, error))
                    continue
            self._finished.add(book_id)

    async def _finish(self, book_id: bytes) -> None:
        with contextlib.suppress(UnknownBook):
            await self._ledger.fence(book_id)  # a ledger from a backup may have lost that
            await self._ledger.close_book(book_id)
            await self._ledger.prune(book_id)
        secrets = self._store.scan(LOCK_SECRET_TABLE, book_id)
        self._store.apply(
            [
                *(Put(LOCK_SECRET_TABLE, key, None) for key, _ in secrets),
                Put(BOOK_LEASE_TABLE, book_id, None),
            ]
        )
        self._secrets.pop(book_id, None)
        _log.info("book closed", extra={"book": book_id.hex()})

    async def close(self, driver: ChannelDriver) -> None:
        """The channel's end is final."""
        for book in self.books(driver):
            try:
                await self._ledger.close_book(book.book_id)
            except (LedgerUnavailable, BookNotFenced, UnknownBook) as error:
                _log.warning("a book was not closed", extra=_details(book, error))

    def _keep(self, book: Book, completed: Iterable[LockElement], lease: _Lease) -> None:
        known = self._secrets_of(book.book_id)
        new = [element for element in completed if element.lock not in known.by_lock]
        puts = [
            Put(LOCK_SECRET_TABLE, book.book_id + e.lock.to_bytes(4, "big"), e.element) for e in new
        ]
        if puts or lease != self._lease(book.book_id):
            self._store.apply([*puts, lease.put])
        for element in new:
            known.add(element.lock, element.element)


def _details(book: Book, error: Exception) -> dict[str, Any]:
    return _of(book.book_id, error)


def _of(book_id: bytes, error: Exception) -> dict[str, Any]:
    return {"book": book_id.hex(), "reason": f"{type(error).__name__}: {error}"}
