"""BIP 431: transactions that are topologically restricted until confirmation (version 3)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lightspeed.bitcoin import TRUC_CHILD_MAX_VSIZE, TRUC_MAX_VSIZE, TRUC_VERSION
from lightspeed.chain.errors import BroadcastRefused

__all__ = ["Relative", "check_truc"]

_REASON = "TRUC-violation"


@dataclass(frozen=True, slots=True)
class Relative:
    """An unconfirmed parent of the transaction under judgement, as the rules see it.

    `children`: ids of its unconfirmed children, without the transaction under judgement, each
    with the number of that child's own unconfirmed ancestors and descendants, itself included.
    """

    version: int
    ancestors: int  # unconfirmed, itself included
    children: Mapping[bytes, tuple[int, int]]


def check_truc(
    version: int,
    vsize: int,
    *,
    parents: Collection[Relative],
    conflicts: Collection[bytes],
    may_evict_sibling: bool,
) -> bytes | None:
    """Raises `BroadcastRefused("TRUC-violation")`, or names the sibling that has to give way.

    `conflicts`: ids of the transactions that would be replaced anyway.
    """
    if any((parent.version == TRUC_VERSION) != (version == TRUC_VERSION) for parent in parents):
        raise BroadcastRefused(_REASON, "a parent and its child are both version 3 or neither is")
    if version != TRUC_VERSION:
        return None
    if vsize > TRUC_MAX_VSIZE:
        raise BroadcastRefused(_REASON, f"too big: {vsize} > {TRUC_MAX_VSIZE} virtual bytes")
    if not parents:
        return None
    if len(parents) > 1 or any(parent.ancestors > 1 for parent in parents):
        raise BroadcastRefused(_REASON, "would have too many ancestors")
    if vsize > TRUC_CHILD_MAX_VSIZE:
        raise BroadcastRefused(
            _REASON, f"child is too big: {vsize} > {TRUC_CHILD_MAX_VSIZE} virtual bytes"
        )
    (parent,) = parents
    if not parent.children or any(child in conflicts for child in parent.children):
        return None
    sibling, family = next(iter(parent.children.items()))
    # A reorganisation may leave several children, or a deeper family: then nobody gives way.
    if len(parent.children) > 1 or family != (2, 1) or not may_evict_sibling:
        raise BroadcastRefused(_REASON, "would exceed descendant count limit")
    return sibling
