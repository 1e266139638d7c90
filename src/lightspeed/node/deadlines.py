"""What should have been mined by now: half of a window after a close has passed without it.

The windows: docs/protocol.md, "After a unilateral close".
"""

from lightspeed.channel import Channel
from lightspeed.lsf import Settlement, usable_books
from lightspeed.node.closing import CloseProgress, Waiting

__all__ = ["overdue"]

_CHILDREN = frozenset({"micropayments", "settlement"})
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
    delays = [
        Settlement.from_bytes(book.terms.settlement).refund_delay_blocks
        for book in (usable_books(channel) if len(channel.extensions) else ())
    ]
    if waiting.purpose in _CHILDREN and delays:
        return confirmed + min(delays) - 1
    if waiting.purpose == _CLAIM and delays:
        return waiting.mature_height + min(delays) - 1
    return None
