"""Merkle trees that commit to their width, and to the depth of each node."""

from collections.abc import Sequence

from lightspeed.tagged import tagged_hash

__all__ = ["merkle_branch_node", "merkle_leaf", "merkle_root"]

_TAG = "urn:ubideco:merkle:node#2024-01-31"  # of nodes and of leaves
_VIRTUAL = b"\xff" * 32
_VOID, _SINGLE, _BRANCH = 0, 1, 2


def merkle_leaf(data: bytes) -> bytes:
    return tagged_hash(_TAG, data)


def merkle_branch_node(left: bytes, right: bytes, *, depth: int, width: int) -> bytes:
    """`depth` 0 is the root; `width` is the number of leaves of the whole tree."""
    return _node(_BRANCH, depth, width, left, right)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Of hashed leaves; a single one is its own root, none are a void node."""
    if len(leaves) == 1:
        return leaves[0]
    return _subtree(leaves, depth=0, width=len(leaves))


def _subtree(leaves: Sequence[bytes], *, depth: int, width: int) -> bytes:
    match len(leaves):
        case 0:
            return _node(_VOID, depth, width, _VIRTUAL, _VIRTUAL)
        case 1:
            return _node(_SINGLE, depth, width, leaves[0], _VIRTUAL)
        case 2:
            return _node(_BRANCH, depth, width, leaves[0], leaves[1])
        case number:
            half = (number + 1) // 2
            left = _subtree(leaves[:half], depth=depth + 1, width=width)
            right = _subtree(leaves[half:], depth=depth + 1, width=width)
            return _node(_BRANCH, depth, width, left, right)


def _node(branching: int, depth: int, width: int, first: bytes, second: bytes) -> bytes:
    return tagged_hash(_TAG, bytes((branching, depth)), width.to_bytes(32, "little"), first, second)
