"""The part of a book's terms that only the chain cares about (`BookTerms.settlement`)."""

import struct
from dataclasses import dataclass
from typing import Self

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate
from lightspeed.lsf.errors import BookRefused
from lightspeed.lsf.messages import RejectReason

__all__ = ["MAX_DELAY_BLOCKS", "Settlement"]

MAX_DELAY_BLOCKS = 0xFFFF
"""The longest relative locktime in blocks (BIP 68)."""

_VERSION = 1
_LAYOUT = struct.Struct(">BBHI")  # version, literal, refund delay, child fee rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How a book is settled on chain; both sides hold it byte for byte."""

    refund_delay_blocks: int
    child_feerate: FeeRate = FEE_RATE_FLOOR
    """Of the children, paid from the LSF: they relay alone."""
    literal: bool = False
    """Paper 2.1.1 to the letter: claims without a signature, which thieves can replace. Regtest."""

    def __post_init__(self) -> None:
        if not 1 <= self.refund_delay_blocks <= MAX_DELAY_BLOCKS:
            raise _refused(f"a refund delay of {self.refund_delay_blocks} blocks")
        if not 0 <= self.child_feerate < 1 << 32:
            raise _refused(f"a child fee rate of {self.child_feerate} sat/kw")

    def to_bytes(self) -> bytes:
        """version u8 = 1, literal u8 (0 or 1), refund delay u16, child fee rate u32 (sat/kw)."""
        return _LAYOUT.pack(_VERSION, self.literal, self.refund_delay_blocks, self.child_feerate)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `BookRefused` for anything that `to_bytes` does not produce."""
        if len(data) != _LAYOUT.size:
            raise _refused(f"a settlement part of {len(data)} bytes")
        version, literal, refund_delay_blocks, child_feerate = _LAYOUT.unpack(data)
        if version != _VERSION or literal > 1:
            raise _refused("an unknown version or script of the settlement part")
        return cls(
            refund_delay_blocks=refund_delay_blocks,
            child_feerate=FeeRate(child_feerate),
            literal=bool(literal),
        )


def _refused(text: str) -> BookRefused:
    return BookRefused(RejectReason.TERMS, text)
