"""Opening a channel: open_channel to funding_signed (BOLT 2, "Channel Establishment v1").

An `Opening` lives in memory only: before `funding_signed` there is nothing to lose. It ends
with the `ChannelState` of the new channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lightspeed.bitcoin import (
    BadSignature,
    InvalidKey,
    OutPoint,
    OutputType,
    PublicKey,
    output_type,
    p2wsh,
)
from lightspeed.channel.build import (
    BuiltCommitment,
    check_funder_pays,
    commitment_context,
    commitment_of,
)
from lightspeed.channel.commitment import commitment_digest
from lightspeed.channel.config import ChannelConfig, SideConfig
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.extension import ChannelView, Extensions
from lightspeed.channel.keys import Basepoints
from lightspeed.channel.per_commitment import RevocationStore
from lightspeed.channel.scripts import funding_script
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.signer import Signer
from lightspeed.channel.state import (
    ChannelState,
    CounterpartyCommitment,
    HolderCommitment,
    Included,
    Link,
    Phase,
    Session,
)
from lightspeed.units import Msat, Sat
from lightspeed.wire import (
    AcceptChannel,
    Features,
    FundingCreated,
    FundingSigned,
    OpenChannel,
)

__all__ = ["ANCHORS_BIT", "Acceptance", "Opening", "OpeningTerms", "accept", "propose"]

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
    extension_names: tuple[str, ...]
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
    """{12, 22} and the even bit of each extension (design section 5)."""
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
        extension_names=tuple(extension.name for extension in extensions),
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
        extension_names=tuple(extension.name for extension in extensions),
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


def channel_id_of(outpoint: OutPoint) -> bytes:
    """BOLT 2, "Definition of channel_id": the txid with its last two bytes XORed by the vout."""
    tail = int.from_bytes(outpoint.txid[30:], "big") ^ outpoint.vout
    return outpoint.txid[:30] + tail.to_bytes(2, "big")


def _config(opening: Opening, outpoint: OutPoint) -> ChannelConfig:
    assert opening.counterparty is not None
    return ChannelConfig(
        channel_id=channel_id_of(outpoint),
        chain_hash=opening.chain_hash,
        funder=opening.funder,
        funding_outpoint=outpoint,
        funding_sat=opening.funding_sat,
        push_msat=opening.push_msat,
        minimum_depth=opening.minimum_depth,
        anchors=opening.anchors,
        holder=opening.holder,
        counterparty=opening.counterparty,
        extensions=opening.extension_parameters,
    )


def _first_sheet(opening: Opening, extensions: Extensions) -> Sheet:
    funder_msat = Msat(opening.funding_sat * 1_000 - opening.push_msat)
    holder_funds = opening.funder is Side.HOLDER
    return Sheet(
        holder_msat=funder_msat if holder_funds else opening.push_msat,
        counterparty_msat=opening.push_msat if holder_funds else funder_msat,
        feerate_per_kw=opening.feerate_per_kw,
        extensions={extension.name: extension.initial_content() for extension in extensions},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """Both first commitments of a channel."""

    config: ChannelConfig
    sheet: Sheet
    states: Mapping[str, Any]
    holder: BuiltCommitment
    counterparty: BuiltCommitment


def _first_commitments(
    opening: Opening, outpoint: OutPoint, *, signer: Signer, extensions: Extensions
) -> _First:
    config = _config(opening, outpoint)
    sheet = _first_sheet(opening, extensions)
    states = {
        extension.name: extension.initial_state(config.extensions[extension.name])
        for extension in extensions
    }
    view = ChannelView(config=config, signer=signer, base=sheet, shutting_down=False)
    points = {
        Side.HOLDER: signer.secrets.per_commitment_point(0),
        Side.COUNTERPARTY: PublicKey(opening.counterparty_point),
    }
    built = {}
    for side in Side:
        check_funder_pays(config, sheet, side, extensions=extensions, states=states)
        context = commitment_context(config, broadcaster=side, number=0, point=points[side])
        built[side] = commitment_of(view, sheet, context, extensions=extensions, states=states)
    return _First(
        config=config,
        sheet=sheet,
        states=states,
        holder=built[Side.HOLDER],
        counterparty=built[Side.COUNTERPARTY],
    )


def _sign(first: _First, signer: Signer) -> bytes:
    counterparty = first.counterparty
    return signer.ecdsa(
        signer.secrets.funding, commitment_digest(counterparty.frozen.tx, counterparty.terms)
    )


def _channel(opening: Opening, first: _First, signature: bytes, *, link: Link) -> ChannelState:
    """Once the counterparty's signature for our first commitment is verified."""
    funding = first.config.counterparty.basepoints.funding
    try:
        funding.verify_ecdsa(
            signature, commitment_digest(first.holder.frozen.tx, first.holder.terms)
        )
    except BadSignature:
        raise ChannelViolation("the signature for the first commitment is wrong") from None
    return ChannelState(
        config=first.config,
        phase=Phase.AWAITING_READY,
        base=first.sheet,
        holder_commitment=HolderCommitment(number=0, included=Included(0, 0), signature=signature),
        counterparty_commitments=(
            CounterpartyCommitment(
                number=0,
                included=Included(0, 0),
                per_commitment_point=opening.counterparty_point,
            ),
        ),
        counterparty_next_point=b"",
        revocations=RevocationStore(),
        extension_states=first.states,
        session=Session(link=link),
    )


def funded(
    opening: Opening, outpoint: OutPoint, *, signer: Signer, extensions: Extensions
) -> tuple[Opening, FundingCreated]:
    """The funder's wallet has made the funding transaction; nothing is broadcast yet."""
    if opening.counterparty is None or opening.funder is not Side.HOLDER:
        raise ChannelRefusal("the channel was not accepted yet")
    first = _first_commitments(opening, outpoint, signer=signer, extensions=extensions)
    message = FundingCreated(
        temporary_channel_id=opening.temporary_channel_id,
        funding_txid=outpoint.txid,
        funding_output_index=outpoint.vout,
        signature=_sign(first, signer),
    )
    return replace(opening, funding_outpoint=outpoint), message


def receive_funding_created(
    opening: Opening, message: FundingCreated, *, signer: Signer, extensions: Extensions
) -> tuple[ChannelState, FundingSigned]:
    """The fundee verifies its first commitment and signs the funder's."""
    if opening.funder is not Side.COUNTERPARTY:
        raise ChannelViolation("funding_created by the side that was to be funded")
    outpoint = OutPoint(message.funding_txid, message.funding_output_index)
    try:
        first = _first_commitments(opening, outpoint, signer=signer, extensions=extensions)
    except ChannelRefusal as refusal:
        raise ChannelViolation(str(refusal)) from None
    state = _channel(opening, first, message.signature, link=Link.UP)
    reply = FundingSigned(channel_id=first.config.channel_id, signature=_sign(first, signer))
    return state, reply


def receive_funding_signed(
    opening: Opening, message: FundingSigned, *, signer: Signer, extensions: Extensions
) -> ChannelState:
    """The funder may broadcast the funding transaction once this is stored."""
    outpoint = opening.funding_outpoint
    if opening.funder is not Side.HOLDER or outpoint is None:
        raise ChannelViolation("funding_signed that nobody waits for")
    if message.channel_id != channel_id_of(outpoint):
        raise ChannelViolation("funding_signed for another channel")
    first = _first_commitments(opening, outpoint, signer=signer, extensions=extensions)
    return _channel(opening, first, message.signature, link=Link.UP)
