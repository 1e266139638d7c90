"""What goes into a block of our own on regtest."""

from lightspeed.chain.mempool import Entry, Mempool

__all__ = ["next_transactions"]

MAX_BLOCK_WEIGHT = 4_000_000
_RESERVED_WEIGHT = 8_000  # header, count, coinbase


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
