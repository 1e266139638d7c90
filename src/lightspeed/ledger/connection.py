"""One way to open an SQLite file, to commit to it, and to say what went wrong with it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightspeed.ledger.errors import LedgerFormatError, LedgerUnavailable

__all__ = ["create_file", "open_file", "transaction", "translated"]

BUSY_TIMEOUT_SECONDS = 10.0


def open_file(path: Path, *, tables: str, version: int) -> sqlite3.Connection:
    """A connection whose commits are on the disk when they return.

    A new file is readable by its owner only and gets `tables`; another's file, or one of another
    schema version, raises LedgerFormatError. The caller sees to it that one thread at a time
    uses the connection.
    """
    create_file(path)
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with transaction(connection):
            _create_tables(connection, tables, version)
    except BaseException:
        connection.close()
        raise
    return connection


def create_file(path: Path) -> None:
    """An empty file readable by its owner only, unless there is one.

    Only SQLite opens a file that is there: POSIX drops the locks of a process when it closes any
    descriptor of the file, those of the process's other connections included.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """`BEGIN IMMEDIATE` waits for the database's only writer; what follows reads the latest.

    Raises LedgerUnavailable with `outcome_unknown` if only the commit fails.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        _roll_back(connection)
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        raise LedgerUnavailable(f"commit: {error}", outcome_unknown=True) from error


@contextmanager
def translated() -> Iterator[None]:
    """LedgerUnavailable for every error of SQLite and of the file system."""
    try:
        yield
    except LedgerUnavailable:
        raise
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(str(error)) from error


def _create_tables(connection: sqlite3.Connection, tables: str, version: int) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (count,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if found == 0 and count == 0:
        for statement in tables.split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
    elif found != version:
        raise LedgerFormatError(f"schema version {found}, this program has {version}")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # SQLite ends some failed transactions itself
        connection.execute("ROLLBACK")
