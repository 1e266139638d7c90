"""Books between two nodes: opened, redeemed through the ledger, fenced, settled on chain."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lightspeed.channel import Phase, Side
from lightspeed.ledger import LedgerUnavailable
from lightspeed.lsf import accepted_books
from lightspeed.node import reports
from lightspeed.node.books import BookRequest
from lightspeed.node.errors import NodeRefusal, OpeningRefused
from lightspeed.payment import BookClosed, BookState, LeaseExpired, StopReason
from node_books import BookPair, book_pair
from node_world import ORIGIN, eventually


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[BookPair]:
    async with book_pair(tmp_path) as pair:
        yield pair


async def test_book_is_in_the_ledger_before_it_is_paid_from(pair: BookPair) -> None:
    book = await pair.open_book()

    receipt = await pair.ledger.redeem(book.credential(1, 3))

    assert receipt.next_unit == 4
    assert (await pair.ledger.book(book.book.book_id)) == book.book
    assert pair.payee.channel.state.base.counterparty_msat < 980_000_000 - 50_000_000


@pytest.mark.parametrize("closer", [Side.HOLDER, Side.COUNTERPARTY], ids=["payer", "payee"])
async def test_unilateral_close_pays_what_was_redeemed(pair: BookPair, closer: Side) -> None:
    book = await pair.open_book()
    await pair.ledger.redeem(book.credential(1, 30))
    await pair.ledger.redeem(book.credential(31, 5))  # half of a lock is not enforceable
    payee_before = pair.payee.node.wallet.balance().total_sat
    payer_before = pair.payer.node.wallet.balance().total_sat
    channel_id = pair.payer.channel.channel_id
    ending = pair.payer if closer is Side.HOLDER else pair.payee

    await ending.node.close_channel(channel_id, force=True)
    if ending is pair.payee:
        assert (await pair.ledger.status(book.book.book_id)).state is BookState.CLOSING

    await eventually(lambda: pair.payee.driver.phase is Phase.FAILED)
    await eventually(
        lambda: pair.world.regtest.outspend(pair.payer.channel.state.config.funding_outpoint)
    )
    for _ in range(80):
        if pair.payer.driver.record.over and pair.payee.driver.record.over:
            break
        await pair.mine(1)
    assert pair.payer.driver.record.over
    assert pair.payee.driver.record.over
    claimed = pair.payee.node.wallet.balance().total_sat - payee_before
    refunded = pair.payer.node.wallet.balance().total_sat - payer_before
    # 20,000 sat were pushed, three locks of 10,000 are complete; each side pays its own fees.
    assert 48_000 < claimed <= 50_000
    assert 940_000 < refunded <= 950_000
    assert (await pair.ledger.status(book.book.book_id)).state is BookState.CLOSED


async def test_nothing_is_redeemed_once_the_commitment_is_seen(pair: BookPair) -> None:
    book = await pair.open_book()
    await pair.ledger.redeem(book.credential(1, 10))
    await pair.world.nodes[0].node.peers.disconnect(pair.payee.node_id)
    tx = pair.payer.channel.holder_commitment_tx()
    pair.world.regtest.broadcast(tx)  # in the mempool only

    await eventually(lambda: pair.payee.driver.phase is Phase.FAILED)

    with pytest.raises(BookClosed):
        await pair.ledger.redeem(book.credential(11, 1))
    assert pair.payee.node.payee_books is not None
    secrets = pair.payee.node.payee_books.lock_secrets(pair.payee.driver)
    assert secrets == {book.book.book_id: {1: book.lock_secret(1)}}


async def test_lease_ends_when_the_chain_is_not_seen(
    pair: BookPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = await pair.open_book()
    await pair.ledger.redeem(book.credential(1, 1))
    until = (await pair.ledger.status(book.book.book_id)).open_until
    monkeypatch.setattr(pair.ledger._database, "_clock", lambda: until + 1)
    with pytest.raises(LeaseExpired):
        await pair.ledger.redeem(book.credential(2, 1))


@pytest.mark.parametrize("known", [True, False], ids=["in the mempool", "unknown"])
async def test_lease_needs_the_funding_in_a_block(pair: BookPair, known: bool) -> None:
    """After a reorganisation "not spent" is also what the chain says of an output that is not."""
    secret = await pair.open_book()
    regtest, payee = pair.world.regtest, pair.payee.node
    funding = pair.payer.channel.state.config.funding_outpoint
    confirmed = regtest.transaction(funding.txid)
    assert confirmed is not None
    assert confirmed.confirmed is not None
    before = await pair.status(secret)

    regtest.reorganise(regtest.height - confirmed.confirmed.height + 1)
    if not known:
        regtest.mempool._remove_all([funding.txid])
    assert regtest.outspend(funding) is None
    for _ in range(3):
        await pair.copied()
        await payee.watch.look()
    assert await pair.status(secret) == before
    assert "not in a block any more" in "\n".join(reports.info(payee).problems)

    await pair.payer.node.watch.look()  # its funder says it again
    assert regtest.transaction(funding.txid) is not None
    pair.world.mine()

    async def extended() -> bool:
        return (await pair.status(secret)).open_until > before.open_until

    await eventually(extended)
    await eventually(lambda: not reports.info(payee).problems)
    await pair.ledger.redeem(secret.credential(1, 1))


async def test_completed_secrets_are_claimed_without_the_ledger(
    pair: BookPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = await pair.open_book()
    await pair.ledger.redeem(book.credential(1, 20))
    assert pair.payee.node.payee_books is not None
    pair.payee.node.payee_books._extended_at.clear()
    books = pair.payee.node.payee_books
    await eventually(lambda: len(books.lock_secrets(pair.payee.driver)[book.book.book_id]) == 2)

    async def unavailable(*_: object, **__: object) -> None:
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(pair.ledger, "fence", unavailable)
    before = pair.payee.node.wallet.balance().total_sat
    await pair.payer.node.close_channel(pair.payer.channel.channel_id, force=True)
    await eventually(
        lambda: pair.world.regtest.outspend(pair.payer.channel.state.config.funding_outpoint)
    )
    await pair.mine(8)
    assert 38_000 < pair.payee.node.wallet.balance().total_sat - before < 40_000
    # Once the ledger answers, what was redeemed meanwhile is claimed as well.
    await pair.ledger.redeem(book.credential(21, 10))
    monkeypatch.undo()
    await pair.mine(4)
    assert (await pair.ledger.status(book.book.book_id)).state is BookState.CLOSED
    assert 48_000 < pair.payee.node.wallet.balance().total_sat - before < 50_000


async def test_books_survive_restarts(pair: BookPair) -> None:
    book = await pair.open_book()
    await pair.ledger.redeem(book.credential(1, 10))
    for running in (pair.payee, pair.payer):
        await running.stop()
        await running.start()
    await pair.payer.connect(pair.payee)
    await eventually(lambda: pair.payer.usable() and pair.payee.usable())
    await pair.ledger.redeem(book.credential(11, 10))
    second = await pair.open_book()
    await pair.ledger.redeem(second.credential(1, 1))
    assert pair.payee.node.payee_books is not None
    assert len(pair.payee.node.payee_books.books(pair.payee.driver)) == 2


async def test_payee_rejects_a_book_for_a_foreign_origin(pair: BookPair) -> None:
    assert pair.payer.node.payer_books is not None
    assert pair.payer.payer_store is not None
    request = BookRequest(
        locks=1,
        chain_length=1,
        lock_amount_sat=10_000,
        origins=("https://elsewhere.example",),
        refund_delay_blocks=20,
    )
    with pytest.raises(OpeningRefused, match="not served here"):
        await pair.payer.node.payer_books.open(pair.payer.driver, request)
    (book_id,) = pair.payer.payer_store.book_ids()
    assert pair.payer.payer_store.stopped(book_id) is not None
    assert await pair.ledger.statuses() == ()
    await pair.open_book()


async def test_book_that_was_never_opened_makes_room_for_the_next(
    pair: BookPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = pair.payer.node.payer_books
    assert books is not None

    async def silent(*_: object) -> None:
        pass

    request = BookRequest(
        locks=5,
        chain_length=10,
        lock_amount_sat=10_000,
        origins=(ORIGIN,),
        refund_delay_blocks=20,
    )
    with monkeypatch.context() as patch:
        patch.setattr(books, "_say_open", silent)
        first = asyncio.create_task(books.open(pair.payer.driver, request, timeout_seconds=1))
        await eventually(lambda: accepted_books(pair.payer.channel))
        with pytest.raises(NodeRefusal, match="another book is being opened"):
            await books.open(pair.payer.driver, request)
        with pytest.raises(OpeningRefused, match="does not answer"):
            await first
    (forgotten,) = accepted_books(pair.payee.channel)
    secret = await pair.open_book()
    for running in (pair.payer, pair.payee):
        assert not accepted_books(running.channel)
    assert pair.payer_store.stopped(forgotten.book_id) is StopReason.REQUESTED
    assert pair.payer_store.stopped(secret.book.book_id) is None


async def test_too_many_locks_are_refused_with_the_number(pair: BookPair) -> None:
    assert pair.payer.node.payer_books is not None
    request = BookRequest(
        locks=2_323, chain_length=1, lock_amount_sat=330, origins=(ORIGIN,), refund_delay_blocks=20
    )
    with pytest.raises(ValueError, match="2322"):
        await pair.payer.node.payer_books.open(pair.payer.driver, request)
