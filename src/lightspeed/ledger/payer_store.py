"""The payer's durable side: seeds, and what of each book was reserved.

One SQLite file, 0600, shared by the node that stores books and the programs that pay from them.
A book has one user at a time: the store that took it over owns it until it is closed or its
process ends; taken over again from that same store, an earlier user's next reservation fails.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from lightspeed.ledger.connection import create_file, open_file, transaction, translated
from lightspeed.ledger.errors import BookExists, BookInUse
from lightspeed.ledger.schema import BOOK_COLUMNS, book_row, read_book
from lightspeed.payment import (
    DEFAULT_MAX_COUNT,
    Allocator,
    BookStopped,
    SecretBook,
    StopReason,
    UnknownBook,
)

__all__ = ["PayerStore", "Reservation"]

SCHEMA_VERSION = 1_002  # apart from the ledger's, so that neither opens the other's file

_TABLES = """
CREATE TABLE secret_book (
    book_id BLOB PRIMARY KEY,
    channel_id BLOB NOT NULL,
    terms BLOB NOT NULL,
    lock_hashes BLOB NOT NULL,
    anchors BLOB NOT NULL,
    seals BLOB NOT NULL,
    seed BLOB NOT NULL
) STRICT;
CREATE TABLE reservation (
    book_id BLOB PRIMARY KEY REFERENCES secret_book,
    low INTEGER NOT NULL,
    reserved_end INTEGER NOT NULL,
    user INTEGER NOT NULL,
    stopped TEXT
) STRICT;
"""


class Reservation(NamedTuple):
    """How far a book is used: units below `low` are acknowledged, those above `reserved_end` were
    never presented."""

    low: int
    reserved_end: int
    stopped: StopReason | None


class PayerStore:
    """Blocking; each write is on the disk when the call returns. Any thread may call.

    Every method raises LedgerUnavailable when the file cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.RLock()
        self._path = Path(path)
        self._owned: dict[bytes, sqlite3.Connection] = {}
        with translated():
            self._connection = open_file(self._path, tables=_TABLES, version=SCHEMA_VERSION)

    def close(self) -> None:
        """Let go of the file and of the books."""
        with self._lock:
            self._connection.close()
            for ownership in self._owned.values():
                ownership.close()
            self._owned.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, secret_book: SecretBook) -> None:
        """Store a new book; raises BookExists. Do this before it is proposed."""
        book = secret_book.book
        with self._transaction():
            try:
                self._connection.execute(
                    "INSERT INTO secret_book VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (book.book_id, *book_row(book), secret_book.seed),
                )
            except sqlite3.IntegrityError as error:
                raise BookExists(f"book {book.book_id.hex()} is in the store") from error
            self._connection.execute(
                "INSERT INTO reservation VALUES (?, 1, 0, 0, NULL)", (book.book_id,)
            )

    def book_ids(self) -> tuple[bytes, ...]:
        """All books, oldest first."""
        with self._reading() as connection:
            rows = connection.execute("SELECT book_id FROM secret_book ORDER BY rowid").fetchall()
        return tuple(book_id for (book_id,) in rows)

    def load(self, book_id: bytes) -> SecretBook:
        """A stored book with its seed; raises UnknownBook."""
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT seed, {BOOK_COLUMNS} FROM secret_book WHERE book_id = ?", (book_id,)
            ).fetchone()
        if row is None:
            raise UnknownBook(book_id)
        seed, *columns = row
        return SecretBook(book=read_book(*columns), seed=seed)

    def take_over(
        self,
        secret_book: SecretBook,
        *,
        max_unserved: int | None = None,
        max_count: int = DEFAULT_MAX_COUNT,
    ) -> Allocator:
        """The book's allocator, going on from what was stored last.

        Raises BookInUse while another store, also in another process, owns the book. Whoever took
        it over from this store before gets BookInUse at its next reservation.
        """
        book = secret_book.book
        self._own(book.book_id)
        with self._transaction():
            row = self._connection.execute(
                "UPDATE reservation SET user = user + 1 WHERE book_id = ?"
                " RETURNING low, reserved_end, user, stopped",
                (book.book_id,),
            ).fetchone()
        if row is None:
            raise UnknownBook(book.book_id)
        low, reserved_end, user, stopped = row
        reserve: Callable[[int, int], None] = partial(self._reserve, book.book_id, user)
        return Allocator(
            book.book_id,
            book.terms,
            reserve=reserve,
            low=low,
            reserved_end=reserved_end,
            max_unserved=max_unserved,
            max_count=max_count,
            stopped=None if stopped is None else StopReason[stopped],
        )

    def stop(self, book_id: bytes, reason: StopReason) -> None:
        """Remember that the book is not used any more; the first reason stays."""
        with self._transaction():
            self._connection.execute(
                "UPDATE reservation SET stopped = coalesce(stopped, ?) WHERE book_id = ?",
                (reason.name, book_id),
            )

    def stopped(self, book_id: bytes) -> StopReason | None:
        """Why the book is not used any more; raises UnknownBook."""
        return self.reservation(book_id).stopped

    def reservation(self, book_id: bytes) -> Reservation:
        """What was stored last, by whoever pays from the book; raises UnknownBook."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT low, reserved_end, stopped FROM reservation WHERE book_id = ?", (book_id,)
            ).fetchone()
        if row is None:
            raise UnknownBook(book_id)
        low, reserved_end, stopped = row
        return Reservation(low, reserved_end, None if stopped is None else StopReason[stopped])

    def _reserve(self, book_id: bytes, user: int, low: int, reserved_end: int) -> None:
        """More units only while the book is not stopped; fewer, at an orderly end, always."""
        with self._transaction():
            row = self._connection.execute(
                "SELECT reserved_end, stopped FROM reservation WHERE book_id = ? AND user = ?",
                (book_id, user),
            ).fetchone()
            if row is None:
                raise BookInUse(f"book {book_id.hex()} was taken over by another user")
            before, stopped = row
            if stopped is not None and reserved_end > before:
                raise BookStopped(StopReason[stopped].value)
            self._connection.execute(
                "UPDATE reservation SET low = ?, reserved_end = ? WHERE book_id = ?",
                (low, reserved_end, book_id),
            )

    def _own(self, book_id: bytes) -> None:
        """Lock a file beside the store; the system unlocks it however the process ends."""
        with self._lock, translated():
            if book_id in self._owned:
                return
            path = self._path.with_name(f"{self._path.name}-{book_id.hex()}.lock")
            create_file(path)
            ownership = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                ownership.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                ownership.close()
                raise BookInUse(f"book {book_id.hex()} is in use by another process") from error
            self._owned[book_id] = ownership

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated():
            yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, translated(), transaction(self._connection):
            yield
