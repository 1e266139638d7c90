"""The tables of the SQLite ledger.

`book` never changes after it was stored; what changes is small and apart from it, because
SQLite writes a changed row as a whole. Why a row per lock: docs/adr/0001-ledger-rows.md.
"""

__all__ = ["SCHEMA_VERSION", "TABLES"]

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
