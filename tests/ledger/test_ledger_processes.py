"""Several processes on one file: exactly once, nothing acknowledged is lost, the fence is exact."""

import asyncio
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import ledger_workers
from lightspeed.ledger import SQLiteLedger
from lightspeed.payment import AlreadyRedeemed, BookState
from payment_books import FOREVER, make_book

SPAWN = multiprocessing.get_context("spawn")
TESTS = Path(ledger_workers.__file__).parent
WORKERS = 3


def open_book(path, **terms):
    secret_book = make_book(**(terms or ledger_workers.RACE_BOOK))
    with SQLiteLedger(path) as ledger:
        asyncio.run(ledger.store_book(secret_book.book, open_until=FOREVER))
    return secret_book


def start_workers(target, *args):
    start, results = SPAWN.Event(), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=target, args=(args[0], start, results, worker, *args[1:]))
        for worker in range(WORKERS)
    ]
    for process in processes:
        process.start()
    return start, results, processes


def collect(results, processes):
    won = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    return won


def run_worker(*args, **options):
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, ledger_workers.__file__, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, **options)


def test_units_raced_for_by_several_processes_are_redeemed_exactly_once(tmp_path):
    path = str(tmp_path / "ledger.sqlite")
    secret_book = open_book(path)
    start, results, processes = start_workers(ledger_workers.race_for_units, path)
    start.set()
    won = collect(results, processes)
    units = secret_book.book.terms.units
    assert sorted(unit for share in won for unit in share) == list(range(1, units + 1))
    with SQLiteLedger(path) as ledger:
        status = asyncio.run(ledger.status(secret_book.book.book_id))
    assert (status.redeemed_units, status.next_unit) == (units, units + 1)
    assert status.secured_locks == secret_book.book.terms.locks


def test_a_redeem_that_races_the_fence_is_in_the_final_state_or_refused(tmp_path):
    path = str(tmp_path / "ledger.sqlite")
    secret_book = open_book(path)
    book_id = secret_book.book.book_id
    start, results, processes = start_workers(ledger_workers.pay_until_closed, path, WORKERS)

    async def fence_when_running():
        async with SQLiteLedger(path) as ledger:
            start.set()
            while (await ledger.status(book_id)).redeemed_units < 100:
                pass
            return await ledger.fence(book_id)

    final = asyncio.run(fence_when_running())
    won = {unit for share in collect(results, processes) for unit in share}
    assert len(won) < secret_book.book.terms.units, "the fence came before the end"
    assert final.status.state is BookState.CLOSING
    assert final.status.redeemed_units == len(won)
    chain_length = secret_book.book.terms.chain_length
    deepest = {}
    for unit in won:
        lock, before = divmod(unit - 1, chain_length)
        deepest[lock + 1] = max(deepest.get(lock + 1, 0), before + 1)
    assert {element.lock: element.unit for element in final.elements} == deepest
    for lock, unit, element in final.elements:
        assert element == secret_book.element(lock, unit)
    with SQLiteLedger(path) as ledger:
        assert asyncio.run(ledger.status(book_id)) == final.status


COUNT_FENCES = """
CREATE TABLE fences (book INTEGER);
CREATE TRIGGER count_fences AFTER UPDATE ON book_state WHEN OLD.state = 'open'
    AND NEW.state = 'closing' BEGIN INSERT INTO fences VALUES (NEW.book); END;
"""


def test_a_garbage_lock_that_all_workers_meet_at_once_fences_its_book_once(tmp_path):
    path = str(tmp_path / "ledger.sqlite")
    secret_book = ledger_workers.garbage_book()
    with SQLiteLedger(path) as ledger:
        asyncio.run(ledger.store_book(secret_book.book, open_until=FOREVER))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(COUNT_FENCES)
    start, results, processes = start_workers(ledger_workers.present_garbage, path)
    start.set()
    for answers in collect(results, processes):
        assert answers[0] in ("garbage-lock", "book-closed")
        assert answers[1:] == ["book-closed"] * 3, "nothing is served after it"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM fences").fetchall() == [(1,)]
    with SQLiteLedger(path) as ledger:
        final = asyncio.run(ledger.fence(secret_book.book.book_id))
    assert final.status.state is BookState.CLOSING
    assert (final.status.redeemed_units, final.status.secured_locks) == (1, 0)
    assert [(lock, unit) for lock, unit, _ in final.elements] == [(1, 1)]


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "ledger.sqlite"
    secret_book = open_book(path)
    with run_worker("acknowledge", path) as worker:
        acknowledged = [int(worker.stdout.readline()) for _ in range(300)]
        worker.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in worker.stdout if line.endswith(b"\n")]
    assert len(acknowledged) < secret_book.book.terms.units, "it was killed in the middle"
    with SQLiteLedger(path) as ledger:
        for unit in acknowledged:
            with pytest.raises(AlreadyRedeemed):
                ledger.redeem_blocking(secret_book.credential(unit, 1))
        status = asyncio.run(ledger.status(secret_book.book.book_id))
        # One flush may have been durable and not yet answered.
        assert len(acknowledged) <= status.redeemed_units <= len(acknowledged) + 8
        unit = status.next_unit
        assert ledger.redeem_blocking(secret_book.credential(unit, 1)).first_unit == unit


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs the file size limit of POSIX")
def test_a_full_disk_refuses_with_503_and_loses_nothing(tmp_path):
    path = tmp_path / "ledger.sqlite"
    secret_book = open_book(path, locks=300, chain_length=1, window=300)
    with run_worker("fill", path, text=True) as worker:
        before, unavailable, after = (json.loads(line) for line in worker.stdout)
    assert worker.returncode == 0
    assert before, "there was room at first"
    assert unavailable, "then there was none"
    assert sorted(before + unavailable) == list(range(1, 201))
    assert after == unavailable, "what was not acknowledged was not redeemed"
    with SQLiteLedger(path) as ledger:
        for unit in (*before, *after):
            with pytest.raises(AlreadyRedeemed):
                ledger.redeem_blocking(secret_book.credential(unit, 1))
        assert asyncio.run(ledger.status(secret_book.book.book_id)).redeemed_units == 200
