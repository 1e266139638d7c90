"""What the processes of the ledger tests do. Importable by a spawned process: no test code here."""

import asyncio
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from lightspeed.ledger import LedgerUnavailable, SQLiteLedger
from lightspeed.payment import AlreadyRedeemed, BookClosed, PaymentRefused, Scheme
from payment_books import make_book, seal_of, with_garbage

RACE_BOOK = {"locks": 100, "chain_length": 20, "window": 2_000}


def garbage_book():
    """Lock 1 (units 1 .. 4) has a false seal."""
    return with_garbage(make_book(scheme=Scheme.SEALS, chain_length=4, window=64), 1)


def race_for_units(path: str, start, results, worker: int) -> None:
    """Redeem every unit of the book with several callers, in an order of this worker's own."""
    secret_book = make_book(**RACE_BOOK)
    units = list(range(1, secret_book.book.terms.units + 1))
    shift = worker * 37
    units = units[shift:] + units[:shift]
    won = []

    async def caller(ledger, waiting):
        for unit in waiting:
            try:
                receipt = await ledger.redeem(secret_book.credential(unit, 1))
            except AlreadyRedeemed:
                continue
            assert (receipt.first_unit, receipt.count) == (unit, 1)
            won.append(unit)

    async def main():
        async with SQLiteLedger(path) as ledger:
            start.wait()
            waiting = iter(units)
            await asyncio.gather(*(caller(ledger, waiting) for _ in range(16)))

    asyncio.run(main())
    results.put(won)


def pay_until_closed(path: str, start, results, worker: int, workers: int) -> None:
    """Redeem this worker's share of the units until the book is closed."""
    secret_book = make_book(**RACE_BOOK)
    won = []
    with SQLiteLedger(path) as ledger:
        start.wait()
        for unit in range(worker + 1, secret_book.book.terms.units + 1, workers):
            try:
                ledger.redeem_blocking(secret_book.credential(unit, 1))
            except BookClosed:
                break
            won.append(unit)
    results.put(won)


def present_garbage(path: str, start, results, worker: int) -> None:
    """Complete the garbage lock at the same moment as the other workers, then go on paying."""
    secret_book = garbage_book()
    answers = []
    with SQLiteLedger(path, seal_of=seal_of) as ledger:
        with suppress(PaymentRefused):  # the book is in memory before the race
            ledger.redeem_blocking(secret_book.credential(1, 1))
        start.wait()
        for unit in (4, 5 + worker, 12, 1):
            try:
                ledger.redeem_blocking(secret_book.credential(unit, 1))
            except PaymentRefused as refusal:
                answers.append(refusal.slug)
            else:
                answers.append("redeemed")
    results.put(answers)


def acknowledge_until_killed(path: str) -> None:
    """Redeem unit after unit with several callers; write each number once it is acknowledged."""
    secret_book = make_book(**RACE_BOOK)

    async def caller(ledger, waiting):
        for unit in waiting:
            await ledger.redeem(secret_book.credential(unit, 1))
            os.write(1, f"{unit}\n".encode())

    async def main():
        async with SQLiteLedger(path) as ledger:
            waiting = iter(range(1, secret_book.book.terms.units + 1))
            await asyncio.gather(*(caller(ledger, waiting) for _ in range(8)))

    asyncio.run(main())


def fill_the_disk(path: str) -> None:
    """Redeem while files may not grow, then with room again; write what was acknowledged.

    Prints the units acknowledged before, the number of units refused with LedgerUnavailable, and
    the units acknowledged once there was room.
    """
    secret_book = make_book(locks=300, chain_length=1, window=300)
    with SQLiteLedger(path) as ledger:
        write_ahead_log = Path(f"{path}-wal").stat().st_size
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (write_ahead_log + 100_000, hard))
        before, unavailable, after = [], [], []
        for unit in range(1, 201):
            try:
                ledger.redeem_blocking(secret_book.credential(unit, 1))
            except LedgerUnavailable:
                unavailable.append(unit)
            else:
                before.append(unit)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        for unit in unavailable:
            try:
                ledger.redeem_blocking(secret_book.credential(unit, 1))
            except AlreadyRedeemed:
                continue
            after.append(unit)
    print(before, unavailable, after, sep="\n")


if __name__ == "__main__":
    {"acknowledge": acknowledge_until_killed, "fill": fill_the_disk}[sys.argv[1]](sys.argv[2])
