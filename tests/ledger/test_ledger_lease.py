"""States, leases, fences and generations: nobody is served for a channel that may be spent."""

import pytest

from lightspeed.ledger import BookNotFenced, LedgerRolledBack, LockElement, SQLiteLedger
from lightspeed.ledger.database import LedgerDatabase
from lightspeed.payment import (
    BookClosed,
    BookState,
    LeaseExpired,
    Receipt,
    Scheme,
    UnknownBook,
)
from payment_books import FOREVER, make_book

SECRET_BOOK = make_book(locks=6, chain_length=3, window=9)
BOOK = SECRET_BOOK.book
BOOK_ID = BOOK.book_id


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def ledger(tmp_path, clock):
    async with SQLiteLedger(tmp_path / "ledger.sqlite", clock=clock) as ledger:
        yield ledger


def pay(ledger, unit, count=1):
    return ledger.redeem(SECRET_BOOK.credential(unit, count))


async def test_a_book_is_served_until_its_lease_ends(ledger, clock):
    await ledger.store_book(BOOK)
    generation = await ledger.generation()
    with pytest.raises(LeaseExpired):
        await pay(ledger, 1)
    status = await ledger.extend_lease(BOOK_ID, open_until=110.0, generation=generation)
    assert (status.open_until, status.state) == (110.0, BookState.OPEN)
    await pay(ledger, 1)
    clock.now = 110.0
    with pytest.raises(LeaseExpired):
        await pay(ledger, 2)
    await ledger.extend_lease(BOOK_ID, open_until=120.0, generation=generation)
    await pay(ledger, 2)


async def test_a_lease_is_never_shortened(ledger):
    await ledger.store_book(BOOK, open_until=200.0)
    status = await ledger.extend_lease(
        BOOK_ID, open_until=150.0, generation=await ledger.generation()
    )
    assert status.open_until == 200.0


def test_a_lease_that_ends_while_the_lock_is_waited_for_refuses(tmp_path):
    """The clock is read again under the lock."""
    times = iter([100.0, 111.0, 111.0])
    database = LedgerDatabase(
        tmp_path / "ledger.sqlite", clock=lambda: next(times), max_count=4_096
    )
    database.store_book(BOOK, 110.0)
    (outcome,) = database.redeem([(SECRET_BOOK.credential(1, 1), ())])
    assert isinstance(outcome, LeaseExpired)
    assert database.status(BOOK_ID).redeemed_units == 0
    database.close()


async def test_a_fence_set_by_another_process_stops_workers_that_had_the_book_open(
    ledger, tmp_path
):
    await ledger.store_book(BOOK, open_until=FOREVER)
    await pay(ledger, 1, 4)
    async with SQLiteLedger(tmp_path / "ledger.sqlite") as node:
        final = await node.fence(BOOK_ID)
    assert final.status.redeemed_units == 4
    with pytest.raises(BookClosed) as caught:
        await pay(ledger, 5)
    assert not isinstance(caught.value, LeaseExpired)
    assert caught.value.next_unit == 5


async def test_a_fence_tells_the_deepest_element_of_every_touched_lock(ledger):
    await ledger.store_book(BOOK, open_until=FOREVER)
    for unit, count in ((1, 2), (4, 3), (8, 1)):
        await pay(ledger, unit, count)
    final = await ledger.fence(BOOK_ID)
    assert final.elements == tuple(
        LockElement(lock, unit, SECRET_BOOK.element(lock, unit))
        for lock, unit in ((1, 2), (2, 3), (3, 2))
    )
    assert final.status.redeemed_units == 6
    assert await ledger.fence(BOOK_ID) == final
    assert SECRET_BOOK.element(1, 2).hex() not in repr(final)
    assert repr(final.elements[0]) == "LockElement(lock=1, unit=2)"


async def test_a_state_never_goes_back(ledger):
    await ledger.store_book(BOOK, open_until=FOREVER)
    with pytest.raises(BookNotFenced):
        await ledger.close_book(BOOK_ID)
    await ledger.fence(BOOK_ID)
    generation = await ledger.generation()
    status = await ledger.extend_lease(BOOK_ID, open_until=FOREVER, generation=generation)
    assert status.state is BookState.CLOSING
    await ledger.close_book(BOOK_ID)
    for step in (
        ledger.fence(BOOK_ID),
        ledger.close_book(BOOK_ID),
        ledger.extend_lease(BOOK_ID, open_until=FOREVER, generation=generation),
    ):
        await step
        assert (await ledger.status(BOOK_ID)).state is BookState.CLOSED
    with pytest.raises(BookClosed):
        await pay(ledger, 1)


@pytest.mark.parametrize("lost", ["units", "generation"])
async def test_a_ledger_older_than_the_node_knows_is_fenced_first(ledger, lost):
    await ledger.store_book(BOOK, open_until=FOREVER)
    await pay(ledger, 1, 2)
    generation = await ledger.generation()
    right = {"open_until": FOREVER, "generation": generation, "redeemed_at_least": 2}
    await ledger.extend_lease(BOOK_ID, **right)
    wrong = {"units": {"redeemed_at_least": 3}, "generation": {"generation": bytes(16)}}[lost]
    with pytest.raises(LedgerRolledBack):
        await ledger.extend_lease(BOOK_ID, **{**right, **wrong})
    with pytest.raises(BookClosed):
        await pay(ledger, 3)


async def test_a_restored_ledger_takes_nothing(ledger, tmp_path):
    await ledger.store_book(BOOK, open_until=FOREVER)
    await pay(ledger, 1)
    generation = await ledger.generation()
    async with SQLiteLedger(tmp_path / "ledger.sqlite") as operator:
        await operator.declare_restored()
    with pytest.raises(BookClosed):
        await pay(ledger, 2)
    assert await ledger.generation() != generation
    other = make_book(seed=bytes([5]) * 32)
    await ledger.store_book(other.book, open_until=FOREVER)
    assert await ledger.redeem(other.credential(1, 1))


async def test_a_book_of_another_generation_is_refused_by_the_redeem_itself(ledger, tmp_path):
    await ledger.store_book(BOOK, open_until=FOREVER)
    await pay(ledger, 1)
    database = LedgerDatabase(tmp_path / "ledger.sqlite", clock=lambda: 0.0, max_count=1)
    database._connection.execute("UPDATE ledger SET generation = randomblob(16)")
    database.close()
    assert (await ledger.status(BOOK_ID)).state is BookState.OPEN
    with pytest.raises(BookClosed):
        await pay(ledger, 2)


async def test_completed_secrets_are_told_above_a_lock(ledger):
    await ledger.store_book(BOOK, open_until=FOREVER)
    for unit, count in ((1, 3), (7, 3), (4, 2)):
        await pay(ledger, unit, count)

    def secrets(*locks):
        return tuple(LockElement(lock, 3, SECRET_BOOK.lock_secret(lock)) for lock in locks)

    assert await ledger.completed_secrets(BOOK_ID) == secrets(1, 3)
    assert await ledger.completed_secrets(BOOK_ID, after_lock=1) == secrets(3)
    await pay(ledger, 6)
    assert await ledger.completed_secrets(BOOK_ID, after_lock=1) == secrets(2, 3)


async def test_statuses_are_of_all_books_oldest_first(ledger):
    ladder = make_book(locks=6, chain_length=3, window=9, scheme=Scheme.LADDER)
    for secret_book in (SECRET_BOOK, ladder):
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        receipt = await ledger.redeem(secret_book.credential(4, 3))
        assert receipt == Receipt(secret_book.book.book_id, 4, 3, 1)
    assert [
        (status.book_id, status.secured_locks, status.next_unit, status.redeemed_units)
        for status in await ledger.statuses()
    ] == [(BOOK_ID, 0, 1, 3), (ladder.book.book_id, 2, 1, 3)]


async def test_an_unknown_book_has_no_row(ledger):
    generation = await ledger.generation()
    for attempt in (
        ledger.status(BOOK_ID),
        ledger.fence(BOOK_ID),
        ledger.close_book(BOOK_ID),
        ledger.completed_secrets(BOOK_ID),
        ledger.extend_lease(BOOK_ID, open_until=FOREVER, generation=generation),
    ):
        with pytest.raises(UnknownBook):
            await attempt
