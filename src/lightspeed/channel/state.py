"""Everything a channel is: agreed, logged, signed, revoked.

Updates live in two logs, one per sender. A commitment is told by how much of each log it
includes (`Included`). What every commitment that is still unrevoked includes is irrevocable:
it is folded into `base` and leaves the logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightspeed.channel.config import ChannelConfig
from lightspeed.channel.per_commitment import RevocationStore
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.wire import ClosingSigned, Message

__all__ = [
    "ChannelState",
    "CounterpartyCommitment",
    "HolderCommitment",
    "Included",
    "PendingRequest",
    "Session",
]


@dataclass(frozen=True, slots=True)
class Included:
    """How many updates of each log a commitment includes, counted from `base`."""

    holder: int
    counterparty: int

    def shifted(self, *, holder: int, counterparty: int) -> "Included":
        """After so many updates of each log moved into `base`."""
        return Included(self.holder - holder, self.counterparty - counterparty)


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderCommitment:
    """The commitment that the holder may broadcast."""

    number: int
    included: Included
    signature: bytes
    """The counterparty's, for the funding input; compact."""
    htlc_signatures: tuple[bytes, ...] = ()
    child_signatures: Mapping[str, bytes] = field(default_factory=dict)
    """What each extension keeps to publish its children, by its name; stored apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterpartyCommitment:
    """A commitment that the counterparty may broadcast."""

    number: int
    included: Included
    per_commitment_point: bytes
    child_signatures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """We asked for child signatures; until they are here we say nothing else."""

    extension: str
    included: Included


@dataclass(frozen=True, slots=True)
class Session:
    """What a lost connection makes void; never stored."""

    link: Link = Link.DOWN
    pending: PendingRequest | None = None
    requests_answered: frozenset[tuple[str, int]] = frozenset()
    """(extension, commitment number): each is asked once per connection."""
    held: tuple[Message, ...] = ()
    """Updates of ours that wait for the end of `pending`."""
    inbox: tuple[Message, ...] = ()
    """Messages of the peer that wait for the end of `pending`."""
    closing_sent: ClosingSigned | None = None
    shutdown_sent: bool = False
    shutdown_received: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """Immutable; every step makes a new one or leaves it as it was."""

    config: ChannelConfig
    phase: Phase
    holder_ready: bool = False
    """`channel_ready` was sent."""
    counterparty_ready: bool = False
    base: Sheet
    holder_log: tuple[Message, ...] = ()
    counterparty_log: tuple[Message, ...] = ()
    holder_commitment: HolderCommitment
    counterparty_commitments: tuple[CounterpartyCommitment, ...]
    """One, or two while the older of them is not yet revoked."""
    counterparty_next_point: bytes
    """Per-commitment point of the counterparty's next commitment."""
    revocations: RevocationStore
    holder_htlcs_added: int = 0
    counterparty_htlcs_added: int = 0
    commitment_sent_last: bool = False
    """Of our last `commitment_signed` and `revoke_and_ack`, was the former the later one?"""
    holder_shutdown_script: bytes | None = None
    counterparty_shutdown_script: bytes | None = None
    extension_states: Mapping[str, Any]
    session: Session = Session()

    def log(self, side: Side) -> tuple[Message, ...]:
        return self.holder_log if side is Side.HOLDER else self.counterparty_log

    def next_included(self, broadcaster: Side) -> Included:
        """What the broadcaster's next commitment includes if it is signed now.

        All updates of the signer, and those of the broadcaster that the signer has
        acknowledged by revoking its own commitment before them (BOLT 2, "Normal Operation").
        """
        if broadcaster is Side.COUNTERPARTY:
            acknowledged = self.holder_commitment.included.counterparty
            return Included(len(self.holder_log), acknowledged)
        acknowledged = self.counterparty_commitments[0].included.holder
        return Included(acknowledged, len(self.counterparty_log))
