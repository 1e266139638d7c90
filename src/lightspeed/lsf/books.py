"""Which books a channel has, for a node that starts again: events are said only once."""

from lightspeed.channel.channel import Channel
from lightspeed.channel.side import Side
from lightspeed.lsf.children import EXTENSION_NAME
from lightspeed.lsf.messages import LsfOpen
from lightspeed.lsf.state import LsfContent, LsfState
from lightspeed.payment import Book

__all__ = ["accepted_books", "usable_books"]


def usable_books(channel: Channel) -> tuple[Book, ...]:
    """Irrevocably in both commitments, in the order in which they were opened."""
    state, content = _of(channel)
    return tuple(state.books[book.book_id].book for book in content.books)


def accepted_books(channel: Channel) -> tuple[Book, ...]:
    """Accepted, and `lsf_open` is not under way: the payer may open them."""
    state, content = _of(channel)
    updates = (update for side in Side for update in channel.state.log(side))
    pending = {update.book_id for update in updates if isinstance(update, LsfOpen)}
    return tuple(
        book.book
        for book_id, book in state.books.items()
        if book_id not in pending and not content.has(book_id)
    )


def _of(channel: Channel) -> tuple[LsfState, LsfContent]:
    state = channel.state.extension_states[EXTENSION_NAME]
    content = channel.state.base.extensions[EXTENSION_NAME]
    assert isinstance(state, LsfState)
    assert isinstance(content, LsfContent)
    return state, content
