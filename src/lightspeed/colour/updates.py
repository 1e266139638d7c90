"""What rgb_trade and rgb_deposit need, and what they do to a commitment.

    update        by          the other side           its sender
    rgb_trade     buyer       gets the price (msat)    gets the tokens
    rgb_deposit   depositor   -                        gets the allocation, now an input

A trade takes the offer that stands, once: a commitment knows which offer it took last. A deposit
names an allocation that the other side has admitted, once: a commitment knows its inputs.
"""

from dataclasses import replace
from typing import assert_never

from lightspeed.channel import (
    ChannelView,
    ChannelViolation,
    ContentChange,
    ExtensionStep,
    Notify,
    Sheet,
    Side,
)
from lightspeed.colour.events import TokensDeposited, TokensTraded
from lightspeed.colour.messages import RgbDeposit, RgbTrade
from lightspeed.colour.negotiation import EXTENSION_NAME, MAX_ALLOCATIONS, MAX_TOKENS
from lightspeed.colour.state import ColourContent, ColourState, Offer
from lightspeed.rgb import TokenInput

__all__ = ["ColourUpdate", "apply", "check", "check_reserved", "committed", "offer_of"]

ColourUpdate = RgbTrade | RgbDeposit


def check(view: ChannelView, state: ColourState, sender: Side, update: ColourUpdate) -> None:
    """Is it what both sides agreed on? That it comes once is for `apply`.

    Raises `ChannelViolation`.
    """
    match update:
        case RgbTrade():
            _check_trade(view, state, sender, update)
        case RgbDeposit():
            _check_deposit(state, sender, update)
        case _:
            assert_never(update)


def _check_trade(view: ChannelView, state: ColourState, sender: Side, trade: RgbTrade) -> None:
    seller = sender.other
    if offer_of(trade) != state.offer(seller):
        raise ChannelViolation(f"offer {trade.offer} does not stand, or says something else")
    # After its shutdown it may hold our signature for a closing transaction.
    ended = view.shutting_down if sender is Side.HOLDER else view.counterparty_shut_down
    if ended:
        raise ChannelViolation("rgb_trade after shutdown")


def _check_deposit(state: ColourState, sender: Side, deposit: RgbDeposit) -> None:
    token = TokenInput(deposit.opout, deposit.amount)
    if sender is Side.HOLDER:
        known = token in state.deposits and token.opout in state.granted
    else:
        known = token in state.admitted
    if not known:
        raise ChannelViolation(f"a deposit of {token.opout} that was not admitted")


def _check_room(content: ColourContent, token: TokenInput) -> None:
    if content.has(token.opout):
        raise ChannelViolation(f"{token.opout} is in the channel already")
    if len(content.inputs) >= MAX_ALLOCATIONS:
        raise ChannelViolation(f"more than {MAX_ALLOCATIONS} allocations")
    if sum(each.amount for each in content.inputs) + token.amount > MAX_TOKENS:
        raise ChannelViolation("more tokens than there can be")


def offer_of(trade: RgbTrade) -> Offer:
    return Offer(trade.offer, trade.tokens, trade.price_msat)


def apply(
    content: ColourContent, sender: Side, update: ColourUpdate
) -> ContentChange[ColourContent]:
    """Raises `ChannelViolation` when the commitment has it already."""
    match update:
        case RgbTrade():
            seller = sender.other
            if update.offer <= content.traded(seller):
                raise ChannelViolation(f"offer {update.offer} was taken already")
            return _change(
                content.with_traded(seller, update.offer),
                sender,
                msat=-update.price_msat,
                tokens=update.tokens,
                other_msat=update.price_msat,
                other_tokens=-update.tokens,
            )
        case RgbDeposit():
            token = TokenInput(update.opout, update.amount)
            _check_room(content, token)
            return _change(content.with_input(token), sender, tokens=token.amount)
        case _:
            assert_never(update)


def _change(
    content: ColourContent,
    sender: Side,
    *,
    msat: int = 0,
    tokens: int = 0,
    other_msat: int = 0,
    other_tokens: int = 0,
) -> ContentChange[ColourContent]:
    if sender is Side.HOLDER:
        return ContentChange(
            content=content,
            holder_msat=msat,
            holder_tokens=tokens,
            counterparty_msat=other_msat,
            counterparty_tokens=other_tokens,
        )
    return ContentChange(
        content=content,
        holder_msat=other_msat,
        holder_tokens=other_tokens,
        counterparty_msat=msat,
        counterparty_tokens=tokens,
    )


def committed(state: ColourState, sender: Side, update: ColourUpdate) -> ExtensionStep[ColourState]:
    """It is irrevocable on both sides: tell the node."""
    match update:
        case RgbTrade():
            seller, offer = sender.other, offer_of(update)
            if state.offer(seller) == offer:
                state = state.with_offer(seller, None)
            return ExtensionStep(state, effects=(Notify(TokensTraded(seller, offer)),))
        case RgbDeposit():
            token = TokenInput(update.opout, update.amount)
            after = replace(
                state,
                admitted=tuple(each for each in state.admitted if each != token),
                deposits=tuple(each for each in state.deposits if each != token),
                granted=state.granted - {token.opout},
            )
            return ExtensionStep(after, effects=(Notify(TokensDeposited(sender, token)),))
        case _:
            assert_never(update)


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
