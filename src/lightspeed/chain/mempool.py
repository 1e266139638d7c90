"""A mempool in front of the regtest chain, with the rules of relay that matter to us.

It judges as Bitcoin Core 30 does: finality, inputs, standardness, fees, replacement (every
transaction may be replaced), TRUC, ephemeral dust, clusters, packages, and the script of every
input. What `policy` does not check is listed there. Besides: the mempool has no size limit, no
expiry and no fee estimator of its own; a replacement has to pay a higher fee rate than each
transaction that it conflicts with directly, where Bitcoin Core 31 compares fee rate diagrams.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lightspeed.bitcoin import TRUC_VERSION, Block, OutPoint, Tx, TxOut
from lightspeed.chain import policy
from lightspeed.chain.errors import BroadcastRefused
from lightspeed.chain.index import ChainIndex, Coin, touched_scripts
from lightspeed.chain.truc import Relative, check_truc
from lightspeed.units import Sat

__all__ = ["Entry", "Mempool"]

MAX_CLUSTER_COUNT = 64
MAX_CLUSTER_WEIGHT = 404_000  # 101 kvB
MAX_REPLACED = 100
MAX_PACKAGE_COUNT = 25
MAX_PACKAGE_WEIGHT = 404_000

_MISSING = "bad-txns-inputs-missingorspent"


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction in the mempool; `spent` holds the output of each input."""

    tx: Tx
    spent: tuple[TxOut, ...]
    fee: Sat
    weight: int

    @property
    def vsize(self) -> int:
        return (self.weight + 3) // 4


class _Reconsiderable(BroadcastRefused):
    """Refused alone for its fee; as part of a package it may pass."""


class Mempool:
    """Unconfirmed transactions that could all be in the next block.

    `verify(tx, spent)` answers the index of the first input whose script fails, or None.
    """

    def __init__(
        self,
        index: ChainIndex,
        *,
        verify: Callable[[Tx, Sequence[TxOut]], int | None],
        fees: policy.FeePolicy | None = None,
    ) -> None:
        self.fees = fees or policy.FeePolicy()
        self._index = index
        self._verify = verify
        self._entries: dict[bytes, Entry] = {}  # parents stand before their children
        self._spends: dict[OutPoint, tuple[bytes, int]] = {}
        self._scripts: dict[bytes, dict[bytes, None]] = {}

    # --- what it holds --------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self._entries

    def __iter__(self) -> Iterator[Entry]:
        """Parents before their children."""
        return iter(self._entries.values())

    def get(self, txid: bytes) -> Entry | None:
        return self._entries.get(txid)

    def spender(self, outpoint: OutPoint) -> tuple[bytes, int] | None:
        """(txid, input index)."""
        return self._spends.get(outpoint)

    def history(self, script_hash: bytes) -> list[bytes]:
        """Ids of the transactions that touch the script, by its SHA-256; oldest first."""
        return list(self._scripts.get(script_hash, ()))

    def parents(self, tx: Tx) -> list[bytes]:
        return [txid for txid in dict.fromkeys(_input_txids(tx)) if txid in self._entries]

    def children(self, txid: bytes) -> list[bytes]:
        outputs = range(len(self._entries[txid].tx.outputs))
        found = (self._spends.get(OutPoint(txid, vout)) for vout in outputs)
        return list(dict.fromkeys(spend[0] for spend in found if spend))

    def ancestors(self, txids: Iterable[bytes]) -> set[bytes]:
        """The given ones included."""
        return _closure(txids, lambda txid: self.parents(self._entries[txid].tx))

    def descendants(self, txids: Iterable[bytes]) -> set[bytes]:
        """The given ones included."""
        return _closure(txids, self.children)

    # --- acceptance -----------------------------------------------------------------------

    def add(self, tx: Tx) -> None:
        """Accepts one transaction or raises `BroadcastRefused`; one that is here is no error."""
        if tx.txid not in self._entries:
            self._accept([tx], as_package=False)

    def add_package(self, transactions: Sequence[Tx]) -> None:
        """Accepts parents and their one child, which may pay for them, or none of what is new.

        Sorted, the child last, as Bitcoin Core's `submitpackage` asks. A transaction that
        passes alone is taken first, and stays even if the rest is refused.
        """
        _check_package(transactions)
        left: list[Tx] = []
        for tx in transactions:
            try:
                self.add(tx)
            except _Reconsiderable:
                left.append(tx)
            except BroadcastRefused as refused:
                if refused.reason != _MISSING or not left:
                    raise
                left.append(tx)
        if left:
            self._accept(left, as_package=True)

    def remove_confirmed(self, block: Block) -> None:
        """Forgets what a new block confirms, and what conflicts with it."""
        for tx in block.transactions:
            if tx.txid in self._entries:
                self._remove(tx.txid)
        for tx in block.transactions:
            for txin in tx.inputs:
                if spend := self._spends.get(txin.outpoint):
                    self._remove_all(self.descendants([spend[0]]))

    def rebuild(self, returning: Iterable[Tx]) -> None:
        """After a reorganisation: takes back what the lost blocks held, judges the rest anew.

        Fees and topology are not judged again, as in Bitcoin Core.
        """
        candidates = [*returning, *(entry.tx for entry in self)]
        self._entries.clear()
        self._spends.clear()
        self._scripts.clear()
        for tx in candidates:
            try:
                self._insert(self._judge(tx, {}))
            except BroadcastRefused:
                continue

    def _accept(self, transactions: Sequence[Tx], *, as_package: bool) -> None:
        package = {tx.txid: tx for tx in transactions}
        entries = [self._judge(tx, package) for tx in transactions]
        for entry in entries:
            policy.check_dust_pays_nothing(entry.tx, entry.fee)
        self._check_fees(entries)
        evicted = self._conflicts_of(entries, as_package=as_package)
        replaced = self.descendants(evicted)
        if evicted:
            self._check_replacement(entries, evicted, replaced)
        self._check_clusters(entries, replaced)
        for entry in entries:
            self._check_ephemeral_spends(entry, package)
            self._check_scripts(entry)
        self._remove_all(replaced)
        for entry in entries:
            self._insert(entry)

    def _judge(self, tx: Tx, package: dict[bytes, Tx]) -> Entry:
        """Everything about one transaction that depends on neither fees nor relatives."""
        policy.check_sanity(tx)
        policy.check_standard(tx)
        next_height = self._index.height + 1
        policy.check_final(
            tx,
            next_height=next_height,
            median_time=self._index.median_time_past(self._index.height),
        )
        coins = [self._coin(txin.outpoint, package) for txin in tx.inputs]
        if self._index.located(tx.txid):
            raise BroadcastRefused("txn-already-known")
        if not all(coins):
            raise BroadcastRefused(_MISSING)
        found = [coin for coin in coins if coin]
        policy.check_sequence_locks(
            tx,
            [coin.height for coin in found],
            next_height=next_height,
            median_time=self._index.median_time_past,
        )
        fee = policy.fee_paid(tx, found, next_height=next_height)
        spent = tuple(coin.output for coin in found)
        policy.check_witness_standard(tx, spent)
        return Entry(tx, spent, fee, tx.weight)

    def _coin(self, outpoint: OutPoint, package: dict[bytes, Tx]) -> Coin | None:
        entry = self._entries.get(outpoint.txid)
        unconfirmed = entry.tx if entry else package.get(outpoint.txid)
        if unconfirmed is None:
            return self._index.coin(outpoint)
        if outpoint.vout >= len(unconfirmed.outputs):
            return None
        return Coin(unconfirmed.outputs[outpoint.vout], None)

    def _conflicts_of(self, entries: Sequence[Entry], *, as_package: bool) -> set[bytes]:
        """Ids of the transactions that would have to go, without their descendants."""
        found: set[bytes] = set()
        for entry in entries:
            conflicts = {
                spend[0]
                for txin in entry.tx.inputs
                if (spend := self._spends.get(txin.outpoint)) is not None
            }
            sibling = check_truc(
                entry.tx.version,
                entry.vsize,
                parents=self._relatives(entry, entries),
                conflicts=conflicts,
                may_evict_sibling=not as_package,
            )
            found |= conflicts | ({sibling} if sibling else set())
        return found

    def _relatives(self, entry: Entry, package: Sequence[Entry]) -> list[Relative]:
        relatives = []
        in_package = {other.tx.txid: other.tx for other in package}
        for txid in dict.fromkeys(_input_txids(entry.tx)):
            if held := self._entries.get(txid):
                children = {
                    child: (len(self.ancestors([child])), len(self.descendants([child])))
                    for child in self.children(txid)
                }
                count = len(self.ancestors([txid]))
                relatives.append(Relative(held.tx.version, count, children))
            elif parent := in_package.get(txid):
                count = 1 + len(self.parents(parent))
                relatives.append(Relative(parent.version, count, {}))
        return relatives

    def _check_fees(self, entries: Sequence[Entry]) -> None:
        """Together they pay for the mempool; each that is not TRUC pays for its relay."""
        fee = sum(entry.fee for entry in entries)
        vsize = sum(entry.vsize for entry in entries)
        for entry in entries:
            if entry.tx.version != TRUC_VERSION and entry.fee < self.fees.relay_fee(entry.vsize):
                raise _Reconsiderable("min relay fee not met", f"{entry.fee} for {entry.vsize} vB")
        if fee < self.fees.relay_fee(vsize):
            raise _Reconsiderable("min relay fee not met", f"{fee} for {vsize} vB")
        if fee < self.fees.entry_fee(vsize):
            raise _Reconsiderable("mempool min fee not met", f"{fee} for {vsize} vB")

    def _check_replacement(
        self, entries: Sequence[Entry], evicted: set[bytes], replaced: set[bytes]
    ) -> None:
        if len(replaced) > MAX_REPLACED:
            raise BroadcastRefused("too many potential replacements")
        parents = {txid for entry in entries for txid in self.parents(entry.tx)}
        if self.ancestors(parents) & evicted:
            raise BroadcastRefused("bad-txns-spends-conflicting-tx")
        fee = sum(entry.fee for entry in entries)
        weight = sum(entry.weight for entry in entries)
        if len(entries) > 1:
            if len(entries) > 2 or parents:
                raise BroadcastRefused("package RBF failed: package must be 1-parent-1-child")
            if entries[0].fee * weight >= fee * entries[0].weight:
                raise BroadcastRefused(
                    "package RBF failed: package feerate is less than or equal to parent feerate"
                )
        vsize = sum(entry.vsize for entry in entries)
        replaced_fee = sum(self._entries[txid].fee for txid in replaced)
        if fee < replaced_fee + self.fees.replacement_fee(vsize):
            raise _Reconsiderable("insufficient fee", f"{fee} replacing {replaced_fee}")
        if any(
            fee * self._entries[txid].weight <= self._entries[txid].fee * weight for txid in evicted
        ):
            raise _Reconsiderable("insufficient fee", "not above the fee rate that it replaces")

    def _check_clusters(self, entries: Sequence[Entry], replaced: set[bytes]) -> None:
        """Of all that hangs together with the new ones once `replaced` is gone."""

        def neighbours(txid: bytes) -> list[bytes]:
            linked = self.parents(self._entries[txid].tx) + self.children(txid)
            return [other for other in linked if other not in replaced]

        parents = (txid for entry in entries for txid in self.parents(entry.tx))
        cluster = _closure((txid for txid in parents if txid not in replaced), neighbours)
        weight = sum(self._entries[txid].weight for txid in cluster)
        weight += sum(entry.weight for entry in entries)
        if len(cluster) + len(entries) > MAX_CLUSTER_COUNT or weight > MAX_CLUSTER_WEIGHT:
            raise BroadcastRefused("too-large-cluster")

    def _check_ephemeral_spends(self, entry: Entry, package: dict[bytes, Tx]) -> None:
        inputs = {txin.outpoint for txin in entry.tx.inputs}
        for txid in {outpoint.txid for outpoint in inputs}:
            held = self._entries.get(txid)
            parent = held.tx if held else package.get(txid)
            if parent is None:
                continue
            if any(OutPoint(txid, vout) not in inputs for vout in policy.dust_outputs(parent)):
                raise BroadcastRefused("missing-ephemeral-spends")

    def _check_scripts(self, entry: Entry) -> None:
        failed = self._verify(entry.tx, entry.spent)
        if failed is not None:
            raise BroadcastRefused("mempool-script-verify-flag-failed", f"input {failed}")

    # --- bookkeeping ----------------------------------------------------------------------

    def _insert(self, entry: Entry) -> None:
        txid = entry.tx.txid
        self._entries[txid] = entry
        for position, txin in enumerate(entry.tx.inputs):
            self._spends[txin.outpoint] = (txid, position)
        for script_hash in touched_scripts(entry.tx, iter(entry.spent)):
            self._scripts.setdefault(script_hash, {})[txid] = None

    def _remove(self, txid: bytes) -> None:
        entry = self._entries.pop(txid)
        for txin in entry.tx.inputs:
            del self._spends[txin.outpoint]
        for script_hash in touched_scripts(entry.tx, iter(entry.spent)):
            touching = self._scripts[script_hash]
            del touching[txid]
            if not touching:
                del self._scripts[script_hash]

    def _remove_all(self, txids: Iterable[bytes]) -> None:
        for txid in txids:
            self._remove(txid)


def _input_txids(tx: Tx) -> Iterator[bytes]:
    return (txin.outpoint.txid for txin in tx.inputs)


def _closure(start: Iterable[bytes], step: Callable[[bytes], Iterable[bytes]]) -> set[bytes]:
    seen: set[bytes] = set()
    pending = list(start)
    while pending:
        txid = pending.pop()
        if txid not in seen:
            seen.add(txid)
            pending.extend(step(txid))
    return seen


def _check_package(transactions: Sequence[Tx]) -> None:
    if len(transactions) > MAX_PACKAGE_COUNT:
        raise BroadcastRefused("package-too-many-transactions")
    if len(transactions) > 1 and sum(tx.weight for tx in transactions) > MAX_PACKAGE_WEIGHT:
        raise BroadcastRefused("package-too-large")
    txids = [tx.txid for tx in transactions]
    if len(set(txids)) != len(txids):
        raise BroadcastRefused("package-contains-duplicates")
    for position, tx in enumerate(transactions):
        if set(_input_txids(tx)) & set(txids[position:]):
            raise BroadcastRefused("package-not-sorted")
    outpoints = [txin.outpoint for tx in transactions for txin in tx.inputs]
    if len(set(outpoints)) != len(outpoints):
        raise BroadcastRefused("conflict-in-package")
    spent_by_parents = {txid for tx in transactions[:-1] for txid in _input_txids(tx)}
    if (
        not transactions
        or set(txids[:-1]) - set(_input_txids(transactions[-1]))
        or spent_by_parents & set(txids)
    ):
        raise BroadcastRefused("package topology disallowed. not child-with-parents-tree")
