"""What the extension keeps: per channel its state, per commitment its content."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from lightspeed.channel import Side, StateError
from lightspeed.colour.consignments import ConsignmentCollector
from lightspeed.colour.negotiation import ColourParameters, dump_tokens, load_tokens
from lightspeed.rgb import Opout, TokenInput

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
    """What a commitment moves, and which offers it has taken."""

    inputs: tuple[TokenInput, ...]
    """The agreed allocations of the funding outpoint, ascending."""
    holder_traded: int = 0
    """The number of the holder's last offer that was taken."""
    counterparty_traded: int = 0

    def traded(self, seller: Side) -> int:
        return self.holder_traded if seller is Side.HOLDER else self.counterparty_traded

    def with_traded(self, seller: Side, number: int) -> "ColourContent":
        if seller is Side.HOLDER:
            return replace(self, holder_traded=number)
        return replace(self, counterparty_traded=number)

    def has(self, opout: Opout) -> bool:
        return any(token.opout == opout for token in self.inputs)

    def with_input(self, token: TokenInput) -> "ColourContent":
        return replace(self, inputs=tuple(sorted((*self.inputs, token))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourSession:
    """What a lost connection makes void; never stored."""

    asking: bool = False
    """The counterparty owes us an offer."""
    asked: bool = False
    """We owe one."""
    incoming: ConsignmentCollector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourState:
    """Immutable; kept beside the commitments."""

    parameters: ColourParameters
    holder_offer: Offer | None = None
    """It stands: the buyer may take it at any time."""
    counterparty_offer: Offer | None = None
    offers_made: int = 0
    admitted: tuple[TokenInput, ...] = ()
    """The counterparty's, valid: its deposit of them may come."""
    deposits: tuple[TokenInput, ...] = ()
    """The holder's, which the counterparty was told of."""
    granted: frozenset[Opout] = frozenset()
    """Those of `deposits` that the counterparty admitted."""
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
        "admitted": dump_tokens(state.admitted).hex(),
        "deposits": dump_tokens(state.deposits).hex(),
        "granted": [token.opout in state.granted for token in state.deposits],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def load_state(parameters: bytes, data: bytes) -> ColourState:
    """Raises `StateError`."""
    agreed = ColourParameters.from_bytes(parameters)
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise StateError(f"tokens stored by another version ({document['version']})")
        deposits = load_tokens(bytes.fromhex(document["deposits"]))
        granted = zip(deposits, document["granted"], strict=True)
        return ColourState(
            parameters=agreed,
            holder_offer=_load_offer(document["holder_offer"]),
            counterparty_offer=_load_offer(document["counterparty_offer"]),
            offers_made=int(document["offers_made"]),
            admitted=load_tokens(bytes.fromhex(document["admitted"])),
            deposits=deposits,
            granted=frozenset(token.opout for token, admitted in granted if admitted),
        )
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StateError("stored tokens do not parse") from error


_TRADED_SIZE = 8


def dump_content(content: ColourContent) -> bytes:
    traded = (content.holder_traded, content.counterparty_traded)
    numbers = b"".join(number.to_bytes(_TRADED_SIZE, "big") for number in traded)
    return bytes([_VERSION]) + numbers + dump_tokens(content.inputs)


def load_content(data: bytes) -> ColourContent:
    """Raises `StateError`."""
    head = 1 + 2 * _TRADED_SIZE
    if len(data) < head or data[0] != _VERSION:
        raise StateError("the stored tokens of a commitment do not parse")
    return ColourContent(
        holder_traded=int.from_bytes(data[1 : 1 + _TRADED_SIZE], "big"),
        counterparty_traded=int.from_bytes(data[1 + _TRADED_SIZE : head], "big"),
        inputs=load_tokens(data[head:]),
    )
