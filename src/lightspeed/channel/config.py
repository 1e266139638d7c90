"""What two sides agreed on once, in open_channel and accept_channel, and never change."""

from collections.abc import Mapping
from dataclasses import dataclass

from lightspeed.bitcoin import OutPoint
from lightspeed.channel.keys import Basepoints
from lightspeed.channel.side import Side
from lightspeed.units import Msat, Sat

__all__ = ["ChannelConfig", "SideConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideConfig:
    """What one side announced of itself (BOLT 2, "The open_channel Message")."""

    basepoints: Basepoints
    dust_limit_sat: Sat
    """Below it, this side's commitment has no output."""
    max_htlc_value_in_flight_msat: Msat
    """What the other side may have in flight towards this one."""
    channel_reserve_sat: Sat
    """What the *other* side has to keep as its balance."""
    htlc_minimum_msat: Msat
    to_self_delay_blocks: int
    """Delays the *other* side's own balance on its own commitment."""
    max_accepted_htlcs: int
    upfront_shutdown_script: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """One channel, fixed since `funding_signed`."""

    channel_id: bytes
    chain_hash: bytes
    funder: Side
    funding_outpoint: OutPoint
    funding_sat: Sat
    push_msat: Msat
    minimum_depth: int
    anchors: bool
    holder: SideConfig
    counterparty: SideConfig
    extensions: Mapping[str, bytes]
    """The parameters that each extension negotiated, by its name."""

    def side(self, side: Side) -> SideConfig:
        return self.holder if side is Side.HOLDER else self.counterparty

    def is_funder(self, side: Side) -> bool:
        return side is self.funder
