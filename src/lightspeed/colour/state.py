"""What the extension keeps: per channel its state, per commitment its content."""

import json
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from lightspeed.channel import Side, StateError
from lightspeed.colour.negotiation import ColourParameters

__all__ = [
    "ColourContent",
    "ColourSession",
    "ColourState",
    "Offer",
    "dump_content",
    "dump_state",
    "load_content",
    "load_state",
]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Offer:
    """A seller's: its number in the channel, from 1, and what it is about."""

    number: int
    tokens: int
    price_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourContent:
    """Which offers a commitment has taken. What it moves is the same for all of a channel's."""

    holder_traded: int = 0
    """The number of the holder's last offer that was taken."""
    counterparty_traded: int = 0

    def traded(self, seller: Side) -> int:
        return self.holder_traded if seller is Side.HOLDER else self.counterparty_traded

    def with_traded(self, seller: Side, number: int) -> "ColourContent":
        if seller is Side.HOLDER:
            return replace(self, holder_traded=number)
        return replace(self, counterparty_traded=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourSession:
    """What a lost connection makes void; never stored."""

    asking: bool = False
    """The counterparty owes us an offer."""
    asked: bool = False
    """We owe one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourState:
    """Immutable; kept beside the commitments."""

    parameters: ColourParameters
    holder_offer: Offer | None = None
    """It stands: the buyer may take it at any time."""
    counterparty_offer: Offer | None = None
    offers_made: int = 0
    session: ColourSession = field(default=ColourSession(), compare=False)

    def without_connection(self) -> "ColourState":
        return replace(self, session=ColourSession())

    def offer(self, seller: Side) -> Offer | None:
        return self.holder_offer if seller is Side.HOLDER else self.counterparty_offer

    def with_offer(self, seller: Side, offer: Offer | None) -> "ColourState":
        if seller is Side.HOLDER:
            return replace(self, holder_offer=offer)
        return replace(self, counterparty_offer=offer)


def _dump_offer(offer: Offer | None) -> list[int] | None:
    return None if offer is None else [offer.number, offer.tokens, offer.price_msat]


def _load_offer(data: Any) -> Offer | None:
    if data is None:
        return None
    number, tokens, price_msat = map(int, data)
    return Offer(number, tokens, price_msat)


def dump_state(state: ColourState) -> bytes:
    """Without what ends with the connection."""
    document = {
        "version": _VERSION,
        "holder_offer": _dump_offer(state.holder_offer),
        "counterparty_offer": _dump_offer(state.counterparty_offer),
        "offers_made": state.offers_made,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def load_state(parameters: bytes, data: bytes) -> ColourState:
    """Raises `StateError`."""
    agreed = ColourParameters.from_bytes(parameters)
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise StateError(f"tokens stored by another version ({document['version']})")
        return ColourState(
            parameters=agreed,
            holder_offer=_load_offer(document["holder_offer"]),
            counterparty_offer=_load_offer(document["counterparty_offer"]),
            offers_made=int(document["offers_made"]),
        )
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StateError("stored tokens do not parse") from error


_CONTENT = struct.Struct(">BQQ")  # version, the holder's and the counterparty's number


def dump_content(content: ColourContent) -> bytes:
    return _CONTENT.pack(_VERSION, content.holder_traded, content.counterparty_traded)


def load_content(data: bytes) -> ColourContent:
    """Raises `StateError`."""
    if len(data) != _CONTENT.size or data[0] != _VERSION:
        raise StateError("the stored tokens of a commitment do not parse")
    _, holder_traded, counterparty_traded = _CONTENT.unpack(data)
    return ColourContent(holder_traded=holder_traded, counterparty_traded=counterparty_traded)
