"""What the node learns from the extension, in `Notify` effects."""

from dataclasses import dataclass, field

from lightspeed.channel import Side
from lightspeed.colour.state import Offer
from lightspeed.rgb import TokenInput

__all__ = [
    "AskRefused",
    "ConsignmentReceived",
    "ConsignmentRefused",
    "DepositAdmitted",
    "TokensAsked",
    "TokensDeposited",
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


@dataclass(frozen=True, slots=True)
class ConsignmentReceived:
    """Whole, and not looked at yet: validate it, then `Colouring.admit` or `refuse_deposit`.

    One at a time: a peer may send as many as it likes.
    """

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsignmentRefused:
    """Depositor: the deposit is not admitted."""

    text: bytes


@dataclass(frozen=True, slots=True)
class DepositAdmitted:
    """Depositor: propose the `RgbDeposit` update now."""

    token: TokenInput


@dataclass(frozen=True, slots=True)
class TokensDeposited:
    """The deposit is irrevocable."""

    depositor: Side
    token: TokenInput
