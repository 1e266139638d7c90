"""The payee's next update of a book, made from what its ledger holds.

node: `channel.propose(update)`, `channel.commit()`; after `BookSettled`, ask again.
"""

from collections.abc import Iterable, Mapping

from lightspeed.channel.channel import Channel
from lightspeed.lsf.books import idle_book, usable_books
from lightspeed.lsf.messages import (
    MAX_CLOSE_ELEMENTS,
    MAX_SETTLE_SECRETS,
    LsfClose,
    LsfSettle,
)
from lightspeed.lsf.state import OpenBook
from lightspeed.payment import Book, LockElement, Scheme, completed_run, final_elements

__all__ = ["next_close", "next_settle"]


def next_settle(channel: Channel, book_id: bytes, secrets: Mapping[int, bytes]) -> LsfSettle | None:
    """Settles as many completed locks (lock -> secret) as one message may.

    None when there is nothing to settle, or an update of the book is under way. The last lock
    of a book ends with a close.
    """
    standing = idle_book(channel, book_id)
    if standing is None:
        return None
    return _settle(channel, _book(channel, book_id), standing, secrets)


def next_close(
    channel: Channel, book_id: bytes, elements: Iterable[LockElement]
) -> LsfSettle | LsfClose | None:
    """Closes the book with the deepest redeemed element of every lock, after its fence.

    While there are more elements than one message holds, it settles first: ask again after
    `BookSettled`. None when an update of the book is under way, or when it is closed.
    """
    standing = idle_book(channel, book_id)
    if standing is None:
        return None
    book = _book(channel, book_id)
    final = final_elements(book.terms, elements, settled_locks=standing.settled)
    if len(final) > MAX_CLOSE_ELEMENTS:
        completed = {
            lock: element for lock, unit, element in final if unit == book.terms.chain_length
        }
        settle = _settle(channel, book, standing, completed)
        if settle is not None:
            return settle
    return LsfClose(
        channel_id=channel.channel_id,
        book_id=book_id,
        first_lock=standing.settled + 1,
        elements=final[:MAX_CLOSE_ELEMENTS],
    )


def _settle(
    channel: Channel, book: Book, standing: OpenBook, secrets: Mapping[int, bytes]
) -> LsfSettle | None:
    settled, terms = standing.settled, book.terms
    last = min(completed_run(terms, secrets, settled_locks=settled), terms.locks - 1)
    if terms.scheme is Scheme.LADDER:
        last = max((lock for lock in secrets if lock <= last), default=settled)
        proved = [last]
    else:
        last = min(last, settled + MAX_SETTLE_SECRETS)
        proved = list(range(settled + 1, last + 1))
    if last <= settled:
        return None
    return LsfSettle(
        channel_id=channel.channel_id,
        book_id=book.book_id,
        first_lock=settled + 1,
        last_lock=last,
        secrets=tuple(secrets[lock] for lock in proved),
    )


def _book(channel: Channel, book_id: bytes) -> Book:
    return next(book for book in usable_books(channel) if book.book_id == book_id)
