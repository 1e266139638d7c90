"""What the best chain holds, in memory: transactions, spends and script histories."""

from collections.abc import Iterator
from dataclasses import dataclass

from lightspeed.bitcoin import Block, OutPoint, Tx, TxOut, sha256
from lightspeed.chain.interface import BlockId

__all__ = ["ChainIndex", "Coin", "Located", "touched_scripts"]

_MEDIAN_SPAN = 11  # blocks of BIP 113's median time past


@dataclass(frozen=True, slots=True)
class Located:
    """A confirmed transaction; `position` counts from the coinbase, 0."""

    tx: Tx
    block: BlockId
    position: int


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output; `height` is None while its transaction is unconfirmed."""

    output: TxOut
    height: int | None
    is_coinbase: bool = False


class ChainIndex:
    """Follows the best chain block by block, forwards and backwards.

    Scripts are looked up by their SHA-256, as Esplora does.
    """

    def __init__(self, genesis: Block) -> None:
        self._blocks: list[Block] = []
        self._ids: list[BlockId] = []
        self._heights: dict[bytes, int] = {}
        self._transactions: dict[bytes, Located] = {}
        self._spends: dict[OutPoint, tuple[bytes, int]] = {}
        self._histories: dict[bytes, list[bytes]] = {}
        self.connect(genesis)

    # --- the chain ------------------------------------------------------------------------

    @property
    def tip(self) -> BlockId:
        return self._ids[-1]

    @property
    def height(self) -> int:
        return len(self._blocks) - 1

    def block_id(self, height: int) -> BlockId | None:
        return self._ids[height] if 0 <= height < len(self._ids) else None

    def block(self, height: int) -> Block:
        return self._blocks[height]

    def height_of(self, block_hash: bytes) -> int | None:
        """None when the block is not in the best chain."""
        return self._heights.get(block_hash)

    def median_time_past(self, height: int) -> int:
        """BIP 113: the median of this block's time and of the ten before it."""
        first = max(0, height + 1 - _MEDIAN_SPAN)
        times = sorted(block.header.time for block in self._blocks[first : height + 1])
        return times[len(times) // 2]

    # --- what it holds --------------------------------------------------------------------

    def located(self, txid: bytes) -> Located | None:
        return self._transactions.get(txid)

    def spender(self, outpoint: OutPoint) -> tuple[bytes, int] | None:
        """(txid, input index) of the confirmed spend."""
        return self._spends.get(outpoint)

    def output(self, outpoint: OutPoint) -> TxOut | None:
        """Spent or not."""
        found = self._transactions.get(outpoint.txid)
        if found is None or outpoint.vout >= len(found.tx.outputs):
            return None
        return found.tx.outputs[outpoint.vout]

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """None when the output does not exist or is spent."""
        output = self.output(outpoint)
        if output is None or outpoint in self._spends:
            return None
        found = self._transactions[outpoint.txid]
        if found.block.height == 0:
            return None  # consensus leaves the genesis output out of the UTXO set
        return Coin(output, found.block.height, found.tx.is_coinbase)

    def history(self, script_hash: bytes) -> list[bytes]:
        """Ids of the transactions that pay to or spend from the script, oldest first."""
        return self._histories.get(script_hash, [])

    # --- following ------------------------------------------------------------------------

    def connect(self, block: Block) -> None:
        """Adds a valid block on top of the tip."""
        block_id = BlockId(len(self._blocks), block.header.hash)
        self._blocks.append(block)
        self._ids.append(block_id)
        self._heights[block_id.hash] = block_id.height
        for position, tx in enumerate(block.transactions):
            self._transactions[tx.txid] = Located(tx, block_id, position)
            if not tx.is_coinbase:
                for index, txin in enumerate(tx.inputs):
                    self._spends[txin.outpoint] = (tx.txid, index)
            for script_hash in touched_scripts(tx, self._spent_outputs(tx)):
                self._histories.setdefault(script_hash, []).append(tx.txid)

    def disconnect(self) -> Block:
        """Takes the tip away and returns it."""
        block = self._blocks.pop()
        del self._heights[self._ids.pop().hash]
        for tx in reversed(block.transactions):
            for script_hash in touched_scripts(tx, self._spent_outputs(tx)):
                history = self._histories[script_hash]
                history.pop()
                if not history:
                    del self._histories[script_hash]
            if not tx.is_coinbase:
                for txin in tx.inputs:
                    del self._spends[txin.outpoint]
            del self._transactions[tx.txid]
        return block

    def _spent_outputs(self, tx: Tx) -> Iterator[TxOut]:
        if tx.is_coinbase:
            return
        for txin in tx.inputs:
            yield self._transactions[txin.outpoint.txid].tx.outputs[txin.outpoint.vout]


def touched_scripts(tx: Tx, spent: Iterator[TxOut]) -> set[bytes]:
    """SHA-256 of every script that the transaction pays to or spends from."""
    scripts = {output.script for output in tx.outputs}
    scripts.update(output.script for output in spent)
    return {sha256(script) for script in scripts}
