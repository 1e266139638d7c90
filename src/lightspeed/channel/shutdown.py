"""The cooperative end of a channel: shutdown, then closing_signed.

BOLT 2, "Closing Initiation: shutdown" and "Legacy Closing Negotiation: closing_signed", with
fee_range. The funder proposes; the other side takes what lies in its range.
"""

from dataclasses import dataclass

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    BadSignature,
    FeeRate,
    OutputType,
    Tx,
    fee_for_weight,
    output_type,
)
from lightspeed.channel.build import commitment_terms, modifiers
from lightspeed.channel.closing import ClosingFeeTooHigh, ClosingShare, closing_transaction
from lightspeed.channel.commitment import commitment_digest
from lightspeed.channel.effects import Broadcast, ChannelClosed, ClosingOffered
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.funding import funding_witness
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.side import Side
from lightspeed.channel.turn import Turn
from lightspeed.channel.weights import closing_weight
from lightspeed.rgb import Coloured
from lightspeed.units import Sat
from lightspeed.wire import ClosingSigned, FeeRange, Shutdown

__all__ = [
    "begin_shutdown",
    "closing_coloured",
    "continue_closing",
    "receive_closing_signed",
    "receive_shutdown",
]

_MAX_FEE_FACTOR = 4
"""A closing transaction may cost this many times what it would at the commitment's fee rate."""
_SHUTDOWN_TYPES = (
    OutputType.P2WPKH,
    OutputType.P2WSH,
    OutputType.P2TR,
    OutputType.WITNESS_UNKNOWN,
)
"""option_shutdown_anysegwit."""


@dataclass(frozen=True, slots=True)
class _Closing:
    """One closing transaction, and both sides' signature for it as far as known."""

    tx: Tx
    digest: bytes
    coloured: Coloured | None


def begin_shutdown(turn: Turn, script: bytes) -> None:
    """The holder wants to close to `script`."""
    state = turn.state
    if state.phase is not Phase.NORMAL and state.phase is not Phase.SHUTTING_DOWN:
        raise ChannelRefusal(f"the channel is {state.phase.value}")
    if state.holder_shutdown_script is not None:
        raise ChannelRefusal("the channel is shutting down already")
    upfront = state.config.holder.upfront_shutdown_script
    if upfront and script != upfront:
        raise ChannelRefusal("another script was promised when the channel was opened")
    turn.enter(Phase.SHUTTING_DOWN)
    turn.update(holder_shutdown_script=script)
    continue_closing(turn)


def receive_shutdown(turn: Turn, message: Shutdown) -> None:
    """Answer with our own; the channel takes no further HTLCs."""
    state = turn.state
    script = message.scriptpubkey
    upfront = state.config.counterparty.upfront_shutdown_script
    if upfront and script != upfront:
        raise ChannelViolation("shutdown with another script than was promised at open")
    if output_type(script) not in _SHUTDOWN_TYPES:
        raise ChannelViolation("shutdown with a script that is not accepted")
    known = state.counterparty_shutdown_script
    if known is not None and known != script:
        raise ChannelViolation("a second shutdown with another script")
    turn.enter(Phase.SHUTTING_DOWN)
    turn.update(counterparty_shutdown_script=script)
    turn.update_session(shutdown_received=True)
    if turn.state.holder_shutdown_script is None:
        turn.update(holder_shutdown_script=state.config.holder.upfront_shutdown_script)
    continue_closing(turn)


def _say_shutdown(turn: Turn) -> None:
    """Once per connection, and not while the peer has unsigned updates of ours."""
    state = turn.state
    signed = state.counterparty_commitments[-1].included.holder
    if (
        state.holder_shutdown_script is not None
        and not state.session.shutdown_sent
        and state.session.link is Link.UP
        and state.session.pending is None
        and len(state.holder_log) == signed
    ):
        turn.update_session(shutdown_sent=True)
        turn.send(Shutdown(channel_id=turn.channel_id, scriptpubkey=state.holder_shutdown_script))


def _ready_to_close(turn: Turn) -> bool:
    state = turn.state
    return (
        state.phase is Phase.SHUTTING_DOWN
        and state.session.shutdown_sent
        and state.session.shutdown_received
        and not state.base.htlcs
        and not state.holder_log
        and not state.counterparty_log
        and len(state.counterparty_commitments) == 1
        and not any(
            extension.blocks_closing(
                state.extension_states[extension.name], state.base.extensions[extension.name]
            )
            for extension in turn.extensions
        )
    )


def continue_closing(turn: Turn) -> None:
    """Asked at the end of every turn: say `shutdown`, then, if we fund, `closing_signed`."""
    if turn.state.phase is not Phase.SHUTTING_DOWN:
        return
    _say_shutdown(turn)
    if not _ready_to_close(turn) or turn.state.session.closing_sent is not None:
        return
    if turn.state.config.funder is Side.HOLDER:
        _send_closing_signed(turn, _ideal_fee(turn), _accepted_fees(turn))


def _ideal_fee(turn: Turn) -> Sat:
    return fee_for_weight(_closing_weight(turn), FeeRate(turn.state.base.feerate_per_kw))


def _accepted_fees(turn: Turn) -> FeeRange:
    """Never below what relays: the channel would be closed by a transaction that nobody mines."""
    ideal = _ideal_fee(turn)
    relayed = fee_for_weight(_closing_weight(turn), FEE_RATE_FLOOR)
    return FeeRange(Sat(max(ideal // 2, relayed)), Sat(ideal * _MAX_FEE_FACTOR))


def _closing_weight(turn: Turn) -> int:
    return closing_weight(*(txout.script for txout in _closing(turn, Sat(0)).tx.outputs))


def _closing(turn: Turn, fee: Sat) -> _Closing:
    state = turn.state
    config = state.config
    scripts = {
        Side.HOLDER: state.holder_shutdown_script or b"",
        Side.COUNTERPARTY: state.counterparty_shutdown_script or b"",
    }
    shares = {
        side: ClosingShare(
            state.base.balance_msat(side), scripts[side], tokens=state.base.tokens(side)
        )
        for side in Side
    }
    frozen = closing_transaction(
        funding_outpoint=config.funding_outpoint,
        funder=shares[config.funder],
        other=shares[config.funder.other],
        fee_sat=fee,
        dust_limit_sat=max(config.holder.dust_limit_sat, config.counterparty.dust_limit_sat),
        modifiers=modifiers(
            turn.view(), state.base, extensions=turn.extensions, states=state.extension_states
        ),
    )
    terms = commitment_terms(config, Side.HOLDER)
    return _Closing(frozen.tx, commitment_digest(frozen.tx, terms), frozen.coloured)


def closing_coloured(turn: Turn, tx: Tx) -> Coloured | None:
    """What moves the tokens in a closing transaction of this channel; None if nothing does."""
    fee = Sat(turn.state.config.funding_sat - sum(output.value for output in tx.outputs))
    try:
        closing = _closing(turn, fee)
    except ChannelRefusal:
        return None
    return closing.coloured if closing.tx.txid == tx.txid else None


def _send_closing_signed(turn: Turn, fee: Sat, fee_range: FeeRange | None) -> ClosingSigned:
    closing = _closing(turn, fee)
    message = ClosingSigned(
        channel_id=turn.channel_id,
        fee_satoshis=fee,
        signature=turn.signer.ecdsa(turn.signer.secrets.funding, closing.digest),
        fee_range=fee_range,
    )
    turn.update_session(closing_sent=message)
    if closing.coloured is not None:
        turn.notify(ClosingOffered(closing.coloured))
    turn.send(message)
    return message


def receive_closing_signed(turn: Turn, message: ClosingSigned) -> None:
    """Take the peer's fee if we can; then the closing transaction is complete."""
    if turn.state.phase is Phase.CLOSED:
        return
    if not _ready_to_close(turn):
        raise ChannelViolation("closing_signed while something is pending")
    try:
        closing = _closing(turn, message.fee_satoshis)
    except ClosingFeeTooHigh as error:
        raise ChannelViolation(str(error)) from None
    counterparty_funding = turn.state.config.counterparty.basepoints.funding
    try:
        counterparty_funding.verify_ecdsa(message.signature, closing.digest)
    except BadSignature:
        raise ChannelViolation("the signature in closing_signed is wrong") from None

    sent = turn.state.session.closing_sent
    if sent is None or sent.fee_satoshis != message.fee_satoshis:
        fees = _accepted_fees(turn)
        if not fees.min_fee_satoshis <= message.fee_satoshis <= fees.max_fee_satoshis:
            if sent is not None:
                raise ChannelViolation(
                    f"no closing fee between {fees.min_fee_satoshis} and "
                    f"{fees.max_fee_satoshis} sat found"
                )
            _send_closing_signed(turn, _ideal_fee(turn), fees)
            return
        sent = _send_closing_signed(turn, message.fee_satoshis, fees)
    signatures = (sent.signature, message.signature)
    terms = commitment_terms(turn.state.config, Side.HOLDER)
    tx = closing.tx.with_witness(
        0, funding_witness(funding_keys=terms.funding_keys, signatures=signatures)
    )
    turn.enter(Phase.CLOSED)
    turn.effects.append(Broadcast(tx, "cooperative close", closing.coloured))
    turn.notify(ChannelClosed(tx, closing.coloured))
