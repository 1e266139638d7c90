"""BIP 37 merkle blocks: a header with the branch of one transaction."""

from collections.abc import Sequence

from lightspeed.bitcoin import Block, compact_size, sha256d

__all__ = ["merkle_block"]


def merkle_block(block: Block, position: int) -> bytes:
    """Serialized, proving the transaction at `position`."""
    txids = [tx.txid for tx in block.transactions]
    hashes: list[bytes] = []
    flags: list[bool] = []
    height = (len(txids) - 1).bit_length()
    _descend(txids, position, height=height, start=0, hashes=hashes, flags=flags)
    packed = bytearray((len(flags) + 7) // 8)
    for i, flag in enumerate(flags):
        packed[i // 8] |= flag << i % 8
    return b"".join(
        (
            block.header.serialize(),
            len(txids).to_bytes(4, "little"),
            compact_size(len(hashes)),
            *hashes,
            compact_size(len(packed)),
            packed,
        )
    )


def _descend(
    txids: Sequence[bytes],
    position: int,
    *,
    height: int,
    start: int,
    hashes: list[bytes],
    flags: list[bool],
) -> None:
    """Depth first: a bit for each node visited, a hash for each that is not opened."""
    end = start + (1 << height)
    on_the_way = start <= position < end
    flags.append(on_the_way)
    if not on_the_way or height == 0:
        hashes.append(_node(txids[start:end], height))
        return
    for child in (start, start + (1 << height - 1)):
        if child < len(txids):
            _descend(txids, position, height=height - 1, start=child, hashes=hashes, flags=flags)


def _node(txids: Sequence[bytes], height: int) -> bytes:
    """The subtree's root; at the right edge the last hash of each row is repeated."""
    row = list(txids)
    for _ in range(height):
        row += row[-1:] * (len(row) % 2)
        row = [sha256d(left + right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]
