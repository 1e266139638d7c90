"""The messages of the Lightspeed extension: odd types, refused unless it was negotiated.

Types 39015, 39017 and 39019 are kept for `lsf_settle`, `lsf_close_request` and `lsf_close`.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, ClassVar

from lightspeed.wire import (
    MAX_MESSAGE_SIZE,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes32,
    Fixed,
    Message,
    PrefixedBytes,
)

__all__ = [
    "LSF_MESSAGES",
    "MAX_LOCK_BYTES_PER_MESSAGE",
    "MAX_SIGNATURES_PER_MESSAGE",
    "LsfAccept",
    "LsfLocks",
    "LsfOpen",
    "LsfPropose",
    "LsfReject",
    "LsfSignRequest",
    "LsfSignatures",
    "Party",
    "RejectReason",
]

BookIdField = Annotated[bytes, Fixed(16)]

_LOCKS_HEADER_SIZE = 2 + 32 + 16 + 4 + 2  # type, channel, book, first lock, data length
MAX_LOCK_BYTES_PER_MESSAGE = (MAX_MESSAGE_SIZE - _LOCKS_HEADER_SIZE) // 64 * 64  # = 65,472
"""2,046 locks of 32 bytes, or 1,023 of 64."""

_SIGNATURES_HEADER_SIZE = (
    2 + 32 + 8 + 1 + 2 + 2 + 2
)  # type, channel, number, whose, first, total, count
MAX_SIGNATURES_PER_MESSAGE = (MAX_MESSAGE_SIZE - _SIGNATURES_HEADER_SIZE) // 64  # = 1,023


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
    """Per lock `h_j` (32 bytes), for chains `h_j || a_j` (64)."""


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


LSF_MESSAGES: tuple[type[Message], ...] = (
    LsfPropose,
    LsfLocks,
    LsfAccept,
    LsfReject,
    LsfOpen,
    LsfSignRequest,
    LsfSignatures,
)
