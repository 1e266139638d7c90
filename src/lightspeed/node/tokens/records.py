"""What the node stores of transfers of tokens, beside their proofs in the stash."""

from dataclasses import dataclass, field, replace
from typing import Self

from lightspeed.bitcoin import Tx, txid_from_hex
from lightspeed.channel import Put
from lightspeed.node.records import Document
from lightspeed.rgb import GraphSeal, TokenInvoice, parse_contract_id

__all__ = [
    "TOKEN_INVOICE_TABLE",
    "TOKEN_TRANSFER_TABLE",
    "IssuedInvoice",
    "Transfer",
    "TransferState",
]

TOKEN_INVOICE_TABLE = "token_invoice"
"""Key: recipient id."""
TOKEN_TRANSFER_TABLE = "token_transfer"
"""Key: txid."""


class TransferState:
    """Stored as text."""

    WAITING = "waiting"
    """For the payee's word on the consignment: not published, can be cancelled."""
    PUBLISHED = "published"
    SETTLED = "settled"
    """Safely deep."""
    FAILED = "failed"
    """It will never be published; its tokens and coins are free again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Document):
    """A transaction of ours that gave tokens away."""

    txid: str
    contract: str
    amount: int
    purpose: str
    """sent, or sold."""
    state: str
    raw: str = field(repr=False)
    """The transaction, signed."""
    created_at: int
    recipient_id: str | None = None
    endpoint: str | None = None
    reason: str | None = None

    @property
    def contract_id(self) -> bytes:
        return parse_contract_id(self.contract)

    @property
    def tx(self) -> Tx:
        return Tx.parse(bytes.fromhex(self.raw))

    @property
    def put(self) -> Put:
        return Put(TOKEN_TRANSFER_TABLE, txid_from_hex(self.txid), self.dump())

    def now(self, state: str, *, reason: str | None = None) -> Self:
        return replace(self, state=state, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedInvoice(Document):
    """An invoice for tokens that we gave out, and what came of it.

    `seal`: what the invoice conceals; None where it asks for an output with our `script`.
    """

    text: str
    created_at: int
    seal: str | None = field(default=None, repr=False)
    script: str | None = None
    received: int = 0
    """Tokens, by a valid consignment; whether they are mined is for the stash to say."""
    contract: str | None = None
    """Of those."""
    txid: str | None = None
    told: bool = False
    """The payer, that its consignment is good."""
    reason: str | None = None
    """Why the last consignment was refused."""
    refused: str | None = None
    """SHA-256 of that one."""

    @property
    def invoice(self) -> TokenInvoice:
        return TokenInvoice.parse(self.text)

    @property
    def graph_seal(self) -> GraphSeal | None:
        return None if self.seal is None else GraphSeal.parse(self.seal)

    @property
    def put(self) -> Put:
        return Put(TOKEN_INVOICE_TABLE, self.invoice.recipient_id.encode(), self.dump())
