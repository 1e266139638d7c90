"""What the rest of the program asks of a chain, whatever stands behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lightspeed.bitcoin import BlockHeader, FeeRate, OutPoint, Tx, txid_hex

__all__ = ["BlockId", "Chain", "Spend", "TxInfo"]


@dataclass(frozen=True, slots=True)
class BlockId:
    """A block of the best chain, or of one that was; `hash` is in internal order."""

    height: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.height}:{txid_hex(self.hash)}"


@dataclass(frozen=True, slots=True)
class TxInfo:
    """A transaction and the block of the best chain that holds it; None while in the mempool."""

    tx: Tx
    confirmed: BlockId | None


@dataclass(frozen=True, slots=True)
class Spend:
    """The spend of an outpoint; `confirmed` is None while it is only in the mempool."""

    tx: Tx
    input_index: int
    confirmed: BlockId | None

    @property
    def txid(self) -> bytes:
        return self.tx.txid


class Chain(Protocol):
    """Every method may raise `ChainUnavailable`. Ids are bytes in internal order."""

    async def tip(self) -> BlockId: ...

    async def block_id(self, height: int) -> BlockId | None:
        """None above the tip."""

    async def header(self, height: int) -> BlockHeader | None:
        """Of the best chain; None above the tip."""

    async def block_txids(self, block: BlockId) -> Sequence[bytes] | None:
        """Ids of all its transactions, in order; None when the backend does not know the block."""

    async def transaction(self, txid: bytes) -> TxInfo | None:
        """None when it is in neither the best chain nor the mempool."""

    async def outspend(self, outpoint: OutPoint) -> Spend | None:
        """None when unspent, and when the backend does not know the outpoint."""

    async def outspends(self, txid: bytes) -> Sequence[Spend | None]:
        """The spend of each output, in order; empty when the transaction is not known."""

    async def broadcast(self, tx: Tx) -> None:
        """Raises `BroadcastRefused`; a transaction that is already known is no error."""

    async def broadcast_package(self, transactions: Sequence[Tx]) -> None:
        """Parents, then one child that pays for them. Raises `BroadcastRefused`."""

    async def fee_rate(self, target_blocks: int) -> FeeRate:
        """For confirmation within so many blocks; never below `FEE_RATE_FLOOR`."""
