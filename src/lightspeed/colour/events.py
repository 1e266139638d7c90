"""What the node learns from the extension, in `Notify` effects."""

from dataclasses import dataclass

from lightspeed.channel import Side
from lightspeed.colour.state import Offer

__all__ = [
    "AskRefused",
    "TokensAsked",
    "TokensOffered",
    "TokensTraded",
]


@dataclass(frozen=True, slots=True)
class TokensAsked:
    """Seller: answer with `Colouring.offer_tokens` or `refuse_ask`."""

    tokens: int


@dataclass(frozen=True, slots=True)
class TokensOffered:
    """Buyer: take it with an `RgbTrade` update, or leave it."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class AskRefused:
    """Buyer: there is no offer."""

    text: bytes


@dataclass(frozen=True, slots=True)
class TokensTraded:
    """The trade is irrevocable."""

    seller: Side
    offer: Offer
