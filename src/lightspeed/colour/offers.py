"""Tokens for sale inside the channel: a question, an offer, and then one update.

    buyer                                          seller
      |-- rgb_ask {tokens} ------------------------->|   voids the offer before
      |<----------- rgb_offer {offer, tokens, price} |   or rgb_refuse
      |-- rgb_trade {offer, tokens, price} --------->|   an update

The buyer asks again only when it was answered, in each connection; the seller offers only when
it was asked. So both always agree on the offer that stands. A seller that wants it back says
rgb_refuse, and the buyer rgb_ask {0}, unless its trade is under way; until then the offer stands.
"""

from collections.abc import Callable
from dataclasses import replace

from lightspeed.channel import (
    ChannelRefusal,
    ChannelView,
    ChannelViolation,
    ExtensionStep,
    Notify,
    Send,
    Side,
)
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.state import Included
from lightspeed.channel.turn import Turn
from lightspeed.colour.events import AskRefused, TokensAsked, TokensOffered
from lightspeed.colour.messages import RefusedSubject, RgbAsk, RgbOffer, RgbRefuse, RgbTrade
from lightspeed.colour.negotiation import EXTENSION_NAME
from lightspeed.colour.state import ColourContent, ColourState, Offer
from lightspeed.colour.updates import offer_of

__all__ = [
    "ask",
    "offer",
    "receive_ask",
    "receive_offer",
    "receive_refusal",
    "receive_withdrawal",
    "refuse_ask",
    "withdraw",
]

Act = Callable[[Turn, ColourState], ExtensionStep[ColourState]]


# --- buyer ----------------------------------------------------------------------------------


def ask(tokens: int) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        _check_connected(turn)
        if not 0 < tokens < 1 << 64:
            raise ChannelRefusal(f"{tokens} tokens cannot be asked for")
        if state.session.asking:
            raise ChannelRefusal("the question before is not answered yet")
        if any(isinstance(update, RgbTrade) for update in turn.state.holder_log):
            raise ChannelRefusal("a trade is under way")
        asking = replace(
            state, counterparty_offer=None, session=replace(state.session, asking=True)
        )
        message = RgbAsk(channel_id=turn.channel_id, tokens=tokens)
        return ExtensionStep(asking, effects=(Send(message),))

    return act


def receive_offer(
    view: ChannelView, state: ColourState, message: RgbOffer
) -> ExtensionStep[ColourState]:
    if not state.session.asking:
        raise ChannelViolation("rgb_offer that nobody asked for")
    content = view.base.extensions[EXTENSION_NAME]
    assert isinstance(content, ColourContent)
    if message.offer <= content.traded(Side.COUNTERPARTY) or not message.tokens:
        raise ChannelViolation("rgb_offer of nothing, or numbered like one before it")
    offer = Offer(message.offer, message.tokens, message.price_msat)
    offered = replace(state, counterparty_offer=offer, session=replace(state.session, asking=False))
    return ExtensionStep(offered, effects=(Notify(TokensOffered(offer)),))


def receive_refusal(state: ColourState, message: RgbRefuse) -> ExtensionStep[ColourState]:
    if not state.session.asking:
        raise ChannelViolation("rgb_refuse that nobody asked for")
    answered = replace(state, session=replace(state.session, asking=False))
    return ExtensionStep(answered, effects=(Notify(AskRefused(message.text)),))


def receive_withdrawal(view: ChannelView, state: ColourState) -> ExtensionStep[ColourState]:
    """Given back at once, also an offer that never arrived. Nothing to do when we ask already, or
    when our trade crosses it.
    """
    offer = state.counterparty_offer
    under_way = any(
        isinstance(update, RgbTrade) and offer_of(update) == offer for update in view.updates
    )
    if under_way or state.session.asking:
        return ExtensionStep(state)
    voided = RgbAsk(channel_id=view.config.channel_id, tokens=0)
    return ExtensionStep(replace(state, counterparty_offer=None), effects=(Send(voided),))


# --- seller ---------------------------------------------------------------------------------


def receive_ask(state: ColourState, message: RgbAsk) -> ExtensionStep[ColourState]:
    if not message.tokens:
        return ExtensionStep(replace(state, holder_offer=None))
    if state.session.asked:
        raise ChannelViolation("rgb_ask before the one before is answered")
    asked = replace(state, holder_offer=None, session=replace(state.session, asked=True))
    return ExtensionStep(asked, effects=(Notify(TokensAsked(message.tokens)),))


def offer(tokens: int, price_msat: int) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        _check_asked(turn, state)
        if not 0 < tokens <= _offerable(turn):
            raise ChannelRefusal(f"{tokens} tokens cannot be offered")
        if not 0 <= price_msat < 1 << 64:
            raise ChannelRefusal(f"a price of {price_msat} msat")
        made = Offer(state.offers_made + 1, tokens, price_msat)
        offering = replace(
            state,
            holder_offer=made,
            offers_made=made.number,
            session=replace(state.session, asked=False),
        )
        message = RgbOffer(
            channel_id=turn.channel_id,
            offer=made.number,
            tokens=made.tokens,
            price_msat=made.price_msat,
        )
        return ExtensionStep(offering, effects=(Send(message),))

    return act


def refuse_ask(text: bytes) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        _check_asked(turn, state)
        message = RgbRefuse(channel_id=turn.channel_id, subject=RefusedSubject.ASK, text=text)
        answered = replace(state, session=replace(state.session, asked=False))
        return ExtensionStep(answered, effects=(Send(message),))

    return act


def withdraw(text: bytes) -> Act:
    def act(turn: Turn, state: ColourState) -> ExtensionStep[ColourState]:
        _check_connected(turn)
        message = RgbRefuse(channel_id=turn.channel_id, subject=RefusedSubject.OFFER, text=text)
        return ExtensionStep(state, effects=(Send(message),) if state.holder_offer else ())

    return act


def _check_connected(turn: Turn) -> None:
    """Raises `ChannelRefusal`."""
    if turn.state.session.link is not Link.UP:
        raise ChannelRefusal("the peer is not connected")
    if turn.state.phase is not Phase.NORMAL:
        raise ChannelRefusal(f"the channel is {turn.state.phase.value}")


def _check_asked(turn: Turn, state: ColourState) -> None:
    _check_connected(turn)
    if not state.session.asked:
        raise ChannelRefusal("the peer did not ask for tokens, or the connection was lost")


def _offerable(turn: Turn) -> int:
    """What the holder has, however many of its own updates the next commitment has.

    The counterparty sends a trade after all its updates that we have; of ours, it may include
    any more than those that it has acknowledged.
    """
    theirs = len(turn.state.counterparty_log)
    acknowledged = turn.state.next_included(Side.HOLDER).holder
    return min(
        turn.sheet(Included(ours, theirs)).holder_tokens
        for ours in range(acknowledged, len(turn.state.holder_log) + 1)
    )
