"""commitment_signed, revoke_and_ack, and the question before a signature.

BOLT 2, "Committing Updates So Far" and "Completing the Transition to the Updated State";
docs/protocol.md, "Signatures for children". The holder answers a `commitment_signed` with its
`revoke_and_ack` in the same turn, so it never has two commitments of its own.
"""

from dataclasses import replace
from typing import Any

from lightspeed.bitcoin import BadSignature, InvalidKey, PrivateKey, PublicKey
from lightspeed.channel.build import BuiltCommitment
from lightspeed.channel.commitment import FunderCannotPay, commitment_digest
from lightspeed.channel.effects import HtlcFailed, HtlcReceived, Put
from lightspeed.channel.errors import ChannelViolation
from lightspeed.channel.extension import Extension
from lightspeed.channel.keys import derive_private_key
from lightspeed.channel.per_commitment import RevocationSecretInvalid
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.records import (
    REVOKED_TABLE,
    dump_sheet,
    forget_child_signatures,
    revoked_key,
    store_child_signatures,
)
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.state import (
    CounterpartyCommitment,
    HolderCommitment,
    Included,
    PendingRequest,
)
from lightspeed.channel.turn import Turn, peer_point
from lightspeed.wire import (
    CommitmentSigned,
    Message,
    RevokeAndAck,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
)

__all__ = [
    "answer_request",
    "can_commit",
    "commit",
    "receive_commitment_signed",
    "receive_revoke_and_ack",
    "receive_signatures",
    "sign_commitment",
]


def can_commit(turn: Turn) -> bool:
    """Is there something to sign for the counterparty, and may it be signed now?"""
    state = turn.state
    return (
        state.session.link is Link.UP
        and state.session.pending is None
        and state.phase in (Phase.NORMAL, Phase.SHUTTING_DOWN)
        and len(state.counterparty_commitments) == 1
        and state.next_included(Side.COUNTERPARTY) != state.counterparty_commitments[0].included
    )


def commit(turn: Turn) -> None:
    """Sign the counterparty's next commitment, or ask first what has to be asked first."""
    if not can_commit(turn):
        return
    included = turn.state.next_included(Side.COUNTERPARTY)
    built = turn.next_counterparty_commitment(included)
    for extension in turn.extensions:
        question = extension.ask(*_extension_arguments(turn, extension, built))
        if question is not None:
            turn.send(question)
            turn.update_session(pending=PendingRequest(extension.name, included))
            return
    _sign_next(turn, built, included, child_signatures={})


def _extension_arguments(
    turn: Turn, extension: Extension[Any, Any], built: BuiltCommitment
) -> tuple[Any, ...]:
    return (
        turn.view(),
        turn.state.extension_states[extension.name],
        built.sheet.extensions[extension.name],
        built.context,
        built.frozen,
    )


def _sign_next(
    turn: Turn,
    built: BuiltCommitment,
    included: Included,
    *,
    child_signatures: dict[str, bytes],
) -> None:
    commitment = CounterpartyCommitment(
        number=built.context.number,
        included=included,
        per_commitment_point=turn.state.counterparty_next_point,
        child_signatures=child_signatures,
    )
    turn.update(
        counterparty_commitments=(*turn.state.counterparty_commitments, commitment),
        commitment_sent_last=True,
    )
    turn.puts.extend(store_child_signatures(turn.channel_id, commitment))
    sign_commitment(turn, built)


def sign_commitment(turn: Turn, built: BuiltCommitment) -> None:
    """Send signatures for the children that the peer needs, then `commitment_signed`.

    Deterministic: signing the same commitment again gives the same bytes.
    """
    for extension in turn.extensions:
        for message in extension.sign_children(*_extension_arguments(turn, extension, built)):
            turn.send(message)
    secrets, signer = turn.signer.secrets, turn.signer
    htlc_secret = derive_private_key(secrets.htlc, built.context.per_commitment_point)
    turn.send(
        CommitmentSigned(
            channel_id=turn.channel_id,
            signature=signer.ecdsa(
                secrets.funding, commitment_digest(built.frozen.tx, built.terms)
            ),
            htlc_signatures=tuple(
                signer.ecdsa(htlc_secret, child.countersignatory_digest())
                for child in built.htlc_children()
            ),
        )
    )


def receive_signatures(turn: Turn, message: Message) -> None:
    """Signatures for children arrived; if they answer our question, sign."""
    extension = turn.extensions.owner_of(message)
    state = extension.collect(turn.view(), turn.state.extension_states[extension.name], message)
    turn.set_extension_state(extension, state)
    pending = turn.state.session.pending
    if pending is None or pending.extension != extension.name:
        return
    built = turn.next_counterparty_commitment(pending.included)
    if not extension.answered(state, built.context):
        return
    state, kept = extension.take_signatures(*_extension_arguments(turn, extension, built))
    turn.set_extension_state(extension, state)
    turn.update_session(pending=None)
    _sign_next(turn, built, pending.included, child_signatures={extension.name: kept})
    held = turn.state.session.held
    turn.update_session(held=())
    for update in held:
        turn.send(update)


def answer_request(turn: Turn, request: Message) -> None:
    """The peer asks for our signatures on the children of our own next commitment.

    Answered at once, whatever we are waiting for: no circle can form.
    """
    extension = turn.extensions.owner_of(request)
    built = turn.next_holder_commitment()
    asked = (extension.name, built.context.number)
    answered = turn.state.session.requests_answered
    if asked in answered:
        raise ChannelViolation("a second sign request for the same commitment")
    extension.check_request(request, built.context, built.frozen)
    turn.update_session(requests_answered=answered | {asked})
    for message in extension.sign_children(*_extension_arguments(turn, extension, built)):
        turn.send(message)


def receive_commitment_signed(turn: Turn, message: CommitmentSigned) -> None:
    """Verify everything, then revoke the commitment before in the same turn."""
    state = turn.state
    included = state.next_included(Side.HOLDER)
    if included == state.holder_commitment.included:
        raise ChannelViolation("commitment_signed without an update")
    try:
        built = turn.next_holder_commitment()
    except FunderCannotPay as refusal:
        raise ChannelViolation(str(refusal)) from None
    _verify_commitment_signed(turn, built, message)
    child_signatures = {}
    for extension in turn.extensions:
        extension_state, kept = extension.take_signatures(
            *_extension_arguments(turn, extension, built)
        )
        turn.set_extension_state(extension, extension_state)
        if kept:
            child_signatures[extension.name] = kept
    revoked = state.holder_commitment
    current = HolderCommitment(
        number=built.context.number,
        included=included,
        signature=message.signature,
        htlc_signatures=message.htlc_signatures,
        child_signatures=child_signatures,
    )
    turn.update(holder_commitment=current, commitment_sent_last=False)
    turn.puts.extend(store_child_signatures(turn.channel_id, current))
    turn.puts.extend(forget_child_signatures(turn.channel_id, revoked))
    turn.send(revocation_of(turn, revoked.number))
    _fold_irrevocable(turn)
    commit(turn)


def revocation_of(turn: Turn, number: int) -> RevokeAndAck:
    """The `revoke_and_ack` that revokes our commitment `number`."""
    secrets = turn.signer.secrets
    return RevokeAndAck(
        channel_id=turn.channel_id,
        per_commitment_secret=secrets.per_commitment_secret(number),
        next_per_commitment_point=secrets.per_commitment_point(number + 2).data,
    )


def _verify_commitment_signed(
    turn: Turn, built: BuiltCommitment, message: CommitmentSigned
) -> None:
    counterparty_funding = turn.state.config.counterparty.basepoints.funding
    children = built.htlc_children()
    if len(children) != len(message.htlc_signatures):
        raise ChannelViolation(
            f"{len(message.htlc_signatures)} HTLC signatures for {len(children)} HTLC outputs"
        )
    try:
        counterparty_funding.verify_ecdsa(
            message.signature, commitment_digest(built.frozen.tx, built.terms)
        )
        for child, signature in zip(children, message.htlc_signatures, strict=True):
            child.verify(signature)
    except BadSignature:
        raise ChannelViolation("a signature in commitment_signed is wrong") from None


def receive_revoke_and_ack(turn: Turn, message: RevokeAndAck) -> None:
    """The counterparty's older commitment is void; keep what punishes its broadcast."""
    state = turn.state
    if len(state.counterparty_commitments) != 2:
        raise ChannelViolation("revoke_and_ack without a commitment to revoke")
    revoked, current = state.counterparty_commitments
    try:
        point = PrivateKey(message.per_commitment_secret).public
    except InvalidKey:
        raise ChannelViolation("the per-commitment secret is not a key") from None
    if point != PublicKey(revoked.per_commitment_point):
        raise ChannelViolation("the per-commitment secret does not belong to its point")
    try:
        revocations = state.revocations.add(revoked.number, message.per_commitment_secret)
    except RevocationSecretInvalid as error:
        raise ChannelViolation(str(error)) from None
    next_point = peer_point(message.next_per_commitment_point, "next_per_commitment_point")
    turn.puts.append(
        Put(
            REVOKED_TABLE,
            revoked_key(turn.channel_id, revoked.number),
            dump_sheet(turn.sheet(revoked.included), turn.extensions),
        )
    )
    turn.puts.extend(forget_child_signatures(turn.channel_id, revoked))
    turn.update(
        counterparty_commitments=(current,),
        counterparty_next_point=next_point.data,
        revocations=revocations,
    )
    _fold_irrevocable(turn)
    commit(turn)


def _fold_irrevocable(turn: Turn) -> None:
    """Move into `base` what every unrevoked commitment includes, and tell whom it concerns."""
    state = turn.state
    unrevoked = [state.holder_commitment.included]
    unrevoked += [commitment.included for commitment in state.counterparty_commitments]
    holder = min(included.holder for included in unrevoked)
    counterparty = min(included.counterparty for included in unrevoked)
    if holder == counterparty == 0:
        return
    before = state.base
    ours, theirs = state.holder_log[:holder], state.counterparty_log[:counterparty]
    base = turn.sheet(Included(holder, counterparty))
    turn.update(
        base=base,
        holder_log=state.holder_log[holder:],
        counterparty_log=state.counterparty_log[counterparty:],
        holder_commitment=replace(
            state.holder_commitment,
            included=state.holder_commitment.included.shifted(
                holder=holder, counterparty=counterparty
            ),
        ),
        counterparty_commitments=tuple(
            replace(
                commitment,
                included=commitment.included.shifted(holder=holder, counterparty=counterparty),
            )
            for commitment in state.counterparty_commitments
        ),
    )
    for update in theirs:
        _tell_irrevocable(turn, before, update)
    for sender, updates in ((Side.HOLDER, ours), (Side.COUNTERPARTY, theirs)):
        for update in updates:
            if turn.extensions.is_update(update):
                extension = turn.extensions.owner_of(update)
                extension_state = turn.state.extension_states[extension.name]
                turn.adopt(
                    extension, extension.committed(turn.view(), extension_state, sender, update)
                )


def _tell_irrevocable(turn: Turn, before: Sheet, update: Message) -> None:
    """An update of the counterparty that the node has to act on."""
    match update:
        case UpdateAddHtlc():
            turn.notify(
                HtlcReceived(
                    update.id,
                    update.amount_msat,
                    update.payment_hash,
                    update.cltv_expiry,
                    update.onion_routing_packet,
                )
            )
        case UpdateFailHtlc():
            failed = before.htlc(Side.HOLDER, update.id).add
            turn.notify(HtlcFailed(update.id, failed.payment_hash, update.reason))
        case UpdateFailMalformedHtlc():
            failed = before.htlc(Side.HOLDER, update.id).add
            code = update.failure_code
            turn.notify(HtlcFailed(update.id, failed.payment_hash, b"", code))
        case _:
            pass
