"""Which books a channel has, for a node that starts again: events are said only once."""

from collections.abc import Mapping

from lightspeed.channel.channel import Channel
from lightspeed.channel.side import Side
from lightspeed.lsf.children import EXTENSION_NAME
from lightspeed.lsf.messages import LsfClose, LsfOpen, LsfSettle
from lightspeed.lsf.state import LsfContent, LsfState, OpenBook
from lightspeed.payment import Book

__all__ = [
    "accepted_books",
    "close_requests",
    "closed_books",
    "idle_book",
    "settled_locks",
    "usable_books",
]


def usable_books(channel: Channel) -> tuple[Book, ...]:
    """Irrevocably in both commitments, in the order in which they were opened.

    Also while they are being closed: their secrets are needed until that is irrevocable.
    """
    state, content = _of(channel)
    return tuple(state.books[book.book_id].book for book in content.books)


def accepted_books(channel: Channel) -> tuple[Book, ...]:
    """Accepted, and `lsf_open` is not under way: the payer may open them."""
    state, content = _of(channel)
    updates = (update for side in Side for update in channel.state.log(side))
    pending = {update.book_id for update in updates if isinstance(update, LsfOpen)}
    return tuple(
        book.book
        for book in state.live_books
        if book.book.book_id not in pending and content.find(book.book.book_id) is None
    )


def closed_books(channel: Channel) -> Mapping[bytes, int]:
    """Book id -> units that were paid, of books that are irrevocably closed."""
    return _of(channel)[0].closed


def close_requests(channel: Channel) -> frozenset[bytes]:
    """Books that the payer wants to be closed."""
    return _of(channel)[0].close_requested


def settled_locks(channel: Channel) -> Mapping[bytes, int]:
    """Usable book id -> how many of its locks are irrevocably in the payee's balance."""
    return {book.book_id: book.settled for book in _of(channel)[1].books}


def idle_book(channel: Channel, book_id: bytes) -> OpenBook | None:
    """The book if it is usable and no settle or close of it is under way."""
    updates = (update for side in Side for update in channel.state.log(side))
    busy = any(
        isinstance(update, LsfSettle | LsfClose) and update.book_id == book_id for update in updates
    )
    return None if busy else _of(channel)[1].find(book_id)


def _of(channel: Channel) -> tuple[LsfState, LsfContent]:
    state = channel.state.extension_states[EXTENSION_NAME]
    content = channel.state.base.extensions[EXTENSION_NAME]
    assert isinstance(state, LsfState)
    assert isinstance(content, LsfContent)
    return state, content
