"""Tokens that come into an open channel, by a transfer on chain to its funding outpoint.

    depositor                                      other side
      |-- rgb_consignment ... ---------------------->|   validates it; minimum depth
      |<--------------------------- rgb_admit {opout}|   or rgb_refuse
      |-- rgb_deposit {opout, amount} -------------->|   an update

`rgb_admit` is said again after a reconnection until the deposit is irrevocable.
"""

from collections.abc import Sequence
from dataclasses import replace

from lightspeed.channel import (
    Channel,
    ChannelRefusal,
    ChannelView,
    ExtensionStep,
    Notify,
    Send,
)
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.state import Included
from lightspeed.channel.turn import Turn
from lightspeed.colour.consignments import ConsignmentCollector, consignment_messages
from lightspeed.colour.events import ConsignmentReceived, ConsignmentRefused, DepositAdmitted
from lightspeed.colour.messages import (
    RefusedSubject,
    RgbAdmit,
    RgbConsignment,
    RgbDeposit,
    RgbRefuse,
)
from lightspeed.colour.negotiation import EXTENSION_NAME, MAX_ALLOCATIONS, MAX_TOKENS
from lightspeed.colour.offers import Act, check_connected
from lightspeed.colour.state import ColourContent, ColourState
from lightspeed.rgb import TokenInput

__all__ = [
    "admit",
    "next_deposits",
    "receive_admission",
    "receive_consignment",
    "receive_refusal",
    "refuse_deposit",
    "repeat",
    "send_deposit",
]


# --- depositor ------------------------------------------------------------------------------


def send_deposit(tokens: Sequence[TokenInput], consignment: bytes) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        check_connected(turn)
        content = _everything(turn)
        known = {token.opout for token in state.admitted}
        for token in tokens:
            if content.has(token.opout) or token.opout in known:
                raise ChannelRefusal(f"{token.opout} is not a new deposit of ours")
        new = tuple(token for token in tokens if token not in state.deposits)
        told = replace(state, deposits=tuple(sorted((*state.deposits, *new))))
        messages = consignment_messages(turn.channel_id, consignment)
        return ExtensionStep(told, effects=tuple(map(Send, messages)))

    return act


def receive_admission(
    view: ChannelView, state: ColourState, message: RgbAdmit
) -> ExtensionStep[ColourState]:
    """Of what we know nothing of, or have deposited, it says nothing new."""
    ours = next((token for token in state.deposits if token.opout == message.opout), None)
    if ours is None or message.opout in state.granted:
        return ExtensionStep(state)
    granted = replace(state, granted=state.granted | {message.opout})
    return ExtensionStep(granted, effects=(Notify(DepositAdmitted(ours)),))


def receive_refusal(state: ColourState, message: RgbRefuse) -> ExtensionStep[ColourState]:
    return ExtensionStep(state, effects=(Notify(ConsignmentRefused(message.text)),))


def next_deposits(channel: Channel) -> tuple[RgbDeposit, ...]:
    """Updates to propose: what was admitted and is not under way yet."""
    state = channel.state.extension_states[EXTENSION_NAME]
    assert isinstance(state, ColourState)
    proposed = {
        update.opout for update in channel.state.holder_log if isinstance(update, RgbDeposit)
    }
    return tuple(
        RgbDeposit(channel_id=channel.channel_id, opout=token.opout, amount=token.amount)
        for token in state.deposits
        if token.opout in state.granted and token.opout not in proposed
    )


# --- the other side -------------------------------------------------------------------------


def receive_consignment(
    state: ColourState, message: RgbConsignment, *, max_bytes: int
) -> ExtensionStep[ColourState]:
    incoming = state.session.incoming
    if incoming is None:
        incoming = ConsignmentCollector.begin(message, max_bytes=max_bytes)
    else:
        incoming = incoming.add(message)
    if not incoming.complete:
        session = replace(state.session, incoming=incoming)
        return ExtensionStep(replace(state, session=session))
    session = replace(state.session, incoming=None)
    return ExtensionStep(
        replace(state, session=session), effects=(Notify(ConsignmentReceived(incoming.data)),)
    )


def admit(tokens: Sequence[TokenInput]) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        if turn.state.phase is not Phase.NORMAL:
            # It would keep the channel from closing, and the peer may not know of it.
            raise ChannelRefusal(f"the channel is {turn.state.phase.value}")
        content = _everything(turn)
        ours = {token.opout for token in state.deposits}
        known = {token.opout for token in (*content.inputs, *state.admitted)}
        for token in tokens:
            if token.opout in ours:
                # The peer has its consignment from us, and may say that the tokens are its own.
                raise ChannelRefusal(f"{token.opout} is a deposit of our own")
            if token.opout in known or token.amount <= 0:
                raise ChannelRefusal(f"{token.opout} is no new allocation")
            known.add(token.opout)
        # Those of both sides that may still come: their updates can cross.
        waiting = {*state.admitted, *state.deposits}.difference(content.inputs)
        after = (*content.inputs, *waiting, *tokens)
        if len(after) > MAX_ALLOCATIONS or sum(each.amount for each in after) > MAX_TOKENS:
            raise ChannelRefusal(f"more than {MAX_ALLOCATIONS} allocations, or too many tokens")
        admitted = replace(state, admitted=tuple(sorted((*state.admitted, *tokens))))
        up = turn.state.session.link is Link.UP
        said = [RgbAdmit(channel_id=turn.channel_id, opout=token.opout) for token in tokens]
        return ExtensionStep(admitted, effects=tuple(map(Send, said)) if up else ())

    return act


def refuse_deposit(text: bytes) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        message = RgbRefuse(
            channel_id=turn.channel_id, subject=RefusedSubject.CONSIGNMENT, text=text
        )
        return ExtensionStep(state, effects=(Send(message),))

    return act


def repeat(view: ChannelView, state: ColourState) -> tuple[Send, ...]:
    """After a reconnection: what the depositor may not have heard."""
    return tuple(
        Send(RgbAdmit(channel_id=view.config.channel_id, opout=token.opout))
        for token in state.admitted
    )


def _everything(turn: Turn) -> ColourContent:
    included = Included(len(turn.state.holder_log), len(turn.state.counterparty_log))
    content = turn.sheet(included).extensions[EXTENSION_NAME]
    assert isinstance(content, ColourContent)
    return content
