"""What a tower keeps: clients, sealed parts, what it has seen on the chain. One SQLite file."""

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lightspeed.bitcoin import sha256
from lightspeed.chain import BlockId
from lightspeed.node.problems import Unauthorized
from lightspeed.node.sqlite_file import FileKind, create_file, transaction
from lightspeed.node.tower.errors import ClientExists, QuotaExceeded, TooLarge, UnknownClient

__all__ = [
    "DEFAULT_QUOTA_BYTES",
    "LABEL_SIZE",
    "MAX_BLOB_SIZE",
    "PART_OVERHEAD",
    "Account",
    "Change",
    "Sighting",
    "StoredPart",
    "TowerStore",
]

LABEL_SIZE = 16
MAX_BLOB_SIZE = 128 * 1024
"""A micropayment transaction with 2,322 outputs takes 100,126 bytes."""
PART_OVERHEAD = 64
"""Counted for each part besides its blob: hint, label, number and their index."""
DEFAULT_QUOTA_BYTES = 64 * 1024 * 1024

_TOKEN_SIZE = 24
_BLOCKS_KEPT = 144
_BUSY_SECONDS = 10.0
_HINTS_PER_QUERY = 500
_FILE = FileKind(
    name="tower's store",
    application_id=0x4C535431,  # "LST1"
    version=1,
    schema=f"""
CREATE TABLE client (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    token_hash BLOB NOT NULL UNIQUE,
    quota_bytes INTEGER NOT NULL,
    used_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE part (
    hint BLOB NOT NULL,
    client INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    label BLOB NOT NULL,
    number INTEGER NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (hint, client, label, number)
) STRICT;
CREATE INDEX part_of_label ON part (client, label);
CREATE TABLE sighting (
    hint BLOB PRIMARY KEY, txid BLOB NOT NULL, height INTEGER NOT NULL, done INTEGER NOT NULL
) STRICT;
CREATE TABLE scanned (height INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
CREATE TRIGGER part_added AFTER INSERT ON part BEGIN
    UPDATE client SET used_bytes = used_bytes + length(NEW.blob) + {PART_OVERHEAD}
    WHERE id = NEW.client;
END;
CREATE TRIGGER part_removed AFTER DELETE ON part BEGIN
    UPDATE client SET used_bytes = used_bytes - length(OLD.blob) - {PART_OVERHEAD}
    WHERE id = OLD.client;
END;
""",
)


@dataclass(frozen=True, slots=True)
class Account:
    """One client. Its token is known by its hash only."""

    id: int
    name: str
    quota_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """`blob=None` deletes the part; without a number all parts of the hint."""

    hint: bytes
    number: int | None
    blob: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredPart:
    hint: bytes
    client: int
    label: bytes
    number: int
    blob: bytes


@dataclass(frozen=True, slots=True)
class Sighting:
    """A transaction of a block, for which there are parts."""

    hint: bytes
    txid: bytes
    height: int
    """Of the block in which it was first seen."""
    done: bool


class TowerStore:
    """Durable when a call returns. The tower and its operator's commands may share the file.

    Every method raises `StoreUnavailable` when the file does not answer.
    """

    def __init__(self, path: Path) -> None:
        """Creates the file (0600) if it is missing. Raises `StoreFormatError`."""
        with _FILE.translated():
            create_file(path)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with _FILE.translated():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA foreign_keys = ON")
        with transaction(self._connection, "IMMEDIATE"):
            _FILE.prepare(self._connection)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- clients --------------------------------------------------------------------------
    def add_client(self, name: str, *, quota_bytes: int = DEFAULT_QUOTA_BYTES) -> str:
        """Its token, told this once. Raises `ClientExists`."""
        token = secrets.token_urlsafe(_TOKEN_SIZE)
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            if self._connection.execute("SELECT 1 FROM client WHERE name = ?", (name,)).fetchone():
                raise ClientExists(f"there is a client {name!r} already")
            self._connection.execute(
                "INSERT INTO client (name, token_hash, quota_bytes) VALUES (?, ?, ?)",
                (name, sha256(token.encode()), quota_bytes),
            )
        return token

    def remove_client(self, name: str) -> None:
        """With all that it handed over. Raises `UnknownClient`."""
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            removed = self._connection.execute("DELETE FROM client WHERE name = ?", (name,))
            if not removed.rowcount:
                raise UnknownClient(f"there is no client {name!r}")

    def clients(self) -> tuple[Account, ...]:
        with _FILE.translated():
            rows = self._connection.execute(
                "SELECT id, name, quota_bytes, used_bytes FROM client ORDER BY name"
            ).fetchall()
        return tuple(Account(*row) for row in rows)

    def authenticate(self, token: str) -> Account:
        """Raises `Unauthorized`. Found by its hash, so that the time tells nothing."""
        with _FILE.translated():
            row = self._connection.execute(
                "SELECT id, name, quota_bytes, used_bytes FROM client WHERE token_hash = ?",
                (sha256(token.encode()),),
            ).fetchone()
        if row is None:
            raise Unauthorized("a token of this tower is needed")
        return Account(*row)

    # --- parts ----------------------------------------------------------------------------
    def apply(self, client: int, label: bytes, changes: Sequence[Change]) -> None:
        """All of them or none. Raises `TooLarge`, `QuotaExceeded` and `Unauthorized`."""
        if any(change.blob and len(change.blob) > MAX_BLOB_SIZE for change in changes):
            raise TooLarge(f"a part is larger than {MAX_BLOB_SIZE} bytes")
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            quota = self._usage(client)[1]
            for change in changes:
                self._apply(client, label, change)
            used = self._usage(client)[0]
            if used > quota:
                raise QuotaExceeded(f"{used} bytes would be stored, {quota} are allowed")

    def _usage(self, client: int) -> tuple[int, int]:
        """(used, allowed) bytes."""
        row = self._connection.execute(
            "SELECT used_bytes, quota_bytes FROM client WHERE id = ?", (client,)
        ).fetchone()
        if row is None:
            raise Unauthorized("this client was removed")
        return int(row[0]), int(row[1])

    def _apply(self, client: int, label: bytes, change: Change) -> None:
        key = (change.hint, client, label)
        which = "hint = ? AND client = ? AND label = ?"
        if change.number is None:
            self._connection.execute(f"DELETE FROM part WHERE {which}", key)
            return
        self._connection.execute(
            f"DELETE FROM part WHERE {which} AND number = ?", (*key, change.number)
        )
        if change.blob is not None:
            self._connection.execute(
                "INSERT INTO part VALUES (?, ?, ?, ?, ?)", (*key, change.number, change.blob)
            )
            self._connection.execute("UPDATE sighting SET done = 0 WHERE hint = ?", (change.hint,))

    def forget(self, client: int, label: bytes) -> None:
        """A channel is over."""
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            self._connection.execute(
                "DELETE FROM part WHERE client = ? AND label = ?", (client, label)
            )

    def parts(self, hint: bytes) -> tuple[StoredPart, ...]:
        """Of all clients, by client, label and number."""
        with _FILE.translated():
            rows = self._connection.execute(
                "SELECT hint, client, label, number, blob FROM part WHERE hint = ?"
                " ORDER BY client, label, number",
                (hint,),
            ).fetchall()
        return tuple(StoredPart(*row) for row in rows)

    def known_hints(self, hints: Sequence[bytes]) -> set[bytes]:
        """Those for which there are parts."""
        found: set[bytes] = set()
        with _FILE.translated():
            for start in range(0, len(hints), _HINTS_PER_QUERY):
                some = hints[start : start + _HINTS_PER_QUERY]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    f"SELECT DISTINCT hint FROM part WHERE hint IN ({marks})", some
                )
                found.update(row[0] for row in rows)
        return found

    # --- the chain ------------------------------------------------------------------------
    def scanned(self) -> tuple[BlockId, ...]:
        """The last blocks that were looked through, the highest last."""
        with _FILE.translated():
            rows = self._connection.execute("SELECT height, hash FROM scanned ORDER BY height")
            return tuple(BlockId(*row) for row in rows.fetchall())

    def record_block(self, block: BlockId, seen: Sequence[bytes], hints: Sequence[bytes]) -> None:
        """`seen`: its transactions for which there are parts, with their hints."""
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            self._connection.execute("DELETE FROM scanned WHERE height >= ?", (block.height,))
            self._connection.execute(
                "INSERT INTO scanned VALUES (?, ?)", (block.height, block.hash)
            )
            self._connection.execute(
                "DELETE FROM scanned WHERE height <= ?", (block.height - _BLOCKS_KEPT,)
            )
            for txid, hint in zip(seen, hints, strict=True):
                self._sight(txid, hint, block.height)

    def sight(self, txid: bytes, hint: bytes, height: int) -> None:
        """A transaction was seen before there were parts for it."""
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            self._sight(txid, hint, height)

    def _sight(self, txid: bytes, hint: bytes, height: int) -> None:
        self._connection.execute(
            "INSERT INTO sighting VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET done = 0",
            (hint, txid, height),
        )

    def sightings(self) -> tuple[Sighting, ...]:
        """Those that are not done; what has no parts any more is forgotten."""
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            self._connection.execute(
                "DELETE FROM sighting WHERE NOT EXISTS"
                " (SELECT 1 FROM part WHERE part.hint = sighting.hint)"
            )
            rows = self._connection.execute(
                "SELECT hint, txid, height, done FROM sighting WHERE NOT done ORDER BY height"
            ).fetchall()
        return tuple(Sighting(h, t, height, bool(done)) for h, t, height, done in rows)

    def finish(self, hint: bytes) -> None:
        """Everything is done that can be, until a part changes or the block is seen again."""
        with _FILE.translated(), transaction(self._connection, "IMMEDIATE"):
            self._connection.execute("UPDATE sighting SET done = 1 WHERE hint = ?", (hint,))
