"""What determines a commitment transaction, apart from its keys."""

from dataclasses import dataclass

from lightspeed.bitcoin import FeeRate, OutPoint, PublicKey
from lightspeed.channel.graph import HtlcKey
from lightspeed.units import Msat, Sat

__all__ = ["CommitmentBalance", "CommitmentTerms", "HtlcOutput"]


@dataclass(frozen=True, slots=True)
class HtlcOutput:
    """An HTLC that is in the commitment, trimmed or not."""

    key: HtlcKey
    amount_msat: Msat
    payment_hash: bytes
    cltv_expiry: int


@dataclass(frozen=True, slots=True)
class CommitmentBalance:
    """Who has what in one commitment.

    Both balances are before fee and anchors, and without what HTLCs and extensions hold: all
    these together are the funding amount.
    """

    number: int
    to_broadcaster_msat: Msat
    to_countersignatory_msat: Msat
    feerate_per_kw: FeeRate
    htlcs: tuple[HtlcOutput, ...] = ()
    to_broadcaster_tokens: int = 0
    to_countersignatory_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CommitmentTerms:
    """What stays the same in all commitments of one broadcaster.

    `funding_keys` are the broadcaster's and the countersignatory's, in this order; the dust
    limit is the broadcaster's own; the delay is imposed on the broadcaster.
    """

    funding_outpoint: OutPoint
    funding_sat: Sat
    funding_keys: tuple[PublicKey, PublicKey]
    broadcaster_is_funder: bool
    obscuring_factor: int
    dust_limit_sat: Sat
    to_self_delay_blocks: int
    anchors: bool
