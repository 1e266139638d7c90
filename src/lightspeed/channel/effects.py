"""What a channel asks of the world, as data.

A step returns its effects in the order in which they have to happen. `Persist`, where there
is one, comes first: what was signed or revoked is on disk before anybody hears of it.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from lightspeed.bitcoin import OutPoint, Tx
from lightspeed.channel.side import Side
from lightspeed.rgb import Coloured
from lightspeed.units import Sat
from lightspeed.wire import Message

__all__ = [
    "Broadcast",
    "ChannelClosed",
    "ChannelFailed",
    "ChannelUsable",
    "ClosingOffered",
    "Effect",
    "Event",
    "FundingRequired",
    "HtlcFailed",
    "HtlcFulfilled",
    "HtlcReceived",
    "Notify",
    "PeerIsAhead",
    "Persist",
    "Put",
    "Send",
]


@dataclass(frozen=True, slots=True)
class Put:
    """One record to store; `value=None` deletes it. Records may hold secrets."""

    table: str
    key: bytes
    value: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Persist:
    """Store all of these in one transaction, durably, before any effect that follows."""

    puts: tuple[Put, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Give this message to the peer. Dropped when the peer is not connected."""

    message: Message


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Publish this complete transaction. When it moves tokens, its witness is stored before."""

    tx: Tx
    purpose: str
    coloured: Coloured | None = None


@dataclass(frozen=True, slots=True)
class FundingRequired:
    """The funder's wallet has to make, and not yet broadcast, a transaction with this output."""

    script: bytes
    amount_sat: Sat


@dataclass(frozen=True, slots=True)
class ChannelUsable:
    """Both sides said `channel_ready`."""

    funding: OutPoint


@dataclass(frozen=True, slots=True)
class HtlcReceived:
    """An HTLC of the counterparty is irrevocably committed: fulfil it, or fail it."""

    id: int
    amount_msat: int
    payment_hash: bytes
    cltv_expiry: int
    onion_routing_packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HtlcFulfilled:
    """The counterparty revealed the preimage of an HTLC of ours: it is paid."""

    id: int
    payment_hash: bytes
    preimage: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HtlcFailed:
    """The removal of an HTLC of ours is irrevocably committed: it was not paid."""

    id: int
    payment_hash: bytes
    reason: bytes
    malformed_code: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelFailed:
    """The channel is over; our commitment is being published."""

    reason: str
    at_fault: Side


@dataclass(frozen=True, slots=True)
class PeerIsAhead:
    """The peer proved that our state is old: publish nothing, ask the operator."""


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """A cooperative close was agreed; this is its transaction."""

    tx: Tx
    coloured: Coloured | None = None
    """When it moves tokens."""


@dataclass(frozen=True, slots=True)
class ClosingOffered:
    """Our signature for a closing transaction that moves tokens goes to the counterparty.

    From then on it may be published, and not a word said of it: its witness is stored before.
    """

    coloured: Coloured


Event: TypeAlias = (
    FundingRequired
    | ChannelUsable
    | HtlcReceived
    | HtlcFulfilled
    | HtlcFailed
    | ChannelFailed
    | PeerIsAhead
    | ChannelClosed
    | ClosingOffered
)


@dataclass(frozen=True, slots=True)
class Notify:
    """Something that the node acts on: an `Event`, or an event of an extension."""

    event: object


Effect: TypeAlias = Persist | Send | Broadcast | Notify
