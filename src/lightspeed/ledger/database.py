"""The SQLite ledger on one connection and one thread: every rule, no concurrency of its own.

The database is the arbiter. What is held in memory stands for what `data_version` said when it
was read, and is read again as soon as another connection has committed.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lightspeed.errors import LightspeedError
from lightspeed.ledger.connection import open_file, transaction, translated
from lightspeed.ledger.errors import (
    BookExists,
    BookNotFenced,
    LedgerRolledBack,
)
from lightspeed.ledger.interface import BookStatus, FinalState
from lightspeed.ledger.schema import BOOK_COLUMNS, SCHEMA_VERSION, TABLES, book_row, read_book
from lightspeed.payment import (
    UNTOUCHED,
    Book,
    BookRecord,
    BookState,
    Credential,
    GarbageLock,
    LockElement,
    LockRecord,
    PaymentRefused,
    Price,
    Receipt,
    SealCheckMissing,
    SealOf,
    UnknownBook,
    WrongSecret,
    check,
)

__all__ = ["LedgerDatabase", "Outcome", "Request"]


Request = tuple[Credential, Sequence[Price]]
"""One redeem that waits for the next flush: the credential, and what the call costs."""

Outcome = Receipt | LightspeedError


class _StoredLocks(dict[int, LockRecord]):
    """Lock records of one book, read when asked for.

    All rows above `secured_locks` are read with the book: at most `c + window` units of them can
    exist. A lock above it that is not here has no row. One whose units are all below `next_unit`
    needs none: they are all redeemed.
    """

    def __init__(self, connection: sqlite3.Connection, key: int) -> None:
        super().__init__()
        self._connection = connection
        self._key = key
        self.record: BookRecord

    def __missing__(self, lock: int) -> LockRecord:
        chain_length = self.record.chain_length
        if lock * chain_length < self.record.next_unit:
            return LockRecord(deepest=chain_length, through=chain_length)
        stored = None
        if lock <= self.record.secured_locks:
            stored = self._connection.execute(
                "SELECT deepest, element, through, above FROM lock_state"
                " WHERE book = ? AND lock = ?",
                (self._key, lock),
            ).fetchone()
        return UNTOUCHED if stored is None else _lock_record(*stored)

    def read_above(self, lock: int) -> None:
        rows = self._connection.execute(
            "SELECT lock, deepest, element, through, above FROM lock_state"
            " WHERE book = ? AND lock > ?",
            (self._key, lock),
        )
        self.update((number, _lock_record(*stored)) for number, *stored in rows)

    def forget_secured(self) -> None:
        """Let go of what is in the database and will hardly be asked for again."""
        for lock in [lock for lock in self if lock <= self.record.secured_locks]:
            del self[lock]


class _Held(NamedTuple):
    """A book in memory, as of the last `_read_afresh`."""

    key: int
    record: BookRecord
    locks: _StoredLocks


class LedgerDatabase:
    """Not thread-safe, except for `cached_book`. Raises LedgerUnavailable for sqlite3 errors."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        max_count: int,
        seal_of: SealOf | None = None,
    ) -> None:
        self._clock = clock
        self._max_count = max_count
        self._seal_of = seal_of
        self._books: dict[bytes, tuple[int, Book]] = {}
        self._records: dict[bytes, _Held] = {}
        self._version = -1
        with translated():
            self._connection = open_file(path, tables=TABLES, version=SCHEMA_VERSION)

    def close(self) -> None:
        """The last connection to close also merges the write-ahead log into the file."""
        self._connection.close()

    def cached_book(self, book_id: bytes) -> Book | None:
        """The public part, if it was read before; from any thread."""
        entry = self._books.get(book_id)
        return None if entry is None else entry[1]

    def book(self, book_id: bytes) -> Book:
        """The public part of a book; raises UnknownBook."""
        with translated():
            return self._find(book_id)[1]

    def redeem(self, requests: Sequence[Request]) -> list[Outcome]:
        """One flush for all: an outcome for each request, durable when this returns.

        Checks first with what is in memory and without the lock; under the lock again if another
        connection has committed since. A book of which a garbage lock is met is fenced by the
        same commit. Raises LedgerUnavailable for the whole batch.
        """
        try:
            with translated():
                if not self._is_current():
                    self._read_afresh()
                outcomes = self._evaluate(requests, [None] * len(requests))
                accepted = _accepted(outcomes)
                garbage = _garbage(outcomes)
                if not accepted and not garbage and self._is_current():
                    return outcomes
                with transaction(self._connection):
                    if not (self._is_current() and self._leases_hold(accepted)):
                        self._read_afresh()
                        outcomes = self._evaluate(requests, outcomes)
                        accepted = _accepted(outcomes)
                        garbage |= _garbage(outcomes)
                    for book_id, receipts in accepted.items():
                        self._write(self._records[book_id], receipts)
                    for book_id in garbage:
                        self._set_closing(self._records[book_id].key)
                for book_id in accepted:
                    self._records[book_id].locks.forget_secured()
                return outcomes
        except BaseException:
            self._forget()
            raise

    def store_book(self, book: Book, open_until: float) -> None:
        """Add a new book; raises BookExists."""
        with translated(), transaction(self._connection):
            try:
                key = self._connection.execute(
                    f"INSERT INTO book (book_id, {BOOK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
                    (book.book_id, *book_row(book)),
                ).lastrowid
            except sqlite3.IntegrityError as error:
                raise BookExists(f"book {book.book_id.hex()} is in the ledger") from error
            self._connection.execute(
                "INSERT INTO book_state SELECT ?, ?, ?, generation, 0, 1, 0 FROM ledger",
                (key, BookState.OPEN.value, open_until),
            )

    def extend_lease(
        self, book_id: bytes, *, open_until: float, generation: bytes, redeemed_at_least: int
    ) -> BookStatus:
        """See `Ledger.extend_lease`."""
        self._forget()
        with translated():
            with transaction(self._connection):
                key, _ = self._find(book_id)
                status = self._status(book_id)
                redeemed = status.redeemed_units
                rolled_back = generation != self.generation() or redeemed < redeemed_at_least
                if rolled_back:
                    self._set_closing(key)
                elif status.state is BookState.OPEN and open_until > status.open_until:
                    self._connection.execute(
                        "UPDATE book_state SET open_until = ? WHERE book = ?", (open_until, key)
                    )
            if rolled_back:
                raise LedgerRolledBack(
                    f"book {book_id.hex()}: {redeemed} units redeemed, {redeemed_at_least} were;"
                    " or the ledger has another generation"
                )
            return self._status(book_id)

    def fence(self, book_id: bytes) -> FinalState:
        """See `Ledger.fence`."""
        self._forget()
        with translated():
            key, _ = self._find(book_id)
            with transaction(self._connection):
                self._set_closing(key)
            return FinalState(status=self._status(book_id), elements=self._elements(key))

    def close_book(self, book_id: bytes) -> None:
        """See `Ledger.close_book`."""
        self._forget()
        with translated(), transaction(self._connection):
            key, _ = self._find(book_id)
            if self._status(book_id).state is BookState.OPEN:
                raise BookNotFenced(f"book {book_id.hex()} is open")
            self._connection.execute(
                "UPDATE book_state SET state = ? WHERE book = ?", (BookState.CLOSED.value, key)
            )

    def prune(self, book_id: bytes, settled_locks: int) -> int:
        """See `Ledger.prune`."""
        self._forget()
        with translated(), transaction(self._connection):
            key, book = self._find(book_id)
            status = self._status(book_id)
            last_lock = book.terms.locks
            if status.state is not BookState.CLOSED:
                redeemed_locks = (status.next_unit - 1) // book.terms.chain_length
                last_lock = min(settled_locks, redeemed_locks)
            return self._connection.execute(
                "DELETE FROM lock_state WHERE book = ? AND lock <= ?", (key, last_lock)
            ).rowcount

    def status(self, book_id: bytes) -> BookStatus:
        """The book's row; raises UnknownBook."""
        with translated():
            return self._status(book_id)

    def statuses(self) -> tuple[BookStatus, ...]:
        """All rows, oldest first."""
        with translated():
            return tuple(
                _book_status(row)
                for row in self._connection.execute(f"{_SELECT_STATUS} ORDER BY key")
            )

    def completed_secrets(self, book_id: bytes, after_lock: int) -> tuple[LockElement, ...]:
        """See `Ledger.completed_secrets`."""
        with translated():
            key, book = self._find(book_id)
            return self._elements(
                key, after_lock=after_lock, deepest_at_least=book.terms.chain_length
            )

    def generation(self) -> bytes:
        """See `Ledger.generation`."""
        with translated():
            (generation,) = self._connection.execute("SELECT generation FROM ledger").fetchone()
            return bytes(generation)

    def declare_restored(self, generation: bytes) -> None:
        """Give the ledger this new generation and set every open book `closing`."""
        self._forget()
        with translated(), transaction(self._connection):
            self._connection.execute("UPDATE ledger SET generation = ?", (generation,))
            self._connection.execute(
                "UPDATE book_state SET state = ? WHERE state = ?",
                (BookState.CLOSING.value, BookState.OPEN.value),
            )

    def _evaluate(
        self, requests: Sequence[Request], known: Sequence[Outcome | None]
    ) -> list[Outcome]:
        """Check and redeem in memory, in order. A wrong secret stays wrong whatever happens."""
        now = self._clock()
        outcomes: list[Outcome] = []
        for request, outcome in zip(requests, known, strict=True):
            if isinstance(outcome, WrongSecret):
                outcomes.append(outcome)
                continue
            credential, prices = request
            try:
                held = self._records.get(credential.book_id) or self._read_record(
                    credential.book_id
                )
                record = held.record
                parts = check(
                    credential,
                    record,
                    now=now,
                    prices=prices,
                    max_count=self._max_count,
                )
            except GarbageLock as refusal:
                record.state = BookState.CLOSING
                outcomes.append(refusal)
            except (PaymentRefused, SealCheckMissing) as refusal:
                outcomes.append(refusal)
            else:
                outcomes.append(record.redeem(parts))
        return outcomes

    def _is_current(self) -> bool:
        """Whether no other connection has committed since `_read_afresh`."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return bool(version == self._version)

    def _read_afresh(self) -> None:
        self._forget()
        (self._version,) = self._connection.execute("PRAGMA data_version").fetchone()

    def _forget(self) -> None:
        self._records.clear()

    def _leases_hold(self, book_ids: Iterable[bytes]) -> bool:
        """Whether no lease ran out while the lock was waited for."""
        now = self._clock()
        return all(now < self._records[book_id].record.open_until for book_id in book_ids)

    def _find(self, book_id: bytes) -> tuple[int, Book]:
        found = self._books.get(book_id)
        if found is not None:
            return found
        row = self._connection.execute(
            f"SELECT key, {BOOK_COLUMNS} FROM book WHERE book_id = ?", (book_id,)
        ).fetchone()
        if row is None:
            raise UnknownBook(book_id)
        key, *columns = row
        book = read_book(*columns)
        self._books[book_id] = key, book
        return key, book

    def _read_record(self, book_id: bytes) -> _Held:
        key, book = self._find(book_id)
        state, open_until, same_generation, secured_locks, next_unit, redeemed_units = (
            self._connection.execute(
                "SELECT state, open_until, s.generation = l.generation, secured_locks, next_unit,"
                " redeemed_units FROM book_state s, ledger l WHERE book = ?",
                (key,),
            ).fetchone()
        )
        found = BookState(state)
        if found is BookState.OPEN and not same_generation:
            found = BookState.CLOSING
        locks = _StoredLocks(self._connection, key)
        record = BookRecord(
            book=book,
            state=found,
            open_until=open_until,
            secured_locks=secured_locks,
            next_unit=next_unit,
            redeemed_units=redeemed_units,
            locks=locks,
            seal_of=self._seal_of,
        )
        locks.record = record
        locks.read_above(secured_locks)
        held = self._records[book_id] = _Held(key, record, locks)
        return held

    def _write(self, held: _Held, receipts: Sequence[Receipt]) -> None:
        key, record, locks = held
        touched: set[int] = set()
        for _, first_unit, count, _ in receipts:
            first_lock = (first_unit - 1) // record.chain_length + 1
            last_lock = (first_unit + count - 2) // record.chain_length + 1
            touched.update(range(first_lock, last_lock + 1))
        self._connection.executemany(
            "INSERT OR REPLACE INTO lock_state VALUES (?, ?, ?, ?, ?, ?)",
            [(key, lock, *_lock_row(locks[lock])) for lock in sorted(touched)],
        )
        self._connection.execute(
            "UPDATE book_state SET secured_locks = ?, next_unit = ?, redeemed_units = ?"
            " WHERE book = ?",
            (record.secured_locks, record.next_unit, record.redeemed_units, key),
        )

    def _status(self, book_id: bytes) -> BookStatus:
        row = self._connection.execute(f"{_SELECT_STATUS} WHERE book_id = ?", (book_id,)).fetchone()
        if row is None:
            raise UnknownBook(book_id)
        return _book_status(row)

    def _set_closing(self, key: int) -> None:
        self._connection.execute(
            "UPDATE book_state SET state = ? WHERE book = ? AND state = ?",
            (BookState.CLOSING.value, key, BookState.OPEN.value),
        )

    def _elements(
        self, key: int, *, after_lock: int = 0, deepest_at_least: int = 1
    ) -> tuple[LockElement, ...]:
        rows = self._connection.execute(
            "SELECT lock, deepest, element FROM lock_state"
            " WHERE book = ? AND lock > ? AND deepest >= ? ORDER BY lock",
            (key, after_lock, deepest_at_least),
        )
        return tuple(LockElement(*row) for row in rows)


_SELECT_STATUS = (
    "SELECT book_id, state, open_until, secured_locks, next_unit, redeemed_units"
    " FROM book JOIN book_state ON book = key"
)


def _book_status(row: tuple[bytes, str, float, int, int, int]) -> BookStatus:
    book_id, state, open_until, secured_locks, next_unit, redeemed_units = row
    return BookStatus(
        book_id=book_id,
        state=BookState(state),
        open_until=open_until,
        secured_locks=secured_locks,
        next_unit=next_unit,
        redeemed_units=redeemed_units,
    )


def _lock_row(known: LockRecord) -> tuple[int, bytes, int, bytes]:
    above = known.above.to_bytes((known.above.bit_length() + 7) // 8, "little")
    return known.deepest, known.element, known.through, above


def _lock_record(deepest: int, element: bytes, through: int, above: bytes) -> LockRecord:
    return LockRecord(deepest, element, through, int.from_bytes(above, "little"))


def _accepted(outcomes: Iterable[Outcome]) -> dict[bytes, list[Receipt]]:
    """The receipts among the outcomes, by book."""
    accepted: dict[bytes, list[Receipt]] = {}
    for outcome in outcomes:
        if type(outcome) is Receipt:
            accepted.setdefault(outcome.book_id, []).append(outcome)
    return accepted


def _garbage(outcomes: Iterable[Outcome]) -> set[bytes]:
    """The books of which a garbage lock was met."""
    return {
        outcome.book_id
        for outcome in outcomes
        if type(outcome) is GarbageLock and outcome.book_id is not None
    }
