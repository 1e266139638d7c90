"""Buying tokens on chain: an offer, checked against the chain, and the order for it.

The buyer makes the transaction and the transition that it commits to, so that nothing can be
withheld from it, and signs its own coins. From then on the seller may publish, until a coin of
the buyer's is spent elsewhere.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lightspeed.bitcoin import (
    P2TR_KEY_PATH_WITNESS_WEIGHT,
    OutPoint,
    OutputType,
    Tx,
    TxDigest,
    TxOut,
    output_type,
    txid_from_hex,
    txid_hex,
)
from lightspeed.chain import Chain
from lightspeed.channel import Spend, sweep_transaction
from lightspeed.node.errors import DealRefused, NodeRefusal, NotFound
from lightspeed.node.proofs import check_nothing_burns
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.building import TOKEN_OUTPUT_SAT, Builder, new_blinding
from lightspeed.node.tokens.deals import Offer, OfferParts, Order
from lightspeed.node.tokens.fate import Fate, fate_of
from lightspeed.node.tokens.trades import (
    BUYER_VOUT,
    DEAL_SEQUENCE,
    FEE_TARGET_BLOCKS,
    MAX_SOLD_COINS,
    TOKEN_PURCHASE_TABLE,
    DealState,
    Purchase,
    seller_sat,
    unspent_output,
)
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import Allocation, Destination, GraphSeal, WitnessBundle, colour
from lightspeed.units import Sat

__all__ = ["Buying", "Ordered"]

_CANCEL_TARGET_BLOCKS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """What is bought, and the order for the seller."""

    purchase: Purchase
    order: Order


class Buying:
    """All orders of the node. `alone` is held while coins are chosen."""

    def __init__(
        self,
        *,
        store: NodeStore,
        stash: Stash,
        wallet: Wallet,
        chain: Chain,
        builder: Builder,
        alone: asyncio.Lock,
        minimum_depth: int,
        safe_depth: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._stash = stash
        self._wallet = wallet
        self._chain = chain
        self._builder = builder
        self._alone = alone
        self._minimum_depth = minimum_depth
        self._safe_depth = safe_depth
        self._clock = clock

    def all(self) -> list[Purchase]:
        """The oldest first."""
        found = [Purchase.load(value) for _, value in self._store.scan(TOKEN_PURCHASE_TABLE)]
        return sorted(found, key=lambda each: (each.created_at, each.txid))

    def _get(self, txid: bytes) -> Purchase:
        """Raises `NotFound`."""
        data = self._store.get(TOKEN_PURCHASE_TABLE, txid)
        if data is None:
            raise NotFound("no order with this transaction")
        return Purchase.load(data)

    @property
    def busy(self) -> bool:
        """Is there an order that is not over?"""
        return any(purchase.state == DealState.OPEN for purchase in self.all())

    async def look(self) -> None:
        """See what became of orders."""
        for purchase in self.all():
            if purchase.state == DealState.OPEN:
                await self._see(purchase)

    async def buy(
        self, text: str, *, max_price_sat: Sat, contract_id: bytes | None = None
    ) -> Ordered:
        """Check an offer against the chain and order it: from now on the seller may take it.

        Raises `DealRefused`, `InvalidConsignment`, `ConsignmentRefused`, `InsufficientFunds`.
        """
        offer = Offer.read(text)
        parts = offer.parts()
        if contract_id not in (None, parts.contract_id):
            raise DealRefused("the offer is of another contract")
        if offer.price_sat > max_price_sat:
            raise DealRefused(f"the offer costs {offer.price_sat} sat")
        if offer.expires_at <= self._clock():
            raise DealRefused("the offer has expired")
        if self._wallet.own_among(parts.outpoints):
            raise DealRefused("the offer is of tokens on coins of our own")
        await self._check_offer(offer, parts)
        foreign = [await self._foreign(outpoint) for outpoint in parts.outpoints]
        async with self._alone:
            tx, bundle = await self._ordered(offer, parts, foreign)
            purchase = Purchase(
                txid=txid_hex(tx.txid),
                contract=offer.contract,
                amount=offer.amount,
                price_sat=offer.price_sat,
                state=DealState.OPEN,
                created_at=int(self._clock()),
                raw=tx.serialize().hex(),
            )
            try:
                self._stash.take(parts.consignment, [token.opout for token, _ in parts.tokens])
                self._stash.add(bundle, besides=[purchase.put])
            except BaseException:
                self._wallet.release(tx)
                raise
        return Ordered(purchase=purchase, order=Order.of(offer.offer_id, tx, bundle))

    async def _check_offer(self, offer: Offer, parts: OfferParts) -> None:
        """That the seller has what it offers, mined, and that the rest has a place to go.

        And that the buyer, who pays the fee of the whole transaction, does not pay it for more
        than a deal needs.
        """
        scripts = [parts.payout_script]
        if parts.change_seal is not None:
            scripts.append(parts.change_script)
        if any(output_type(script) is not OutputType.P2TR for script in scripts):
            raise DealRefused("the seller's scripts are not P2TR")
        if len(parts.outpoints) > MAX_SOLD_COINS:
            raise DealRefused(f"{len(parts.outpoints)} coins of the seller's in one deal")
        if parts.consignment.contract_id != parts.contract_id:
            raise DealRefused("the offer proves tokens of another contract")
        validated = await self._stash.check(parts.consignment, minimum_depth=self._minimum_depth)
        if len({token.opout for token, _ in parts.tokens}) != len(parts.tokens):
            raise DealRefused("the offer lists an allocation twice")
        for token, outpoint in parts.tokens:
            if validated.revealed.get(token.opout) != Allocation(outpoint, token.amount):
                raise DealRefused(f"the offer does not prove its tokens on {outpoint}")
        rest = parts.total - offer.amount
        if rest < 0 or (rest > 0) != (parts.change_seal is not None):
            raise DealRefused("the offer's amounts do not add up")

    async def _foreign(self, outpoint: OutPoint) -> Spend:
        """The seller's coin, as the chain has it."""
        output = await unspent_output(self._chain, outpoint)
        if output_type(output.script) is not OutputType.P2TR:
            raise DealRefused("the seller's coins are not P2TR")

        def sign(_digest: TxDigest, _index: int) -> tuple[bytes, ...]:
            raise NodeRefusal("the coin is the seller's")

        return Spend(
            outpoint=outpoint,
            prevout=output,
            sequence=DEAL_SEQUENCE,
            witness_weight=P2TR_KEY_PATH_WITNESS_WEIGHT,
            sign=sign,
        )

    async def _ordered(
        self, offer: Offer, parts: OfferParts, foreign: Sequence[Spend]
    ) -> tuple[Tx, WitnessBundle]:
        """Signed by the buyer, its coins reserved."""
        rest = parts.total - offer.amount
        payout = Sat(offer.price_sat + seller_sat(foreign, change=rest > 0))
        outputs = [
            TxOut(TOKEN_OUTPUT_SAT, self._wallet.new_script()),
            TxOut(payout, parts.payout_script),
        ]
        seal = GraphSeal(None, BUYER_VOUT, new_blinding())
        allocations: list[tuple[Destination, int]] = [(seal, offer.amount)]
        if parts.change_seal is not None:
            outputs.append(TxOut(TOKEN_OUTPUT_SAT, parts.change_script))
            allocations.append((parts.change_seal, rest))
        feerate = await self._chain.fee_rate(FEE_TARGET_BLOCKS)
        draft, spends = await self._builder.balanced(
            foreign, outputs, feerate_per_kw=feerate, own_change=False
        )
        own = spends[len(foreign) :]
        try:
            coloured = colour(
                draft,
                contract_id=parts.contract_id,
                inputs=[token for token, _ in parts.tokens],
                allocations=allocations,
            )
            check_nothing_burns(own, self._stash)
            digest = TxDigest(coloured.tx, tuple(spend.prevout for spend in spends))
            tx = coloured.tx
            for index in range(len(foreign), len(spends)):
                tx = tx.with_witness(index, spends[index].sign(digest, index))
        except BaseException:
            self._wallet.release_coins(spend.outpoint for spend in own)
            raise
        return tx, coloured.witness

    async def cancel(self, txid: bytes) -> Purchase:
        """Take back an order that the seller has not published, by a payment to ourselves.

        It spends those coins of the order that hold no tokens: one of them is enough.

        Raises `NotFound`, `NodeRefusal`, `BroadcastRefused`: then the seller was faster.
        """
        published = await self._chain.transaction(txid) is not None
        feerate = await self._chain.fee_rate(_CANCEL_TARGET_BLOCKS)
        purchase = self._get(txid)
        if purchase.state != DealState.OPEN or published:
            raise NodeRefusal("the order is over, or published already")
        own = self._wallet.own_inputs(purchase.tx)
        bare = [coin for coin in own if not self._stash.tokens_on(coin.outpoint)]
        if not bare:
            raise NodeRefusal("every coin of the order holds tokens by now, which would be lost")
        tx = sweep_transaction(
            bare,
            destination_script=self._wallet.new_script(change=True),
            feerate_per_kw=feerate,
        )
        await self._chain.broadcast(tx)
        self._wallet.note_broadcast(tx)
        return self._over(purchase, DealState.CANCELLED)

    def _over(self, purchase: Purchase, state: str) -> Purchase:
        ended = replace(purchase, state=state)
        self._store.apply([ended.put])
        self._wallet.release(purchase.tx)
        return ended

    async def _see(self, purchase: Purchase) -> None:
        fate = await fate_of(purchase.tx, self._chain, safe_depth=self._safe_depth)
        if self._get(txid_from_hex(purchase.txid)).state != DealState.OPEN:
            return  # taken back meanwhile
        match fate:
            case Fate.SETTLED:
                self._over(purchase, DealState.DONE)
            case Fate.LOST:
                self._over(purchase, DealState.CANCELLED)
            case Fate.OPEN | Fate.SHALLOW:
                pass
