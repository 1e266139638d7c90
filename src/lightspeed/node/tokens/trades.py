"""What buyer and seller store of their deals, and what both ask of the chain."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lightspeed.bitcoin import OutPoint, Tx, TxOut, txid_from_hex
from lightspeed.chain import Chain
from lightspeed.channel import Put, Spend
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE
from lightspeed.node.errors import DealRefused
from lightspeed.node.records import Document
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.building import TOKEN_OUTPUT_SAT
from lightspeed.node.tokens.deals import Offer

__all__ = [
    "BUYER_VOUT",
    "CHANGE_VOUT",
    "DEAL_SEQUENCE",
    "FEE_TARGET_BLOCKS",
    "MAX_SOLD_COINS",
    "PAYOUT_VOUT",
    "TOKEN_PURCHASE_TABLE",
    "TOKEN_SALE_TABLE",
    "DealState",
    "Purchase",
    "Sale",
    "coins_in_trade",
    "offered_outpoints",
    "seller_sat",
    "unspent_output",
]

TOKEN_SALE_TABLE = "token_sale"
"""Key: offer id."""
TOKEN_PURCHASE_TABLE = "token_purchase"
"""Key: txid."""

BUYER_VOUT, PAYOUT_VOUT, CHANGE_VOUT = 1, 2, 3
"""The buyer's tokens; the seller's sats; the seller's other tokens, where there are any."""
DEAL_SEQUENCE = SEQUENCE_REPLACEABLE
"""Of every input: without a relative locktime nobody can hold the transaction back."""
FEE_TARGET_BLOCKS = 6
"""For which the buyer chooses the fee rate."""
MAX_SOLD_COINS = 16
"""Of the seller: the buyer pays the fee of their inputs."""


class DealState:
    """Stored as text."""

    OPEN = "open"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale(Document):
    """An offer of ours. `state`: open, done (sold) or cancelled."""

    offer: str = field(repr=False)
    """Its text, without the consignment."""
    change_seal: str | None = field(repr=False)
    state: str
    created_at: int
    txid: str | None = None

    @property
    def terms(self) -> Offer:
        return Offer.read(self.offer)

    @property
    def put(self) -> Put:
        return Put(TOKEN_SALE_TABLE, bytes.fromhex(self.terms.offer_id), self.dump())


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase(Document):
    """An order of ours, which the seller may publish while it is open."""

    txid: str
    contract: str
    amount: int
    price_sat: int
    state: str
    created_at: int
    raw: str = field(repr=False)

    @property
    def tx(self) -> Tx:
        return Tx.parse(bytes.fromhex(self.raw))

    @property
    def put(self) -> Put:
        return Put(TOKEN_PURCHASE_TABLE, txid_from_hex(self.txid), self.dump())


async def unspent_output(chain: Chain, outpoint: OutPoint) -> TxOut:
    """Raises `DealRefused` unless it is mined and nobody has spent it.

    One that is not mined may be gone with its transaction, and nothing would ever tell that the
    deal is over.
    """
    info = await chain.transaction(outpoint.txid)
    if info is None or info.confirmed is None or outpoint.vout >= len(info.tx.outputs):
        raise DealRefused(f"{outpoint} is not on the chain: is it mined?")
    if await chain.outspend(outpoint) is not None:
        raise DealRefused(f"{outpoint} is spent")
    return info.tx.outputs[outpoint.vout]


def coins_in_trade(store: NodeStore) -> set[OutPoint]:
    """Reserved by open offers and orders."""
    sales = [Sale.load(value) for _, value in store.scan(TOKEN_SALE_TABLE)]
    purchases = [Purchase.load(value) for _, value in store.scan(TOKEN_PURCHASE_TABLE)]
    offered = {
        each
        for sale in sales
        if sale.state == DealState.OPEN
        for each in offered_outpoints(sale.terms)
    }
    ordered = [purchase.tx for purchase in purchases if purchase.state == DealState.OPEN]
    return offered | {txin.outpoint for tx in ordered for txin in tx.inputs}


def offered_outpoints(terms: Offer) -> list[OutPoint]:
    found = {OutPoint(txid_from_hex(item["txid"]), item["vout"]) for item in terms.inputs}
    return sorted(found)


def seller_sat(spends: Sequence[Spend], *, change: bool) -> int:
    """What the seller gets beside the price: its coins' sats, less those on its change."""
    value = sum(spend.prevout.value for spend in spends)
    return value - (TOKEN_OUTPUT_SAT if change else 0)
