"""Tokens against sats in one transaction: both change hands or neither, whoever cheats."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    FeeRate,
    OutPoint,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    p2wsh,
    txid_from_hex,
)
from lightspeed.chain import BroadcastRefused
from lightspeed.node.errors import (
    ConsignmentRefused,
    DealRefused,
    InsufficientFunds,
    NodeRefusal,
    NotFound,
)
from lightspeed.node.tokens.buying import Ordered
from lightspeed.node.tokens.deals import Offer, Order
from lightspeed.rgb import (
    ASSET_OWNER,
    OPRET_PLACEHOLDER,
    AssetSpec,
    Consignment,
    Destination,
    GraphSeal,
    InvalidConsignment,
    NotEnoughTokens,
    Opout,
    WitnessBundle,
    colour,
)
from lightspeed.units import Sat
from token_world import TokenParty, TokenWorld, token_world

SPEC = AssetSpec(ticker="CALL", name="Calls")
PRICE = Sat(20_000)
ELSEWHERE = p2wsh(b"\x51")


@dataclass
class Market:
    world: TokenWorld
    seller: TokenParty
    buyer: TokenParty
    contract_id: bytes

    async def offer(self, amount: int = 300) -> Offer:
        return await self.seller.tokens.selling.sell(self.contract_id, amount, price_sat=PRICE)

    async def order(self, offer: Offer) -> Ordered:
        return await self.buyer.tokens.buying.buy(offer.text(), max_price_sat=PRICE)

    async def tokens(self) -> list[int]:
        """Of seller and buyer, settled."""
        return [
            (await party.tokens.balance(self.contract_id)).settled
            for party in (self.seller, self.buyer)
            if self.contract_id in party.stash.contracts
        ]

    def sats(self) -> list[int]:
        return [party.wallet.balance().confirmed_sat for party in (self.seller, self.buyer)]


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    async with token_world(tmp_path) as world:
        seller, buyer = world.party("seller"), world.party("buyer")
        await seller.fund(100_000)
        await buyer.fund(60_000)
        contract_id = await seller.tokens.issue(SPEC, 1_000)
        await world.mine()
        yield Market(world, seller, buyer, contract_id)


@pytest.mark.parametrize("amount", [300, 1_000])
async def test_both_change_hands(market: Market, amount: int) -> None:
    before = market.sats()
    offer = await market.offer(amount)
    assert (await market.seller.tokens.balance(market.contract_id)).reserved == 1_000
    with pytest.raises(NotEnoughTokens, match="0 can be spent and 1000 are reserved for"):
        await market.offer(1)
    ordered = await market.order(offer)
    market.seller.reopen()
    market.buyer.reopen()
    transfer = await market.seller.tokens.selling.complete(ordered.order.text())
    assert (transfer.purpose, transfer.txid) == ("sold", ordered.purchase.txid)
    await market.world.mine()
    assert await market.tokens() == [1_000 - amount, amount]
    after = market.sats()
    assert after[0] == before[0] + PRICE
    assert after[1] < before[1] - PRICE
    await market.world.mine(6)
    for party in (market.seller, market.buyer):
        await party.tokens.look()
        assert not party.tokens.selling.busy
        assert not party.tokens.buying.busy
    with pytest.raises(NodeRefusal, match="over"):
        await market.seller.tokens.selling.complete(ordered.order.text())

    back = await market.seller.tokens.receiving.invoice(contract_id=market.contract_id)
    sent = await market.buyer.tokens.sending.send(back.text, amount=amount)
    await market.seller.tokens.receiving.accept(sent.consignment)
    await market.world.mine()
    assert await market.tokens() == [1_000, 0]


# --- a buyer that cheats ------------------------------------------------------------------------


def _order(market: Market, ordered: Ordered, tx: Tx, bundle: WitnessBundle) -> str:
    return Order.of(ordered.order.offer_id, tx, bundle).text()


async def _refused(market: Market, text: str, match: str) -> None:
    with pytest.raises((DealRefused, InvalidConsignment), match=match):
        await market.seller.tokens.selling.complete(text)
    assert market.seller.tokens.selling.busy  # the offer stands


def _output(vout: int, output: TxOut) -> Callable[[Tx], Tx]:
    def changed(tx: Tx) -> Tx:
        outputs = list(tx.outputs)
        outputs[vout] = output
        return replace(tx, outputs=tuple(outputs))

    return changed


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_output(2, TxOut(Sat(PRICE - 1), ELSEWHERE)), "output 2"),
        (
            lambda tx: _output(2, replace(tx.outputs[2], value=Sat(tx.outputs[2].value - 1)))(tx),
            "output 2",
        ),
        (_output(3, TxOut(Sat(1_000), ELSEWHERE)), "output 3"),
        (lambda tx: replace(tx, outputs=tx.outputs[:3]), "output 3"),
        (lambda tx: replace(tx, locktime=500_000), "held back"),
        (lambda tx: replace(tx, version=3), "held back"),
        (
            lambda tx: replace(tx, inputs=(replace(tx.inputs[0], sequence=9), *tx.inputs[1:])),
            "held back",
        ),
        (lambda tx: replace(tx, inputs=tx.inputs[1:]), "coins that were offered"),
        (lambda tx: replace(tx, inputs=(*tx.inputs, tx.inputs[0])), "coins that were offered"),
        (lambda tx: replace(tx, inputs=(*tx.inputs, TxIn(OutPoint(bytes(32), 0)))), "the chain"),
        (lambda tx: _output(4, TxOut(Sat(tx.outputs[4].value + 5_000), ELSEWHERE))(tx), "fee"),
        (_output(0, OPRET_PLACEHOLDER), "holds something else"),
        (
            lambda tx: _output(0, replace(OPRET_PLACEHOLDER, script=b"\x6a"))(tx),
            "holds something else",
        ),
    ],
)
async def test_seller_signs_nothing_but_what_it_offered(
    market: Market, change: Callable[[Tx], Tx], match: str
) -> None:
    """The order's proof follows the transaction, so that only the change itself is wrong."""
    ordered = await market.order(await market.offer())
    tx, bundle = ordered.order.parts()
    cheat = change(tx)
    text = _order(market, ordered, cheat, replace(bundle, witness=cheat))
    await _refused(market, text, match)
    assert (await market.seller.tokens.selling.complete(ordered.order.text())).amount == 300


async def test_seller_does_not_spend_another_coin_of_its_own(market: Market) -> None:
    (coin,) = await market.seller.fund(70_000)
    ordered = await market.order(await market.offer())
    tx, bundle = ordered.order.parts()
    cheat = replace(tx, inputs=(*tx.inputs, TxIn(coin, sequence=tx.inputs[0].sequence)))
    text = _order(market, ordered, cheat, replace(bundle, witness=cheat))
    await _refused(market, text, "coins that were offered")


async def _recoloured(
    market: Market, offer: Offer, ordered: Ordered, *allocations: tuple[Destination, int]
) -> str:
    """An order whose transition assigns otherwise, committed to as it should be, and signed."""
    tx, _ = ordered.order.parts()
    draft = replace(tx, outputs=(OPRET_PLACEHOLDER, *tx.outputs[1:]))
    inputs = [token for token, _ in offer.parts().tokens]
    coloured = colour(draft, contract_id=market.contract_id, inputs=inputs, allocations=allocations)
    return _order(market, ordered, coloured.tx, coloured.witness)


async def test_seller_gets_the_rest_of_its_tokens_back(market: Market) -> None:
    offer = await market.offer()
    ordered = await market.order(offer)
    seal = offer.parts().change_seal
    assert seal is not None
    mine = GraphSeal(None, 1, 5)
    for allocations in (
        [(mine, 1_000)],
        [(mine, 301), (seal, 699)],
        [(mine, 300), (GraphSeal(None, 3, 9), 700)],
    ):
        text = await _recoloured(market, offer, ordered, *allocations)
        await _refused(market, text, "rest back")
    tx, bundle = ordered.order.parts()
    await _refused(market, _order(market, ordered, tx, replace(bundle, witness=bytes(32))), "prove")


async def test_buyer_does_not_freeze_a_coin_of_the_seller(market: Market) -> None:
    """By giving it one of the tokens that it buys."""
    (coin,) = await market.seller.fund(70_000)
    offer = await market.offer()
    ordered = await market.order(offer)
    seal = offer.parts().change_seal
    assert seal is not None
    text = await _recoloured(
        market,
        offer,
        ordered,
        (GraphSeal(None, 1, 5), 299),
        (GraphSeal(coin.txid, coin.vout, 1), 1),
        (seal, 700),
    )
    tx, bundle = Order.read(text).parts()
    spends = market.buyer.wallet.own_inputs(tx)
    prevouts = []
    for txin in tx.inputs:
        info = market.world.regtest.transaction(txin.outpoint.txid)
        assert info is not None
        prevouts.append(info.tx.outputs[txin.outpoint.vout])
    digest = TxDigest(tx, tuple(prevouts))
    for index, txin in enumerate(tx.inputs):
        for spend in spends:
            if spend.outpoint == txin.outpoint:
                tx = tx.with_witness(index, spend.sign(digest, index))
    await market.seller.tokens.selling.complete(_order(market, ordered, tx, bundle))
    assert not market.seller.stash.tokens_on(coin)
    assert market.seller.wallet.spendable_sat() >= 70_000
    await market.world.mine()
    assert (await market.tokens())[0] == 700


async def test_order_of_a_buyer_that_spent_its_coin_does_nothing(market: Market) -> None:
    ordered = await market.order(await market.offer())
    txid = txid_from_hex(ordered.purchase.txid)
    with pytest.raises(NotFound):
        await market.buyer.tokens.buying.cancel(bytes(32))
    assert (await market.buyer.tokens.buying.cancel(txid)).state == "cancelled"
    await _refused(market, ordered.order.text(), "is spent")
    await market.world.mine()
    assert await market.tokens() == [1_000, 0]
    assert market.buyer.wallet.spendable_sat() > 59_000
    with pytest.raises(NodeRefusal):
        await market.buyer.tokens.buying.cancel(txid)


async def test_order_that_the_seller_published_is_not_taken_back(market: Market) -> None:
    ordered = await market.order(await market.offer())
    await market.seller.tokens.selling.complete(ordered.order.text())
    with pytest.raises(NodeRefusal, match="published"):
        await market.buyer.tokens.buying.cancel(txid_from_hex(ordered.purchase.txid))
    (sold,) = market.seller.tokens.sending.all()
    with pytest.raises(NodeRefusal, match="no invoice was paid"):
        market.seller.tokens.sending.consignment(txid_from_hex(sold.txid))
    await market.world.mine()
    assert await market.tokens() == [700, 300]


@pytest.mark.parametrize("coins", [(50_000,), (13_000, 13_000)])
async def test_taking_an_order_back_burns_no_tokens_that_came_to_its_coins(
    market: Market, coins: tuple[int, ...]
) -> None:
    """Another of its coins does as well, if there is one."""
    world, seller, poor = market.world, market.seller, market.world.party("poor")
    await seller.fund(100_000)
    coin, *others = await poor.fund(*coins)
    offer = await market.offer(300)
    ordered = await poor.tokens.buying.buy(offer.text(), max_price_sat=PRICE)
    assert {coin, *others} < {txin.outpoint for txin in ordered.purchase.tx.inputs}
    await seller.tokens.selling.withdraw(offer.offer_id)
    built = await seller.transfer(market.contract_id, (GraphSeal(coin.txid, coin.vout, 9), 5))
    poor.stash.add(built.coloured.witness)
    await world.mine()
    txid = txid_from_hex(ordered.purchase.txid)
    if others:
        assert (await poor.tokens.buying.cancel(txid)).state == "cancelled"
    else:
        with pytest.raises(NodeRefusal, match="tokens"):
            await poor.tokens.buying.cancel(txid)
    await world.mine()
    assert not poor.wallet.unspent() & set(others)
    assert await poor.balance(market.contract_id) == 5


async def test_order_that_would_wait_for_weeks_is_refused(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is mined its buyer can take it back, if the price has changed."""
    ordered = await market.order(await market.offer())

    async def crowded(_: int) -> FeeRate:
        return FeeRate(3 * FEE_RATE_FLOOR)

    monkeypatch.setattr(market.world.chain, "fee_rate", crowded)
    await _refused(market, ordered.order.text(), "too low a fee")
    monkeypatch.undo()
    await market.seller.tokens.selling.complete(ordered.order.text())


async def test_coin_that_is_not_mined_ties_up_no_tokens(market: Market) -> None:
    """Its transaction may be replaced: then nothing spends it, and the deal would never end."""
    offer = await market.offer()
    ordered = await market.order(offer)
    unmined = market.world.regtest.fund(ELSEWHERE, Sat(60_000)).outpoint(0)
    tx, bundle = ordered.order.parts()
    inputs = tuple(replace(txin, outpoint=unmined) if txin.witness else txin for txin in tx.inputs)
    text = _order(market, ordered, replace(tx, inputs=inputs), bundle)
    await _refused(market, text, "is it mined")

    buyer = market.buyer.wallet
    buyer.release(ordered.purchase.tx)
    await buyer.send(
        ELSEWHERE, Sat(10_000), feerate_per_kw=FEE_RATE_FLOOR, chain=market.world.chain
    )
    assert buyer.spendable_sat() > PRICE
    with pytest.raises(InsufficientFunds):
        await market.order(offer)


async def test_unsigned_or_badly_signed_order_gives_nothing_away(market: Market) -> None:
    ordered = await market.order(await market.offer())
    tx, bundle = ordered.order.parts()
    bare = replace(tx, inputs=tuple(replace(txin, witness=()) for txin in tx.inputs))
    await _refused(market, _order(market, ordered, bare, bundle), "not signed")
    index = next(n for n, txin in enumerate(tx.inputs) if txin.witness)
    bad = tx.with_witness(index, (bytes(64),))
    with pytest.raises(BroadcastRefused):
        await market.seller.tokens.selling.complete(_order(market, ordered, bad, bundle))
    assert await market.tokens() == [1_000, 0]
    (transfer,) = market.seller.tokens.sending.all()
    assert transfer.state == "failed"
    await market.buyer.tokens.buying.cancel(txid_from_hex(ordered.purchase.txid))
    await market.world.mine()
    again = await market.order(await market.offer())
    await market.seller.tokens.selling.complete(again.order.text())


@pytest.mark.parametrize("comes", [False, True])
async def test_tokens_on_their_way_to_the_coin_hold_up_no_sale_unless_they_come(
    market: Market, comes: bool
) -> None:
    """Who has an invoice of ours may show a payment for its coin, and publish it or not."""
    seller, buyer = market.seller, market.buyer
    sale = await market.offer(300)
    await seller.tokens.selling.complete((await market.order(sale)).order.text())
    await market.world.mine()
    offer = await market.offer(700)
    ordered = await market.order(offer)
    (coin,) = offer.parts().outpoints
    seal = GraphSeal(coin.txid, coin.vout, 9)
    await buyer.fund(20_000)
    built = await buyer.builder.transfer(
        market.contract_id, [(seal.conceal(), 1)], feerate_per_kw=FEE_RATE_FLOOR
    )
    buyer.stash.add(built.coloured.witness)
    opout = Opout(built.coloured.opid, ASSET_OWNER, 0)
    proof = buyer.stash.consignment(market.contract_id, [opout])
    seller.stash.take(proof, [opout], seals=[seal])
    assert len(seller.stash.tokens_on(coin)) == 2
    if comes:
        await buyer.publish(built.tx)
        await _refused(market, ordered.order.text(), "other tokens than were offered")
    else:
        await seller.tokens.selling.complete(ordered.order.text())
        await market.world.mine()
        assert await market.tokens() == [0, 1_000]


# --- a seller that cheats -----------------------------------------------------------------------


def _changed(offer: Offer, **values: object) -> str:
    return json.dumps(json.loads(offer.text()) | values)


async def _not_bought(market: Market, text: str, match: str | None = None) -> None:
    with pytest.raises((DealRefused, InvalidConsignment, ConsignmentRefused), match=match):
        await market.buyer.tokens.buying.buy(text, max_price_sat=PRICE)
    assert not market.buyer.wallet.reserved()
    assert market.buyer.tokens.buying.all() == []


async def test_offer_that_does_not_prove_its_tokens_is_not_bought(market: Market) -> None:
    offer = await market.offer()
    contract = market.seller.stash.history(market.contract_id).contract()
    introduction = base64.b64encode(contract.serialize()).decode()
    (item,) = offer.inputs
    data = base64.b64decode(offer.consignment)
    genesis = Consignment.parse(data).genesis
    inflated = Consignment(transfer=True, genesis=replace(genesis, timestamp=5))
    for values in (
        {"consignment": ""},
        {"consignment": "?"},
        {"consignment": introduction},
        {"consignment": base64.b64encode(data[:-1]).decode()},
        {"consignment": base64.b64encode(inflated.serialize()).decode()},
        {"inputs": [item | {"amount": 2_000}], "amount": 1_300},
        {"inputs": [item, item]},
        {"inputs": [item | {"vout": 5}]},
        {"inputs": [item | {"opid": "00" * 32}]},
        {"inputs": []},
        {"amount": 1_001},
        {"amount": 1_000},
        {"amount": -1},
        {"amount": True},
        {"change_seal": ""},
        {"change_seal": "utxob:x"},
        {"payout_script": "zz"},
        {"kind": "something"},
        {"extra": 1},
        {"expires_at": 5},
        {"price_sat": PRICE + 1},
    ):
        await _not_bought(market, _changed(offer, **values))
    for text in ("", "[]", "5", "[" * 100_000):
        await _not_bought(market, text)
    with pytest.raises(DealRefused, match="another contract"):
        await market.buyer.tokens.buying.buy(
            offer.text(), max_price_sat=PRICE, contract_id=bytes(32)
        )


@pytest.mark.parametrize("member", ["payout_script", "change_script"])
async def test_seller_does_not_make_the_buyer_pay_for_its_data(market: Market, member: str) -> None:
    """Whoever buys pays the fee of the whole transaction."""
    offer = await market.offer()
    data = b"\x6a\x4e" + (60_000).to_bytes(4, "little") + bytes(60_000)
    await _not_bought(market, _changed(offer, **{member: data.hex()}), "not P2TR")


async def test_seller_does_not_make_the_buyer_pay_for_its_coins(market: Market) -> None:
    offer = await market.offer()
    (item,) = offer.inputs
    items = [item | {"vout": item["vout"] + more} for more in range(17)]
    await _not_bought(market, _changed(offer, inputs=items), "17 coins")


async def test_tokens_of_our_own_are_not_bought(market: Market) -> None:
    """Taking the order back would spend their coin; also of an offer that a stranger wrote."""
    offer = await market.offer()
    with pytest.raises(DealRefused, match="our own"):
        await market.seller.tokens.buying.buy(offer.text(), max_price_sat=PRICE)
    assert market.seller.tokens.buying.all() == []
    await market.seller.tokens.selling.complete((await market.order(offer)).order.text())
    await market.world.mine()
    await market.buyer.fund(60_000)
    theirs = await market.buyer.tokens.selling.sell(market.contract_id, 300, price_sat=PRICE)
    await market.buyer.tokens.selling.withdraw(theirs.offer_id)
    forged = _changed(theirs, payout_script=offer.payout_script)
    with pytest.raises(DealRefused, match="our own"):
        await market.buyer.tokens.buying.buy(forged, max_price_sat=PRICE)
    assert market.buyer.tokens.buying.all()[1:] == []


async def test_tokens_that_were_spent_are_not_bought(market: Market) -> None:
    offer = await market.offer()
    await market.seller.tokens.selling.withdraw(offer.offer_id)
    await market.seller.transfer(
        market.contract_id,
        (1, 1_000),
        outputs=[TxOut(Sat(1_000), market.seller.wallet.new_script())],
    )
    await _not_bought(market, offer.text(), "is spent")
    await market.world.mine()
    await _not_bought(market, offer.text(), "is spent")


async def test_seller_that_spends_its_tokens_after_the_order_gets_nothing(market: Market) -> None:
    offer = await market.offer()
    ordered = await market.order(offer)
    await market.seller.tokens.selling.withdraw(offer.offer_id)
    with pytest.raises(NodeRefusal, match="over"):
        await market.seller.tokens.selling.complete(ordered.order.text())
    with pytest.raises(NodeRefusal, match="cancelled"):
        await market.seller.tokens.selling.withdraw(offer.offer_id)
    await market.seller.transfer(
        market.contract_id,
        (1, 1_000),
        outputs=[TxOut(Sat(1_000), market.seller.wallet.new_script())],
    )
    await market.world.mine(6)
    await market.buyer.tokens.look()
    (purchase,) = market.buyer.tokens.buying.all()
    assert purchase.state == "cancelled"
    assert market.buyer.wallet.spendable_sat() == 60_000
    assert await market.tokens() == [1_000, 0]


async def test_offer_ends_with_its_time(market: Market) -> None:
    offer = await market.offer()
    ordered = await market.order(offer)
    market.world.now += 3_601
    await _not_bought_any_more(market, offer)
    with pytest.raises(NodeRefusal, match="over"):
        await market.seller.tokens.selling.complete(ordered.order.text())
    await market.seller.tokens.look()
    assert not market.seller.tokens.selling.busy
    assert (await market.seller.tokens.balance(market.contract_id)).reserved == 0


async def _not_bought_any_more(market: Market, offer: Offer) -> None:
    with pytest.raises(DealRefused, match="expired"):
        await market.order(offer)


async def test_tokens_and_coins_of_deals_stay_reserved_over_a_restart(market: Market) -> None:
    await market.order(await market.offer())
    market.seller.reopen()
    market.buyer.reopen()
    with pytest.raises(NotEnoughTokens):
        await market.offer(1)
    assert market.buyer.wallet.spendable_sat() == 0


async def test_price_that_leaves_no_output_is_refused(market: Market) -> None:
    for price in (0, 100):
        with pytest.raises(NodeRefusal, match="dust"):
            await market.seller.tokens.selling.sell(market.contract_id, 300, price_sat=Sat(price))
    with pytest.raises(NotFound):
        await market.seller.tokens.selling.withdraw("00" * 16)
