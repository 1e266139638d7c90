"""The messages of the Lightspeed extension: odd types, refused unless it was negotiated."""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, ClassVar

from lightspeed.payment import ELEMENT_SIZE, LockElement
from lightspeed.wire import (
    MAX_MESSAGE_SIZE,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes32,
    EncodeError,
    Fixed,
    Message,
    PrefixedBytes,
    Reader,
)

__all__ = [
    "LSF_MESSAGES",
    "MAX_CLOSE_ELEMENTS",
    "MAX_LOCK_BYTES_PER_MESSAGE",
    "MAX_SETTLE_SECRETS",
    "MAX_SIGNATURES_PER_MESSAGE",
    "LockElementField",
    "LsfAccept",
    "LsfClose",
    "LsfCloseRequest",
    "LsfLocks",
    "LsfOpen",
    "LsfPropose",
    "LsfReject",
    "LsfSettle",
    "LsfSignRequest",
    "LsfSignatures",
    "Party",
    "RejectReason",
]

BookIdField = Annotated[bytes, Fixed(16)]

_LOCKS_HEADER_SIZE = 2 + 32 + 16 + 4 + 2  # type, channel, book, first lock, data length
MAX_LOCK_BYTES_PER_MESSAGE = (MAX_MESSAGE_SIZE - _LOCKS_HEADER_SIZE) // 64 * 64  # = 65,472
"""2,046 locks of 32 bytes, 1,023 of 64 or 682 of 96."""

_SIGNATURES_HEADER_SIZE = (
    2 + 32 + 8 + 1 + 2 + 2 + 2
)  # type, channel, number, whose, first, total, count
MAX_SIGNATURES_PER_MESSAGE = (MAX_MESSAGE_SIZE - _SIGNATURES_HEADER_SIZE) // 64  # = 1,023

MAX_SETTLE_SECRETS = 2_000
"""64,060 bytes of the 65,535 of a message."""

_CLOSE_HEADER_SIZE = 2 + 32 + 16 + 4 + 2  # type, channel, book, first lock, count
_LOCK_ELEMENT = struct.Struct(f">IH{ELEMENT_SIZE}s")  # lock, unit, element
MAX_CLOSE_ELEMENTS = (MAX_MESSAGE_SIZE - _CLOSE_HEADER_SIZE) // _LOCK_ELEMENT.size  # = 1,723


class RejectReason(IntEnum):
    """Why the payee does not want a book."""

    TERMS = 1
    """Malformed, or outside the limits that it told when the channel was opened."""
    BOOK_ID = 2
    """Not the hash of channel, terms and locks, or used before."""
    ORIGIN = 3
    """It does not serve one of the origins."""
    POLICY = 4
    """Anything else that its operator has decided."""
    CLOSING = 5
    """The channel is being shut down."""


class Party(IntEnum):
    """Party commitment child signatures belong to: who may broadcast it."""

    PAYER = 0
    PAYEE = 1

    @property
    def other(self) -> "Party":
        return Party.PAYEE if self is Party.PAYER else Party.PAYER


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfPropose(Message):
    """Payer: offers a book; all its `lsf_locks` follow. Changes no commitment."""

    TYPE: ClassVar[int] = 39001

    channel_id: Bytes32
    book_id: BookIdField
    terms: Annotated[bytes, PrefixedBytes()]
    """The canonical bytes that the book id commits to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfLocks(Message):
    """Payer: the next locks of the proposal, in order and without gaps."""

    TYPE: ClassVar[int] = 39003

    channel_id: Bytes32
    book_id: BookIdField
    first_lock: U32
    """From 1."""
    data: Annotated[bytes, PrefixedBytes()] = field(repr=False)
    """Per lock `h_j` (32 bytes), then `a_j` for chains, then `SecretSeal_j` for scheme seals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfAccept(Message):
    """Payee: the book may be opened. A repeated proposal gets the same answer."""

    TYPE: ClassVar[int] = 39005

    channel_id: Bytes32
    book_id: BookIdField


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfReject(Message):
    """Payee: the book may not be opened. A repeated proposal gets the same answer."""

    TYPE: ClassVar[int] = 39007

    channel_id: Bytes32
    book_id: BookIdField
    reason: U16
    """A `RejectReason`; others may be added."""
    text: Annotated[bytes, PrefixedBytes()] = b""
    """For people. To be made printable before it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfOpen(Message):
    """Payer: an update that adds the accepted book's output to the commitments."""

    TYPE: ClassVar[int] = 39009

    channel_id: Bytes32
    book_id: BookIdField


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfSignRequest(Message):
    """Payee: asks for the children's signatures of the payer's next commitment."""

    TYPE: ClassVar[int] = 39011

    channel_id: Bytes32
    commitment_number: U64
    txid: Bytes32
    """Internal byte order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfSignatures(Message):
    """Payer: its signatures for the children of one commitment, in the order of `children`."""

    TYPE: ClassVar[int] = 39013

    channel_id: Bytes32
    commitment_number: U64
    whose: U8
    """The `Party` that may broadcast the commitment."""
    first: U16
    """Index of the first signature of this message, from 0."""
    total: U16
    """Number of signatures for this commitment in all."""
    signatures: Annotated[tuple[bytes, ...], Array(Fixed(64))]


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfSettle(Message):
    """Payee: an update that moves the locks from the first unsettled one on to its balance."""

    TYPE: ClassVar[int] = 39015

    channel_id: Bytes32
    book_id: BookIdField
    first_lock: U32
    last_lock: U32
    secrets: Annotated[tuple[bytes, ...], Array(Fixed(ELEMENT_SIZE))] = field(repr=False)
    """One for each of the locks; in scheme ladder only the last one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfCloseRequest(Message):
    """Payer: has stopped paying from the book and asks the payee to close it."""

    TYPE: ClassVar[int] = 39017

    channel_id: Bytes32
    book_id: BookIdField


@dataclass(frozen=True, slots=True)
class LockElementField:
    """lock u32, unit u16 (counted within the lock, from 1), element 32."""

    def check(self, value: LockElement) -> None:
        lock, unit, element = value
        if not (0 <= lock < 1 << 32 and 0 <= unit < 1 << 16 and len(element) == ELEMENT_SIZE):
            raise EncodeError("a lock, a unit and their element expected")

    def read(self, reader: Reader) -> LockElement:
        return LockElement(*_LOCK_ELEMENT.unpack(reader.take(_LOCK_ELEMENT.size)))

    def write(self, value: LockElement) -> bytes:
        return _LOCK_ELEMENT.pack(*value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfClose(Message):
    """Payee, after its fence: an update that ends the book, paid to the unit.

    What the elements prove moves to its balance, the rest back to the payer.
    """

    TYPE: ClassVar[int] = 39019

    channel_id: Bytes32
    book_id: BookIdField
    first_lock: U32
    """The first lock not settled."""
    elements: Annotated[tuple[LockElement, ...], Array(LockElementField())] = field(repr=False)
    """As `payment.final_elements` picks them."""


LSF_MESSAGES: tuple[type[Message], ...] = (
    LsfPropose,
    LsfLocks,
    LsfAccept,
    LsfReject,
    LsfOpen,
    LsfSignRequest,
    LsfSignatures,
    LsfSettle,
    LsfCloseRequest,
    LsfClose,
)
