"""Taproot outputs: script trees, output keys and control blocks (BIP 341)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lightspeed.bitcoin.encoding import compact_size
from lightspeed.bitcoin.errors import ScriptError
from lightspeed.bitcoin.keys import PrivateKey, PublicKey
from lightspeed.bitcoin.script import p2tr
from lightspeed.tagged import tagged_hash

__all__ = [
    "LEAF_VERSION",
    "NUMS_H",
    "Branch",
    "Leaf",
    "TapTree",
    "TaprootOutput",
    "balanced_tree",
    "tap_branch_hash",
    "tap_leaf_hash",
    "tweak_secret",
]

LEAF_VERSION = 0xC0  # tapscript, BIP 342
MAX_DEPTH = 128

# BIP 341, "Constructing and spending Taproot outputs": H = lift_x(SHA256(uncompressed G)),
# a point whose secret nobody knows. As internal key it leaves only the script paths.
NUMS_H = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")


@dataclass(frozen=True, slots=True)
class Leaf:
    script: bytes
    version: int = LEAF_VERSION

    @property
    def hash(self) -> bytes:
        return tap_leaf_hash(self.script, self.version)


@dataclass(frozen=True, slots=True)
class Branch:
    left: "Leaf | Branch"
    right: "Leaf | Branch"


TapTree: TypeAlias = Leaf | Branch


def tap_leaf_hash(script: bytes, version: int = LEAF_VERSION) -> bytes:
    return tagged_hash("TapLeaf", bytes([version]), compact_size(len(script)), script)


def tap_branch_hash(a: bytes, b: bytes) -> bytes:
    """The children's hashes sorted, so a control block need not say left or right."""
    return tagged_hash("TapBranch", a, b) if a < b else tagged_hash("TapBranch", b, a)


def balanced_tree(scripts: Sequence[bytes]) -> TapTree:
    """A node over n > 1 leaves has the first 2^ceil(log2(n)-1) of them left, the others right."""
    if not scripts:
        raise ScriptError("a tree needs a leaf")
    if len(scripts) == 1:
        return Leaf(scripts[0])
    half = 1 << ((len(scripts) - 1).bit_length() - 1)
    return Branch(balanced_tree(scripts[:half]), balanced_tree(scripts[half:]))


_LeafPath: TypeAlias = tuple[Leaf, bytes, tuple[bytes, ...]]  # leaf, its hash, path to the root


def _hash_tree(tree: TapTree, *, depth: int) -> tuple[bytes, list[_LeafPath]]:
    """The node's hash, and its leaves from left to right with their paths up to it."""
    if depth > MAX_DEPTH:
        raise ScriptError(f"a taproot tree is at most {MAX_DEPTH} deep")
    match tree:
        case Leaf():
            leaf_hash = tree.hash
            return leaf_hash, [(tree, leaf_hash, ())]
        case Branch(left, right):
            left_hash, left_leaves = _hash_tree(left, depth=depth + 1)
            right_hash, right_leaves = _hash_tree(right, depth=depth + 1)
            leaves = [(leaf, digest, (*path, right_hash)) for leaf, digest, path in left_leaves]
            leaves += [(leaf, digest, (*path, left_hash)) for leaf, digest, path in right_leaves]
            return tap_branch_hash(left_hash, right_hash), leaves


def _tap_tweak(internal_key: bytes, merkle_root: bytes) -> bytes:
    return tagged_hash("TapTweak", internal_key, merkle_root)


def tweak_secret(secret: PrivateKey, merkle_root: bytes = b"") -> PrivateKey:
    """The key that signs the key path; `merkle_root` is empty for an output without scripts."""
    even = secret.negated_if_odd()
    return even.add_tweak(_tap_tweak(even.x_only, merkle_root))


@dataclass(frozen=True, slots=True)
class TaprootOutput:
    """The output of an internal key (x-only) and a tree of scripts, or of the key alone.

    Leaves are numbered from 0, left to right.
    """

    internal_key: bytes
    tree: TapTree | None = None
    merkle_root: bytes = field(init=False, compare=False, repr=False)
    output_key: bytes = field(init=False, compare=False, repr=False)
    parity: int = field(init=False, compare=False, repr=False)
    _leaves: tuple[_LeafPath, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        root, leaves = (b"", []) if self.tree is None else _hash_tree(self.tree, depth=0)
        key = PublicKey.from_x_only(self.internal_key).add_tweak(
            _tap_tweak(self.internal_key, root)
        )
        object.__setattr__(self, "merkle_root", root)
        object.__setattr__(self, "output_key", key.x_only)
        object.__setattr__(self, "parity", int(key.has_odd_y))
        object.__setattr__(self, "_leaves", tuple(leaves))

    @property
    def script(self) -> bytes:
        """The scriptPubKey."""
        return p2tr(self.output_key)

    def leaf(self, index: int) -> Leaf:
        return self._leaves[index][0]

    def leaf_hash(self, index: int) -> bytes:
        return self._leaves[index][1]

    def control_block(self, index: int) -> bytes:
        """33 bytes, and 32 for each level of the leaf; the last item of its witness."""
        leaf, _, path = self._leaves[index]
        return bytes([leaf.version | self.parity]) + self.internal_key + b"".join(path)

    def script_path(self, index: int, *stack: bytes) -> tuple[bytes, ...]:
        """The witness that spends by leaf `index`; `stack` from bottom to top."""
        return (*stack, self.leaf(index).script, self.control_block(index))

    def tweak_secret(self, secret: PrivateKey) -> PrivateKey:
        """The key that signs this output's key path, from the internal key's secret."""
        return tweak_secret(secret, self.merkle_root)
