"""What the node learns from the extension, in `Notify` effects."""

from dataclasses import dataclass

from lightspeed.payment import Book

__all__ = [
    "BookAccepted",
    "BookClosed",
    "BookRejected",
    "BookSettled",
    "BookUsable",
    "CloseRequested",
]


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


@dataclass(frozen=True, slots=True)
class BookSettled:
    """Both: locks 1 to `locks` are irrevocably in the payee's balance."""

    book_id: bytes
    locks: int


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """Payee: the payer has stopped paying from the book; to be fenced and closed.

    Said again after each reconnection until the book is closed.
    """

    book_id: bytes


@dataclass(frozen=True, slots=True)
class BookClosed:
    """Both: the book is irrevocably in no commitment any more; `units` of it were paid."""

    book_id: bytes
    units: int
