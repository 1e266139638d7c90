"""What the node learns from the extension, in `Notify` effects."""

from dataclasses import dataclass

from lightspeed.payment import Book

__all__ = ["BookAccepted", "BookRejected", "BookUsable"]


@dataclass(frozen=True, slots=True)
class BookAccepted:
    """Payer: the proposed book may be opened with `lsf_open`."""

    book: Book


@dataclass(frozen=True, slots=True)
class BookRejected:
    """Payer: the proposed book may not be opened; its secrets were never of use to anybody."""

    book_id: bytes
    reason: int
    """A `RejectReason`, or one that is not known here."""
    text: str
    """Of the peer, printable."""


@dataclass(frozen=True, slots=True)
class BookUsable:
    """Both: the book is irrevocably in both commitments; payments may begin."""

    book: Book
