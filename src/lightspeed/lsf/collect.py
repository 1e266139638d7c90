"""Puts messages that come in chunks together again: in order, bounded, nothing twice."""

from dataclasses import dataclass, field, replace

from lightspeed.lsf.errors import ChunksOutOfOrder
from lightspeed.lsf.messages import (
    MAX_LOCK_BYTES_PER_MESSAGE,
    MAX_SIGNATURES_PER_MESSAGE,
    LsfLocks,
    LsfSignatures,
    Party,
)
from lightspeed.payment import Book, BookTerms, Scheme

__all__ = ["LockCollector", "SignatureCollector", "lock_messages", "signature_messages"]

_HASH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCollector:
    """The locks of one proposal while they arrive."""

    book_id: bytes
    terms: BookTerms
    chunks: tuple[bytes, ...] = field(default=(), repr=False)
    """Each longer than the next, so they are few: a payer may send locks one by one."""
    locks: int = 0
    """How many arrived."""

    @property
    def complete(self) -> bool:
        return self.locks == self.terms.locks

    def add(self, message: LsfLocks) -> "LockCollector":
        """Raises `ChunksOutOfOrder`."""
        if message.book_id != self.book_id:
            raise ChunksOutOfOrder("locks of another book than the proposed one")
        if message.first_lock != self.locks + 1:
            raise ChunksOutOfOrder(f"lock {message.first_lock} after {self.locks} locks")
        count, rest = divmod(len(message.data), _lock_size(self.terms))
        if rest or not count:
            raise ChunksOutOfOrder("the chunk does not hold whole locks")
        if self.locks + count > self.terms.locks:
            raise ChunksOutOfOrder(f"more locks than the {self.terms.locks} of the terms")
        chunks, data = [*self.chunks], message.data
        while chunks and len(chunks[-1]) <= len(data):
            data = chunks.pop() + data
        return replace(self, chunks=(*chunks, data), locks=self.locks + count)

    def book(self, channel_id: bytes) -> Book:
        """Of a complete collection; its id still has to be compared with the proposed one."""
        data = b"".join(self.chunks)
        pieces = [data[at : at + _HASH_SIZE] for at in range(0, len(data), _HASH_SIZE)]
        each = _pieces_per_lock(self.terms)
        parts = [b"".join(pieces[index::each]) for index in range(each)]
        return Book(
            channel_id=channel_id,
            terms=self.terms,
            lock_hashes=parts[0],
            anchors=parts[1] if _has_anchors(self.terms) else b"",
            seals=parts[-1] if _has_seals(self.terms) else b"",
        )


def lock_messages(book: Book) -> tuple[LsfLocks, ...]:
    """The chunks that a `LockCollector` puts together."""
    locks = range(1, book.terms.locks + 1)
    data = b"".join(book.lock_hash(lock) + book.anchor(lock) + book.seal(lock) for lock in locks)
    per_message = MAX_LOCK_BYTES_PER_MESSAGE // _lock_size(book.terms)
    return tuple(
        LsfLocks(
            channel_id=book.channel_id,
            book_id=book.book_id,
            first_lock=done + 1,
            data=data[done * _lock_size(book.terms) :][: per_message * _lock_size(book.terms)],
        )
        for done in range(0, book.terms.locks, per_message)
    )


def _lock_size(terms: BookTerms) -> int:
    return _HASH_SIZE * _pieces_per_lock(terms)


def _pieces_per_lock(terms: BookTerms) -> int:
    return 1 + _has_anchors(terms) + _has_seals(terms)


def _has_anchors(terms: BookTerms) -> bool:
    return terms.chain_length > 1


def _has_seals(terms: BookTerms) -> bool:
    return terms.scheme is Scheme.SEALS


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCollector:
    """The payer's signatures for the children of one commitment while they arrive."""

    commitment_number: int
    whose: Party
    total: int
    signatures: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def complete(self) -> bool:
        return len(self.signatures) == self.total

    @classmethod
    def begin(cls, message: LsfSignatures, *, max_total: int) -> "SignatureCollector":
        """From the first chunk. Raises `ChunksOutOfOrder`."""
        if message.whose not in tuple(Party):
            raise ChunksOutOfOrder("signatures for nobody's commitment")
        if message.total > max_total:
            raise ChunksOutOfOrder(f"{message.total} signatures, at most {max_total} are needed")
        return cls(
            commitment_number=message.commitment_number,
            whose=Party(message.whose),
            total=message.total,
        ).add(message)

    def add(self, message: LsfSignatures) -> "SignatureCollector":
        """Raises `ChunksOutOfOrder`."""
        about = (message.commitment_number, message.whose, message.total)
        if about != (self.commitment_number, self.whose, self.total):
            raise ChunksOutOfOrder("signatures of two commitments are mixed")
        if message.first != len(self.signatures):
            raise ChunksOutOfOrder(
                f"signature {message.first} after {len(self.signatures)} signatures"
            )
        signatures = (*self.signatures, *message.signatures)
        if not message.signatures or len(signatures) > self.total:
            raise ChunksOutOfOrder(f"not the {self.total} signatures that were announced")
        return replace(self, signatures=signatures)


def signature_messages(
    signatures: tuple[bytes, ...], *, channel_id: bytes, commitment_number: int, whose: Party
) -> tuple[LsfSignatures, ...]:
    """The chunks that a `SignatureCollector` puts together; none for no signatures."""
    return tuple(
        LsfSignatures(
            channel_id=channel_id,
            commitment_number=commitment_number,
            whose=whose,
            first=first,
            total=len(signatures),
            signatures=signatures[first : first + MAX_SIGNATURES_PER_MESSAGE],
        )
        for first in range(0, len(signatures), MAX_SIGNATURES_PER_MESSAGE)
    )
