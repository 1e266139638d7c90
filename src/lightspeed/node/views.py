"""What the API says and its client gives back: plain values, nothing secret but preimages.

Ids, keys and hashes are hex; transaction ids in the order that people use.
"""

from dataclasses import dataclass, field

__all__ = [
    "AddressView",
    "BalanceView",
    "BookView",
    "ChannelTransactionView",
    "ChannelView",
    "InfoView",
    "InvoiceView",
    "MetricsView",
    "PaymentView",
    "PeerView",
    "TokenNameView",
    "TradeView",
    "WaitingView",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoView:
    """The node."""

    node_id: str
    network: str
    listen_host: str
    listen_port: int
    block_height: int
    chain_answered_at: float | None
    """When the chain backend last gave a good answer; seconds since 1970."""
    lightspeed_parties: list[str]
    problems: list[str]
    """What its operator has to know, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressView:
    """A new address of the wallet."""

    address: str
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView:
    """On chain, and in channels."""

    confirmed_sat: int
    pending_sat: int
    beside_tokens_sat: int
    """Of these: on coins that hold tokens, which go nowhere without them."""
    channels_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """A connected peer."""

    node_id: str
    lightspeed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTransactionView:
    """A transaction that the channel's end consists of."""

    txid: str
    purpose: str
    ours: bool
    """Made by this node."""
    vbytes: int
    fee_sat: int | None
    confirmed_height: int | None
    tokens: int
    """That it moves to our wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingView:
    """Something of ours that no confirmed transaction has taken yet."""

    purpose: str
    value_sat: int
    mature_height: int
    """The first block that may include the transaction that takes it."""
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenNameView:
    """What a contract calls its token: for people, whom nobody keeps from calling theirs alike."""

    contract: str
    ticker: str
    precision: int
    """Decimals that people are shown; amounts are in the smallest part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """One channel. `onchain_state`: open, spent_unconfirmed, closing or done."""

    channel_id: str
    node_id: str
    phase: str
    connected: bool
    usable: bool
    """Payments can be made now."""
    party: str | None
    funder: bool
    funding_txid: str
    funding_vout: int
    funding_sat: int
    holder_msat: int
    counterparty_msat: int
    token: TokenNameView | None
    """None: the channel holds no tokens."""
    holder_tokens: int
    counterparty_tokens: int
    htlcs: int
    open_books: int
    onchain_state: str
    commitment_txid: str | None
    commitment_height: int | None
    close_kind: str | None
    """cooperative, holder, counterparty, revoked or unknown."""
    closed_by: str | None
    """Whose commitment is on chain: holder or counterparty."""
    transactions: list[ChannelTransactionView]
    waiting: list[WaitingView]
    problems: list[str]
    """What could not be published at the last block; it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeView:
    """Tokens that were bought in a channel."""

    channel_id: str
    token: TokenNameView | None
    tokens: int
    price_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookView:
    """One book."""

    book_id: str
    channel_id: str
    party: str
    state: str
    """Payer: usable, closing, closed, on chain. Payee: open, closing, closed."""
    scheme: str
    locks: int
    chain_length: int
    token: TokenNameView | None
    """None: a book in sats."""
    lock_amount_sat: int | None
    lock_tokens: int | None
    units: int
    unit_msat: int | None
    unit_tokens: int | None
    window: int
    origins: list[str]
    settled_units: int
    """In the payee's balance; of a closed book all that were paid."""
    unused_units: int | None
    """Payer only: never presented."""
    redeemed_units: int | None
    """Payee only."""
    secured_locks: int | None
    """Payee only."""
    at_risk_units: int | None
    """Payee only: redeemed and not settled. The chain enforces those of secured locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceView:
    """An invoice of ours. `state`: open, paid or expired."""

    payment_hash: str
    bolt11: str
    amount_msat: int | None
    description: str
    state: str
    received_msat: int
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentView:
    """A payment of ours. `state`: pending, paid or failed."""

    payment_hash: str
    node_id: str
    amount_msat: int
    state: str
    failure: str | None
    preimage: str | None = field(repr=False)
    """The proof of payment, once paid."""
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsView:
    """Totals since the node started."""

    signatures: int
    messages_sent: dict[str, int]
    messages_received: dict[str, int]
    api_calls: dict[str, int]
