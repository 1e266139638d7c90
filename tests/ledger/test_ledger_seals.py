"""A garbage lock: refused, its book fenced by the same commit, and nobody else concerned."""

import asyncio

import pytest

from lightspeed.ledger import LedgerUnavailable, SQLiteLedger
from lightspeed.ledger.database import LedgerDatabase
from lightspeed.payment import (
    AlreadyRedeemed,
    BookClosed,
    BookState,
    GarbageLock,
    LeaseExpired,
    Receipt,
    Scheme,
    SealCheckMissing,
)
from payment_books import FOREVER, make_book, seal_of, with_garbage

SECRET_BOOK = make_book(locks=6, chain_length=4, window=64, scheme=Scheme.SEALS)
GARBAGE = with_garbage(SECRET_BOOK, 2)
OTHER = make_book(locks=6, chain_length=4, window=64)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def database(path):
    opened = LedgerDatabase(path, clock=lambda: 0.0, max_count=4_096, seal_of=seal_of)
    for secret_book in (GARBAGE, OTHER):
        opened.store_book(secret_book.book, FOREVER)
    yield opened
    opened.close()


def redeem(database, *credentials):
    return database.redeem([(credential, ()) for credential in credentials])


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]


async def test_seals_are_stored_with_their_book(path):
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(SECRET_BOOK.book)
    async with SQLiteLedger(path) as ledger:
        assert await ledger.book(SECRET_BOOK.book.book_id) == SECRET_BOOK.book


async def test_a_ledger_without_the_function_of_seals_redeems_other_books_only(path):
    async with SQLiteLedger(path) as ledger:
        for secret_book in (SECRET_BOOK, OTHER):
            await ledger.store_book(secret_book.book, open_until=FOREVER)
        refused, receipt = await asyncio.gather(
            ledger.redeem(SECRET_BOOK.credential(1, 1)),
            ledger.redeem(OTHER.credential(1, 1)),
            return_exceptions=True,
        )
        assert isinstance(refused, SealCheckMissing)
        assert isinstance(receipt, Receipt)
        assert (await ledger.status(SECRET_BOOK.book.book_id)).redeemed_units == 0
    async with SQLiteLedger(path, seal_of=seal_of) as ledger:
        assert (await ledger.redeem(SECRET_BOOK.credential(1, 24))).count == 24


def test_one_flush_serves_what_came_before_the_garbage_and_nothing_after(database, path):
    outcomes = redeem(
        database,
        GARBAGE.credential(1, 5),
        GARBAGE.credential(6, 3),
        GARBAGE.credential(9, 1),
        OTHER.credential(1, 1),
    )
    assert kinds(outcomes) == [Receipt, GarbageLock, BookClosed, Receipt]
    other = LedgerDatabase(path, clock=lambda: 0.0, max_count=4_096, seal_of=seal_of)
    status = other.status(GARBAGE.book.book_id)
    assert (status.state, status.redeemed_units) == (BookState.CLOSING, 5)
    assert kinds(redeem(other, GARBAGE.credential(6, 1))) == [BookClosed]
    assert other.status(OTHER.book.book_id).state is BookState.OPEN
    other.close()


def test_the_secret_of_a_garbage_lock_is_not_among_what_was_redeemed(database):
    redeem(database, GARBAGE.credential(1, 7))
    assert kinds(redeem(database, GARBAGE.credential(8, 1))) == [GarbageLock]
    final = database.fence(GARBAGE.book.book_id)
    assert [(lock, unit) for lock, unit, _ in final.elements] == [(1, 4), (2, 3)]
    assert [lock for lock, _, _ in database.completed_secrets(GARBAGE.book.book_id, 0)] == [1]


def test_garbage_that_another_connection_overtakes_still_fences(database, path, monkeypatch):
    """Between the check in memory and the lock another worker redeems a unit of the book."""
    other = LedgerDatabase(path, clock=lambda: 0.0, max_count=4_096, seal_of=seal_of)
    redeem(database, GARBAGE.credential(1, 4))
    evaluate = LedgerDatabase._evaluate

    def overtaken(self, requests, known):
        outcomes = evaluate(self, requests, known)
        if self is database and known == [None]:
            assert kinds(redeem(other, GARBAGE.credential(5, 1))) == [Receipt]
        return outcomes

    monkeypatch.setattr(LedgerDatabase, "_evaluate", overtaken)
    assert kinds(redeem(database, GARBAGE.credential(8, 1))) == [GarbageLock]
    status = database.status(GARBAGE.book.book_id)
    assert (status.state, status.redeemed_units) == (BookState.CLOSING, 5)
    other.close()


def test_garbage_that_is_only_met_under_the_lock_fences_too(path, monkeypatch):
    """Before it the book had no lease; the node extends it while the flush waits."""
    database, other = (
        LedgerDatabase(path, clock=lambda: 0.0, max_count=4_096, seal_of=seal_of) for _ in range(2)
    )
    database.store_book(GARBAGE.book, 0.0)
    book_id, evaluate = GARBAGE.book.book_id, LedgerDatabase._evaluate

    def overtaken(self, requests, known):
        outcomes = evaluate(self, requests, known)
        if known == [None]:
            assert kinds(outcomes) == [LeaseExpired]
            other.extend_lease(
                book_id,
                open_until=FOREVER,
                generation=other.generation(),
                redeemed_at_least=0,
            )
        return outcomes

    monkeypatch.setattr(LedgerDatabase, "_evaluate", overtaken)
    assert kinds(redeem(database, GARBAGE.credential(8, 1))) == [GarbageLock]
    assert other.status(book_id).state is BookState.CLOSING
    for each in (database, other):
        each.close()


def test_a_fence_that_cannot_be_written_is_no_answer(database, monkeypatch):
    """Garbage is told only once it is durable; until then nothing is served either."""

    def broken(self, key):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(LedgerDatabase, "_set_closing", broken)
        with pytest.raises(LedgerUnavailable):
            redeem(database, OTHER.credential(1, 1), GARBAGE.credential(1, 8))
    assert database.status(OTHER.book.book_id).redeemed_units == 0
    assert database.status(GARBAGE.book.book_id).state is BookState.OPEN
    outcomes = redeem(database, OTHER.credential(1, 1), GARBAGE.credential(1, 8))
    assert kinds(outcomes) == [Receipt, GarbageLock]
    assert kinds(redeem(database, OTHER.credential(1, 1))) == [AlreadyRedeemed]
