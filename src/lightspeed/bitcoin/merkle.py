"""Merkle trees over transaction ids, as blocks have them."""

from collections.abc import Sequence

from lightspeed.bitcoin.hashes import sha256d

__all__ = ["merkle_branch", "merkle_root"]


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """Of at least one hash of 32 bytes; an odd row repeats its last."""
    row = list(hashes)
    while len(row) > 1:
        row = _next_row(row)
    return row[0]


def merkle_branch(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings on the way from leaf `index` to the root, lowest first."""
    row, branch = list(hashes), []
    while len(row) > 1:
        branch.append(row[min(index ^ 1, len(row) - 1)])
        row, index = _next_row(row), index >> 1
    return branch


def _next_row(row: list[bytes]) -> list[bytes]:
    if len(row) % 2:
        row.append(row[-1])
    return [sha256d(left + right) for left, right in zip(row[::2], row[1::2], strict=True)]
