"""Blocks: headers, serialization, and what a block of our own on regtest needs."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from lightspeed.bitcoin.encoding import Reader, compact_size
from lightspeed.bitcoin.errors import BitcoinError, TxParseError
from lightspeed.bitcoin.hashes import sha256d
from lightspeed.bitcoin.merkle import merkle_root
from lightspeed.bitcoin.script import number, op_return, push
from lightspeed.bitcoin.tx import NULL_TXID, OutPoint, Tx, TxIn, TxOut
from lightspeed.units import Sat

__all__ = [
    "REGTEST_BITS",
    "Block",
    "BlockHeader",
    "block_subsidy",
    "build_block",
    "coinbase",
    "target_of",
    "witness_commitment",
]

HEADER_SIZE = 4 + 32 + 32 + 4 + 4 + 4  # version, previous, merkle root, time, bits, nonce
REGTEST_BITS = 0x207FFFFF
REGTEST_HALVING_BLOCKS = 150
_BLOCK_VERSION = 0x20000000  # BIP 9, no deployment signalled
_COMMITMENT_HEADER = bytes.fromhex("aa21a9ed")  # BIP 141
_WITNESS_RESERVED_VALUE = bytes(32)


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """Hashes in internal order; `time` in seconds since 1970; `bits` the compact target."""

    version: int
    previous: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int = 0

    def serialize(self) -> bytes:
        return struct.pack(
            "<i32s32sIII",
            self.version,
            self.previous,
            self.merkle_root,
            self.time,
            self.bits,
            self.nonce,
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Exactly 80 bytes."""
        if len(data) != HEADER_SIZE:
            raise TxParseError(f"a block header has {HEADER_SIZE} bytes, not {len(data)}")
        return cls(*struct.unpack("<i32s32sIII", data))

    @property
    def hash(self) -> bytes:
        return sha256d(self.serialize())

    @property
    def meets_target(self) -> bool:
        return int.from_bytes(self.hash, "little") <= target_of(self.bits)

    def solved(self) -> "BlockHeader":
        """With the first nonce that meets the target: about two tries on regtest."""
        for nonce in range(1 << 32):
            header = replace(self, nonce=nonce)
            if header.meets_target:
                return header
        raise BitcoinError("no nonce meets the target")


@dataclass(frozen=True, slots=True)
class Block:
    header: BlockHeader
    transactions: tuple[Tx, ...]

    @property
    def hash(self) -> bytes:
        return self.header.hash

    def serialize(self) -> bytes:
        parts = [self.header.serialize(), compact_size(len(self.transactions))]
        parts += (tx.serialize() for tx in self.transactions)
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Exactly one block; proof of work, merkle root and rules are not judged here."""
        reader = Reader(data)
        header = BlockHeader.parse(reader.take(HEADER_SIZE))
        transactions = tuple(Tx.read(reader) for _ in range(reader.compact_size()))
        reader.finish()
        return cls(header, transactions)


def target_of(bits: int) -> int:
    """The number that a block hash must not exceed; 0 for an encoding that consensus refuses."""
    exponent, mantissa = bits >> 24, bits & 0x007FFFFF
    if bits & 0x00800000:
        return 0
    target = mantissa << (8 * (exponent - 3)) if exponent > 3 else mantissa >> (8 * (3 - exponent))
    return target if target < 1 << 256 else 0


def block_subsidy(height: int, halving_blocks: int = REGTEST_HALVING_BLOCKS) -> Sat:
    halvings = height // halving_blocks
    return Sat(50 * 100_000_000 >> halvings if halvings < 64 else 0)


def witness_commitment(transactions: Iterable[Tx]) -> bytes:
    """The scriptPubKey of a coinbase's commitment to the others' witnesses (BIP 141)."""
    wtxids = [bytes(32), *(tx.wtxid for tx in transactions)]
    digest = sha256d(merkle_root(wtxids) + _WITNESS_RESERVED_VALUE)
    return op_return(_COMMITMENT_HEADER + digest)


def coinbase(
    height: int, payout: TxOut, *, transactions: Sequence[Tx] = (), extra_nonce: int = 0
) -> Tx:
    """Pays `payout` and commits to the witnesses of the block's other transactions.

    The height comes first in the script (BIP 34), then the extra nonce, by which the coinbases
    of competing blocks differ.
    """
    return Tx(
        version=2,
        inputs=(
            TxIn(
                OutPoint(NULL_TXID, 0xFFFFFFFF),
                script_sig=number(height) + push(extra_nonce.to_bytes(8, "little")),
                witness=(_WITNESS_RESERVED_VALUE,),
            ),
        ),
        outputs=(payout, TxOut(Sat(0), witness_commitment(transactions))),
    )


def build_block(
    previous: bytes,
    *,
    height: int,
    time: int,
    payout: TxOut,
    transactions: Sequence[Tx] = (),
    extra_nonce: int = 0,
) -> Block:
    """A solved block on top of `previous`, on regtest, where solving is nothing."""
    reward = coinbase(height, payout, transactions=transactions, extra_nonce=extra_nonce)
    all_transactions = (reward, *transactions)
    header = BlockHeader(
        version=_BLOCK_VERSION,
        previous=previous,
        merkle_root=merkle_root([tx.txid for tx in all_transactions]),
        time=time,
        bits=REGTEST_BITS,
    )
    return Block(header.solved(), all_transactions)
