"""The node's store: records by table and key in one SQLite file, durable when a call returns."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from lightspeed.channel import Put
from lightspeed.node.errors import StoreInUse
from lightspeed.node.sqlite_file import FileKind, create_file, transaction
from lightspeed.node.write_count import WriteCount

__all__ = ["NodeStore"]

_COUNTER_TABLE = "counter"
_WRITES_KEY = b"store writes"
_FILE = FileKind(
    name="node's store",
    application_id=0x4C534E31,  # "LSN1"
    version=1,
    schema="""
CREATE TABLE record (
    name TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name, key)
) STRICT;
""",
    busy=StoreInUse,
)


class NodeStore:
    """Opened by one process at a time; belongs to one thread.

    The file holds secrets: its owner alone may read it. Every method raises
    `StoreUnavailable` when the file does not answer.
    """

    def __init__(self, path: Path) -> None:
        """Creates the file if it is missing. Raises `StoreInUse` and `StoreFormatError`."""
        self.path = path
        with _FILE.translated():
            create_file(path)
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            with _FILE.translated():
                self._open()
                self._written = WriteCount(path.with_suffix(".count"))
        except BaseException:
            self._connection.close()
            raise
        self._writes = int.from_bytes(self.get(_COUNTER_TABLE, _WRITES_KEY) or b"", "big")
        told = self._written.last
        self.is_old_copy = self._writes > 0 if told is None else self._writes < told
        """It was written later than it says: a backup was put in the place of the store."""

    def _open(self) -> None:
        execute = self._connection.execute
        # Exclusive from the first access on: SQLite's own lock keeps a second process out, and
        # the operating system drops it with this process, however that ends.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        with transaction(self._connection, "EXCLUSIVE"):
            _FILE.prepare(self._connection)

    def close(self) -> None:
        self._connection.close()
        self._written.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def apply(self, puts: Sequence[Put]) -> None:
        """All of them or none; on the disk when it returns. `value=None` deletes."""
        writes = self._writes + 1
        count = Put(_COUNTER_TABLE, _WRITES_KEY, writes.to_bytes(8, "big"))
        with _FILE.translated():
            with transaction(self._connection, "EXCLUSIVE"):
                for put in (*puts, count):
                    self._write(put)
            self._writes = writes
            self._written.advance(writes)

    def _write(self, put: Put) -> None:
        if put.value is None:
            self._connection.execute(
                "DELETE FROM record WHERE name = ? AND key = ?", (put.table, put.key)
            )
        else:
            self._connection.execute(
                "INSERT INTO record VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET value = excluded.value",
                (put.table, put.key, put.value),
            )

    def accept_old_copy(self, puts: Sequence[Put]) -> None:
        """`apply`; from then on the store is taken for the latest one again."""
        self._writes = max(self._writes, self._written.last or 0)
        self.apply(puts)
        self.is_old_copy = False

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        """`apply` of a single record."""
        self.apply((Put(table, key, value),))

    def get(self, table: str, key: bytes) -> bytes | None:
        """A channel's `Lookup`."""
        with _FILE.translated():
            row = self._connection.execute(
                "SELECT value FROM record WHERE name = ? AND key = ?", (table, key)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of the table as it is now, by key; only keys that start with `prefix`."""
        with _FILE.translated():
            rows = self._connection.execute(
                "SELECT key, value FROM record"
                " WHERE name = ? AND key >= ? AND (? IS NULL OR key < ?) ORDER BY key",
                (table, prefix, (end := _first_after(prefix)), end),
            ).fetchall()
        return iter(rows)

    def count(self, table: str) -> int:
        with _FILE.translated():
            row = self._connection.execute(
                "SELECT count(*) FROM record WHERE name = ?", (table,)
            ).fetchone()
        return int(row[0])


def _first_after(prefix: bytes) -> bytes | None:
    """The lowest key above all that start with `prefix`; None when there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
