"""gLNP: a BOLT channel as a sans-I/O state machine that extensions can add outputs to."""

from lightspeed.channel.channel import Channel
from lightspeed.channel.config import ChannelConfig, SideConfig
from lightspeed.channel.effects import (
    Broadcast,
    ChannelClosed,
    ChannelFailed,
    ChannelUsable,
    Effect,
    HtlcFailed,
    HtlcFulfilled,
    HtlcReceived,
    Notify,
    PeerIsAhead,
    Persist,
    Put,
    Send,
)
from lightspeed.channel.errors import (
    ChannelRefusal,
    ChannelViolation,
    ChannelWarning,
    StateError,
)
from lightspeed.channel.establish import (
    channel_id_of,
    funded,
    receive_funding_created,
    receive_funding_signed,
)
from lightspeed.channel.extension import (
    ChannelView,
    CommitmentContext,
    ContentChange,
    Extension,
    Extensions,
    ExtensionStep,
    Lookup,
)
from lightspeed.channel.keys import ChannelSecrets
from lightspeed.channel.onchain import (
    Facts,
    OnChain,
    Publication,
    Remedy,
    SpentOnChain,
    Sweep,
    UnknownCommitment,
    identify,
    remedies,
    remedies_without_state,
)
from lightspeed.channel.opening import (
    ANCHORS_BIT,
    Acceptance,
    Opening,
    OpeningTerms,
    accept,
    accepted,
    channel_type,
    propose,
)
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.records import (
    CHANNEL_TABLE,
    CHILD_SIGNATURES_TABLE,
    REVOKED_TABLE,
    channel_codec,
)
from lightspeed.channel.sheet import Htlc, Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.signer import Signer
from lightspeed.channel.state import ChannelState
from lightspeed.channel.sweeps import Spend, split_spends, sweep_transaction

__all__ = [
    "ANCHORS_BIT",
    "CHANNEL_TABLE",
    "CHILD_SIGNATURES_TABLE",
    "REVOKED_TABLE",
    "Acceptance",
    "Broadcast",
    "Channel",
    "ChannelClosed",
    "ChannelConfig",
    "ChannelFailed",
    "ChannelRefusal",
    "ChannelSecrets",
    "ChannelState",
    "ChannelUsable",
    "ChannelView",
    "ChannelViolation",
    "ChannelWarning",
    "CommitmentContext",
    "ContentChange",
    "Effect",
    "Extension",
    "ExtensionStep",
    "Extensions",
    "Facts",
    "Htlc",
    "HtlcFailed",
    "HtlcFulfilled",
    "HtlcReceived",
    "Link",
    "Lookup",
    "Notify",
    "OnChain",
    "Opening",
    "OpeningTerms",
    "PeerIsAhead",
    "Persist",
    "Phase",
    "Publication",
    "Put",
    "Remedy",
    "Send",
    "Sheet",
    "Side",
    "SideConfig",
    "Signer",
    "Spend",
    "SpentOnChain",
    "StateError",
    "Sweep",
    "UnknownCommitment",
    "accept",
    "accepted",
    "channel_codec",
    "channel_id_of",
    "channel_type",
    "funded",
    "identify",
    "propose",
    "receive_funding_created",
    "receive_funding_signed",
    "remedies",
    "remedies_without_state",
    "split_spends",
    "sweep_transaction",
]
