"""The tables of a book's life in a channel: its stages, and what leads from one to the next."""

from collections.abc import Mapping
from enum import Enum

from lightspeed.lsf.messages import LsfClose, LsfOpen, LsfSettle
from lightspeed.lsf.state import LsfContent, LsfState
from lightspeed.wire import Message

__all__ = ["IRREVOCABLE", "UPDATES", "Stage", "stage_of"]


class Stage(Enum):
    """How far the book has got."""

    UNKNOWN = "unknown"
    """Never accepted, or given up for another one."""
    ACCEPTED = "accepted"
    """In no commitment."""
    OPENING = "opening"
    OPEN = "open"
    """Irrevocably in both commitments, and nothing of it under way: as long as units are paid."""
    SETTLING = "settling"
    CLOSING = "closing"
    CLOSED = "closed"
    """Irrevocably in none; for ever."""


UPDATES: Mapping[type[Message], tuple[Stage, Stage]] = {
    LsfOpen: (Stage.ACCEPTED, Stage.OPENING),
    LsfSettle: (Stage.OPEN, Stage.SETTLING),
    LsfClose: (Stage.OPEN, Stage.CLOSING),
}
"""The stage in which each update is said, elsewhere it is a violation; and the stage after it."""

IRREVOCABLE: Mapping[Stage, Stage] = {
    Stage.OPENING: Stage.OPEN,
    Stage.SETTLING: Stage.OPEN,
    Stage.CLOSING: Stage.CLOSED,
}
"""Where an update leads once it is irrevocable. One that a disconnection forgot leads back."""


def stage_of(
    state: LsfState, book_id: bytes, *, irrevocable: LsfContent, pending: LsfContent
) -> Stage:
    """`pending` has everything applied that was said, `irrevocable` what nobody can take back."""
    if book_id in state.closed:
        return Stage.CLOSED
    if book_id not in state.books:
        return Stage.UNKNOWN
    now, then = irrevocable.find(book_id), pending.find(book_id)
    if now is None:
        return Stage.ACCEPTED if then is None else Stage.OPENING
    if then is None:
        return Stage.CLOSING
    return Stage.OPEN if now == then else Stage.SETTLING
