"""What the API says of tokens: plain values.

Contract ids are `rgb:...`; transaction ids in the order that people use.
"""

from dataclasses import dataclass, field

__all__ = [
    "ConsignmentView",
    "OfferView",
    "OrderView",
    "ReceivedView",
    "SentView",
    "TokenInvoiceView",
    "TokenView",
    "TransferView",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A contract that the node knows, and what it holds of it on chain."""

    contract: str
    ticker: str
    name: str
    details: str | None
    precision: int
    """Decimals that people are shown; amounts are in the smallest part."""
    supply: int
    issued_at: int
    settled: int
    pending: int
    """Not mined yet."""
    reserved: int
    """Of the settled ones, for transfers under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInvoiceView:
    """An invoice of ours for tokens. `state`: open, received, refused or expired."""

    invoice: str
    recipient_id: str
    contract: str | None
    """Of the tokens that came; before that what the invoice asks for."""
    amount: int | None
    received: int
    txid: str | None
    state: str
    reason: str | None
    """Why the last consignment was refused."""
    expires_at: int | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferView:
    """A transfer of ours. `state`: waiting (for the payee's word), published, settled, failed."""

    txid: str
    contract: str
    amount: int
    purpose: str
    state: str
    recipient_id: str | None
    endpoint: str | None
    reason: str | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentView:
    """A transfer, and the consignment for its payee (base64)."""

    transfer: TransferView
    consignment: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedView:
    """What a consignment brought; `amount` 0: the contract's introduction."""

    contract: str
    amount: int
    outpoints: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsignmentView:
    """A consignment (base64)."""

    contract: str
    consignment: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferView:
    """An offer of ours. `state`: open, done or cancelled."""

    offer_id: str
    contract: str
    amount: int
    price_sat: int
    expires_at: int
    state: str
    txid: str | None
    text: str | None = field(repr=False)
    """For the buyer; only when it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order of ours. `state`: open, done or cancelled."""

    txid: str
    contract: str
    amount: int
    price_sat: int
    state: str
    text: str | None = field(repr=False)
    """For the seller; only when it is made."""
