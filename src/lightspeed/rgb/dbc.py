"""Deterministic bitcoin commitments: where in a transaction the 32 bytes stand.

The first output that is an OP_RETURN or taproot decides: `opret` writes them into the OP_RETURN,
`tapret` into a leaf of the taproot output's script tree that nobody can spend.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeAlias

from lightspeed.bitcoin import (
    LEAF_VERSION,
    BitcoinError,
    PublicKey,
    Tx,
    op_return,
    p2tr,
    tap_branch_hash,
    tap_leaf_hash,
)
from lightspeed.rgb.errors import DbcError, RgbFormatError
from lightspeed.rgb.strict import Reader, option, sized, unsigned
from lightspeed.tagged import tagged_hash

__all__ = [
    "DbcProof",
    "LeftNode",
    "Method",
    "OpretProof",
    "Partner",
    "RightBranch",
    "RightLeaf",
    "TapretProof",
    "dbc_method",
    "opret_script",
    "read_dbc_proof",
    "tapret_script",
]

_RETURN = 0x6A
_TAPRET_PREFIX = b"\x50" * 29 + b"\x6a\x21"  # OP_RESERVED x 29, OP_RETURN, push of 33 bytes


class Method(Enum):
    """The value is the proof's tag."""

    TAPRET = 1
    OPRET = 2


def _is_opret(script: bytes) -> bool:
    return script[:1] == bytes((_RETURN,))


def _is_taproot(script: bytes) -> bool:
    return len(script) == 34 and script[:2] == b"\x51\x20"


def dbc_method(tx: Tx) -> Method | None:
    """What the first output that can hold a commitment asks for; None without one."""
    for output in tx.outputs:
        if _is_opret(output.script):
            return Method.OPRET
        if _is_taproot(output.script):
            return Method.TAPRET
    return None


def opret_script(commitment: bytes) -> bytes:
    """The output script that carries the commitment: 34 bytes."""
    if len(commitment) != 32:
        raise RgbFormatError("a commitment is 32 bytes")
    return op_return(commitment)


def tapret_script(commitment: bytes, nonce: int) -> bytes:
    """The leaf that carries the commitment: 64 bytes."""
    if len(commitment) != 32:
        raise RgbFormatError("a commitment is 32 bytes")
    return _TAPRET_PREFIX + commitment + unsigned(nonce, 1)


@dataclass(frozen=True, slots=True)
class OpretProof:
    """Nothing beyond the transaction is needed."""

    method = Method.OPRET

    def verify(self, commitment: bytes, tx: Tx) -> None:
        """Raises `DbcError`."""
        for output in tx.outputs:
            if _is_opret(output.script):
                if output.script != opret_script(commitment):
                    raise DbcError("the first OP_RETURN output holds something else")
                return
        raise DbcError("the transaction has no OP_RETURN output")

    def serialize(self) -> bytes:
        return bytes((self.method.value,))


@dataclass(frozen=True, slots=True)
class LeftNode:
    """The tree beside the commitment, whose hash is not above the commitment's."""

    hash: bytes

    def serialize(self) -> bytes:
        return b"\0" + self.hash


@dataclass(frozen=True, slots=True)
class RightLeaf:
    """The one script that the tree had before."""

    script: bytes
    version: int = LEAF_VERSION

    @property
    def hash(self) -> bytes:
        return tap_leaf_hash(self.script, self.version)

    def serialize(self) -> bytes:
        return b"\1" + bytes((self.version,)) + sized(self.script, 4)


@dataclass(frozen=True, slots=True)
class RightBranch:
    """The two halves of the tree that was there before."""

    left: bytes
    right: bytes

    @property
    def hash(self) -> bytes:
        return tap_branch_hash(self.left, self.right)

    def serialize(self) -> bytes:
        return b"\2" + self.left + self.right


Partner: TypeAlias = LeftNode | RightLeaf | RightBranch


def _read_partner(reader: Reader) -> Partner:
    match reader.tag(3, "a partner"):
        case 0:
            return LeftNode(reader.take(32))
        case 1:
            version = reader.unsigned(1)
            if version & 1 or version == 0x50:  # BIP 341, "Script validation rules"
                raise RgbFormatError(f"{version:#04x} is no leaf version")
            return RightLeaf(reader.sized(4), version)
        case _:
            return RightBranch(reader.take(32), reader.take(32))


@dataclass(frozen=True, slots=True)
class TapretProof:
    """What rebuilds the taproot output: its internal key (x-only) and the commitment's partner.

    `nonce` was chosen so that the commitment stands on the side of the partner that its kind says.
    """

    internal_key: bytes
    partner: Partner | None = None
    nonce: int = 0

    method = Method.TAPRET

    def output_script(self, commitment: bytes) -> bytes:
        """Of the output that carries the commitment. Raises `DbcError`."""
        root = tap_leaf_hash(tapret_script(commitment, self.nonce))
        if self.partner is not None:
            self._check_partner(self.partner, root)
            root = tap_branch_hash(root, self.partner.hash)
        try:
            key = PublicKey.from_x_only(self.internal_key)
            return p2tr(key.add_tweak(tagged_hash("TapTweak", self.internal_key, root)).x_only)
        except BitcoinError as error:
            raise DbcError("the internal key is none") from error

    @staticmethod
    def _check_partner(partner: Partner, leaf: bytes) -> None:
        match partner:
            case LeftNode(hash=beside):
                in_order, another = beside <= leaf, b""
            case RightLeaf(script=script):
                in_order, another = leaf <= partner.hash, script if len(script) >= 64 else b""
            case RightBranch(left=left):
                in_order, another = leaf <= partner.hash, left
        if another[:31] == _TAPRET_PREFIX:
            raise DbcError("the commitment's partner may be another commitment")
        if not in_order:
            raise DbcError("the commitment is on the wrong side of its partner")

    def verify(self, commitment: bytes, tx: Tx) -> None:
        """Raises `DbcError`."""
        for output in tx.outputs:
            if _is_taproot(output.script):
                if output.script != self.output_script(commitment):
                    raise DbcError("the first taproot output does not hold the commitment")
                return
        raise DbcError("the transaction has no taproot output")

    def serialize(self) -> bytes:
        partner = None if self.partner is None else self.partner.serialize()
        return b"".join(
            (
                bytes((self.method.value,)),
                option(partner),
                unsigned(self.nonce, 1),
                self.internal_key,
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Without the tag."""
        partner = reader.option(_read_partner)
        nonce = reader.unsigned(1)
        return cls(reader.take(32), partner, nonce)


DbcProof: TypeAlias = OpretProof | TapretProof


def read_dbc_proof(reader: Reader) -> DbcProof:
    match reader.unsigned(1):
        case Method.OPRET.value:
            return OpretProof()
        case Method.TAPRET.value:
            return TapretProof.read(reader)
        case tag:
            raise RgbFormatError(f"{tag} is no kind of commitment")
