"""From an agreement to a channel: funding_created and funding_signed (BOLT 2).

Both first commitments are built and signed here; an `Opening` ends with a `ChannelState`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightspeed.bitcoin import (
    BadSignature,
    OutPoint,
    PublicKey,
)
from lightspeed.channel.build import (
    BuiltCommitment,
    check_funder_pays,
    commitment_context,
    commitment_of,
    extension_weight,
)
from lightspeed.channel.commitment import commitment_digest
from lightspeed.channel.config import ChannelConfig
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.extension import ChannelView, Extensions
from lightspeed.channel.opening import Opening
from lightspeed.channel.per_commitment import RevocationStore
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.signer import Signer
from lightspeed.channel.state import (
    ChannelState,
    CounterpartyCommitment,
    HolderCommitment,
    Included,
    Session,
)
from lightspeed.units import Msat
from lightspeed.wire import (
    FundingCreated,
    FundingSigned,
)

__all__ = ["channel_id_of", "funded", "receive_funding_created", "receive_funding_signed"]


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
    parameters = opening.extension_parameters
    tokens = [extension.initial_tokens(parameters[extension.name]) for extension in extensions]
    funder_tokens, fundee_tokens = sum(own for own, _ in tokens), sum(own for _, own in tokens)
    return Sheet(
        holder_msat=funder_msat if holder_funds else opening.push_msat,
        counterparty_msat=opening.push_msat if holder_funds else funder_msat,
        feerate_per_kw=opening.feerate_per_kw,
        holder_tokens=funder_tokens if holder_funds else fundee_tokens,
        counterparty_tokens=fundee_tokens if holder_funds else funder_tokens,
        extensions={
            extension.name: extension.initial_content(parameters[extension.name])
            for extension in extensions
        },
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
        weight = extension_weight(sheet, extensions, states)
        for extension in extensions:
            extension.check_sheet(
                view,
                states[extension.name],
                sheet,
                side,
                extension_weight=weight,
                careful=opening.funder is Side.HOLDER,
            )
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
    try:
        first = _first_commitments(opening, outpoint, signer=signer, extensions=extensions)
    except ChannelViolation as violation:
        raise ChannelRefusal(str(violation)) from None
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
