"""The messages of the colouring extension: odd types, refused unless it was negotiated."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, ClassVar

from lightspeed.wire import (
    MAX_MESSAGE_SIZE,
    U8,
    U32,
    U64,
    Bytes32,
    Message,
    PrefixedBytes,
)

__all__ = [
    "COLOUR_MESSAGES",
    "MAX_CONSIGNMENT_BYTES_PER_MESSAGE",
    "RefusedSubject",
    "RgbAsk",
    "RgbConsignment",
    "RgbOffer",
    "RgbRefuse",
    "RgbTrade",
]

_CONSIGNMENT_HEADER_SIZE = 2 + 32 + 4 + 4 + 2  # type, channel, total, offset, data length
MAX_CONSIGNMENT_BYTES_PER_MESSAGE = MAX_MESSAGE_SIZE - _CONSIGNMENT_HEADER_SIZE  # = 65,491


class RefusedSubject(IntEnum):
    """What an `rgb_refuse` answers."""

    ASK = 0
    OFFER = 1
    """The seller wants its standing offer back: the buyer answers with an `rgb_ask` for 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RgbConsignment(Message):
    """The next bytes of a consignment, in order and without gaps.

    The opener's, for the tokens on the funding output: under the temporary channel id, before
    `funding_created`. A channel that is open takes none.
    """

    TYPE: ClassVar[int] = 39101

    channel_id: Bytes32
    total: U32
    """Bytes of the whole consignment."""
    offset: U32
    """Of the first byte of this message."""
    data: Annotated[bytes, PrefixedBytes()] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RgbAsk(Message):
    """Buyer: asks for an offer of so many tokens, or for none. It voids the offer before."""

    TYPE: ClassVar[int] = 39103

    channel_id: Bytes32
    tokens: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class RgbOffer(Message):
    """Seller, in answer to `rgb_ask`: it stands until it is taken or the buyer asks again."""

    TYPE: ClassVar[int] = 39105

    channel_id: Bytes32
    offer: U64
    """The seller's offers of this channel, numbered from 1."""
    tokens: U64
    price_msat: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class RgbTrade(Message):
    """Buyer: an update that takes the standing offer. The price moves one way, tokens the other."""

    TYPE: ClassVar[int] = 39107

    channel_id: Bytes32
    offer: U64
    tokens: U64
    price_msat: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class RgbRefuse(Message):
    """No offer, or no longer one."""

    TYPE: ClassVar[int] = 39113

    channel_id: Bytes32
    subject: U8
    """A `RefusedSubject`."""
    text: Annotated[bytes, PrefixedBytes()] = b""
    """For people. To be made printable before it is shown."""


COLOUR_MESSAGES: tuple[type[Message], ...] = (
    RgbConsignment,
    RgbAsk,
    RgbOffer,
    RgbTrade,
    RgbRefuse,
)
