"""The public part of a book, which both sides and the ledger hold."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lightspeed.payment.chain import ELEMENT_SIZE
from lightspeed.payment.errors import TermsError
from lightspeed.payment.terms import BookTerms, Scheme
from lightspeed.tagged import tagged_hash

__all__ = ["BOOK_ID_SIZE", "CHANNEL_ID_SIZE", "Book", "SealOf"]

BOOK_ID_SIZE = 16
CHANNEL_ID_SIZE = 32

SealOf = Callable[[bytes], bytes]
"""From a lock secret to the 32 bytes that a book of scheme seals lists for the lock.

It is handed in: what a seal is, nothing here knows.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The agreement on one LSF.

    `lock_hashes` holds h_1 .. h_N and `anchors` a_1 .. a_N, 32 bytes each in one buffer;
    `anchors` is empty for chain length 1, `seals` for every scheme but seals. `book_id` is
    computed: the first 16 bytes of
    `tagged_hash("lightspeed/book", channel id, terms, lock hashes, anchors, seals)`.
    """

    channel_id: bytes
    terms: BookTerms
    lock_hashes: bytes = field(repr=False)
    anchors: bytes = field(repr=False, default=b"")
    seals: bytes = field(repr=False, default=b"")
    book_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if len(self.channel_id) != CHANNEL_ID_SIZE:
            raise TermsError(f"a channel id has {CHANNEL_ID_SIZE} bytes")
        size = self.terms.locks * ELEMENT_SIZE
        if len(self.lock_hashes) != size:
            raise TermsError(f"{len(self.lock_hashes)} bytes of lock hashes, {size} expected")
        anchors_size = size if self.terms.chain_length > 1 else 0
        if len(self.anchors) != anchors_size:
            raise TermsError(f"{len(self.anchors)} bytes of anchors, {anchors_size} expected")
        seals_size = size if self.terms.scheme is Scheme.SEALS else 0
        if len(self.seals) != seals_size:
            raise TermsError(f"{len(self.seals)} bytes of seals, {seals_size} expected")
        digest = tagged_hash(
            "lightspeed/book",
            self.channel_id,
            self.terms.to_bytes(),
            self.lock_hashes,
            self.anchors,
            self.seals,
        )
        object.__setattr__(self, "book_id", digest[:BOOK_ID_SIZE])

    def lock_hash(self, lock: int) -> bytes:
        """h_j; locks are numbered from 1."""
        return self.lock_hashes[(lock - 1) * ELEMENT_SIZE : lock * ELEMENT_SIZE]

    def anchor(self, lock: int) -> bytes:
        """a_j; empty for chain length 1."""
        return self.anchors[(lock - 1) * ELEMENT_SIZE : lock * ELEMENT_SIZE]

    def seal(self, lock: int) -> bytes:
        """The concealed seal of lock j; empty for every scheme but seals."""
        return self.seals[(lock - 1) * ELEMENT_SIZE : lock * ELEMENT_SIZE]
