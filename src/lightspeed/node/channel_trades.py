"""Tokens for sats inside a channel: the seller's price list, the buyer's limit, one update.

The seller's node answers by its policy. An offer that stands is a free option for the buyer: it
is for a minute, and then asked back.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lightspeed.channel import Channel, ChannelRefusal, Effect, Link, Phase, Side
from lightspeed.colour import (
    EXTENSION_NAME,
    AskRefused,
    Colouring,
    ColourState,
    Offer,
    RgbTrade,
    TokensAsked,
    TokensOffered,
    TokensTraded,
    colour_parameters,
)
from lightspeed.node.alarms import Alarms
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import DealRefused, NodeRefusal
from lightspeed.units import Msat
from lightspeed.wire import printable

__all__ = ["OFFER_SECONDS", "ChannelTrades", "SalePolicy"]

_log = logging.getLogger(__name__)

OFFER_SECONDS = 60.0
"""So long an offer of ours stands; asked back, it has to be gone after as long again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SalePolicy:
    """What a peer gets that asks for tokens; nothing at a price of 0."""

    price_msat: Msat = Msat(0)
    """Of one token."""
    max_tokens: int = 0
    """In one trade; 0: as many as there are."""

    def refusal(self, tokens: int, *, available: int) -> str | None:
        """Why so many are not for sale, if they are not."""
        if not self.price_msat:
            return "no tokens are for sale here"
        most = min(available, self.max_tokens) if self.max_tokens else available
        return f"at most {most} tokens are for sale now" if tokens > most else None


class ChannelTrades:
    """Both sides' part, in all channels with tokens."""

    def __init__(self, *, policy: SalePolicy, alarms: Alarms, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._alarms = alarms
        self._clock = clock
        self._offered: dict[bytes, tuple[int, float]] = {}
        """Channel id -> number of the offer, and when it was first seen."""
        self._buying: dict[bytes, asyncio.Future[Offer]] = {}
        """Channel id -> what came of the buyer's last step: an offer, or the trade."""

    # --- the buyer ------------------------------------------------------------------------
    async def buy(
        self,
        driver: ChannelDriver,
        tokens: int,
        *,
        max_price_msat: Msat,
        timeout_seconds: float = 60.0,
    ) -> Offer:
        """Ask for so many tokens, and take them if they cost no more. Returns what was paid.

        Raises `NodeRefusal`, `ChannelRefusal`, and `DealRefused`: the seller refuses, asks more, or
        does not answer. After a timeout the trade may still happen, at no higher price.
        """
        channel_id = driver.channel.channel_id
        colouring = _colouring(driver.channel)
        if channel_id in self._buying:
            raise NodeRefusal("another purchase is under way in this channel")
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = self._expect(channel_id)
                ask = colouring.ask_for(tokens)
                await driver.act(lambda channel: channel.extend(EXTENSION_NAME, ask))
                offer = await answer
                _check_offer(offer, tokens=tokens, max_price_msat=max_price_msat)
                traded = self._expect(channel_id)
                await driver.act(lambda channel: _take(channel, offer))
                return await traded
        except TimeoutError:
            raise DealRefused("the seller does not answer: look at the channel again") from None
        finally:
            self._buying.pop(channel_id, None)

    def _expect(self, channel_id: bytes) -> "asyncio.Future[Offer]":
        future: asyncio.Future[Offer] = asyncio.get_running_loop().create_future()
        self._buying[channel_id] = future
        return future

    def _tell(self, driver: ChannelDriver, outcome: Offer | DealRefused) -> None:
        future = self._buying.get(driver.channel.channel_id)
        if future is None or future.done():
            return
        if isinstance(outcome, Offer):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    # --- what the channel tells -----------------------------------------------------------
    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        match event:
            case TokensAsked():
                await self._answer(driver, event.tokens)
            case TokensOffered():
                self._tell(driver, event.offer)
            case AskRefused():
                text = printable(event.text) or "no tokens are for sale"
                self._tell(driver, DealRefused(f"the seller refuses: {text}"))
            case TokensTraded():
                _log.info(
                    "tokens traded",
                    extra={
                        "channel": driver.channel.channel_id.hex(),
                        "sold": event.seller is Side.HOLDER,
                        "tokens": event.offer.tokens,
                        "price_msat": event.offer.price_msat,
                    },
                )
                if event.seller is Side.COUNTERPARTY:
                    self._tell(driver, event.offer)
            case _:
                pass

    # --- the seller -----------------------------------------------------------------------
    async def _answer(self, driver: ChannelDriver, tokens: int) -> None:
        colouring = _colouring(driver.channel)
        available = driver.channel.state.base.holder_tokens
        refusal = self._policy.refusal(tokens, available=available)

        def turn(channel: Channel) -> Iterable[Effect]:
            if refusal is not None:
                act = colouring.refuse_ask(refusal.encode())
            else:
                act = colouring.offer_tokens(tokens, tokens * self._policy.price_msat)
            return channel.extend(EXTENSION_NAME, act)

        try:
            await driver.act(turn)
        except ChannelRefusal as error:
            _log.info("an ask for tokens is not answered", extra={"reason": str(error)})
            await self._refuse(driver, str(error))

    async def _refuse(self, driver: ChannelDriver, reason: str) -> None:
        """What policy would sell and the channel does not: it is under way to somebody already."""
        act = _colouring(driver.channel).refuse_ask(reason.encode())
        with contextlib.suppress(ChannelRefusal):  # nobody waits for it any more
            await driver.act(lambda channel: channel.extend(EXTENSION_NAME, act))

    async def tend(self, driver: ChannelDriver) -> None:
        """Ask old offers back; an operator hears of a buyer that keeps one."""
        channel = driver.channel
        offer = _standing_offer(channel)
        key = f"offer in channel {channel.channel_id.hex()}"
        if offer is None or driver.phase is not Phase.NORMAL:
            self._offered.pop(channel.channel_id, None)
            self._alarms.report(key, None)
            return
        now = self._clock()
        number, since = self._offered.get(channel.channel_id, (0, now))
        if number != offer.number:
            since = now
        self._offered[channel.channel_id] = (offer.number, since)
        age = now - since
        if channel.state.session.link is Link.UP and age >= OFFER_SECONDS:
            await self._ask_back(driver)
        late = age >= 2 * OFFER_SECONDS
        text = (
            f"{key}: {offer.tokens} tokens for {offer.price_msat} msat; the peer keeps it though "
            "it was asked back: close the channel if the price is not right any more"
        )
        self._alarms.report(key, text if late else None)

    async def _ask_back(self, driver: ChannelDriver) -> None:
        act = _colouring(driver.channel).withdraw_offer(b"the offer has expired")
        try:
            await driver.act(lambda channel: channel.extend(EXTENSION_NAME, act))
        except ChannelRefusal as error:
            _log.info("an offer was not asked back", extra={"reason": str(error)})


def _colouring(channel: Channel) -> Colouring:
    """Raises `NodeRefusal` for a channel without tokens."""
    if colour_parameters(channel.state.config) is None:
        raise NodeRefusal("this channel holds no tokens")
    colouring = channel.extensions[EXTENSION_NAME]
    assert isinstance(colouring, Colouring)
    return colouring


def _standing_offer(channel: Channel) -> Offer | None:
    state = channel.state.extension_states.get(EXTENSION_NAME)
    return state.holder_offer if isinstance(state, ColourState) else None


def _check_offer(offer: Offer, *, tokens: int, max_price_msat: Msat) -> None:
    if offer.tokens != tokens:
        raise DealRefused(f"the seller offers {offer.tokens} tokens instead of {tokens}")
    if offer.price_msat > max_price_msat:
        raise DealRefused(
            f"the seller asks {offer.price_msat} msat for {tokens} tokens, you would pay "
            f"{max_price_msat} msat"
        )


def _take(channel: Channel, offer: Offer) -> Iterable[Effect]:
    trade = RgbTrade(
        channel_id=channel.channel_id,
        offer=offer.number,
        tokens=offer.tokens,
        price_msat=offer.price_msat,
    )
    return (*channel.propose(trade), *channel.commit())
