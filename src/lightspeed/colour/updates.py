"""What rgb_trade needs, and what it does to a commitment.

The buyer says it: the price (msat) goes to the seller, the tokens to the buyer. It takes the
offer that stands, once: a commitment knows which offer it took last. There is no other update:
no tokens come into an open channel from the chain.
"""

from lightspeed.channel import (
    ChannelView,
    ChannelViolation,
    ContentChange,
    ExtensionStep,
    Notify,
    Sheet,
    Side,
)
from lightspeed.colour.events import TokensTraded
from lightspeed.colour.messages import RgbTrade
from lightspeed.colour.negotiation import EXTENSION_NAME
from lightspeed.colour.state import ColourContent, ColourState, Offer

__all__ = ["apply", "check", "check_reserved", "committed", "offer_of"]


def check(view: ChannelView, state: ColourState, buyer: Side, trade: RgbTrade) -> None:
    """Is it what both sides agreed on? That it comes once is for `apply`.

    Raises `ChannelViolation`.
    """
    if offer_of(trade) != state.offer(buyer.other):
        raise ChannelViolation(f"offer {trade.offer} does not stand, or says something else")
    # After its shutdown it may hold our signature for a closing transaction.
    ended = view.shutting_down if buyer is Side.HOLDER else view.counterparty_shut_down
    if ended:
        raise ChannelViolation("rgb_trade after shutdown")


def offer_of(trade: RgbTrade) -> Offer:
    return Offer(trade.offer, trade.tokens, trade.price_msat)


def apply(content: ColourContent, buyer: Side, trade: RgbTrade) -> ContentChange[ColourContent]:
    """Raises `ChannelViolation` when the commitment has it already."""
    seller = buyer.other
    if trade.offer <= content.traded(seller):
        raise ChannelViolation(f"offer {trade.offer} was taken already")
    price_msat, tokens = trade.price_msat, trade.tokens
    if buyer is Side.COUNTERPARTY:
        price_msat, tokens = -price_msat, -tokens
    return ContentChange(
        content=content.with_traded(seller, trade.offer),
        holder_msat=-price_msat,
        holder_tokens=tokens,
        counterparty_msat=price_msat,
        counterparty_tokens=-tokens,
    )


def committed(state: ColourState, buyer: Side, trade: RgbTrade) -> ExtensionStep[ColourState]:
    """It is irrevocable on both sides: tell the node."""
    seller, offer = buyer.other, offer_of(trade)
    if state.offer(seller) == offer:
        state = state.with_offer(seller, None)
    return ExtensionStep(state, effects=(Notify(TokensTraded(seller, offer)),))


def check_reserved(state: ColourState, sheet: Sheet) -> None:
    """The holder's offer may be taken at any time; else `ChannelViolation`.

    `sheet` has everything applied, an update of the holder's that costs it tokens too.
    """
    offer, content = state.holder_offer, sheet.extensions[EXTENSION_NAME]
    assert isinstance(content, ColourContent)
    if offer is None or content.holder_traded >= offer.number:
        return
    if sheet.holder_tokens < offer.tokens:
        raise ChannelViolation(f"{offer.tokens} tokens are on offer")
