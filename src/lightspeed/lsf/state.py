"""What the extension keeps: per channel its state, per commitment its content."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lightspeed.channel.effects import Put
from lightspeed.channel.errors import StateError
from lightspeed.channel.extension import Lookup
from lightspeed.channel.side import Side
from lightspeed.lsf.collect import LockCollector, SignatureCollector
from lightspeed.lsf.messages import LsfReject, Party
from lightspeed.lsf.negotiation import LsfParameters
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.lsf.schemes import derive_book
from lightspeed.payment import BOOK_ID_SIZE, CHANNEL_ID_SIZE, ELEMENT_SIZE, Book, BookTerms

__all__ = [
    "BOOK_TABLE",
    "LsfContent",
    "LsfState",
    "OpenBook",
    "dump_content",
    "dump_state",
    "forget_book",
    "load_content",
    "load_state",
    "store_book",
]

BOOK_TABLE = "lsf-book"
"""Every book that was proposed and not refused. Key: book id."""

_VERSION = 1
_BOOK_HEAD = struct.Struct(f">B{CHANNEL_ID_SIZE}sHH")  # version, channel, D, size of the terms
_OPEN_BOOK = struct.Struct(f">{BOOK_ID_SIZE}sI")  # id, settled


@dataclass(frozen=True, slots=True)
class OpenBook:
    """A book in a commitment: its first `settled` locks are in the balances already."""

    book_id: bytes
    settled: int = 0


@dataclass(frozen=True, slots=True)
class LsfContent:
    """The books of one commitment, in the order in which they were opened."""

    books: tuple[OpenBook, ...] = ()

    def find(self, book_id: bytes) -> OpenBook | None:
        return next((book for book in self.books if book.book_id == book_id), None)

    def with_opened(self, book_id: bytes) -> "LsfContent":
        return LsfContent((*self.books, OpenBook(book_id)))

    def with_settled(self, book_id: bytes, locks: int) -> "LsfContent":
        """Locks 1 to `locks` are in the balances."""
        return LsfContent(
            tuple(
                OpenBook(book_id, locks) if book.book_id == book_id else book for book in self.books
            )
        )

    def without(self, book_id: bytes) -> "LsfContent":
        return LsfContent(tuple(book for book in self.books if book.book_id != book_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfState:
    """Of one channel. `locks`, `ignored` and `signatures` end with the connection."""

    parameters: LsfParameters
    books: Mapping[bytes, SchemeBook] = field(default_factory=dict)
    """Every book that was accepted: closed ones too, whose ids and old commitments remain."""
    closed: Mapping[bytes, int] = field(default_factory=dict)
    """Those that are irrevocably in no commitment any more -> units that were paid."""
    close_requested: frozenset[bytes] = frozenset()
    """Those that the payer has stopped using; until they are closed."""
    proposed: Book | None = None
    """Payer: waits for the answer."""
    rejected: LsfReject | None = None
    """Payee: its last refusal, in case it has to be repeated."""
    locks: LockCollector | None = None
    """Payee: the proposal that is arriving."""
    ignored: bytes | None = None
    """Payee: a proposal that was refused before its locks had arrived."""
    signatures: Mapping[Party, SignatureCollector] = field(default_factory=dict)
    """Payee: those that are arriving, by who may broadcast the commitment."""

    def with_book(self, book: SchemeBook) -> "LsfState":
        return replace(self, books={**self.books, book.book.book_id: book})

    def with_closed(self, book_id: bytes, units: int) -> "LsfState":
        return replace(
            self,
            closed={**self.closed, book_id: units},
            close_requested=self.close_requested - {book_id},
        )

    @property
    def live_books(self) -> tuple[SchemeBook, ...]:
        """Accepted and not closed: what counts against the limits."""
        return tuple(book for book_id, book in self.books.items() if book_id not in self.closed)

    def party(self, side: Side) -> Party:
        holder = self.parameters.holder
        return holder if side is Side.HOLDER else holder.other

    def without_connection(self) -> "LsfState":
        return replace(self, locks=None, ignored=None, signatures={})


# --- storage --------------------------------------------------------------------------------


def store_book(book: Book, *, payee_delay_blocks: int) -> Put:
    terms = book.terms.to_bytes()
    head = _BOOK_HEAD.pack(_VERSION, book.channel_id, payee_delay_blocks, len(terms))
    return Put(
        BOOK_TABLE, book.book_id, head + terms + book.lock_hashes + book.anchors + book.seals
    )


def forget_book(book_id: bytes) -> Put:
    return Put(BOOK_TABLE, book_id, None)


def _read_book(book_id: bytes, lookup: Lookup) -> tuple[Book, int]:
    """The book and D. Raises `StateError`."""
    record = lookup(BOOK_TABLE, book_id)
    if record is None:
        raise StateError(f"the record of book {book_id.hex()} is missing")
    try:
        version, channel_id, payee_delay_blocks, size = _BOOK_HEAD.unpack(record[: _BOOK_HEAD.size])
        terms = BookTerms.from_bytes(record[_BOOK_HEAD.size : _BOOK_HEAD.size + size])
        locks = record[_BOOK_HEAD.size + size :]
        hashes_end = terms.locks * ELEMENT_SIZE
        anchors_end = hashes_end * (2 if terms.chain_length > 1 else 1)
        book = Book(
            channel_id=channel_id,
            terms=terms,
            lock_hashes=locks[:hashes_end],
            anchors=locks[hashes_end:anchors_end],
            seals=locks[anchors_end:],
        )
    except (struct.error, ValueError) as error:
        raise StateError(f"the record of book {book_id.hex()} does not parse") from error
    if version != _VERSION:
        raise StateError(f"a book stored by another version ({version})")
    if book.book_id != book_id:
        raise StateError(f"the record of book {book_id.hex()} holds another book")
    return book, payee_delay_blocks


def dump_state(state: LsfState) -> bytes:
    """Without the books themselves and without what ends with the connection."""
    document = {
        "version": _VERSION,
        "books": [book_id.hex() for book_id in state.books],
        "closed": {book_id.hex(): units for book_id, units in state.closed.items()},
        "close_requested": sorted(book_id.hex() for book_id in state.close_requested),
        "proposed": state.proposed.book_id.hex() if state.proposed else None,
        "rejected": state.rejected.encode().hex() if state.rejected else None,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def load_state(parameters: bytes, data: bytes, lookup: Lookup) -> LsfState:
    """Raises `StateError`."""
    agreed = LsfParameters.from_bytes(parameters)
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise StateError(f"books stored by another version ({document['version']})")
        ids = [bytes.fromhex(book_id) for book_id in document["books"]]
        proposed, rejected = document["proposed"], document["rejected"]
        books = {}
        for book_id in ids:
            book, payee_delay_blocks = _read_book(book_id, lookup)
            books[book_id] = derive_book(
                book, basepoints=agreed.basepoints, payee_delay_blocks=payee_delay_blocks
            )
        return LsfState(
            parameters=agreed,
            books=books,
            closed={
                bytes.fromhex(book_id): int(units) for book_id, units in document["closed"].items()
            },
            close_requested=frozenset(map(bytes.fromhex, document["close_requested"])),
            proposed=_read_book(bytes.fromhex(proposed), lookup)[0] if proposed else None,
            rejected=LsfReject.decode_payload(bytes.fromhex(rejected)[2:]) if rejected else None,
        )
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError("stored books do not parse") from error


def dump_content(content: LsfContent) -> bytes:
    return b"".join(_OPEN_BOOK.pack(book.book_id, book.settled) for book in content.books)


def load_content(data: bytes) -> LsfContent:
    """Raises `StateError`."""
    if len(data) % _OPEN_BOOK.size:
        raise StateError("the stored books of a commitment do not parse")
    return LsfContent(
        tuple(OpenBook(book_id, settled) for book_id, settled in _OPEN_BOOK.iter_unpack(data))
    )
