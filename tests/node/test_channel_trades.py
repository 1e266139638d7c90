"""Tokens bought in a channel between whole nodes: at the seller's price, within the buyer's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lightspeed.channel import ChannelRefusal, Phase
from lightspeed.colour import Offer, RgbOffer
from lightspeed.lsf import Party
from lightspeed.node.channel_trades import OFFER_SECONDS, SalePolicy
from lightspeed.node.errors import DealRefused, NodeRefusal
from lightspeed.payment import Scheme
from lightspeed.rgb import contract_id_text
from lightspeed.units import Msat
from node_books import BookPair
from node_tokens import issued, open_coloured, tokens_of
from node_world import NodeWorld, RunningNode, eventually, node_world

PRICE_MSAT = 1_500


@asynccontextmanager
async def shop(folder: Path, **policy: Any) -> AsyncIterator[tuple[RunningNode, RunningNode]]:
    """A seller, who is a payee and issued the token, and a buyer, who got sats by a push."""
    async with node_world(folder) as world:
        seller, buyer, _ = await shop_in(world, **policy)
        yield seller, buyer


async def shop_in(world: NodeWorld, **policy: Any) -> tuple[RunningNode, RunningNode, bytes]:
    sells = {"sell_price_msat": PRICE_MSAT, "sell_max_tokens": 5_000} | policy
    seller = await world.start("seller", party=Party.PAYEE, lightspeed_changes=sells)
    contract_id = await issued(seller)
    listed = {"tokens": (contract_id_text(contract_id),)}
    buyer = await world.start("buyer", party=Party.PAYER, lightspeed_changes=listed)
    await open_coloured(
        seller, buyer, contract_id, tokens=10_000, push_sat=500_000, party=Party.PAYEE
    )
    return seller, buyer, contract_id


async def buy(buyer: RunningNode, tokens: int, *, limit: int = 10**9, seconds: float = 60) -> Offer:
    return await buyer.node.books.trades.buy(
        buyer.driver, tokens, max_price_msat=Msat(limit), timeout_seconds=seconds
    )


def offer_of(seller: RunningNode) -> Offer | None:
    found: Offer | None = seller.channel.state.extension_states["rgb"].holder_offer
    return found


async def test_tokens_and_sats_change_hands_at_the_sellers_price(tmp_path: Path) -> None:
    async with shop(tmp_path) as (seller, buyer):
        before = buyer.channel.state.base.holder_msat

        paid = await buy(buyer, 2_000, limit=2_000 * PRICE_MSAT)

        assert (paid.tokens, paid.price_msat) == (2_000, 2_000 * PRICE_MSAT)
        await eventually(lambda: seller.settled() and buyer.settled())
        assert tokens_of(buyer) == (2_000, 8_000)
        assert tokens_of(seller) == (8_000, 2_000)
        assert before - buyer.channel.state.base.holder_msat == paid.price_msat
        assert offer_of(seller) is None


async def test_tokens_that_were_bought_pay_for_calls(tmp_path: Path) -> None:
    """The whole of it without a transaction on chain between the channel's opening and its end."""
    async with node_world(tmp_path) as world:
        seller, buyer, _ = await shop_in(world)
        await buy(buyer, 100)
        pair = BookPair(world, buyer, seller)
        secret = await pair.open_book(scheme=Scheme.SEALS, lock_amount_sat=None, lock_tokens=10)
        await pair.ledger.redeem(secret.credential(1, 30))
        await buyer.node.close_book(secret.book.book_id)
        await pair.closed(secret)
        assert tokens_of(buyer) == (70, 9_930)


@pytest.mark.parametrize(
    ("tokens", "limit", "text"),
    [
        (10, 10 * PRICE_MSAT - 1, "asks 15000 msat for 10 tokens"),
        (5_001, 10**12, "at most 5000 tokens"),
    ],
)
async def test_what_one_side_does_not_want_does_not_happen(
    tmp_path: Path, tokens: int, limit: int, text: str
) -> None:
    async with shop(tmp_path) as (seller, buyer):
        with pytest.raises(DealRefused, match=text):
            await buy(buyer, tokens, limit=limit)
        assert tokens_of(seller) == (10_000, 0)
        await buy(buyer, 10)
        assert tokens_of(buyer) == (10, 9_990)


async def test_nothing_is_for_sale_without_a_price(tmp_path: Path) -> None:
    async with shop(tmp_path, sell_price_msat=0) as (_, buyer):
        with pytest.raises(DealRefused, match="no tokens are for sale"):
            await buy(buyer, 1)


async def test_more_than_there_is_cannot_be_bought(tmp_path: Path) -> None:
    async with shop(tmp_path, sell_max_tokens=0) as (_, buyer):
        with pytest.raises(DealRefused, match="at most 10000 tokens"):
            await buy(buyer, 10_001)


async def test_price_above_the_buyers_sats_is_refused_by_its_own_channel(tmp_path: Path) -> None:
    async with shop(tmp_path, sell_price_msat=100_000) as (seller, buyer):
        with pytest.raises(ChannelRefusal):
            await buy(buyer, 5_000, limit=10**12)
        assert tokens_of(seller) == (10_000, 0)
        assert buyer.driver.phase is seller.driver.phase is Phase.NORMAL


async def test_seller_that_offers_something_else_sells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price would fit; fewer tokens would come."""
    async with shop(tmp_path) as (seller, buyer):
        receive = buyer.driver.receive

        async def changed(peer: Any, message: Any) -> None:
            if isinstance(message, RgbOffer):
                message = RgbOffer(
                    channel_id=message.channel_id,
                    offer=message.offer,
                    tokens=message.tokens - 1,
                    price_msat=message.price_msat,
                )
            await receive(peer, message)

        monkeypatch.setattr(buyer.driver, "receive", changed)
        with pytest.raises(DealRefused, match="offers 9 tokens instead of 10"):
            await buy(buyer, 10)
        assert tokens_of(seller) == (10_000, 0)


async def test_one_purchase_at_a_time_in_a_channel(tmp_path: Path) -> None:
    async with shop(tmp_path) as (_, buyer):
        first = asyncio.create_task(buy(buyer, 10))
        await asyncio.sleep(0)
        with pytest.raises(NodeRefusal, match="under way"):
            await buy(buyer, 10)
        await first


async def test_seller_that_is_away_is_no_endless_wait(tmp_path: Path) -> None:
    async with shop(tmp_path) as (seller, buyer):
        await seller.stop()
        await eventually(lambda: not buyer.usable())
        with pytest.raises(ChannelRefusal, match="not connected"):
            await buy(buyer, 10)


async def test_standing_offer_is_asked_back_after_a_minute(tmp_path: Path) -> None:
    """Or it would be a free option until the channel ends."""
    async with shop(tmp_path) as (seller, buyer):
        now = 1_000.0
        seller.node.books.trades._clock = lambda: now
        with pytest.raises(DealRefused):
            await buy(buyer, 10, limit=0)
        await seller.node.watch.look()
        assert offer_of(seller) is not None
        now += OFFER_SECONDS
        await seller.node.watch.look()
        await eventually(lambda: offer_of(seller) is None)
        await seller.node.watch.look()
        assert not seller.node.alarms.texts


async def test_operator_hears_of_a_buyer_that_keeps_an_offer(tmp_path: Path) -> None:
    async with shop(tmp_path) as (seller, buyer):
        now = 1_000.0
        seller.node.books.trades._clock = lambda: now
        with pytest.raises(DealRefused):
            await buy(buyer, 10, limit=0)
        await buyer.stop()
        await seller.node.watch.look()
        now += 2 * OFFER_SECONDS
        await seller.node.watch.look()
        assert any("15000 msat" in text for text in seller.node.alarms.texts)
        await buyer.start()
        await buyer.connect(seller)
        await eventually(lambda: offer_of(seller) is None)
        await eventually(lambda: not seller.node.alarms.texts)


async def test_channel_without_tokens_sells_none(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice = await world.start("alice", party=Party.PAYER)
        bob = await world.start("bob", party=Party.PAYEE)
        await world.open_channel(alice, bob)
        with pytest.raises(NodeRefusal, match="holds no tokens"):
            await buy(alice, 1)


def test_policy_sells_what_there_is_and_no_more_at_a_time_than_it_says() -> None:
    policy = SalePolicy(price_msat=Msat(1), max_tokens=10)
    assert policy.refusal(10, available=10) is None
    assert policy.refusal(11, available=100) is not None
    assert policy.refusal(6, available=5) is not None
    assert SalePolicy(price_msat=Msat(1)).refusal(100, available=100) is None
    assert SalePolicy(max_tokens=10).refusal(1, available=100) == "no tokens are for sale here"
