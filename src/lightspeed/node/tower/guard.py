"""The tower's eye and hand: looks through blocks, unseals what they call for, publishes it.

Nothing is remembered of a publication but how high a fee was tried: what the chain shows is read
anew at each look, so that a reorganisation or a restart needs no code of its own.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    FeeRate,
    OutPoint,
    Tx,
    fee_for_weight,
    txid_hex,
)
from lightspeed.chain import BlockId, BroadcastRefused, Chain, ChainUnavailable, Spend, TxInfo
from lightspeed.errors import StoreError
from lightspeed.node.closing import SAFE_DEPTH
from lightspeed.node.tower.bundles import Bundle, Part
from lightspeed.node.tower.errors import BlobMalformed
from lightspeed.node.tower.sealing import hint_of, unseal
from lightspeed.node.tower.store import Sighting, StoredPart, TowerStore

__all__ = ["Guard"]

_log = logging.getLogger(__name__)

_RECENT_BLOCKS = 12
"""So long a transaction is remembered for which nothing was handed over yet."""
_TARGET_BLOCKS = 2
_MAX_CASES_PER_CLIENT = 256
"""Commitments on chain at a time: a client must not keep the tower busy with others' ones."""
_SEQUENCE_DISABLED = 1 << 31  # BIP 68
_SEQUENCE_TIME = 1 << 22
_SEQUENCE_BLOCKS = 0xFFFF
_LOCKTIME_IS_HEIGHT = 500_000_000


class Guard:
    """Over one chain and one store; `look` again and again, never twice at a time."""

    def __init__(
        self,
        store: TowerStore,
        chain: Chain,
        *,
        safe_depth: int = SAFE_DEPTH,
        bump_after_blocks: int = 3,
    ) -> None:
        """`safe_depth`: confirmations after which a spend is taken as final."""
        self._store = store
        self._chain = chain
        self._safe_depth = safe_depth
        self._bump_after_blocks = bump_after_blocks
        self._recent: dict[int, dict[bytes, bytes]] = {}
        """Height -> hint -> txid."""
        self._attempts: dict[OutPoint, _Attempt] = {}
        self._rescan = True
        self._acted_at: BlockId | None = None
        """None: something came that was not there at the last look."""
        self.tip: BlockId | None = None
        """Up to which the chain was looked through."""

    def expect(self, hints: Iterable[bytes]) -> None:
        """Parts came for these; the transaction may be in a block already."""
        wanted = set(hints)
        for height, txids in self._recent.items():
            for hint in wanted & txids.keys():
                self._store.sight(txids[hint], hint, height)
        self._acted_at = None

    async def look(self) -> None:
        """New blocks, then whatever is under way. Raises `ChainUnavailable`, `StoreUnavailable`."""
        await self._scan()
        if self.tip is None or self.tip == self._acted_at:
            return
        acting_at = self._acted_at = self.tip
        try:
            cases: Counter[int] = Counter()
            for sighting in self._store.sightings():
                await self._act_alone(sighting, cases)
        except BaseException:
            if self._acted_at == acting_at:
                self._acted_at = None
            raise

    # --- blocks ---------------------------------------------------------------------------
    async def _scan(self) -> None:
        tip = await self._chain.tip()
        if tip == self.tip:
            return
        height = await self._common_height(tip)
        if self._rescan:  # after a start nothing is remembered of the last blocks
            height = max(-1, min(height, tip.height) - _RECENT_BLOCKS)
            self._rescan = False
        while height < tip.height:
            height += 1
            block = await self._chain.block_id(height)
            txids = await self._chain.block_txids(block) if block else None
            if block is None or txids is None:
                return  # the chain moved meanwhile
            self._learn(block, txids)
            self.tip = block

    async def _common_height(self, tip: BlockId) -> int:
        """Of the highest block that was looked through and is still in the best chain."""
        scanned = self._store.scanned()
        if not scanned:
            return tip.height - 1
        for block in reversed(scanned):
            if await self._chain.block_id(block.height) == block:
                return block.height
        return scanned[0].height - 1

    def _learn(self, block: BlockId, txids: Sequence[bytes]) -> None:
        by_hint = {hint_of(txid): txid for txid in txids}
        known = sorted(self._store.known_hints(list(by_hint)))
        self._store.record_block(block, [by_hint[hint] for hint in known], known)
        self._recent[block.height] = by_hint
        for height in [
            h for h in self._recent if h > block.height or h <= block.height - _RECENT_BLOCKS
        ]:
            del self._recent[height]
        for hint in known:
            _log.warning(
                "a guarded commitment is on chain",
                extra={"txid": txid_hex(by_hint[hint]), "height": block.height},
            )

    # --- one commitment -------------------------------------------------------------------
    async def _act_alone(self, sighting: Sighting, cases: Counter[int]) -> None:
        """A fault that one commitment meets must not leave the others to a thief."""
        try:
            await self._act(sighting, cases)
        except (ChainUnavailable, StoreError):
            raise
        except Exception:
            _log.exception("a case failed", extra={"txid": txid_hex(sighting.txid)})

    async def _act(self, sighting: Sighting, cases: Counter[int]) -> None:
        """`cases` counts those of each client."""
        commitment = await self._chain.transaction(sighting.txid)
        if commitment is None or commitment.confirmed is None or self.tip is None:
            return  # of a branch that is gone for now
        stored = self._store.parts(sighting.hint)
        finished = True
        for (client, _), parts in groupby(stored, key=lambda part: (part.client, part.label)):
            cases[client] += 1
            if cases[client] > _MAX_CASES_PER_CLIENT:
                _log.error("a client has too many cases", extra={"client": client})
                finished = False
                continue
            case = _Case(commitment, _unsealed(sighting.txid, parts))
            await self._observe(case)
            await self._publish(case)
            finished = finished and self._is_finished(case)
        if finished and self._store.parts(sighting.hint) == stored:  # nothing came meanwhile
            self._store.finish(sighting.hint)
            _log.info("everything is taken", extra={"txid": txid_hex(sighting.txid)})

    async def _observe(self, case: "_Case") -> None:
        await self._look_at(case, case.commitment)
        for parent in {order.parent for order in case.orders} - case.known.keys():
            info = await self._chain.transaction(parent)
            if info is not None:
                await self._look_at(case, info)

    async def _look_at(self, case: "_Case", parent: TxInfo) -> None:
        txid = parent.tx.txid
        case.known[txid] = parent
        for vout, spend in enumerate(await self._chain.outspends(txid)):
            if spend is not None:
                case.spends[OutPoint(txid, vout)] = spend

    async def _publish(self, case: "_Case") -> None:
        rate = max(FEE_RATE_FLOOR, await self._chain.fee_rate(_TARGET_BLOCKS))
        for order in case.orders:
            parent = case.known.get(order.parent)
            if parent is None or parent.confirmed is None or order.bundle.only_as_bump:
                continue
            if self._is_settled(case, order) or not self._is_mature(order, parent):
                continue
            bumps = case.bumps_of(order)
            if bumps:
                await self._publish_with_bumps(case, order, bumps, rate)
            else:
                await self._publish_alone(case, order, rate)

    def _is_settled(self, case: "_Case", order: "_Order") -> bool:
        """Is one of its inputs spent in a block?"""
        spends = (case.spends.get(outpoint) for outpoint in order.outpoints)
        return any(spend is not None and spend.confirmed is not None for spend in spends)

    def _is_mature(self, order: "_Order", parent: TxInfo) -> bool:
        """May the next block include it?"""
        assert self.tip is not None
        assert parent.confirmed is not None
        bundle, next_height = order.bundle, self.tip.height + 1
        for spending in bundle.inputs:
            sequence = spending.sequence
            if sequence & _SEQUENCE_DISABLED:
                continue
            blocks = sequence & _SEQUENCE_BLOCKS
            if sequence & _SEQUENCE_TIME or parent.confirmed.height + blocks > next_height:
                return False
        return bundle.locktime < min(next_height, _LOCKTIME_IS_HEIGHT)

    async def _publish_alone(self, case: "_Case", order: "_Order", rate: FeeRate) -> None:
        wanted = fee_for_weight(order.transactions[0].weight, rate)
        await self._raise(case, order, wanted)

    async def _publish_with_bumps(
        self, case: "_Case", order: "_Order", bumps: Sequence["_Order"], rate: FeeRate
    ) -> None:
        """A transaction whose fee is fixed; a child pays for it where that is too low."""
        assert self.tip is not None
        tx, bump = order.transactions[-1], bumps[0]
        held = case.spender(order) == tx.txid or await self._broadcast([tx])
        first = self._attempts.setdefault(order.outpoints[0], _Attempt(0, self.tip.height))
        missing = fee_for_weight(tx.weight, rate) - order.bundle.variants[-1].fee_sat
        stuck = self.tip.height - first.height >= self._bump_after_blocks
        if missing > 0 or stuck or not held:
            wanted = max(0, missing) + fee_for_weight(bump.transactions[0].weight, rate)
            await self._raise(case, bump, wanted, parent=None if held else tx)

    async def _raise(
        self, case: "_Case", order: "_Order", wanted_sat: int, *, parent: Tx | None = None
    ) -> None:
        """Publishes the cheapest variant that pays `wanted_sat`, later a dearer one."""
        assert self.tip is not None
        held_by = case.spender(order)
        if held_by is not None and case.is_clients_own(order):
            return
        key = order.outpoints[0]
        fees = [variant.fee_sat for variant in order.bundle.variants]
        index = next((n for n, fee in enumerate(fees) if fee >= wanted_sat), len(fees) - 1)
        attempt = self._attempts.get(key)
        if attempt is not None:
            patient = self.tip.height - attempt.height < self._bump_after_blocks
            index = max(index, attempt.index if patient else attempt.index + 1)
            index = min(index, len(fees) - 1)
        if held_by == order.transactions[index].txid:
            return
        for number in range(index, len(fees)):
            tx = order.transactions[number]
            if await self._broadcast([tx] if parent is None else [parent, tx]):
                if attempt is None or attempt.index != number:
                    self._attempts[key] = _Attempt(number, self.tip.height)
                return

    async def _broadcast(self, transactions: Sequence[Tx]) -> bool:
        details = {"txid": txid_hex(transactions[-1].txid)}
        try:
            if len(transactions) == 1:
                await self._chain.broadcast(transactions[0])
            else:
                await self._chain.broadcast_package(transactions)
        except BroadcastRefused as refused:
            _log.warning("broadcast refused", extra={**details, "reason": str(refused)})
            return False
        _log.info("broadcast", extra=details)
        return True

    def _is_finished(self, case: "_Case") -> bool:
        """All that could be taken is taken, by us or by others, for good."""
        for order in case.orders:
            if order.bundle.only_as_bump:
                continue
            parent = case.known.get(order.parent)
            if parent is None:
                continue  # its parent is one of the other orders, and did not make it
            if not any(self._is_final(case.spends.get(o)) for o in order.outpoints):
                return False
        return True

    def _is_final(self, spend: Spend | None) -> bool:
        if spend is None or spend.confirmed is None or self.tip is None:
            return False
        return self.tip.height - spend.confirmed.height + 1 >= self._safe_depth


@dataclass(frozen=True, slots=True)
class _Attempt:
    index: int
    """Of the variant."""
    height: int
    """Of the tip at that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """A bundle, ready to be published."""

    bundle: Bundle
    parent: bytes
    """Txid."""
    outpoints: tuple[OutPoint, ...]
    transactions: tuple[Tx, ...]
    destination_script: bytes


@dataclass(slots=True)
class _Case:
    """One confirmed commitment, what one client wants done about it, and what the chain shows."""

    commitment: TxInfo
    orders: tuple[_Order, ...]
    known: dict[bytes, TxInfo] = field(default_factory=dict)
    """The commitment, and those of the orders' parents that the chain knows."""
    spends: dict[OutPoint, Spend] = field(default_factory=dict)

    def bumps_of(self, order: _Order) -> list[_Order]:
        """Those that spend its outputs."""
        txids = {tx.txid for tx in order.transactions}
        return [other for other in self.orders if other.parent in txids]

    def spender(self, order: _Order) -> bytes | None:
        """Txid of what spends its first output, in the mempool or in a block."""
        spend = self.spends.get(order.outpoints[0])
        return spend.txid if spend else None

    def is_clients_own(self, order: _Order) -> bool:
        """Does the client itself take it, with a transaction that we do not have?"""
        spend = self.spends.get(order.outpoints[0])
        if spend is None or any(tx.txid == spend.txid for tx in order.transactions):
            return False
        return any(output.script == order.destination_script for output in spend.tx.outputs)


def _unsealed(txid: bytes, parts: Iterable[StoredPart]) -> tuple[_Order, ...]:
    """What does not unseal or parse is its client's loss, and nobody else's."""
    orders: list[_Order] = []
    for stored in parts:
        try:
            part = Part.from_bytes(unseal(stored.blob, txid=txid, part=stored.number))
        except BlobMalformed as error:
            _log.error(
                "a part is of no use",
                extra={"txid": txid_hex(txid), "client": stored.client, "reason": str(error)},
            )
            continue
        orders.extend(_order(bundle, part, txid) for bundle in part.bundles)
    return tuple(orders)


def _order(bundle: Bundle, part: Part, commitment_txid: bytes) -> _Order:
    parent = bundle.parent or commitment_txid
    return _Order(
        bundle=bundle,
        parent=parent,
        outpoints=tuple(OutPoint(parent, spending.vout) for spending in bundle.inputs),
        transactions=bundle.transactions(
            commitment_txid=commitment_txid, destination_script=part.destination_script
        ),
        destination_script=part.destination_script,
    )
