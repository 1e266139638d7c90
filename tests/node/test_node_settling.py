"""Books settled and closed between two nodes: exact, once, and never without the fence."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lightspeed.channel import Phase
from lightspeed.ledger import LedgerUnavailable
from lightspeed.lsf import closed_books
from lightspeed.node.errors import NodeRefusal
from lightspeed.node.leases import BOOK_LEASE_TABLE, LOCK_SECRET_TABLE
from lightspeed.payment import (
    AlreadyRedeemed,
    BookClosed,
    BookState,
    Scheme,
    SecretBook,
    StopReason,
    UnknownBook,
)
from node_books import BookPair, book_pair
from node_world import eventually

LOCK_MSAT = 10_000_000
UNIT_MSAT = 1_000_000


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[BookPair]:
    async with book_pair(tmp_path) as pair:
        yield pair


def ids(secret: SecretBook) -> bytes:
    return secret.book.book_id


async def redeem(pair: BookPair, secret: SecretBook, first: int, count: int) -> None:
    await pair.ledger.redeem(secret.credential(first, count))


# --- settling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
async def test_settled_locks_are_the_payees_and_the_book_goes_on(
    pair: BookPair, scheme: Scheme
) -> None:
    secret = await pair.open_book(scheme=scheme)
    before = pair.balances_msat
    await redeem(pair, secret, 1, 25)

    await pair.payee.node.books.settle_book(ids(secret))

    await eventually(lambda: pair.settled(secret) == 2)
    assert pair.balances_msat[1] - before[1] == 2 * LOCK_MSAT
    await redeem(pair, secret, 26, 5)
    with pytest.raises(AlreadyRedeemed):
        await redeem(pair, secret, 3, 1)
    await pair.payee.node.books.settle_book(ids(secret))
    await eventually(lambda: pair.settled(secret) == 3)
    assert pair.balances_msat[1] - before[1] == 3 * LOCK_MSAT
    with pytest.raises(NodeRefusal, match="nothing to settle"):
        await pair.payee.node.books.settle_book(ids(secret))
    with pytest.raises(NodeRefusal, match="only the payee"):
        await pair.payer.node.books.settle_book(ids(secret))


async def test_settled_units_are_pruned_and_never_redeemed_again(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 20)
    await pair.payee.node.books.settle_book(ids(secret))

    async def pruned() -> bool:
        return not await pair.ledger.completed_secrets(ids(secret))

    await eventually(pruned)
    for unit in (1, 10, 11, 20):
        with pytest.raises(AlreadyRedeemed):
            await redeem(pair, secret, unit, 1)
    assert (await pair.status(secret)).redeemed_units == 20


async def test_policy_settles_what_is_worth_enough(tmp_path: Path) -> None:
    async with book_pair(tmp_path, payee={"settle_at_sat": 20_000}) as pair:
        secret = await pair.open_book()
        await redeem(pair, secret, 1, 19)
        await pair.copied()
        books = pair.payee.node.payee_books
        assert books is not None
        await eventually(lambda: books.completed(secret.book))
        for _ in range(3):
            await pair.payee.node.watch.look()
        assert pair.payee.settled()
        assert pair.settled(secret) == 0
        await redeem(pair, secret, 20, 1)
        await pair.copied()
        await eventually(lambda: pair.settled(secret) == 2)


async def test_policy_settles_what_has_waited_long_enough(tmp_path: Path) -> None:
    policy = {"settle_at_sat": 0, "settle_after_seconds": 100.0}
    async with book_pair(tmp_path, payee=policy) as pair:
        secret = await pair.open_book()
        settling = pair.payee.node.books.settling
        assert settling is not None
        now = 1_000.0
        settling._clock = lambda: now
        await redeem(pair, secret, 1, 10)
        await pair.copied()
        await eventually(lambda: settling._waiting_since)
        assert pair.settled(secret) == 0
        now = 1_100.0
        pair.payee.node.watch.wake()
        await eventually(lambda: pair.settled(secret) == 1)


async def test_one_update_of_a_book_is_under_way_at_a_time(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 30)
    outcomes = await asyncio.gather(
        *(pair.payee.node.books.settle_book(ids(secret)) for _ in range(4)), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    await eventually(lambda: pair.settled(secret) == 3)
    assert pair.payee.driver.phase is pair.payer.driver.phase is Phase.NORMAL


# --- closing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
@pytest.mark.parametrize("who", ["payer", "payee"])
async def test_closed_book_pays_to_the_unit(pair: BookPair, who: str, scheme: Scheme) -> None:
    before = pair.balances_msat
    secret = await pair.open_book(scheme=scheme)
    await redeem(pair, secret, 1, 27)

    node = (pair.payer if who == "payer" else pair.payee).node
    await node.close_book(ids(secret))
    await pair.closed(secret)

    assert pair.balances_msat == (before[0] - 27 * UNIT_MSAT, before[1] + 27 * UNIT_MSAT)
    assert closed_books(pair.payer.channel) == closed_books(pair.payee.channel) == {ids(secret): 27}
    await eventually(lambda: pair.payee.node._store.get(BOOK_LEASE_TABLE, ids(secret)) is None)
    assert (await pair.status(secret)).state is BookState.CLOSED
    assert not list(pair.payee.node._store.scan(LOCK_SECRET_TABLE, ids(secret)))
    with pytest.raises(BookClosed):
        await redeem(pair, secret, 28, 1)
    await eventually(lambda: pair.payer_store.stopped(ids(secret)) is StopReason.REQUESTED)
    with pytest.raises(NodeRefusal, match="is closed"):
        await node.close_book(ids(secret))
    second = await pair.open_book()
    await redeem(pair, second, 1, 1)


async def test_nothing_is_redeemed_once_a_close_was_begun(pair: BookPair) -> None:
    """Whatever is redeemed while the book closes is paid, or it is refused."""
    secret = await pair.open_book()
    before = pair.balances_msat

    async def pay() -> int:
        unit = 0
        try:
            while unit < 50:
                await redeem(pair, secret, unit + 1, 1)
                unit += 1
        except BookClosed:
            pass
        return unit

    paying = asyncio.create_task(pay())
    await asyncio.sleep(0)
    await pair.payee.node.close_book(ids(secret))
    paid = await paying
    await pair.closed(secret)
    assert closed_books(pair.payee.channel)[ids(secret)] == paid
    assert pair.balances_msat[1] - before[1] == paid * UNIT_MSAT


async def test_close_waits_for_the_ledger_and_the_peer(
    pair: BookPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 3)
    await pair.payee.stop()
    await pair.payer.node.close_book(ids(secret))  # asked again once the payee is back

    async def unavailable(*_: object) -> None:
        raise LedgerUnavailable("gone")

    pair.world.nodes.remove(pair.payee)
    await pair.payee.start()
    monkeypatch.setattr(pair.ledger, "fence", unavailable)
    await pair.payer.connect(pair.payee)
    await eventually(lambda: pair.payee.node.alarms.texts)
    assert "the ledger does not answer" in pair.payee.node.alarms.texts[0]
    assert pair.is_open(secret)

    monkeypatch.undo()
    pair.payee.node.watch.wake()
    await pair.closed(secret)
    assert closed_books(pair.payer.channel) == {ids(secret): 3}
    await eventually(lambda: not pair.payee.node.alarms.texts)
    await pair.payee.stop()


async def test_book_is_closed_over_a_restart_in_the_middle(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 12)
    await pair.payer.node.peers.disconnect(pair.payee.node_id)
    await pair.payee.node.close_book(ids(secret))
    for running in (pair.payee, pair.payer):
        await running.stop()
        await running.start()
    await pair.payer.connect(pair.payee)
    await pair.closed(secret)
    assert closed_books(pair.payer.channel) == {ids(secret): 12}


async def test_book_without_a_unit_left_is_closed(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 50)
    await pair.copied()
    await pair.closed(secret)
    assert closed_books(pair.payer.channel) == {ids(secret): 50}


async def test_book_that_a_client_stopped_is_closed(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 1)
    pair.payer_store.stop(ids(secret), StopReason.UNSERVED)
    await pair.closed(secret)
    assert pair.payer_store.stopped(ids(secret)) is StopReason.UNSERVED


async def test_book_of_a_ledger_that_lost_units_waits_for_its_operator(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 10)
    await pair.copied()
    books = pair.payee.node.payee_books
    assert books is not None
    await eventually(lambda: books.completed(secret.book))
    await pair.ledger.declare_restored()
    await pair.copied()
    await eventually(lambda: pair.payee.node.alarms.texts)
    assert "has to be closed" in pair.payee.node.alarms.texts[0]
    assert pair.is_open(secret)
    await pair.payee.node.close_book(ids(secret))
    await pair.closed(secret)
    assert closed_books(pair.payer.channel) == {ids(secret): 10}


async def test_after_a_restored_ledger_the_next_book_is_served(pair: BookPair) -> None:
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 10)
    await pair.copied()
    await pair.ledger.declare_restored()
    await pair.payee.node.close_book(ids(secret))
    await pair.closed(secret)

    second = await pair.open_book()

    await redeem(pair, second, 1, 1)


async def test_book_of_a_ledger_that_was_lost_is_not_served_again(pair: BookPair) -> None:
    """In the new ledger every unit of it would look as if nobody had redeemed it."""
    secret = await pair.open_book()
    await redeem(pair, secret, 1, 3)
    lightspeed = pair.payee.node.config.lightspeed
    assert lightspeed is not None
    path = lightspeed.ledger
    assert path is not None
    await pair.payee.stop()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    await pair.payee.start()
    await pair.payer.connect(pair.payee)

    await eventually(lambda: pair.payee.node.alarms.texts)

    assert "has to be closed" in pair.payee.node.alarms.texts[0]
    with pytest.raises(UnknownBook):
        await redeem(pair, secret, 1, 1)
    second = await pair.open_book()
    await redeem(pair, second, 1, 1)


async def test_book_that_came_into_the_ledger_before_a_crash_is_served(pair: BookPair) -> None:
    """Killed before the node's store knew of it."""
    secret = await pair.open_book()
    node = pair.payee.node
    data = node._store.get(BOOK_LEASE_TABLE, ids(secret))
    assert data is not None
    lease = json.loads(data)
    assert lease["generation"] == (await pair.ledger.generation()).hex()
    forgotten = json.dumps(lease | {"generation": ""}).encode()
    node._store.put(BOOK_LEASE_TABLE, ids(secret), forgotten)
    await pair.payee.stop()
    await pair.payee.start()
    await pair.payer.connect(pair.payee)
    await pair.leased(secret.book)
    await redeem(pair, secret, 1, 1)
    assert pair.payee.node._store.get(BOOK_LEASE_TABLE, ids(secret)) != forgotten


# --- the channel's end ------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["payer", "payee"])
async def test_cooperative_close_settles_open_books_first(pair: BookPair, who: str) -> None:
    first, second = await pair.open_book(), await pair.open_book(scheme=Scheme.LADDER)
    await redeem(pair, first, 1, 13)
    await redeem(pair, second, 1, 31)
    await pair.payee.node.books.settle_book(ids(second))
    running = pair.payer if who == "payer" else pair.payee

    await running.node.close_channel(running.channel.channel_id)

    await eventually(lambda: pair.payee.driver.phase is pair.payer.driver.phase is Phase.CLOSED)
    assert pair.payee.channel.state.base.holder_msat == 20_000_000 + 44 * UNIT_MSAT
    for secret in (first, second):
        assert pair.payer_store.stopped(ids(secret)) is StopReason.REQUESTED
        with pytest.raises(BookClosed):
            await redeem(pair, secret, 32, 1)
    pair.world.mine(2)
    await eventually(lambda: pair.payee.driver.record.over and pair.payer.driver.record.over)
    await eventually(lambda: pair.payee.node.wallet.balance().confirmed_sat == 64_000)
    for secret in (first, second):
        assert (await pair.status(secret)).state is BookState.CLOSED
