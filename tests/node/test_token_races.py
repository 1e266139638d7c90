"""Tokens while two things happen at once: the later one counts, and nobody's coin is freed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, OutPoint, Tx, TxOut, txid_from_hex
from lightspeed.chain import BroadcastRefused
from lightspeed.node.errors import ConsignmentRefused, InsufficientFunds, NodeRefusal
from lightspeed.node.tokens import Sent
from lightspeed.node.tokens.fate import Fate, fate_of
from lightspeed.rgb import AssetSpec, GraphSeal
from lightspeed.units import Sat
from rgb_proxy import RgbProxy
from token_world import TokenParty, TokenWorld, token_world

SPEC = AssetSpec(ticker="CALL", name="Calls")
PRICE = Sat(20_000)


@dataclass
class Market:
    """Alice holds 1,000 tokens; bob has 50,000 sat in one coin."""

    world: TokenWorld
    alice: TokenParty
    bob: TokenParty
    contract_id: bytes
    proxy: RgbProxy

    async def send(self, text: str, *, patience_seconds: float = 0.0) -> Sent:
        return await self.alice.tokens.sending.send(
            text, contract_id=self.contract_id, patience_seconds=patience_seconds
        )

    async def reserved(self) -> int:
        """Of alice's tokens."""
        return (await self.alice.tokens.balance(self.contract_id)).reserved


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    proxy = RgbProxy()
    async with token_world(tmp_path) as world, proxy.serving():
        alice, bob = world.party("alice"), world.party("bob")
        await alice.fund(100_000)
        await bob.fund(50_000)
        contract_id = await alice.tokens.issue(SPEC, 1_000)
        await world.mine()
        yield Market(world, alice, bob, contract_id, proxy)


# --- sending ------------------------------------------------------------------------------------


async def test_transfer_is_not_cancelled_while_it_is_posted(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = market.alice.tokens.sending
    invoice = await market.bob.tokens.receiving.invoice(
        amount=300, endpoints=(market.proxy.endpoint,)
    )
    posting, go_on, post = asyncio.Event(), asyncio.Event(), sending._proxies.post

    async def post_late(*what: object) -> None:
        posting.set()
        await go_on.wait()
        await post(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(sending._proxies, "post", post_late)
    sent = asyncio.create_task(market.send(invoice.text))
    await posting.wait()
    (transfer,) = sending.all()
    with pytest.raises(NodeRefusal, match="is being posted"):
        await sending.cancel(txid_from_hex(transfer.txid))
    go_on.set()

    assert (await sent).transfer.state == "waiting"
    assert await market.reserved() == 1_000
    assert (await sending.cancel(txid_from_hex(transfer.txid))).state == "failed"
    assert await market.reserved() == 0


async def test_transfer_that_was_refused_is_not_published_by_the_background(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its coins are free: in the mempool it would be in the way of whoever got them."""
    invoice = await market.bob.tokens.receiving.invoice(
        amount=300, endpoints=(market.proxy.endpoint,)
    )
    market.proxy.acks[invoice.invoice.recipient_id] = True
    chain = market.world.chain
    broadcast = chain.broadcast
    background: list[asyncio.Task[None]] = []

    async def refuse_late(tx: Tx) -> None:
        if background:
            await broadcast(tx)
            return
        background.append(asyncio.create_task(market.alice.tokens.look()))
        await asyncio.wait(background)
        raise BroadcastRefused("mempool full")

    monkeypatch.setattr(chain, "broadcast", refuse_late)
    sent = await market.send(invoice.text, patience_seconds=30)
    await asyncio.gather(*background)

    assert (sent.transfer.state, sent.transfer.reason) == ("failed", "mempool full")
    assert market.world.regtest.transaction(txid_from_hex(sent.transfer.txid)) is None


# --- receiving ----------------------------------------------------------------------------------


async def test_refusal_does_not_undo_what_was_taken_in_meanwhile(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving = market.bob.tokens.receiving
    invoice = await receiving.invoice(amount=300, endpoints=(market.proxy.endpoint,))
    recipient_id = invoice.invoice.recipient_id
    sent = await market.send(invoice.text)
    posted = market.proxy.posted[recipient_id]
    market.proxy.post(replace(posted, consignment=b"nonsense"))
    accept = receiving.accept

    async def accept_after_a_file(data: bytes) -> object:
        await accept(sent.consignment)
        return await accept(data)

    monkeypatch.setattr(receiving, "accept", accept_after_a_file)
    await market.bob.tokens.look()

    (record,) = receiving.all()
    assert (record.received, record.txid, record.reason) == (300, sent.transfer.txid, None)
    assert market.proxy.acks[recipient_id]


async def test_word_to_a_payer_does_not_undo_what_was_taken_in_meanwhile(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving = market.bob.tokens.receiving
    carol = market.world.party("carol")
    await carol.fund(100_000)
    other = await carol.tokens.issue(SPEC, 1_000)
    await market.world.mine()
    invoice = await receiving.invoice(amount=300, endpoints=(market.proxy.endpoint,))
    await market.send(invoice.text)
    first = market.proxy.posted[invoice.invoice.recipient_id]
    second = await carol.tokens.sending.send(invoice.text, contract_id=other, patience_seconds=0.0)
    market.proxy.post(first)
    acknowledge = receiving._proxies.acknowledge

    async def acknowledge_after_a_file(*to: str, good: bool) -> None:
        await receiving.accept(second.consignment)
        await acknowledge(*to, good=good)

    monkeypatch.setattr(receiving._proxies, "acknowledge", acknowledge_after_a_file)
    await market.bob.tokens.look()

    (record,) = receiving.all()
    assert (record.told, record.txid) == (True, second.transfer.txid)


async def test_coin_made_for_a_seal_is_nobody_elses_while_it_is_published(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a broadcast may come after the block."""
    chain, wallet = market.world.chain, market.bob.wallet
    broadcast = chain.broadcast

    async def answer_late(tx: Tx) -> None:
        await broadcast(tx)
        await market.world.mine()
        with pytest.raises(InsufficientFunds):
            await wallet.fund(wallet.new_script(), Sat(49_300), feerate_per_kw=FEE_RATE_FLOOR)

    monkeypatch.setattr(chain, "broadcast", answer_late)
    record = await market.bob.tokens.receiving.invoice(blinded=True)
    assert record.graph_seal is not None
    assert record.graph_seal.outpoint(b"") in wallet.unspent()
    assert not wallet.reserved() & wallet.unspent()


# --- deals --------------------------------------------------------------------------------------


async def test_offer_that_ends_while_the_background_waits_for_its_turn_is_no_fault(
    market: Market,
) -> None:
    tokens = market.alice.tokens
    offer = await tokens.selling.sell(market.contract_id, 300, price_sat=PRICE)
    market.world.now += 3_601
    async with tokens.alone:
        withdrawn = asyncio.create_task(tokens.selling.withdraw(offer.offer_id))
        await asyncio.sleep(0)
        background = asyncio.create_task(tokens.look())
        await asyncio.sleep(0)
    assert (await withdrawn).state == "cancelled"
    await background


async def _ordered(market: Market) -> tuple[bytes, OutPoint]:
    """Of bob's order: txid, and its coin."""
    offer = await market.alice.tokens.selling.sell(market.contract_id, 300, price_sat=PRICE)
    (coin,) = market.bob.wallet.unspent()
    ordered = await market.bob.tokens.buying.buy(offer.text(), max_price_sat=PRICE)
    await market.alice.tokens.selling.withdraw(offer.offer_id)
    return txid_from_hex(ordered.purchase.txid), coin


async def test_coin_of_an_order_that_is_over_is_not_spent_by_taking_it_back(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    txid, coin = await _ordered(market)
    script = market.alice.wallet.new_script()
    await market.alice.transfer(market.contract_id, (1, 1_000), outputs=[TxOut(Sat(1_000), script)])
    await market.world.mine(6)
    chain, wallet = market.world.chain, market.bob.wallet
    fee_rate = chain.fee_rate

    async def fee_rate_late(target_blocks: int) -> FeeRate:
        await market.bob.tokens.look()
        await wallet.fund(wallet.new_script(), Sat(30_000), feerate_per_kw=FEE_RATE_FLOOR)
        return await fee_rate(target_blocks)

    monkeypatch.setattr(chain, "fee_rate", fee_rate_late)
    with pytest.raises(NodeRefusal, match="over"):
        await market.bob.tokens.buying.cancel(txid)
    assert market.world.regtest.outspend(coin) is None
    assert coin in wallet.reserved()


async def test_coin_that_taking_an_order_back_has_freed_is_not_freed_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds tokens, and is in another deal by then."""
    world, alice, poor = market.world, market.alice, market.world.party("poor")
    await alice.fund(100_000)
    coin, _ = await poor.fund(13_000, 13_000)
    offer = await alice.tokens.selling.sell(market.contract_id, 300, price_sat=PRICE)
    ordered = await poor.tokens.buying.buy(offer.text(), max_price_sat=PRICE)
    await alice.tokens.selling.withdraw(offer.offer_id)
    built = await alice.transfer(market.contract_id, (GraphSeal(coin.txid, coin.vout, 9), 5))
    poor.stash.add(built.coloured.witness)
    await world.mine(6)

    async def fate_late(*of: Any, safe_depth: int) -> Fate:
        monkeypatch.undo()
        found = await fate_of(*of, safe_depth=safe_depth)
        await poor.tokens.buying.cancel(txid_from_hex(ordered.purchase.txid))
        await poor.tokens.selling.sell(market.contract_id, 5, price_sat=PRICE)
        return found

    monkeypatch.setattr("lightspeed.node.tokens.buying.fate_of", fate_late)
    await poor.tokens.look()
    assert not poor.tokens.buying.busy
    assert coin in poor.wallet.reserved()


async def test_order_that_cannot_be_kept_reserves_nothing(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConsignmentRefused("the coin holds tokens of another contract")

    monkeypatch.setattr(market.bob.stash, "take", refuse)
    with pytest.raises(ConsignmentRefused):
        await _ordered(market)
    assert not market.bob.wallet.reserved()
