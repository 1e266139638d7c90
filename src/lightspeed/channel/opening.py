"""Agreeing on a channel: open_channel and accept_channel (BOLT 2, "Channel Establishment v1").

An `Opening` lives in memory only: before `funding_signed` there is nothing to lose.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lightspeed.bitcoin import (
    InvalidKey,
    OutPoint,
    OutputType,
    PublicKey,
    output_type,
    p2wsh,
)
from lightspeed.channel.config import SideConfig
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.extension import Extensions
from lightspeed.channel.keys import Basepoints
from lightspeed.channel.scripts import funding_script
from lightspeed.channel.side import Side
from lightspeed.channel.signer import Signer
from lightspeed.units import Msat, Sat
from lightspeed.wire import (
    AcceptChannel,
    Features,
    OpenChannel,
)

__all__ = [
    "ANCHORS_BIT",
    "Acceptance",
    "Opening",
    "OpeningTerms",
    "accept",
    "accepted",
    "channel_type",
    "propose",
]

STATIC_REMOTEKEY_BIT = 12
ANCHORS_BIT = 22
_MAX_ACCEPTED_HTLCS = 483  # BOLT 2: keeps a penalty transaction with every HTLC standard
_MIN_DUST_LIMIT_SAT = 354  # BOLT 3, "Dust Limits": any segwit output
_MAX_DUST_LIMIT_SAT = 546
"""BOLT 3, "Dust Limits": any standard output. What lies below is lost to the fee when the peer
publishes its commitment."""
_MIN_RESERVE_SAT = 1_000
_MAX_RESERVE_SHARE = 5
"""The peer may ask us to keep 1/5 of the channel, not more."""
_MAX_FUNDING_SAT = 21_000_000 * 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningTerms:
    """What this node announces of itself, and what it asks of the other side."""

    dust_limit_sat: Sat = Sat(354)
    max_htlc_value_in_flight_msat: Msat = Msat(2**63 - 1)
    htlc_minimum_msat: Msat = Msat(1)
    to_self_delay_blocks: int = 144
    max_accepted_htlcs: int = 483
    reserve_divisor: int = 100
    """The other side keeps 1/100 of the channel, but at least its dust limit."""
    minimum_depth: int = 3
    shutdown_script: bytes
    """Where the holder's balance goes at a cooperative close."""
    anchors: bool = True
    """Proposed by the funder; a fundee takes either. Extensions need them."""
    max_to_self_delay_blocks: int = 2_016
    min_funding_sat: Sat = Sat(20_000)
    max_minimum_depth: int = 144

    def reserve_sat(self, funding_sat: Sat) -> Sat:
        """Above both dust limits that we accept (BOLT 2)."""
        return Sat(max(funding_sat // self.reserve_divisor, _MIN_RESERVE_SAT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A channel before `funding_signed`."""

    funder: Side
    temporary_channel_id: bytes
    chain_hash: bytes
    funding_sat: Sat
    push_msat: Msat
    feerate_per_kw: int
    anchors: bool
    terms: OpeningTerms
    holder: SideConfig
    offered: Mapping[int, bytes] = field(repr=False)
    """Our extension TLVs."""
    counterparty: SideConfig | None = None
    counterparty_point: bytes = b""
    extension_parameters: Mapping[str, bytes] = field(default_factory=dict)
    minimum_depth: int = 0
    funding_outpoint: OutPoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The peer accepted: the wallet has to fund this output."""

    opening: Opening
    funding_script: bytes
    amount_sat: Sat


def channel_type(extensions: Extensions, *, anchors: bool = True) -> Features:
    """{12, 22} and the even bit of each extension (docs/protocol.md, "Extensions")."""
    bits = {STATIC_REMOTEKEY_BIT, *(extension.feature_bit for extension in extensions)}
    if anchors:
        bits.add(ANCHORS_BIT)
    return Features.of(*bits)


def _offers(extensions: Extensions, signer: Signer, *, funder: bool) -> dict[int, bytes]:
    records: dict[int, bytes] = {}
    for extension in extensions:
        key = signer.secrets.extension_secret(extension.name).public
        records |= extension.offer(extension_key=key, funder=funder)
    return records


def _own_config(terms: OpeningTerms, signer: Signer, *, funding_sat: Sat) -> SideConfig:
    if not terms.shutdown_script:
        raise ChannelRefusal("a script for the cooperative close is needed")
    return SideConfig(
        basepoints=signer.secrets.basepoints,
        dust_limit_sat=terms.dust_limit_sat,
        max_htlc_value_in_flight_msat=terms.max_htlc_value_in_flight_msat,
        channel_reserve_sat=terms.reserve_sat(funding_sat),
        htlc_minimum_msat=terms.htlc_minimum_msat,
        to_self_delay_blocks=terms.to_self_delay_blocks,
        max_accepted_htlcs=terms.max_accepted_htlcs,
        upfront_shutdown_script=terms.shutdown_script,
    )


def propose(
    *,
    temporary_channel_id: bytes,
    chain_hash: bytes,
    funding_sat: Sat,
    push_msat: Msat,
    feerate_per_kw: int,
    terms: OpeningTerms,
    signer: Signer,
    extensions: Extensions,
) -> tuple[Opening, OpenChannel]:
    """The funder's first step."""
    if push_msat > funding_sat * 1_000:
        raise ChannelRefusal("more is pushed than the channel holds")
    if extensions and not terms.anchors:
        raise ChannelRefusal("a channel with extensions has anchors")
    holder = _own_config(terms, signer, funding_sat=funding_sat)
    offered = _offers(extensions, signer, funder=True)
    opening = Opening(
        funder=Side.HOLDER,
        temporary_channel_id=temporary_channel_id,
        chain_hash=chain_hash,
        funding_sat=funding_sat,
        push_msat=push_msat,
        feerate_per_kw=feerate_per_kw,
        anchors=terms.anchors,
        terms=terms,
        holder=holder,
        offered=offered,
    )
    basepoints = holder.basepoints
    message = OpenChannel(
        chain_hash=chain_hash,
        temporary_channel_id=temporary_channel_id,
        funding_satoshis=funding_sat,
        push_msat=push_msat,
        dust_limit_satoshis=holder.dust_limit_sat,
        max_htlc_value_in_flight_msat=holder.max_htlc_value_in_flight_msat,
        channel_reserve_satoshis=holder.channel_reserve_sat,
        htlc_minimum_msat=holder.htlc_minimum_msat,
        feerate_per_kw=feerate_per_kw,
        to_self_delay=holder.to_self_delay_blocks,
        max_accepted_htlcs=holder.max_accepted_htlcs,
        funding_pubkey=basepoints.funding.data,
        revocation_basepoint=basepoints.revocation.data,
        payment_basepoint=basepoints.payment.data,
        delayed_payment_basepoint=basepoints.delayed_payment.data,
        htlc_basepoint=basepoints.htlc.data,
        first_per_commitment_point=signer.secrets.per_commitment_point(0).data,
        channel_flags=0,
        upfront_shutdown_script=terms.shutdown_script,
        channel_type=channel_type(extensions, anchors=terms.anchors),
        extension_tlvs=offered,
    )
    return opening, message


def accept(
    message: OpenChannel,
    *,
    chain_hash: bytes,
    terms: OpeningTerms,
    signer: Signer,
    extensions: Extensions,
) -> tuple[Opening, AcceptChannel]:
    """The fundee's first step. Raises `ChannelViolation` when the proposal is not acceptable.

    `extensions` are those that the channel type asks for.
    """
    if message.chain_hash != chain_hash:
        raise ChannelViolation("open_channel for another chain")
    anchors = _check_channel_type(message, extensions)
    funding_sat = message.funding_satoshis
    if funding_sat < terms.min_funding_sat:
        raise ChannelViolation(f"a channel of {funding_sat} sat is too small")
    if funding_sat > _MAX_FUNDING_SAT:
        raise ChannelViolation("a channel of more sat than there are")
    if message.push_msat > funding_sat * 1_000:
        raise ChannelViolation("more is pushed than the channel holds")
    if not 253 <= message.feerate_per_kw <= 250_000:
        raise ChannelViolation(f"a fee rate of {message.feerate_per_kw} sat/kw is not acceptable")
    holder = _own_config(terms, signer, funding_sat=funding_sat)
    offered = _offers(extensions, signer, funder=False)
    opening = Opening(
        funder=Side.COUNTERPARTY,
        temporary_channel_id=message.temporary_channel_id,
        chain_hash=chain_hash,
        funding_sat=funding_sat,
        push_msat=message.push_msat,
        feerate_per_kw=message.feerate_per_kw,
        anchors=anchors,
        terms=terms,
        holder=holder,
        offered=offered,
        counterparty=_peer_config(message, terms, holder, funding_sat=funding_sat),
        counterparty_point=message.first_per_commitment_point,
        extension_parameters=_negotiated(extensions, offered, message.extension_tlvs),
        minimum_depth=terms.minimum_depth,
    )
    basepoints = holder.basepoints
    reply = AcceptChannel(
        temporary_channel_id=message.temporary_channel_id,
        dust_limit_satoshis=holder.dust_limit_sat,
        max_htlc_value_in_flight_msat=holder.max_htlc_value_in_flight_msat,
        channel_reserve_satoshis=holder.channel_reserve_sat,
        htlc_minimum_msat=holder.htlc_minimum_msat,
        minimum_depth=terms.minimum_depth,
        to_self_delay=holder.to_self_delay_blocks,
        max_accepted_htlcs=holder.max_accepted_htlcs,
        funding_pubkey=basepoints.funding.data,
        revocation_basepoint=basepoints.revocation.data,
        payment_basepoint=basepoints.payment.data,
        delayed_payment_basepoint=basepoints.delayed_payment.data,
        htlc_basepoint=basepoints.htlc.data,
        first_per_commitment_point=signer.secrets.per_commitment_point(0).data,
        upfront_shutdown_script=terms.shutdown_script,
        channel_type=message.channel_type,
        extension_tlvs=offered,
    )
    return opening, reply


def _check_channel_type(message: OpenChannel, extensions: Extensions) -> bool:
    """Returns whether the channel has anchors."""
    if message.channel_type is None:
        raise ChannelViolation("open_channel without channel_type")
    for anchors in (True, False):
        if message.channel_type == channel_type(extensions, anchors=anchors):
            if extensions and not anchors:
                break
            return anchors
    raise ChannelViolation("channel_type is not supported")


def _negotiated(
    extensions: Extensions, offered: Mapping[int, bytes], received: Mapping[int, bytes]
) -> dict[str, bytes]:
    return {
        extension.name: extension.negotiate(offered=offered, received=received)
        for extension in extensions
    }


def _peer_config(
    message: OpenChannel | AcceptChannel,
    terms: OpeningTerms,
    holder: SideConfig,
    *,
    funding_sat: Sat,
) -> SideConfig:
    """What the peer announced; `ChannelViolation` where BOLT 2 or our terms refuse it."""
    script = message.upfront_shutdown_script or b""
    if script and output_type(script) in (OutputType.NONSTANDARD, OutputType.OP_RETURN):
        raise ChannelViolation("the upfront shutdown script is not accepted")
    if message.to_self_delay > terms.max_to_self_delay_blocks:
        raise ChannelViolation(f"a to_self_delay of {message.to_self_delay} blocks is too long")
    if not 1 <= message.max_accepted_htlcs <= _MAX_ACCEPTED_HTLCS:
        raise ChannelViolation("max_accepted_htlcs is not between 1 and 483")
    if not _MIN_DUST_LIMIT_SAT <= message.dust_limit_satoshis <= _MAX_DUST_LIMIT_SAT:
        raise ChannelViolation("the dust limit is not from 354 to 546 sat")
    if message.dust_limit_satoshis > holder.channel_reserve_sat:
        raise ChannelViolation("the dust limit is above the channel reserve")
    if message.channel_reserve_satoshis < holder.dust_limit_sat:
        raise ChannelViolation("the channel reserve is below the dust limit")
    if message.channel_reserve_satoshis > max(funding_sat // _MAX_RESERVE_SHARE, _MIN_RESERVE_SAT):
        raise ChannelViolation("the channel reserve is too large")
    try:
        basepoints = Basepoints(
            funding=PublicKey(message.funding_pubkey),
            revocation=PublicKey(message.revocation_basepoint),
            payment=PublicKey(message.payment_basepoint),
            delayed_payment=PublicKey(message.delayed_payment_basepoint),
            htlc=PublicKey(message.htlc_basepoint),
        )
        PublicKey(message.first_per_commitment_point)
    except InvalidKey:
        raise ChannelViolation("a key that is not a point") from None
    return SideConfig(
        basepoints=basepoints,
        dust_limit_sat=message.dust_limit_satoshis,
        max_htlc_value_in_flight_msat=message.max_htlc_value_in_flight_msat,
        channel_reserve_sat=message.channel_reserve_satoshis,
        htlc_minimum_msat=message.htlc_minimum_msat,
        to_self_delay_blocks=message.to_self_delay,
        max_accepted_htlcs=message.max_accepted_htlcs,
        upfront_shutdown_script=script,
    )


def accepted(opening: Opening, message: AcceptChannel, *, extensions: Extensions) -> Acceptance:
    """The funder received accept_channel."""
    if opening.funder is not Side.HOLDER or opening.counterparty is not None:
        raise ChannelViolation("accept_channel that nobody waits for")
    proposed = channel_type(extensions, anchors=opening.anchors)
    if message.channel_type is not None and message.channel_type != proposed:
        raise ChannelViolation("accept_channel with another channel_type")
    if message.minimum_depth > opening.terms.max_minimum_depth:
        raise ChannelViolation(f"a minimum depth of {message.minimum_depth} blocks is too much")
    counterparty = _peer_config(
        message, opening.terms, opening.holder, funding_sat=opening.funding_sat
    )
    ready = replace(
        opening,
        counterparty=counterparty,
        counterparty_point=message.first_per_commitment_point,
        extension_parameters=_negotiated(extensions, opening.offered, message.extension_tlvs),
        minimum_depth=message.minimum_depth,
    )
    script = funding_script(opening.holder.basepoints.funding, counterparty.basepoints.funding)
    return Acceptance(opening=ready, funding_script=p2wsh(script), amount_sat=opening.funding_sat)
