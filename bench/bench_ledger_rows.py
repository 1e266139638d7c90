"""Which rows should the ledger keep: one per unit, or one per lock with its deepest element?

Method: the SQL alone, on one connection (WAL, synchronous FULL) in build/; 20,480 units of one
book in order, committed in groups of 256 and of 16; then what closing a book reads. Each layout
writes exactly what a redeem must make durable. Medians of 5 runs, with the spread.
"""

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

UNITS = 20_480
RUNS = 5
BUILD = Path(__file__).parents[1] / "build"

PER_UNIT = """
CREATE TABLE unit (
    book INTEGER NOT NULL, number INTEGER NOT NULL, element BLOB NOT NULL,
    PRIMARY KEY (book, number)
) WITHOUT ROWID
"""
PER_LOCK = """
CREATE TABLE lock_state (
    book INTEGER NOT NULL, lock INTEGER NOT NULL, deepest INTEGER NOT NULL,
    element BLOB NOT NULL, through INTEGER NOT NULL, above BLOB NOT NULL,
    PRIMARY KEY (book, lock)
) WITHOUT ROWID
"""


def rows_per_unit(
    group: range, chain_length: int
) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    rows = [(1, unit, os.urandom(32)) for unit in group]
    yield "INSERT INTO unit VALUES (?, ?, ?)", rows


def rows_per_lock(
    group: range, chain_length: int
) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    rows = {}
    for unit in group:
        lock, before = divmod(unit - 1, chain_length)
        rows[lock] = (1, lock + 1, before + 1, os.urandom(32), before + 1, b"")
    yield "INSERT OR REPLACE INTO lock_state VALUES (?, ?, ?, ?, ?, ?)", list(rows.values())


LAYOUTS: dict[
    str, tuple[str, Callable[..., Iterator[tuple[str, list[tuple[object, ...]]]]], str]
] = {
    "row per unit": (
        PER_UNIT,
        rows_per_unit,
        "SELECT max(number), element FROM unit GROUP BY book, (number - 1) / ?",
    ),
    "row per lock": (
        PER_LOCK,
        rows_per_lock,
        "SELECT deepest, element FROM lock_state WHERE ? > 0",
    ),
}


def run(layout: str, *, chain_length: int, group_size: int) -> tuple[float, int, float]:
    """(units per second, bytes of the file, seconds to read the final elements)."""
    table, rows, final = LAYOUTS[layout]
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        path = Path(folder) / "rows.sqlite"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(table)
        started = time.perf_counter()
        for first in range(1, UNITS + 1, group_size):
            connection.execute("BEGIN IMMEDIATE")
            for statement, values in rows(range(first, first + group_size), chain_length):
                connection.executemany(statement, values)
            connection.execute("COMMIT")
        written = time.perf_counter() - started
        started = time.perf_counter()
        connection.execute(final, (chain_length,)).fetchall()
        read = time.perf_counter() - started
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return UNITS / written, path.stat().st_size, read


def main() -> None:
    BUILD.mkdir(exist_ok=True)
    print(__doc__)
    print(
        f"{'layout':<14}{'c':>6}{'group':>7}{'units/s':>10}{'spread':>18}{'B/unit':>8}{'close':>10}"
    )
    for chain_length in (1, 100):
        for group_size in (256, 16):
            for layout in LAYOUTS:
                runs = [
                    run(layout, chain_length=chain_length, group_size=group_size)
                    for _ in range(RUNS)
                ]
                rates, sizes, reads = zip(*runs, strict=True)
                spread = f"{min(rates):,.0f}..{max(rates):,.0f}"
                print(
                    f"{layout:<14}{chain_length:>6}{group_size:>7}"
                    f"{statistics.median(rates):>10,.0f}{spread:>18}"
                    f"{sizes[0] / UNITS:>8.1f}{statistics.median(reads) * 1e3:>7.2f} ms"
                )


if __name__ == "__main__":
    main()
