"""What is settled may be forgotten, and is never redeemed again; what was not presented may."""

import pytest

from lightspeed.ledger import SQLiteLedger
from lightspeed.payment import AlreadyRedeemed, BookClosed, UnknownBook
from payment_books import FOREVER, make_book

SECRET_BOOK = make_book(locks=6, chain_length=3, window=9)
BOOK_ID = SECRET_BOOK.book.book_id


@pytest.fixture
async def ledger(tmp_path):
    async with SQLiteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.store_book(SECRET_BOOK.book, open_until=FOREVER)
        yield ledger


def pay(ledger, unit, count=1):
    return ledger.redeem(SECRET_BOOK.credential(unit, count))


async def test_pruned_units_are_never_redeemed_again(ledger):
    await pay(ledger, 1, 10)
    assert await ledger.prune(BOOK_ID, settled_locks=2) == 2
    for unit in range(1, 11):
        with pytest.raises(AlreadyRedeemed):
            await pay(ledger, unit)
    status = await ledger.status(BOOK_ID)
    assert (status.redeemed_units, status.next_unit, status.secured_locks) == (10, 11, 3)
    receipt = await pay(ledger, 11)
    assert receipt.next_unit == 12
    assert [element.lock for element in await ledger.completed_secrets(BOOK_ID)] == [3]
    final = await ledger.fence(BOOK_ID)
    assert [element.lock for element in final.elements] == [3, 4]


async def test_units_of_settled_locks_that_were_not_presented_stay_redeemable(ledger):
    await pay(ledger, 1, 3)
    await pay(ledger, 5, 2)  # unit 4 is still under way
    assert await ledger.prune(BOOK_ID, settled_locks=2) == 1
    receipt = await pay(ledger, 4)
    assert receipt.next_unit == 7
    with pytest.raises(AlreadyRedeemed):
        await pay(ledger, 4)
    assert await ledger.prune(BOOK_ID, settled_locks=2) == 1
    with pytest.raises(AlreadyRedeemed):
        await pay(ledger, 4)


async def test_what_is_not_settled_is_kept(ledger):
    await pay(ledger, 1, 8)
    assert await ledger.prune(BOOK_ID) == 0
    assert await ledger.prune(BOOK_ID, settled_locks=6) == 2
    final = await ledger.fence(BOOK_ID)
    assert [(element.lock, element.unit) for element in final.elements] == [(3, 2)]


async def test_of_a_closed_book_its_id_remains(ledger):
    await pay(ledger, 1, 8)
    await ledger.fence(BOOK_ID)
    assert await ledger.prune(BOOK_ID) == 0
    await ledger.close_book(BOOK_ID)
    assert await ledger.prune(BOOK_ID) == 3
    with pytest.raises(BookClosed):
        await pay(ledger, 9)
    assert (await ledger.status(BOOK_ID)).redeemed_units == 8


async def test_an_unknown_book_is_not_pruned(tmp_path):
    async with SQLiteLedger(tmp_path / "other.sqlite") as other:
        with pytest.raises(UnknownBook):
            await other.prune(BOOK_ID)
