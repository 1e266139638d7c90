"""A regtest chain inside this process: Bitcoin Core's validation, blocks mined by us.

Not safe for threads: one thread, or one event loop, owns it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    Block,
    FeeRate,
    OutPoint,
    Tx,
    TxOut,
    block_subsidy,
    build_block,
    sha256,
)
from lightspeed.chain.errors import BlockRefused, ReorgTooDeep
from lightspeed.chain.faucet import FAUCET_SCRIPT, pay
from lightspeed.chain.index import ChainIndex
from lightspeed.chain.interface import BlockId, Spend, TxInfo
from lightspeed.chain.kernel import ChainStep, Kernel, unverified_input
from lightspeed.chain.mempool import Mempool
from lightspeed.chain.mining import next_transactions
from lightspeed.chain.policy import COINBASE_MATURITY_BLOCKS, FeePolicy
from lightspeed.units import Sat

__all__ = ["Regtest", "TipChanged"]

BLOCK_INTERVAL_SECONDS = 600
_INITIAL_BLOCKS = COINBASE_MATURITY_BLOCKS + 10  # ten coinbases to spend


@dataclass(frozen=True, slots=True)
class TipChanged:
    """The best chain moved from `old` to `new`; blocks up to `fork_height` are in both.

    A plain extension has `fork_height == old.height`; a lower one is a reorganisation.
    """

    old: BlockId
    new: BlockId
    fork_height: int


class Regtest:
    """The chain, its mempool, a miner and a faucet.

    `clock` gives seconds since 1970 for new blocks; without one each block is ten minutes
    after its parent and every run makes the same blocks. Block times never go back.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] | None = None,
        initial_blocks: int = _INITIAL_BLOCKS,
        fees: FeePolicy | None = None,
    ) -> None:
        self._clock = clock
        self._kernel = Kernel()
        genesis = Block.parse(self._kernel.raw_block(0))
        self._blocks: dict[bytes, tuple[Block, int]] = {genesis.hash: (genesis, 0)}
        self._extra_nonces = count()
        self.index = ChainIndex(genesis)
        self.mempool = Mempool(self.index, verify=unverified_input, fees=fees)
        self.fee_rate: FeeRate = FEE_RATE_FLOOR
        self._listeners: list[Callable[[TipChanged], None]] = []
        self.mine(initial_blocks)

    # --- what is there --------------------------------------------------------------------

    @property
    def tip(self) -> BlockId:
        return self.index.tip

    @property
    def height(self) -> int:
        return self.index.height

    def stored_block(self, block_hash: bytes) -> tuple[Block, int] | None:
        """With its height; also of a branch that is not the best chain."""
        return self._blocks.get(block_hash)

    def transaction(self, txid: bytes) -> TxInfo | None:
        if located := self.index.located(txid):
            return TxInfo(located.tx, located.block)
        if entry := self.mempool.get(txid):
            return TxInfo(entry.tx, None)
        return None

    def outspend(self, outpoint: OutPoint) -> Spend | None:
        if found := self.index.spender(outpoint):
            located = self.index.located(found[0])
            assert located is not None  # the index holds whatever it names as a spender
            return Spend(located.tx, found[1], located.block)
        if (found := self.mempool.spender(outpoint)) and (entry := self.mempool.get(found[0])):
            return Spend(entry.tx, found[1], None)
        return None

    def output(self, outpoint: OutPoint) -> TxOut | None:
        """Spent or not, confirmed or not."""
        info = self.transaction(outpoint.txid)
        if info is None or outpoint.vout >= len(info.tx.outputs):
            return None
        return info.tx.outputs[outpoint.vout]

    def unspent(self, script_hash: bytes) -> list[tuple[OutPoint, TxOut, BlockId | None]]:
        """Outputs that nothing spends, by the SHA-256 of their script; unconfirmed ones last."""
        txids = [*self.index.history(script_hash), *self.mempool.history(script_hash)]
        found = []
        for txid in txids:
            info = self.transaction(txid)
            assert info is not None  # histories name only what is there
            for vout, out in enumerate(info.tx.outputs):
                outpoint = OutPoint(txid, vout)
                if sha256(out.script) == script_hash and self.outspend(outpoint) is None:
                    found.append((outpoint, out, info.confirmed))
        return found

    # --- transactions ---------------------------------------------------------------------

    def broadcast(self, tx: Tx) -> None:
        """Into the mempool; raises `BroadcastRefused`. A transaction already known is no error."""
        if self.index.located(tx.txid) is None:
            self.mempool.add(tx)

    def broadcast_package(self, transactions: Sequence[Tx]) -> None:
        """Parents and the child that pays for them; raises `BroadcastRefused`."""
        new = [tx for tx in transactions if self.index.located(tx.txid) is None]
        if new:
            self.mempool.add_package(new)

    def fund(self, script: bytes, amount: Sat) -> Tx:
        """Pays from the faucet at output 0; in the mempool until a block is mined."""
        tx = pay((TxOut(amount, script),), self._faucet_coins())
        self.broadcast(tx)
        return tx

    def _faucet_coins(self) -> Iterable[tuple[OutPoint, TxOut]]:
        next_height = self.height + 1
        for outpoint, out, _ in self.unspent(sha256(FAUCET_SCRIPT)):
            coin = self.index.coin(outpoint)
            if (
                coin is None
                or not coin.is_coinbase
                or next_height - (coin.height or 0) >= COINBASE_MATURITY_BLOCKS
            ):
                yield outpoint, out

    # --- blocks ---------------------------------------------------------------------------

    def mine(self, blocks: int = 1, *, script: bytes = FAUCET_SCRIPT) -> list[BlockId]:
        """Mines on the tip; the first block takes what fits of the mempool, and so on."""
        mined = []
        for _ in range(blocks):
            entries = next_transactions(self.mempool)
            mined.append(self.mine_block([entry.tx for entry in entries], script=script))
        return mined

    def mine_block(self, transactions: Sequence[Tx], *, script: bytes = FAUCET_SCRIPT) -> BlockId:
        """One block with exactly these transactions; raises `BlockRefused` and changes nothing."""
        tip = self.tip
        self.submit(self._assemble(tip.hash, transactions, script=script))
        return self.tip

    def submit(self, block: Block) -> TipChanged | None:
        """Gives the block to Bitcoin Core; None when it joins a branch that is not the best.

        Raises `BlockRefused` with Bitcoin Core's reason.
        """
        old = self.tip
        verdict = self._kernel.process(block.serialize())
        if block.header.previous in self._blocks and verdict.refused is None:
            height = self._blocks[block.header.previous][1] + 1
            self._blocks[block.hash] = (block, height)
        self._follow(verdict.steps)
        assert self._kernel.height == self.height
        changed = None
        if self.tip != old:
            changed = TipChanged(old, self.tip, self._fork_height(old))
            for listener in self._listeners:
                listener(changed)
        if verdict.refused is not None:
            reason, _, detail = verdict.refused.partition(", ")
            raise BlockRefused(reason, detail)
        return changed

    def reorganise(
        self,
        depth: int,
        *,
        replacement: Sequence[Sequence[Tx]] | None = None,
        keep_transactions: bool = False,
        script: bytes = FAUCET_SCRIPT,
    ) -> TipChanged:
        """Replaces the last `depth` blocks by a branch that is one block longer, or more.

        `replacement`: the transactions of each new block from the fork on; empty blocks fill
        it up to `depth + 1`. `keep_transactions` takes those of the old blocks, where they
        were. Transactions that are not in the new branch go back to the mempool if they can.
        A block that does not connect raises `BlockRefused`, and the old branch stays.
        """
        if not 0 < depth <= self.height:
            raise ReorgTooDeep(f"{depth} of {self.height} blocks")
        fork = self.height - depth
        contents = [tuple(txs) for txs in replacement or ()]
        if keep_transactions:
            heights = range(fork + 1, self.height + 1)
            contents = [self.index.block(height).transactions[1:] for height in heights]
        contents += [()] * (depth + 1 - len(contents))
        old = self.tip
        previous = self.index.block(fork).hash
        for transactions in contents:
            block = self._assemble(previous, transactions, script=script)
            self.submit(block)
            previous = block.hash
        return TipChanged(old, self.tip, self._fork_height(old))

    def on_tip_change(self, listener: Callable[[TipChanged], None]) -> None:
        """Calls `listener` after each change."""
        self._listeners.append(listener)

    def _fork_height(self, block: BlockId) -> int:
        """Height of the highest block of the best chain at or below `block`."""
        block_hash, height = block.hash, block.height
        while self.index.height_of(block_hash) is None:
            block_hash, height = self._blocks[block_hash][0].header.previous, height - 1
        return height

    def _assemble(self, previous: bytes, transactions: Sequence[Tx], *, script: bytes) -> Block:
        parent, parent_height = self._blocks[previous]
        height = parent_height + 1
        reward = Sat(block_subsidy(height) + self._fees(transactions))
        return build_block(
            previous,
            height=height,
            time=self._time_after(parent),
            payout=TxOut(reward, script),
            transactions=transactions,
            extra_nonce=next(self._extra_nonces),
        )

    def _fees(self, transactions: Sequence[Tx]) -> int:
        """0 for what spends unknown outputs: such a block is refused anyway."""
        in_block = {tx.txid: tx for tx in transactions}
        total = 0
        for tx in transactions:
            fee = -sum(out.value for out in tx.outputs)
            for txin in tx.inputs:
                parent = in_block.get(txin.outpoint.txid)
                spent = (
                    parent.outputs[txin.outpoint.vout : txin.outpoint.vout + 1]
                    if parent
                    else filter(None, [self.output(txin.outpoint)])
                )
                fee += sum(out.value for out in spent)
            total += max(fee, 0)
        return total

    def _time_after(self, parent: Block) -> int:
        if self._clock is None:
            return parent.header.time + BLOCK_INTERVAL_SECONDS
        earliest = self.index.median_time_past(self.height) + 1
        return max(parent.header.time, earliest, self._clock())

    def _follow(self, steps: Sequence[ChainStep]) -> None:
        lost: list[Block] = []
        joined: list[Block] = []
        for step in steps:
            if step.joined:
                block, _ = self._blocks[step.block_hash]
                self.index.connect(block)
                joined.append(block)
            else:
                lost.append(self.index.disconnect())
        if lost:
            self.mempool.rebuild(tx for block in reversed(lost) for tx in block.transactions[1:])
        else:
            for block in joined:
                self.mempool.remove_confirmed(block)
