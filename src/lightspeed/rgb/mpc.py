"""Multi-protocol commitments (LNPBP-4): one hash commits to a message for each protocol.

A protocol's leaf stands where its id says, so that it cannot have two in one tree. For RGB the
protocol is a contract and the message the id of its bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from lightspeed.rgb.errors import MpcError, RgbFormatError
from lightspeed.rgb.merkle import merkle_branch_node, merkle_leaf
from lightspeed.rgb.strict import Reader, counted, unsigned
from lightspeed.tagged import tagged_hash

__all__ = ["MIN_DEPTH", "MpcProof", "MpcTree", "mpc_position"]

MIN_DEPTH = 3  # 8 leaves: how many contracts a transaction moves is not told
MAX_DEPTH = 31
MAX_COFACTOR = 500
MAX_PATH = 32  # that can be encoded; a proof of this length is valid for nothing
_TAG = "urn:ubideco:mpc:commitment#2024-01-31"
_INHABITED, _FILLER = b"\x10", b"\x11"


def mpc_position(protocol_id: bytes, *, depth: int, cofactor: int) -> int:
    """Of a protocol's leaf, from the left."""
    return int.from_bytes(protocol_id, "little") % max((1 << depth) - cofactor, 1)


def _commitment(root: bytes, *, depth: int, cofactor: int) -> bytes:
    return tagged_hash(_TAG, bytes((depth,)), cofactor.to_bytes(2, "little"), root)


def _leaf(protocol_id: bytes, message: bytes) -> bytes:
    return merkle_leaf(_INHABITED + protocol_id + message)


def _filler(entropy: int, position: int) -> bytes:
    return merkle_leaf(_FILLER + unsigned(entropy, 8) + position.to_bytes(4, "little"))


@dataclass(frozen=True, slots=True)
class MpcProof:
    """`path`: the nodes beside the way to the leaf, the root's side first."""

    position: int
    cofactor: int
    path: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.path) > MAX_PATH or any(len(node) != 32 for node in self.path):
            raise RgbFormatError(f"a path is at most {MAX_PATH} hashes of 32 bytes")

    def commitment(self, protocol_id: bytes, message: bytes) -> bytes:
        """32 bytes, which the transaction must carry. Raises `MpcError`."""
        depth = len(self.path)
        if depth > MAX_DEPTH:
            raise MpcError(f"a tree is at most {MAX_DEPTH} deep")
        expected = mpc_position(protocol_id, depth=depth, cofactor=self.cofactor)
        if expected != self.position:
            raise MpcError(f"the leaf stands at {self.position} and belongs to {expected}")
        node = _leaf(protocol_id, message)
        for level in range(depth - 1, -1, -1):
            on_the_right = self.position >> (depth - 1 - level) & 1
            pair = (self.path[level], node) if on_the_right else (node, self.path[level])
            node = merkle_branch_node(*pair, depth=level, width=1 << depth)
        return _commitment(node, depth=depth, cofactor=self.cofactor)

    def serialize(self) -> bytes:
        return unsigned(self.position, 4) + unsigned(self.cofactor, 2) + counted(self.path, 1)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(
            reader.unsigned(4), reader.unsigned(2), reader.items(1, lambda each: each.take(32))
        )


class MpcTree:
    """The smallest tree, of at least `min_depth`, in which no two protocols share a leaf.

    `entropy` (64 bits) fills the other leaves: with a known one, the tree can be built again.
    Raises `MpcError` when there is no such tree.
    """

    __slots__ = ("_levels", "_messages", "cofactor", "commitment", "depth")

    def __init__(
        self, messages: Mapping[bytes, bytes], *, entropy: int, min_depth: int = MIN_DEPTH
    ) -> None:
        if not messages:
            raise MpcError("nothing to commit to")
        if any(len(part) != 32 for message in messages.items() for part in message):
            raise RgbFormatError("protocol ids and messages are 32 bytes")
        self._messages = dict(messages)
        self.depth, self.cofactor, leaves = _placed(messages, min_depth)
        width = 1 << self.depth
        nodes = [
            _leaf(leaves[place], messages[leaves[place]])
            if place in leaves
            else _filler(entropy, place)
            for place in range(width)
        ]
        self._levels = [nodes]
        for level in range(self.depth - 1, -1, -1):
            nodes = [
                merkle_branch_node(left, right, depth=level, width=width)
                for left, right in zip(nodes[::2], nodes[1::2], strict=True)
            ]
            self._levels.append(nodes)
        self.commitment = _commitment(nodes[0], depth=self.depth, cofactor=self.cofactor)

    def proof(self, protocol_id: bytes) -> MpcProof:
        """Raises `MpcError` for a protocol without a message."""
        if protocol_id not in self._messages:
            raise MpcError("the tree holds no message of this protocol")
        position = mpc_position(protocol_id, depth=self.depth, cofactor=self.cofactor)
        beside = [self._levels[up][position >> up ^ 1] for up in range(self.depth)]
        return MpcProof(position, self.cofactor, tuple(reversed(beside)))


def _placed(messages: Mapping[bytes, bytes], min_depth: int) -> tuple[int, int, dict[int, bytes]]:
    """Depth, cofactor, and the protocol id at each inhabited position."""
    previous_width = 1
    for depth in range(min_depth, MAX_DEPTH + 1):
        width = 1 << depth
        if width >= len(messages):
            for cofactor in range(min(previous_width, MAX_COFACTOR) + 1):
                places = {
                    mpc_position(protocol, depth=depth, cofactor=cofactor): protocol
                    for protocol in messages
                }
                if len(places) == len(messages):
                    return depth, cofactor, places
        previous_width = width
    raise MpcError(f"{len(messages)} messages do not fit one tree")
