"""Books opened again before they are used up: of the same terms, in time, within the budget."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lightspeed.chain import ChainUnavailable
from lightspeed.lsf import Party, closed_books, usable_books
from lightspeed.node.books import BookRequest
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.refilling import REFILL_TABLE, Refilling, RefillPolicy
from lightspeed.payment import Allocator, Receipt, SecretBook, StopReason
from lightspeed.units import Sat
from node_books import BookPair, book_pair
from node_world import eventually

BOOK_SAT = 50_000


@asynccontextmanager
async def refilled_pair(
    folder: Path, *, budget_sat: int = 4 * BOOK_SAT, below_units: int = 20
) -> AsyncIterator[tuple[BookPair, Refilling]]:
    policy = {"refill_below_units": below_units, "refill_budget_sat_per_day": budget_sat}
    async with book_pair(folder, payer=policy) as pair:
        refilling = pair.payer.node.books.refilling
        assert refilling is not None
        yield pair, refilling


async def open_used(pair: BookPair, units: int, **changes: Any) -> tuple[SecretBook, Allocator]:
    """A book of 50 units, of which `units` were paid; it runs ahead by 2."""
    secret = await pair.open_book(window=2, **changes)
    allocator = pair.payer_store.take_over(secret)
    await use(pair, secret, allocator, units)
    return secret, allocator


async def use(pair: BookPair, secret: SecretBook, allocator: Allocator, units: int) -> None:
    for _ in range(units):
        allocation = allocator.allocate(1)
        receipt = await pair.ledger.redeem(secret.credential(allocation.first_unit, 1))
        allocator.served(allocation, Receipt(*receipt))


async def looked(pair: BookPair) -> None:
    for _ in range(3):
        await pair.payer.node.watch.look()


def books(pair: BookPair) -> int:
    return len(usable_books(pair.payer.channel))


async def test_book_is_opened_again_before_it_is_used_up(tmp_path: Path) -> None:
    async with refilled_pair(tmp_path) as (pair, _):
        secret, allocator = await open_used(pair, 20)
        await looked(pair)
        assert books(pair) == 1

        await use(pair, secret, allocator, 12)
        await eventually(lambda: books(pair) == 2)

        _, again = usable_books(pair.payer.channel)
        for name in ("scheme", "locks", "chain_length", "lock_amount", "window", "origins"):
            assert getattr(again.terms, name) == getattr(secret.book.terms, name)
        assert again.terms.settlement == secret.book.terms.settlement
        await looked(pair)
        assert books(pair) == 2
        second = await pair.leased(again)
        await pair.ledger.redeem(second.credential(1, 1))


async def test_budget_of_a_day_is_kept_over_restarts(tmp_path: Path) -> None:
    async with refilled_pair(tmp_path, budget_sat=2 * BOOK_SAT - 1) as (pair, refilling):
        await open_used(pair, 40)
        await eventually(lambda: books(pair) == 2)
        last = usable_books(pair.payer.channel)[-1]
        second = await pair.leased(last)
        await use(pair, second, pair.payer_store.take_over(second), 40)
        await eventually(lambda: pair.payer.node.alarms.texts)
        assert "budget of the day" in pair.payer.node.alarms.texts[0]
        await pair.payer.stop()
        await pair.payer.start()
        await pair.payer.connect(pair.payee)
        await eventually(pair.payer.usable)
        await looked(pair)
        assert books(pair) == 2

        refilling = pair.payer.node.books.refilling  # type: ignore[assignment]
        clock = refilling._clock
        refilling._clock = lambda: clock() + 86_401
        pair.payer.node.watch.wake()
        await eventually(lambda: books(pair) == 3)
        await eventually(lambda: not pair.payer.node.alarms.texts)
        assert pair.payer.node._store.count(REFILL_TABLE) == 1


async def another_channel(pair: BookPair) -> ChannelDriver:
    """Usable; the payer's."""
    await pair.payer.fund_wallet()
    driver = await pair.payer.node.open_channel(
        pair.payee.node_id, funding_sat=Sat(1_000_000), push_sat=Sat(20_000), party=Party.PAYER
    )
    await pair.world.confirm(driver.channel.channel_id, pair.payer, pair.payee)
    return driver


@pytest.mark.parametrize("allowed", [1, 2])
async def test_budget_of_a_day_is_for_all_channels_together(tmp_path: Path, allowed: int) -> None:
    """They are looked at one right after the other, and all of them need a book."""
    async with refilled_pair(tmp_path, below_units=0) as (pair, refilling):
        first, _ = await open_used(pair, 40)
        node, other = pair.payer.node, await another_channel(pair)
        assert node.payer_books is not None
        book = await node.payer_books.open(other, BookRequest.like(first.book.terms))
        second = await pair.leased(book)
        await use(pair, second, pair.payer_store.take_over(second), 40)
        now = refilling._clock()
        refilling._clock = lambda: now  # in the same microsecond
        budget = Sat(allowed * BOOK_SAT)
        refilling._policy = RefillPolicy(below_units=20, budget_sat_per_day=budget)

        def opened() -> int:
            return sum(len(usable_books(driver.channel)) for driver in node.drivers.values()) - 2

        await node.watch.look()
        await eventually(lambda: opened() == allowed and not refilling._opening)
        assert len(node.alarms.texts) == 2 - allowed
        assert node._store.count(REFILL_TABLE) == allowed


async def test_chain_that_does_not_answer_costs_none_of_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with refilled_pair(tmp_path) as (pair, refilling):
        node = pair.payer.node

        async def away(_: int) -> None:
            raise ChainUnavailable("no answer")

        secret, allocator = await open_used(pair, 20)
        monkeypatch.setattr(node.chain, "fee_rate", away)
        await use(pair, secret, allocator, 20)
        await eventually(lambda: node.alarms.texts)
        assert "refill" in node.alarms.texts[0]
        assert "no answer" in node.alarms.texts[0]
        await looked(pair)
        await eventually(lambda: not (refilling._opening or node._store.count(REFILL_TABLE)))

        monkeypatch.undo()
        await eventually(lambda: books(pair) == 2)


async def test_nothing_is_opened_for_a_payee_that_cheats(tmp_path: Path) -> None:
    async with refilled_pair(tmp_path) as (pair, _):
        secret, _ = await open_used(pair, 30)
        pair.payer_store.stop(secret.book.book_id, StopReason.UNSERVED)
        await pair.closed(secret)
        await looked(pair)
        assert books(pair) == 0


async def test_nothing_is_opened_for_a_book_that_the_payee_closes_early(tmp_path: Path) -> None:
    async with refilled_pair(tmp_path) as (pair, _):
        secret, _ = await open_used(pair, 10)
        await pair.payee.node.close_book(secret.book.book_id)
        await pair.closed(secret)
        await looked(pair)
        assert books(pair) == 0


async def test_used_up_book_that_closed_before_the_budget_allowed_has_a_successor(
    tmp_path: Path,
) -> None:
    async with refilled_pair(tmp_path, budget_sat=1) as (pair, refilling):
        secret, _ = await open_used(pair, 50)
        await pair.copied()
        await pair.closed(secret)
        assert closed_books(pair.payer.channel) == {secret.book.book_id: 50}
        assert books(pair) == 0
        refilling._policy = type(refilling._policy)(
            below_units=20,
            budget_sat_per_day=BOOK_SAT,  # type: ignore[arg-type]
        )
        pair.payer.node.watch.wake()
        await eventually(lambda: books(pair) == 1)


async def test_refusal_is_told_and_tried_again_later(tmp_path: Path) -> None:
    async with refilled_pair(tmp_path, budget_sat=10**7) as (pair, refilling):
        # A second one is more than the payee risks in a channel.
        await open_used(pair, 32, lock_amount_sat=80_000)
        await eventually(lambda: pair.payer.node.alarms.texts)
        assert "the payee rejects the book" in pair.payer.node.alarms.texts[0]
        await looked(pair)
        assert books(pair) == 1
        assert refilling._not_before
