"""What goes into a block of our own on regtest."""

from collections.abc import Sequence
from dataclasses import replace

from lightspeed.bitcoin import (
    REGTEST_BITS,
    Block,
    BlockHeader,
    Tx,
    TxOut,
    coinbase,
    merkle_root,
    number,
    push,
)
from lightspeed.chain.mempool import Entry, Mempool

__all__ = ["mine_block", "next_transactions"]

MAX_BLOCK_WEIGHT = 4_000_000
_RESERVED_WEIGHT = 8_000  # header, count, coinbase
_BLOCK_VERSION = 0x20000000  # BIP 9, no deployment signalled


def mine_block(
    previous: bytes,
    *,
    height: int,
    time: int,
    payout: TxOut,
    transactions: Sequence[Tx],
    extra_nonce: int,
) -> Block:
    """A solved block; the extra nonce keeps coinbases of competing blocks apart."""
    reward = coinbase(height, payout, transactions=transactions)
    script_sig = number(height) + push(extra_nonce.to_bytes(8, "little"))
    reward = replace(reward, inputs=(replace(reward.inputs[0], script_sig=script_sig),))
    header = BlockHeader(
        version=_BLOCK_VERSION,
        previous=previous,
        merkle_root=merkle_root([reward.txid, *(tx.txid for tx in transactions)]),
        time=time,
        bits=REGTEST_BITS,
    )
    return Block(header.solved(), (reward, *transactions))


def next_transactions(mempool: Mempool) -> list[Entry]:
    """The mempool, parents first; if it does not fit, the best paying families of ancestors."""
    entries = list(mempool)
    limit = MAX_BLOCK_WEIGHT - _RESERVED_WEIGHT
    if sum(entry.weight for entry in entries) <= limit:
        return entries
    families = {entry.tx.txid: mempool.ancestors([entry.tx.txid]) for entry in entries}
    by_id = {entry.tx.txid: entry for entry in entries}

    def fee_per_weight(entry: Entry) -> float:
        family = [by_id[txid] for txid in families[entry.tx.txid]]
        return sum(member.fee for member in family) / sum(member.weight for member in family)

    chosen: set[bytes] = set()
    weight = 0
    for entry in sorted(entries, key=fee_per_weight, reverse=True):
        missing = families[entry.tx.txid] - chosen
        added = sum(by_id[txid].weight for txid in missing)
        if weight + added <= limit:
            chosen |= missing
            weight += added
    return [entry for entry in entries if entry.tx.txid in chosen]
