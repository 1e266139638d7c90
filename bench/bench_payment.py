"""What does it cost to accept one payment, and how many can one ledger redeem in a second?

Method: one process. Costs are ratios to `hashlib.sha256(32 bytes).digest()` in the same round:
in each of 31 rounds every step is timed in turn, 2,000 calls each; printed are the median of the
rounds' ratios and their quartiles. "hash check" is `check` on a parsed credential, "payment" runs
from the header's bytes to the verdict; both with a price. Units are the next of their lock.
Redeems are durable before they are answered: SQLite (WAL, synchronous FULL) in build/, 256
asyncio callers with one credential in flight each, 40,000 units, median of 5 runs.
"""

import asyncio
import hashlib
import itertools
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from lightspeed.ledger import SQLiteLedger
from lightspeed.payment import (
    Book,
    BookRecord,
    BookTerms,
    Credential,
    Price,
    Scheme,
    SecretBook,
    check,
    default_window,
)

BUILD = Path(__file__).parents[1] / "build"
ROUNDS = 31
CALLS = 2_000
CALLERS = 256
REDEEMS = 40_000
LEASE_SECONDS = 3_600.0


def secret_book(*, locks: int, chain_length: int, window: int | None = None) -> SecretBook:
    terms = BookTerms(
        scheme=Scheme.OUTPUTS,
        locks=locks,
        chain_length=chain_length,
        lock_amount=chain_length,
        window=window or default_window(chain_length),
        origins=("https://api.example",),
    )
    return SecretBook.create(channel_id=bytes(32), terms=terms, seed=bytes(32))


def one_payment(chain_length: int) -> dict[str, Callable[[], object]]:
    """The steps for a unit in the middle of a lock (c = 1: the only one)."""
    payer = secret_book(locks=4, chain_length=chain_length)
    record = BookRecord(book=payer.book, open_until=1e12)
    unit = (chain_length + 1) // 2
    if unit > 1:
        record.redeem(check(payer.credential(1, unit - 1), record, now=0.0))
    credential = payer.credential(unit, 1)
    header = credential.to_token().encode()
    prices = (Price(payer.book.terms.unit_value),)
    message = bytes(32)
    return {
        "sha256": lambda: hashlib.sha256(message).digest(),
        "hash check": lambda: check(credential, record, now=0.0, prices=prices),
        "payment": lambda: check(Credential.from_token(header), record, now=0.0, prices=prices),
    }


def print_ratios(chain_length: int) -> None:
    steps = one_payment(chain_length)
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    base = []
    for _ in range(ROUNDS):
        times = {name: timeit.timeit(step, number=CALLS) / CALLS for name, step in steps.items()}
        base.append(times["sha256"])
        for name, seconds in times.items():
            ratios[name].append(seconds / times["sha256"])
    print(f"c = {chain_length}: sha256 {statistics.median(base) * 1e9:.0f} ns")
    for name, limit in (("hash check", 4), ("payment", 6)):
        low, median, high = statistics.quantiles(ratios[name], n=4)
        print(f"  {name:<12}{median:5.2f} x  ({low:.2f} .. {high:.2f}; to reach: {limit} x)")


def print_book() -> None:
    """Both sides of a book of 1,000,000 units, ready to pay."""
    started = time.perf_counter()
    payer = secret_book(locks=2_000, chain_length=500)
    payer.credential(1, 1)
    made = time.perf_counter()
    received = Book(
        channel_id=payer.book.channel_id,
        terms=BookTerms.from_bytes(payer.book.terms.to_bytes()),
        lock_hashes=payer.book.lock_hashes,
        anchors=payer.book.anchors,
    )
    BookRecord(book=received, open_until=0.0)
    ended = time.perf_counter()
    print("book of 1,000,000 units (N = 2,000, c = 500; to reach: 2 s for both sides)")
    print(f"  payer {made - started:.2f} s, payee {(ended - made) * 1e3:.2f} ms")


async def redeems_per_second(path: Path, credentials: list[Credential], book: Book) -> float:
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(book, open_until=time.time() + LEASE_SECONDS)
        waiting = iter(credentials)

        async def caller() -> None:
            for credential in waiting:
                await ledger.redeem(credential)

        started = time.perf_counter()
        await asyncio.gather(*itertools.starmap(caller, [()] * CALLERS))
        return len(credentials) / (time.perf_counter() - started)


def print_redeems(chain_length: int) -> None:
    payer = secret_book(locks=REDEEMS // chain_length, chain_length=chain_length, window=1_024)
    credentials = [payer.credential(unit, 1) for unit in range(1, REDEEMS + 1)]
    rates = []
    for _ in range(5):
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            path = Path(folder) / "ledger.sqlite"
            rates.append(asyncio.run(redeems_per_second(path, credentials, payer.book)))
    median = statistics.median(rates)
    print(f"  c = {chain_length:<4} {median:>8,.0f} /s  ({min(rates):,.0f} .. {max(rates):,.0f})")


def main() -> None:
    BUILD.mkdir(exist_ok=True)
    print(__doc__)
    for chain_length in (500, 1):
        print_ratios(chain_length)
    print_book()
    print(f"redeems, {CALLERS} callers")
    for chain_length in (100, 1):
        print_redeems(chain_length)


if __name__ == "__main__":
    main()
