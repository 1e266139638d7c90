"""The tables of the SQLite ledger, and a book as its columns.

`book` never changes after it was stored; what changes is small and apart from it, because
SQLite writes a changed row as a whole. Why a row per lock: docs/adr/0001-ledger-rows.md.
"""

from lightspeed.payment import Book, BookTerms

__all__ = ["BOOK_COLUMNS", "SCHEMA_VERSION", "TABLES", "book_row", "read_book"]

SCHEMA_VERSION = 2

TABLES = """
CREATE TABLE ledger (generation BLOB NOT NULL) STRICT;
INSERT INTO ledger VALUES (randomblob(16));
CREATE TABLE book (
    key INTEGER PRIMARY KEY,
    book_id BLOB NOT NULL UNIQUE,
    channel_id BLOB NOT NULL,
    terms BLOB NOT NULL,
    lock_hashes BLOB NOT NULL,
    anchors BLOB NOT NULL,
    seals BLOB NOT NULL
) STRICT;
CREATE TABLE book_state (
    book INTEGER PRIMARY KEY REFERENCES book,
    state TEXT NOT NULL,
    open_until REAL NOT NULL,
    generation BLOB NOT NULL,
    secured_locks INTEGER NOT NULL,
    next_unit INTEGER NOT NULL,
    redeemed_units INTEGER NOT NULL
) STRICT;
CREATE TABLE lock_state (
    book INTEGER NOT NULL REFERENCES book,
    lock INTEGER NOT NULL,
    deepest INTEGER NOT NULL,
    element BLOB NOT NULL,
    through INTEGER NOT NULL,
    above BLOB NOT NULL,
    PRIMARY KEY (book, lock)
) STRICT, WITHOUT ROWID;
"""

BOOK_COLUMNS = "channel_id, terms, lock_hashes, anchors, seals"
"""A book's public part but for its id, which follows from them; the payer's store has them too."""


def book_row(book: Book) -> tuple[bytes, ...]:
    """The values of `BOOK_COLUMNS`."""
    return (book.channel_id, book.terms.to_bytes(), book.lock_hashes, book.anchors, book.seals)


def read_book(
    channel_id: bytes, terms: bytes, lock_hashes: bytes, anchors: bytes, seals: bytes
) -> Book:
    """From the values of `BOOK_COLUMNS`."""
    return Book(
        channel_id=channel_id,
        terms=BookTerms.from_bytes(terms),
        lock_hashes=lock_hashes,
        anchors=anchors,
        seals=seals,
    )
