"""After a connection was lost: what to forget, what to say again.

BOLT 2, "Message Retransmission".
"""

from lightspeed.bitcoin import PublicKey
from lightspeed.channel.commit import commit, revocation_of, sign_commitment
from lightspeed.channel.effects import PeerIsAhead
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.per_commitment import LAST_INDEX
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.side import Side
from lightspeed.channel.state import Session
from lightspeed.channel.turn import Turn
from lightspeed.wire import ChannelReady, ChannelReestablish, UpdateAddHtlc

__all__ = ["connect", "disconnect", "receive_reestablish"]

_NO_SECRET = bytes(32)


def disconnect(turn: Turn) -> None:
    """The session is over. Updates of the peer that it never signed for are forgotten.

    Our own unsigned updates stay in the log: they are said again.
    """
    _forget_connection(turn)


def _forget_connection(turn: Turn) -> None:
    state = turn.state
    kept = state.holder_commitment.included.counterparty
    forgotten = state.counterparty_log[kept:]
    turn.update(
        session=Session(),
        counterparty_log=state.counterparty_log[:kept],
        counterparty_htlcs_added=state.counterparty_htlcs_added
        - sum(isinstance(update, UpdateAddHtlc) for update in forgotten),
    )
    for extension in turn.extensions:
        extension_state = turn.state.extension_states[extension.name]
        turn.set_extension_state(extension, extension.disconnected(extension_state))


def connect(turn: Turn) -> None:
    """A connection is up: the first message of the channel is `channel_reestablish`."""
    if turn.state.session.link is not Link.DOWN:
        raise ChannelRefusal("the channel is connected already")
    _forget_connection(turn)  # a crash ends a connection without a word
    turn.update_session(link=Link.REESTABLISHING)
    turn.send(_reestablish(turn))


def _reestablish(turn: Turn) -> ChannelReestablish:
    state, secrets = turn.state, turn.signer.secrets
    revoked = state.counterparty_commitments[0].number
    return ChannelReestablish(
        channel_id=turn.channel_id,
        next_commitment_number=state.holder_commitment.number + 1,
        next_revocation_number=revoked,
        your_last_per_commitment_secret=(
            state.revocations.secret(revoked - 1) if revoked else _NO_SECRET
        ),
        my_current_per_commitment_point=secrets.per_commitment_point(
            state.holder_commitment.number
        ).data,
    )


def receive_reestablish(turn: Turn, message: ChannelReestablish) -> None:
    """Compare where both sides are, and say again what the peer has not got."""
    state = turn.state
    if state.session.link is not Link.REESTABLISHING:
        raise ChannelViolation("channel_reestablish in the middle of a connection")
    revoked_by_us = state.holder_commitment.number
    if _peer_is_ahead(turn, message):
        return
    resend_revocation = message.next_revocation_number == revoked_by_us - 1
    if not resend_revocation and message.next_revocation_number != revoked_by_us:
        raise ChannelViolation("next_revocation_number does not fit")
    _check_proof(turn, message)

    signed = state.counterparty_commitments[-1].number
    resend_commitment = message.next_commitment_number == signed
    if not resend_commitment and message.next_commitment_number != signed + 1:
        raise ChannelViolation("next_commitment_number does not fit")
    if resend_commitment and len(state.counterparty_commitments) != 2:
        raise ChannelViolation("a commitment that was revoked is asked for again")

    turn.update_session(link=Link.UP)
    if state.holder_ready and message.next_commitment_number == 1 and revoked_by_us == 0:
        turn.send(channel_ready(turn))
    if resend_revocation and not state.commitment_sent_last:
        _send_updates_and_commitment(turn, resend_commitment=resend_commitment)
        turn.send(revocation_of(turn, revoked_by_us - 1))
    else:
        if resend_revocation:
            turn.send(revocation_of(turn, revoked_by_us - 1))
        _send_updates_and_commitment(turn, resend_commitment=resend_commitment)
    _send_unsigned_updates(turn)
    for extension in turn.extensions:
        extension_state = turn.state.extension_states[extension.name]
        turn.adopt(extension, extension.reconnected(turn.view(), extension_state))
    commit(turn)


def channel_ready(turn: Turn) -> ChannelReady:
    """With the point of our commitment 1."""
    return ChannelReady(
        channel_id=turn.channel_id,
        second_per_commitment_point=turn.signer.secrets.per_commitment_point(1).data,
    )


def _peer_is_ahead(turn: Turn, message: ChannelReestablish) -> bool:
    """Does the peer prove that it saw us revoke more than we know of?

    Then our commitment may be a revoked one: it must not be broadcast (BOLT 2,
    option_data_loss_protect).
    """
    expected = turn.state.holder_commitment.number
    if message.next_revocation_number <= expected:
        return False
    if message.next_revocation_number > LAST_INDEX:
        # Beyond it secrets begin again with those that were revealed: they would prove nothing.
        raise ChannelViolation("a revocation number that no channel reaches")
    secret = turn.signer.secrets.per_commitment_secret(message.next_revocation_number - 1)
    if message.your_last_per_commitment_secret != secret:
        raise ChannelViolation("a revocation number from the future, without its secret")
    turn.enter(Phase.BEHIND)
    turn.notify(PeerIsAhead())
    return True


def _check_proof(turn: Turn, message: ChannelReestablish) -> None:
    number = message.next_revocation_number
    expected = turn.signer.secrets.per_commitment_secret(number - 1) if number else _NO_SECRET
    if message.your_last_per_commitment_secret != expected:
        raise ChannelViolation("your_last_per_commitment_secret is not the one we gave")


def _send_updates_and_commitment(turn: Turn, *, resend_commitment: bool) -> None:
    """The `commitment_signed` that got lost, with the updates that it signed for."""
    if not resend_commitment:
        return
    older, newer = turn.state.counterparty_commitments
    for update in turn.state.holder_log[older.included.holder : newer.included.holder]:
        turn.send(update)
    built = turn.commitment(
        Side.COUNTERPARTY,
        number=newer.number,
        point=PublicKey(newer.per_commitment_point),
        included=newer.included,
    )
    sign_commitment(turn, built)


def _send_unsigned_updates(turn: Turn) -> None:
    signed = turn.state.counterparty_commitments[-1].included.holder
    for update in turn.state.holder_log[signed:]:
        turn.send(update)
