"""An SQLite file that belongs to one kind of store: opened, written to, its errors translated."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lightspeed.errors import LightspeedError
from lightspeed.node.errors import StoreFormatError, StoreUnavailable

__all__ = ["FileKind", "create_file", "transaction"]


def create_file(path: Path) -> None:
    """A file that its owner alone may read, unless it is there.

    Only SQLite opens a file that is there: POSIX drops the locks of a process when it closes any
    descriptor of the file.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


@contextmanager
def transaction(connection: sqlite3.Connection, mode: str) -> Iterator[None]:
    """`mode`: IMMEDIATE or EXCLUSIVE."""
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends some failed transactions itself
            connection.execute("ROLLBACK")
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """`name` such as "node's store"; `busy` is raised while others hold the file."""

    name: str
    application_id: int
    version: int
    schema: str
    busy: type[LightspeedError] = StoreUnavailable

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Within a transaction: tables for a new file. Raises `StoreFormatError`."""
        execute = connection.execute
        (count,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        if not count:
            for statement in _statements(self.schema):
                execute(statement)
            execute(f"PRAGMA application_id = {self.application_id}")
            execute(f"PRAGMA user_version = {self.version}")
        elif application != self.application_id:
            raise StoreFormatError(f"the file is not a {self.name}")
        elif version != self.version:
            raise StoreFormatError(f"store version {version}, this program has {self.version}")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of SQLite and of the file system become ours."""
        try:
            yield
        except LightspeedError:
            raise  # some of ours are OSErrors too
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise StoreFormatError(f"the file is not a {self.name}") from None
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise self.busy(f"the {self.name} is open in another process") from None
            raise StoreUnavailable(str(error)) from error
        except OSError as error:
            raise StoreUnavailable(str(error)) from error


def _statements(schema: str) -> Iterator[str]:
    pending = ""
    for line in schema.strip().splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
