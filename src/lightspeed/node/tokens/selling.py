"""Selling tokens on chain: an offer, and the order that it gets, signed last.

The offer names coins and proves what is on them; it binds nobody. An order is signed only if its
transaction spends of ours exactly these coins, pays the price, cannot be held back, and gives
back whatever else is on them by a transition that is valid.
"""

import asyncio
import base64
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    P2TR_KEY_PATH_WITNESS_WEIGHT,
    FeeRate,
    OutPoint,
    Tx,
    TxDigest,
    TxOut,
    dust_limit,
    fee_for_weight,
    txid_hex,
)
from lightspeed.chain import BroadcastRefused, Chain
from lightspeed.node.errors import DealRefused, NodeRefusal, NotFound
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.building import TOKEN_OUTPUT_SAT, Builder, new_blinding
from lightspeed.node.tokens.deals import Offer, Order
from lightspeed.node.tokens.records import Transfer, TransferState
from lightspeed.node.tokens.sending import Sending
from lightspeed.node.tokens.trades import (
    CHANGE_VOUT,
    DEAL_SEQUENCE,
    FEE_TARGET_BLOCKS,
    MAX_SOLD_COINS,
    PAYOUT_VOUT,
    TOKEN_SALE_TABLE,
    DealState,
    Sale,
    offered_outpoints,
    seller_sat,
    unspent_output,
)
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import (
    ASSET_OWNER,
    Assignments,
    Coloured,
    GraphSeal,
    Opout,
    TokenInput,
    WitnessBundle,
    check_moves_tokens,
    contract_id_text,
    parse_contract_id,
    secret_seal_text,
)
from lightspeed.units import Sat

__all__ = ["Selling"]

_LEAST_FEE_PART = 2
"""An order pays at least 1 / 2 of the fee rate that its buyer was to take."""


class Selling:
    """All offers of the node. `alone` is held while tokens are chosen."""

    def __init__(
        self,
        *,
        store: NodeStore,
        stash: Stash,
        wallet: Wallet,
        chain: Chain,
        builder: Builder,
        sending: Sending,
        alone: asyncio.Lock,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._stash = stash
        self._wallet = wallet
        self._chain = chain
        self._builder = builder
        self._sending = sending
        self._alone = alone
        self._clock = clock

    def all(self) -> list[Sale]:
        """The oldest first."""
        found = [Sale.load(value) for _, value in self._store.scan(TOKEN_SALE_TABLE)]
        return sorted(found, key=lambda sale: (sale.created_at, sale.terms.offer_id))

    @property
    def busy(self) -> bool:
        """Is there an offer that is not over?"""
        return any(sale.state == DealState.OPEN for sale in self.all())

    async def look(self) -> None:
        """End offers whose time is over."""
        for sale in self.all():
            if sale.state == DealState.OPEN and sale.terms.expires_at <= self._clock():
                with contextlib.suppress(NodeRefusal):  # it ended while we waited for our turn
                    await self.withdraw(sale.terms.offer_id)

    async def sell(
        self, contract_id: bytes, amount: int, *, price_sat: Sat, valid_seconds: int = 3_600
    ) -> Offer:
        """An offer to hand to a buyer. Its coins are reserved until it ends.

        Raises `UnknownContract`, `NotEnoughTokens`, and `NodeRefusal` for a price that leaves no
        output, or too many coins.
        """
        async with self._alone:
            picked = await self._builder.pick(contract_id, amount)
            if len({holding.outpoint for holding in picked}) > MAX_SOLD_COINS:
                raise NodeRefusal(
                    f"these tokens are on more than {MAX_SOLD_COINS} coins: sell less"
                )
            change = sum(holding.token.amount for holding in picked) > amount
            spent = self._wallet.spends_of(holding.outpoint for holding in picked)
            payout_script = self._wallet.new_script()
            payout = price_sat + seller_sat(spent, change=change)
            if price_sat <= 0 or valid_seconds <= 0 or payout < dust_limit(payout_script):
                raise NodeRefusal("price and time are above 0, and the price is above dust")
            seal = GraphSeal(None, CHANGE_VOUT, new_blinding()) if change else None
            offer = Offer(
                offer_id=secrets.token_hex(16),
                contract=contract_id_text(contract_id),
                amount=amount,
                price_sat=price_sat,
                expires_at=int(self._clock()) + valid_seconds,
                payout_script=payout_script.hex(),
                change_script=self._wallet.new_script().hex() if change else "",
                change_seal="" if seal is None else secret_seal_text(seal.conceal()),
                inputs=[Offer.listed(holding.token, holding.outpoint) for holding in picked],
                consignment="",
            )
            sale = Sale(
                offer=offer.text(),
                change_seal=None if seal is None else str(seal),
                state=DealState.OPEN,
                created_at=int(self._clock()),
            )
            self._wallet.reserve(holding.outpoint for holding in picked)
            self._store.apply([sale.put])
        proof = self._stash.consignment(contract_id, [each.token.opout for each in picked])
        return replace(offer, consignment=base64.b64encode(proof.serialize(magic=True)).decode())

    async def withdraw(self, offer_id: str) -> Sale:
        """Raises `NotFound`, and `NodeRefusal` for an offer that is over."""
        async with self._alone:
            sale = self.get(offer_id)
            if sale.state != DealState.OPEN:
                raise NodeRefusal(f"the offer is {sale.state}")
            ended = replace(sale, state=DealState.CANCELLED)
            self._store.apply([ended.put])
            self._wallet.release_coins(offered_outpoints(sale.terms))
        return ended

    def get(self, offer_id: str) -> Sale:
        """Raises `NotFound`."""
        for sale in self.all():
            if sale.terms.offer_id == offer_id:
                return sale
        raise NotFound("no offer of this id")

    async def complete(self, text: str) -> Transfer:
        """Sign an order that is what we offered, and publish it.

        Raises `DealRefused`, `InvalidConsignment`, `BroadcastRefused`, and for an offer that is
        over `NodeRefusal`.
        """
        order = Order.read(text)
        tx, bundle = order.parts()
        async with self._alone:
            sale = self.get(order.offer_id)
            terms = sale.terms
            if sale.state != DealState.OPEN or terms.expires_at <= self._clock():
                raise NodeRefusal("the offer is over")
            spent = [txin.outpoint for txin in tx.inputs]
            prevouts = [await unspent_output(self._chain, each) for each in spent]
            market = await self._chain.fee_rate(FEE_TARGET_BLOCKS)
            least = max(FEE_RATE_FLOOR, FeeRate(market // _LEAST_FEE_PART))
            self._check_payment(tx, sale, prevouts, feerate_per_kw=least)
            tokens = await self._standing(terms)
            await self._check_transition(tx, bundle, sale, tokens=tokens)
            signed = self._signed(tx, bundle, sale, prevouts, tokens=tokens)
            transfer = Transfer(
                txid=txid_hex(tx.txid),
                contract=terms.contract,
                amount=terms.amount,
                purpose="sold",
                state=TransferState.PUBLISHED,
                raw=signed.serialize().hex(),
                created_at=int(self._clock()),
            )
            sold = replace(sale, state=DealState.DONE, txid=transfer.txid)
            self._stash.add(_closed(bundle), besides=[transfer.put, sold.put])
            if sale.change_seal is not None:
                self._stash.reveal(transfer.contract_id, [GraphSeal.parse(sale.change_seal)])
        try:
            return await self._sending.keep(transfer)
        except BroadcastRefused:
            self._store.apply([replace(sold, state=DealState.CANCELLED).put])
            raise

    def _check_payment(
        self, tx: Tx, sale: Sale, prevouts: Sequence[TxOut], *, feerate_per_kw: FeeRate
    ) -> None:
        """That it spends of ours what was offered, and pays us.

        And that it pays such a fee: while it waits in the mempool, the buyer can still take its
        coins away, and we cannot offer the tokens to anybody else.
        """
        terms, offered = sale.terms, offered_outpoints(sale.terms)
        spent = [txin.outpoint for txin in tx.inputs]
        own = self._wallet.own_among(spent)
        if sorted(spend.outpoint for spend in own) != offered or len(set(spent)) != len(spent):
            raise DealRefused("the transaction does not spend the coins that were offered")
        if tx.version != 2 or tx.locktime or {i.sequence for i in tx.inputs} != {DEAL_SEQUENCE}:
            raise DealRefused("the transaction could be held back")
        change = sale.change_seal is not None
        payout = Sat(terms.price_sat + seller_sat(own, change=change))
        wanted = [(PAYOUT_VOUT, TxOut(payout, bytes.fromhex(terms.payout_script)))]
        if change:
            script = bytes.fromhex(terms.change_script)
            wanted.append((CHANGE_VOUT, TxOut(TOKEN_OUTPUT_SAT, script)))
        for vout, output in wanted:
            if vout >= len(tx.outputs) or tx.outputs[vout] != output:
                raise DealRefused(f"output {vout} is not what the offer asks for")
        fee = sum(output.value for output in prevouts) - sum(out.value for out in tx.outputs)
        weight = tx.weight + len(own) * (P2TR_KEY_PATH_WITNESS_WEIGHT - 1)  # they are empty now
        if fee < fee_for_weight(weight, feerate_per_kw):
            raise DealRefused("the transaction pays too low a fee")

    async def _standing(self, terms: Offer) -> dict[OutPoint, list[TokenInput]]:
        """What is on the coins of an offer now. Raises `DealRefused` if that is not what was.

        What was on its way to them, and never came, does not count.
        """
        held = await self._builder.holdings(parse_contract_id(terms.contract))
        tokens: dict[OutPoint, list[TokenInput]] = {}
        for outpoint in offered_outpoints(terms):
            tokens[outpoint] = [each.token for each in held if each.outpoint == outpoint]
        now = [Offer.listed(each, outpoint) for outpoint in tokens for each in tokens[outpoint]]
        if any(item not in terms.inputs for item in now) or len(now) != len(terms.inputs):
            raise DealRefused("other tokens than were offered are on the coins now: offer again")
        return tokens

    async def _check_transition(
        self,
        tx: Tx,
        bundle: WitnessBundle,
        sale: Sale,
        *,
        tokens: Mapping[OutPoint, Sequence[TokenInput]],
    ) -> None:
        """That it gives the buyer no more than what was offered, and us the rest, validly."""
        terms = sale.terms
        contract_id = parse_contract_id(terms.contract)
        if bundle.txid != tx.txid or len(bundle.bundle.known) != 1:
            raise DealRefused("the order does not prove what its transaction does")
        opid, transition = bundle.bundle.known[0]
        offered = {token.opout for each in tokens.values() for token in each}
        if transition.contract_id != contract_id or set(transition.inputs) != offered:
            raise DealRefused("the transition does not move what was offered")
        assigns = transition.assignments.of_type(ASSET_OWNER)
        history = self._stash.history(contract_id).add(bundle)
        every = [Opout(opid, ASSET_OWNER, number) for number in range(len(assigns))]
        proof = history.consignment(every, statuses=self._stash.seen)
        await self._stash.check(proof, unmined=[tx.txid])
        if sale.change_seal is None:
            return
        rest = sum(item["amount"] for item in terms.inputs) - terms.amount
        seal = GraphSeal.parse(sale.change_seal).conceal()
        if not any(each.secret_seal == seal and each.state == rest for each in assigns):
            raise DealRefused("the transition does not give the rest back")

    def _signed(
        self,
        tx: Tx,
        bundle: WitnessBundle,
        sale: Sale,
        prevouts: Sequence[TxOut],
        *,
        tokens: Mapping[OutPoint, Sequence[TokenInput]],
    ) -> Tx:
        own = {
            spend.outpoint: spend for spend in self._wallet.spends_of(offered_outpoints(sale.terms))
        }
        opid, transition = bundle.bundle.known[0]
        coloured = Coloured(tx=tx, transition=transition, opid=opid, witness=bundle)
        check_moves_tokens(tx, tokens=tokens, coloured=coloured)
        digest = TxDigest(tx, tuple(prevouts))
        for index, txin in enumerate(tx.inputs):
            if txin.outpoint in own:
                tx = tx.with_witness(index, own[txin.outpoint].sign(digest, index))
            elif not txin.witness:
                raise DealRefused("the buyer has not signed")
        return tx


def _closed(bundle: WitnessBundle) -> WitnessBundle:
    """With every seal concealed: what the buyer opens would keep coins of ours apart."""
    ((opid, transition),) = bundle.bundle.known
    assigns = tuple(each.conceal() for each in transition.assignments.of_type(ASSET_OWNER))
    closed = replace(transition, assignments=Assignments(((ASSET_OWNER, assigns),)))
    return replace(bundle, bundle=replace(bundle.bundle, known=((opid, closed),)))
