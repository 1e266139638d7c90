"""The `Chain` of a regtest in the same process: no server, no polling, no clock."""

from collections.abc import Sequence

from lightspeed.bitcoin import FEE_RATE_FLOOR, BlockHeader, FeeRate, OutPoint, Tx
from lightspeed.chain.interface import BlockId, Spend, TxInfo
from lightspeed.chain.regtest import Regtest

__all__ = ["LocalChain"]


class LocalChain:
    """Answers at once from `regtest`; `Chain` documents the methods."""

    def __init__(self, regtest: Regtest) -> None:
        self.regtest = regtest

    async def tip(self) -> BlockId:
        return self.regtest.tip

    async def block_id(self, height: int) -> BlockId | None:
        return self.regtest.index.block_id(height)

    async def header(self, height: int) -> BlockHeader | None:
        if self.regtest.index.block_id(height) is None:
            return None
        return self.regtest.index.block(height).header

    async def block_txids(self, block: BlockId) -> Sequence[bytes] | None:
        stored = self.regtest.stored_block(block.hash)
        return [tx.txid for tx in stored[0].transactions] if stored else None

    async def transaction(self, txid: bytes) -> TxInfo | None:
        return self.regtest.transaction(txid)

    async def outspend(self, outpoint: OutPoint) -> Spend | None:
        return self.regtest.outspend(outpoint)

    async def outspends(self, txid: bytes) -> Sequence[Spend | None]:
        info = self.regtest.transaction(txid)
        outputs = range(len(info.tx.outputs)) if info else ()
        return [self.regtest.outspend(OutPoint(txid, vout)) for vout in outputs]

    async def broadcast(self, tx: Tx) -> None:
        self.regtest.broadcast(tx)

    async def broadcast_package(self, transactions: Sequence[Tx]) -> None:
        self.regtest.broadcast_package(transactions)

    async def fee_rate(self, target_blocks: int) -> FeeRate:
        return max(FEE_RATE_FLOOR, self.regtest.fee_rate)
