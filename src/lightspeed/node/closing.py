"""How far the end of a channel on chain has got."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lightspeed.channel import Side
from lightspeed.units import Sat

__all__ = [
    "SAFE_DEPTH",
    "CloseKind",
    "CloseProgress",
    "CloseState",
    "ClosingTransaction",
    "Waiting",
]

SAFE_DEPTH = 7
"""Confirmations after which a transaction is taken as final: six blocks upon its own are still
there when a reorganisation has replaced six."""


class CloseState(Enum):
    OPEN = "open"
    """Nothing spends the funding output."""
    SPENT_UNCONFIRMED = "spent_unconfirmed"
    CLOSING = "closing"
    DONE = "done"
    """Everything of ours is spent by transactions so deep that no reorganisation undoes them."""


class CloseKind(Enum):
    """What spends the funding output."""

    COOPERATIVE = "cooperative"
    HOLDER = "holder's commitment"
    COUNTERPARTY = "counterparty's commitment"
    REVOKED = "counterparty's revoked commitment"
    UNKNOWN = "commitment that we lost the state of"

    @property
    def broadcaster(self) -> Side | None:
        """None for a cooperative close."""
        if self is CloseKind.COOPERATIVE:
            return None
        return Side.HOLDER if self is CloseKind.HOLDER else Side.COUNTERPARTY


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingTransaction:
    """A transaction that the close consists of so far, in the mempool or in a block."""

    txid: bytes
    purpose: str
    ours: bool
    """Made by this node; else by the counterparty, or by both together before the close."""
    vbytes: int
    fee_sat: Sat | None
    """None where the transaction has inputs of somebody else, whose values we do not know."""
    confirmed_height: int | None
    tokens: int = 0
    """That it moves to our wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Something of ours that no confirmed transaction has taken yet."""

    purpose: str
    value_sat: Sat
    mature_height: int
    """The first block that may include the transaction that takes it."""
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseProgress:
    """What `Closer.step` found and left behind."""

    state: CloseState
    tip_height: int
    kind: CloseKind | None = None
    """None while the channel is open."""
    commitment_txid: bytes | None = None
    """Of what spends the funding output."""
    confirmed_height: int | None = None
    transactions: tuple[ClosingTransaction, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    preimages: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """Payment hash -> preimage, as the counterparty's claims revealed them on chain."""
    problems: tuple[str, ...] = ()
    """What could not be published this time; tried again at the next step."""

    @property
    def broadcaster(self) -> Side | None:
        return self.kind.broadcaster if self.kind else None

    @property
    def revoked(self) -> bool:
        return self.kind is CloseKind.REVOKED
