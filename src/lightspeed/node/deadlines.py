"""What should have been mined by now: half of a window after a close has passed without it.

The windows: docs/protocol.md, "After a unilateral close".
"""

from lightspeed.channel import Channel, Remedy, Sweep
from lightspeed.lsf import LightspeedFunding, Settlement, usable_books
from lightspeed.node.closing import CloseProgress, Waiting

__all__ = ["may_wait", "overdue"]

_SETTLEMENT = "settlement"
_CHILDREN = frozenset({"micropayments", _SETTLEMENT})
_CLAIM = "claim"
_PENALTIES = frozenset({"penalty", "LSF penalty"})


def overdue(channel: Channel, progress: CloseProgress) -> tuple[str, ...]:
    """One sentence for each purpose (those of the remedies of `lsf` and `channel.onchain`)."""
    left_blocks: dict[str, int] = {}
    for waiting in progress.waiting:
        last = _last_block(channel, progress, waiting)
        if last is not None and progress.tip_height >= (waiting.mature_height + last) // 2:
            left = max(0, last - progress.tip_height)
            left_blocks[waiting.purpose] = min(left, left_blocks.get(waiting.purpose, left))
    return tuple(
        f"{purpose}: not mined yet, {left} blocks before somebody else may take it"
        for purpose, left in left_blocks.items()
    )


def _last_block(channel: Channel, progress: CloseProgress, waiting: Waiting) -> int | None:
    """The last that is ours alone, where there is one; by the shortest delay of all books."""
    confirmed = progress.confirmed_height
    if confirmed is None:
        return None
    if waiting.purpose in _PENALTIES:
        return confirmed + channel.state.config.holder.to_self_delay_blocks - 1
    delay = _refund_delay_blocks(channel)
    if waiting.purpose in _CHILDREN and delay:
        return confirmed + delay - 1
    if waiting.purpose == _CLAIM and delay:
        return waiting.mature_height + delay - 1
    return None


def _refund_delay_blocks(channel: Channel) -> int:
    """The shortest of all books; 0 without any."""
    has_books = LightspeedFunding.name in channel.state.extension_states
    books = usable_books(channel) if has_books else ()
    settlements = (Settlement.from_bytes(book.terms.settlement) for book in books)
    return min((each.refund_delay_blocks for each in settlements), default=0)


def may_wait(channel: Channel, remedy: Remedy, *, tip_height: int) -> bool:
    """For half of its window: what no secret can be added to once it is made.

    A claim of tokens, and the settlement transaction of a ladder, which pays up to one lock.
    """
    window_blocks = _refund_delay_blocks(channel)
    if isinstance(remedy, Sweep):
        if remedy.purpose != _CLAIM or not remedy.spend.tokens:
            return False
    elif remedy.purpose != _SETTLEMENT:
        return False
    else:
        window_blocks -= remedy.tx.inputs[0].sequence  # d, of the same window
    return tip_height < remedy.mature_height + window_blocks // 2
