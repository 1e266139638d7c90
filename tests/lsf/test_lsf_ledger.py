"""A book in its ledger and in its channel at once: what was served is paid, to the unit."""

import asyncio
from pathlib import Path

import pytest

from channel_pair import Pair
from lightspeed.ledger import SQLiteLedger
from lightspeed.lsf import BookClosed as ClosedInChannel
from lightspeed.lsf import BookSettled, next_close, next_settle
from lightspeed.payment import (
    AlreadyRedeemed,
    BookClosed,
    BookState,
    ExposureExceeded,
    Scheme,
    SecretBook,
)
from lsf_pair import channel_of, open_book, open_lsf_pair, payee_of, secret_book
from lsf_world import book_terms

SCHEMES = pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
FOREVER = 1e12
CLIENTS = 8


def opened(scheme: Scheme) -> tuple[Pair, SecretBook]:
    pair = open_lsf_pair()
    secret = secret_book(pair, book_terms(locks=40, chain_length=8, scheme=scheme))
    open_book(pair, secret)
    return pair, secret


def say(pair: Pair, update: object) -> None:
    assert update is not None
    payee = payee_of(pair)
    payee.run(channel_of(payee).propose(update))  # type: ignore[arg-type]
    payee.run(channel_of(payee).commit())
    pair.settle()


async def settle_completed(pair: Pair, secret: SecretBook, ledger: SQLiteLedger) -> int:
    completed = await ledger.completed_secrets(secret.book.book_id)
    secrets = {each.lock: each.element for each in completed}
    say(pair, next_settle(channel_of(payee_of(pair)), secret.book.book_id, secrets))
    return payee_of(pair).take(BookSettled)[-1].locks  # type: ignore[no-any-return]


@SCHEMES
async def test_a_close_in_the_middle_of_redeems_pays_for_all_that_was_served(
    scheme: Scheme, tmp_path: Path
) -> None:
    """Calls run while locks are settled and the book is fenced: none is served for nothing."""
    pair, secret = opened(scheme)
    book_id = secret.book.book_id
    payee_before = channel_of(payee_of(pair)).state.base.holder_msat
    served: set[int] = set()
    enough = {60: asyncio.Event(), 120: asyncio.Event()}

    async def client(first: int) -> str:
        for unit in range(first, secret.book.terms.units + 1, CLIENTS):
            while unit not in served:
                try:
                    await ledger.redeem(secret.credential(unit, 1))
                    served.add(unit)
                    for count, reached in enough.items():
                        if len(served) >= count:
                            reached.set()
                except ExposureExceeded:
                    await asyncio.sleep(0)
                except BookClosed:
                    return "closed"
        return "all served"

    async with SQLiteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.store_book(secret.book, open_until=FOREVER)
        clients = [asyncio.create_task(client(first)) for first in range(1, CLIENTS + 1)]
        await enough[60].wait()
        settled = await settle_completed(pair, secret, ledger)
        await ledger.prune(book_id, settled_locks=settled)
        await enough[120].wait()
        final = await ledger.fence(book_id)
        assert set(await asyncio.gather(*clients)) == {"closed"}
        update = next_close(channel_of(payee_of(pair)), book_id, final.elements)
        say(pair, update)
        (closed,) = payee_of(pair).take(ClosedInChannel)
        await ledger.close_book(book_id)
        assert (await ledger.status(book_id)).state is BookState.CLOSED
        with pytest.raises(BookClosed):
            await ledger.redeem(secret.credential(200, 1))

    assert settled >= 4
    assert final.status.redeemed_units == len(served) < secret.book.terms.units
    assert len(served) <= closed.units <= max(served)
    gained = channel_of(payee_of(pair)).state.base.holder_msat - payee_before
    assert gained == closed.units * 125_000
    pair.check_mirrored()


@SCHEMES
async def test_units_of_settled_locks_stay_redeemable_and_are_paid_once(
    scheme: Scheme, tmp_path: Path
) -> None:
    pair, secret = opened(scheme)
    book_id = secret.book.book_id
    payee_before = channel_of(payee_of(pair)).state.base.holder_msat
    async with SQLiteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.store_book(secret.book, open_until=FOREVER)
        await ledger.redeem(secret.credential(1, 8))
        await ledger.redeem(secret.credential(12, 5))  # units 9 to 11 are under way
        assert await settle_completed(pair, secret, ledger) == 2
        await ledger.prune(book_id, settled_locks=2)
        receipt = await ledger.redeem(secret.credential(9, 3))
        assert receipt.next_unit == 17
        with pytest.raises(AlreadyRedeemed):
            await ledger.redeem(secret.credential(9, 3))
        final = await ledger.fence(book_id)
        say(pair, next_close(channel_of(payee_of(pair)), book_id, final.elements))
    (closed,) = payee_of(pair).take(ClosedInChannel)
    assert closed.units == final.status.redeemed_units == 16
    assert channel_of(payee_of(pair)).state.base.holder_msat - payee_before == 16 * 125_000


@SCHEMES
async def test_a_ladder_and_outputs_differ_in_what_a_gap_costs(
    scheme: Scheme, tmp_path: Path
) -> None:
    """A payer that leaves out the last unit of lock 1: outputs claims what was presented."""
    pair, secret = opened(scheme)
    async with SQLiteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.store_book(secret.book, open_until=FOREVER)
        await ledger.redeem(secret.credential(1, 7))
        await ledger.redeem(secret.credential(9, 10))
        final = await ledger.fence(secret.book.book_id)
        say(pair, next_close(channel_of(payee_of(pair)), secret.book.book_id, final.elements))
    (closed,) = payee_of(pair).take(ClosedInChannel)
    assert final.status.redeemed_units == 17
    assert closed.units == (18 if scheme is Scheme.LADDER else 17)
