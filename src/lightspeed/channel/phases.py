"""The tables of a channel's life: its phases, the ways between them, what is handled where."""

from collections.abc import Mapping
from enum import Enum

from lightspeed.wire import (
    ChannelReady,
    ChannelReestablish,
    ClosingSigned,
    CommitmentSigned,
    Message,
    RevokeAndAck,
    Shutdown,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)

__all__ = ["ALLOWED_PHASES", "EXTENSION_PHASES", "TRANSITIONS", "Link", "Phase"]


class Phase(Enum):
    """How far the channel's life has got."""

    AWAITING_READY = "awaiting ready"
    NORMAL = "normal"
    SHUTTING_DOWN = "shutting down"
    CLOSED = "closed"
    """Cooperatively: the closing transaction has both signatures."""
    FAILED = "failed"
    """Unilaterally: a commitment goes on chain."""
    BEHIND = "behind"
    """The peer proved that our state is old; only it may close."""


class Link(Enum):
    """The connection, as this channel sees it."""

    DOWN = "down"
    REESTABLISHING = "reestablishing"
    UP = "up"


_LIVE = frozenset({Phase.NORMAL, Phase.SHUTTING_DOWN})
_BEFORE_END = _LIVE | {Phase.AWAITING_READY}

TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.AWAITING_READY: frozenset(
        {Phase.NORMAL, Phase.SHUTTING_DOWN, Phase.FAILED, Phase.BEHIND}
    ),
    Phase.NORMAL: frozenset({Phase.SHUTTING_DOWN, Phase.FAILED, Phase.BEHIND}),
    Phase.SHUTTING_DOWN: frozenset({Phase.CLOSED, Phase.FAILED, Phase.BEHIND}),
    # The peer may not have our last `closing_signed`: after a reconnection it says `shutdown`.
    Phase.CLOSED: frozenset({Phase.SHUTTING_DOWN, Phase.BEHIND}),
    Phase.FAILED: frozenset(),
    Phase.BEHIND: frozenset(),
}
"""The only ways from one phase to another."""

ALLOWED_PHASES: Mapping[type[Message], frozenset[Phase]] = {
    ChannelReady: _BEFORE_END | {Phase.CLOSED},
    ChannelReestablish: _BEFORE_END | {Phase.CLOSED},
    UpdateAddHtlc: _LIVE,
    UpdateFulfillHtlc: _LIVE,
    UpdateFailHtlc: _LIVE,
    UpdateFailMalformedHtlc: _LIVE,
    UpdateFee: _LIVE,
    CommitmentSigned: _LIVE,
    RevokeAndAck: _LIVE,
    Shutdown: _BEFORE_END | {Phase.CLOSED},
    ClosingSigned: frozenset({Phase.SHUTTING_DOWN, Phase.CLOSED}),
}
"""In which phases each message of the base protocol is handled; elsewhere it is a violation."""

EXTENSION_PHASES = _BEFORE_END
"""In which the messages of extensions are handled."""
