"""What is known of one contract: its genesis and the bundles that moved its tokens.

A history grows by consignments that were validated and by bundles of our own. It makes the
consignment that proves given allocations, and no more than that: what is not on their way is left
out, and seals that nobody spends on it are concealed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self, TypeVar

from lightspeed.bitcoin import OutPoint, Tx
from lightspeed.errors import LocalError
from lightspeed.rgb.colouring import TokenInput
from lightspeed.rgb.consignment import Consignment, WitnessBundle
from lightspeed.rgb.errors import RgbError
from lightspeed.rgb.nia import ASSET_OWNER
from lightspeed.rgb.operation import Genesis, Opout, Transition
from lightspeed.rgb.seals import GraphSeal, SecretSeal
from lightspeed.rgb.state import Assign, Assignments
from lightspeed.rgb.validation import WitnessStatus

__all__ = ["History", "HistoryError", "Holding", "NotEnoughTokens", "pick_holdings"]

T = TypeVar("T", Genesis, Transition)

_RANKS: Mapping[WitnessStatus | None, int] = {WitnessStatus.TENTATIVE: 1, WitnessStatus.MINED: 2}
_NOT_ASKED: Mapping[bytes, WitnessStatus] = MappingProxyType({})


class HistoryError(RgbError, LocalError, ValueError):
    """Of another contract, of bundles that contradict each other, or a part is not known."""


class NotEnoughTokens(RgbError, LocalError, ValueError):
    """Tokens in channels, reserved ones and those that are not deep enough do not count."""

    def __init__(
        self, *, needed: int, available: int, wait_blocks: int | None = None, reserved: int = 0
    ) -> None:
        """`wait_blocks`: after so many more there will be enough. `reserved`: for other deals."""
        text = f"{needed} tokens are needed, {available} can be spent"
        if reserved:
            text += f" and {reserved} are reserved for transfers and offers that are not over"
        if wait_blocks is not None:
            text += f": wait for {wait_blocks} more block{'s' if wait_blocks > 1 else ''}"
        super().__init__(text)
        self.needed = needed
        self.available = available
        self.wait_blocks = wait_blocks


@dataclass(frozen=True, slots=True)
class Holding:
    """Tokens on an outpoint that nothing in the history spends."""

    token: TokenInput
    outpoint: OutPoint
    txid: bytes | None
    """Of the witness that brought them; None: they were issued there."""
    mined: bool
    """That witness, and every one that it rests on."""


@dataclass(frozen=True, slots=True)
class History:
    """`bundles` by the id of their witness. Of every witness only what its id commits to."""

    genesis: Genesis
    bundles: Mapping[bytes, WitnessBundle] = field(default_factory=dict)

    @classmethod
    def of(cls, consignment: Consignment) -> Self:
        """Of a consignment that was validated."""
        return cls(consignment.genesis).add(*consignment.bundles)

    @property
    def contract_id(self) -> bytes:
        """Computed at each use."""
        return self.genesis.contract_id

    # --- growth ---------------------------------------------------------------------------

    def add(self, *bundles: WitnessBundle) -> Self:
        """With bundles of this contract that are valid; what either side knows is kept."""
        known = dict(self.bundles)
        for bundle in bundles:
            old = known.get(bundle.txid)
            known[bundle.txid] = _unsigned(bundle) if old is None else _merged(old, bundle)
        return replace(self, bundles=known)

    def merge(self, consignment: Consignment) -> Self:
        """With a consignment of this contract that was validated."""
        if consignment.contract_id != self.contract_id:
            raise HistoryError("the consignment is of another contract")
        genesis = _with_seals_of(self.genesis, consignment.genesis)
        return replace(self, genesis=genesis).add(*consignment.bundles)

    def reveal(self, seals: Iterable[GraphSeal]) -> Self:
        """With these seals opened wherever they are concealed."""
        by_secret = {seal.conceal(): seal for seal in seals}

        def opened(assign: Assign) -> Assign:
            found = by_secret.get(assign.seal) if isinstance(assign.seal, bytes) else None
            return assign if found is None else replace(assign, seal=found)

        def shows(transition: Transition) -> bool:
            return any(each.seal in by_secret for _, _, each in transition.assignments)

        bundles = dict(self.bundles)
        for txid, bundle in bundles.items():
            known = bundle.bundle.known
            if any(shows(transition) for _, transition in known):
                opening = tuple((opid, _changed(each, opened)) for opid, each in known)
                bundles[txid] = replace(bundle, bundle=replace(bundle.bundle, known=opening))
        return replace(self, bundles=bundles)

    def without(self, txids: Collection[bytes]) -> Self:
        """Without the bundles of these witnesses; `resting_on` says which go together."""
        kept = {txid: bundle for txid, bundle in self.bundles.items() if txid not in txids}
        return replace(self, bundles=kept)

    def resting_on(self, txid: bytes) -> frozenset[bytes]:
        """Ids of this witness and of all whose tokens come from it."""
        found, opids = {txid}, {opid for opid, _ in self.bundles[txid].bundle.known}
        while True:
            new = {
                each
                for each, bundle in self.bundles.items()
                if each not in found
                and any(not opids.isdisjoint(_parents(moved)) for _, moved in bundle.bundle.known)
            }
            if not new:
                return frozenset(found)
            found |= new
            opids |= {opid for each in new for opid, _ in self.bundles[each].bundle.known}

    # --- what there is --------------------------------------------------------------------

    def holdings(self, statuses: Mapping[bytes, WitnessStatus]) -> dict[Opout, Holding]:
        """Tokens on revealed seals that no transaction which stands spends.

        `statuses` by transaction id; what is missing there is archived. A transition stands if
        its witness and everything that it rests on do.
        """
        gone = (WitnessStatus.ARCHIVED, WitnessStatus.IGNORED)
        contract_id = self.contract_id
        mined = {contract_id: True}
        found = dict(_held(contract_id, self.genesis, None, mined=True))
        for opid, txid, transition in self._operations(statuses):
            status = statuses.get(txid, WitnessStatus.ARCHIVED)
            parents = {opout.opid for opout in transition.inputs}
            if status in gone or not parents <= mined.keys():
                continue
            mined[opid] = status is WitnessStatus.MINED and all(mined[each] for each in parents)
            for opout in transition.inputs:
                found.pop(opout, None)
            found.update(_held(opid, transition, txid, mined=mined[opid]))
        return found

    def _operations(
        self, statuses: Mapping[bytes, WitnessStatus]
    ) -> Iterator[tuple[bytes, bytes, Transition]]:
        """Opid, witness id, transition: all of them, parents first."""
        located = self._located(statuses)

        def known_parents(opid: bytes) -> Iterator[bytes]:
            return (parent for parent in _parents(located[opid][1]) if parent in located)

        for opid in _parents_first(located, known_parents):
            yield (opid, *located[opid])

    def _located(
        self, statuses: Mapping[bytes, WitnessStatus]
    ) -> dict[bytes, tuple[bytes, Transition]]:
        """By opid. Of transactions with the same transition, which spend the same coins, the one
        that stands counts, or else the one that came last.
        """
        located: dict[bytes, tuple[bytes, Transition]] = {}
        ranks: dict[bytes, int] = {}
        for txid, bundle in self.bundles.items():
            rank = _RANKS.get(statuses.get(txid), 0)
            for opid, transition in bundle.bundle.known:
                if rank >= ranks.get(opid, 0):
                    located[opid], ranks[opid] = (txid, transition), rank
        return located

    # --- handing over ---------------------------------------------------------------------

    def consignment(
        self,
        opouts: Collection[Opout],
        *,
        named: Collection[SecretSeal] = (),
        statuses: Mapping[bytes, WitnessStatus] = _NOT_ASKED,
    ) -> Consignment:
        """What proves these allocations. `named`: seals that the receiver knows and we need not;
        `statuses`: as for `holdings`, as far as they are known.

        Raises `HistoryError` when a part of it is not known, or spends a concealed seal.
        """
        located, wanted = self._located(statuses), set(opouts)
        needed = self._on_the_way(wanted, located)
        spent = {opout for opid in needed for opout in located[opid][1].inputs}
        kept = spent | wanted
        by_txid: dict[bytes, list[tuple[bytes, Transition]]] = {}
        for opid in needed:  # parents first
            txid, transition = located[opid]
            by_txid.setdefault(txid, []).append((opid, _shown(transition, opid, kept, spent)))

        def rests_on(txid: bytes) -> Iterator[bytes]:
            parents = (each for _, transition in by_txid[txid] for each in _parents(transition))
            witnesses = (located[each][0] for each in parents if each in located)
            return (each for each in witnesses if each != txid)

        bundles, terminals = [], []
        for txid in _parents_first(by_txid, rests_on):
            bundle = replace(self.bundles[txid].bundle, known=tuple(by_txid[txid]))
            bundles.append(replace(self.bundles[txid], bundle=bundle))
            seals = {
                assign.secret_seal
                for opid, transition in (by_txid[txid] if named else ())
                for kind, number, assign in transition.assignments
                if Opout(opid, kind, number) in wanted
            }
            if seals & set(named):
                terminals.append((bundle.bundle_id, tuple(sorted(seals & set(named)))))
        return Consignment(
            transfer=True,
            genesis=_shown(self.genesis, self.contract_id, kept, spent),
            bundles=tuple(bundles),
            terminals=tuple(sorted(terminals)),
        )

    def contract(self) -> Consignment:
        """What introduces the contract and hands over nothing."""
        return Consignment(transfer=False, genesis=_changed(self.genesis, Assign.conceal))

    def _on_the_way(
        self, opouts: Iterable[Opout], located: Mapping[bytes, tuple[bytes, Transition]]
    ) -> list[bytes]:
        """Opids of all transitions that lead to `opouts`, parents first."""
        contract_id = self.contract_id

        def parents(opid: bytes) -> Iterator[bytes]:
            if opid not in located:
                raise HistoryError(f"operation {opid.hex()} is not known")
            return (parent for parent in _parents(located[opid][1]) if parent != contract_id)

        wanted = [opout.opid for opout in opouts if opout.opid != contract_id]
        return list(_parents_first(wanted, parents))


def pick_holdings(holdings: Iterable[Holding], amount: int) -> tuple[Holding, ...]:
    """At least `amount` tokens, always everything on an outpoint. Raises `NotEnoughTokens`.

    The smallest outpoint that suffices, or else the fewest.
    """
    by_outpoint: dict[OutPoint, list[Holding]] = {}
    for holding in holdings:
        by_outpoint.setdefault(holding.outpoint, []).append(holding)

    def worth(outpoint: OutPoint) -> int:
        return sum(holding.token.amount for holding in by_outpoint[outpoint])

    ascending = sorted(by_outpoint, key=lambda outpoint: (worth(outpoint), outpoint.serialize()))
    chosen = [outpoint for outpoint in ascending if worth(outpoint) >= amount][:1]
    while not chosen or sum(map(worth, chosen)) < amount:
        if not ascending:
            raise NotEnoughTokens(needed=amount, available=sum(map(worth, chosen)))
        chosen.append(ascending.pop())
    return tuple(holding for outpoint in chosen for holding in by_outpoint[outpoint])


def _parents(transition: Transition) -> Iterator[bytes]:
    for opout in transition.inputs:
        yield opout.opid


def _parents_first(
    starts: Iterable[bytes], parents: Callable[[bytes], Iterable[bytes]]
) -> Iterator[bytes]:
    """`starts` and all that they rest on, each once. Raises `HistoryError`."""
    done: set[bytes] = set()
    for start in starts:
        open_: dict[bytes, Iterator[bytes]] = {}
        waiting = [start]
        while waiting:
            each = waiting[-1]
            if each in done:
                waiting.pop()
                continue
            rest = open_.setdefault(each, iter(parents(each)))
            parent = next((one for one in rest if one not in done), None)
            if parent is None:
                done.add(waiting.pop())
                yield each
            elif parent in open_:
                raise HistoryError("the history runs in a circle")
            else:
                waiting.append(parent)


def _unsigned(bundle: WitnessBundle) -> WitnessBundle:
    """Signatures prove nothing here, and are not shown before they are published."""
    match bundle.witness:
        case Tx() as tx:
            inputs = tuple(replace(txin, witness=()) for txin in tx.inputs)
            return replace(bundle, witness=replace(tx, inputs=inputs))
        case _:
            return bundle


def _merged(one: WitnessBundle, other: WitnessBundle) -> WitnessBundle:
    """Of the same witness."""
    if one.bundle.input_map != other.bundle.input_map:
        raise HistoryError("two bundles of one contract in one transaction")
    full = one if isinstance(one.witness, Tx) else _unsigned(other)
    known = dict(one.bundle.known)
    for opid, transition in other.bundle.known:
        known[opid] = _with_seals_of(known.get(opid, transition), transition)
    return replace(full, bundle=replace(one.bundle, known=tuple(known.items())))


def _with_seals_of(operation: T, same: T) -> T:
    """`operation`, with the seals that only `same`, of the same id, reveals."""
    if operation is same:
        return operation
    revealed = iter([assign for _, _, assign in same.assignments])

    def opened(assign: Assign) -> Assign:
        other = next(revealed)
        return other if isinstance(assign.seal, bytes) else assign

    return _changed(operation, opened)


def _changed(operation: T, change: Callable[[Assign], Assign]) -> T:
    by_type = tuple(
        (kind, tuple([change(assign) for assign in assigns]))
        for kind, assigns in operation.assignments.by_type
    )
    return replace(operation, assignments=Assignments(by_type))


def _shown(operation: T, opid: bytes, kept: Collection[Opout], spent: Collection[Opout]) -> T:
    """`operation` with all seals concealed but those of `kept`; those of `spent` must be open."""
    by_type = []
    for kind, assigns in operation.assignments.by_type:
        shown = []
        for number, assign in enumerate(assigns):
            opout = Opout(opid, kind, number)
            if opout in spent and isinstance(assign.seal, bytes):
                raise HistoryError(f"{opout} was spent, and its seal is not known")
            shown.append(assign if opout in kept else assign.conceal())
        by_type.append((kind, tuple(shown)))
    return replace(operation, assignments=Assignments(tuple(by_type)))


def _held(
    opid: bytes, operation: Genesis | Transition, txid: bytes | None, *, mined: bool
) -> Iterator[tuple[Opout, Holding]]:
    for kind, number, assign in operation.assignments:
        outpoint = assign.outpoint(txid or b"")
        if kind == ASSET_OWNER and outpoint is not None and isinstance(assign.state, int):
            opout = Opout(opid, kind, number)
            yield opout, Holding(TokenInput(opout, assign.state), outpoint, txid, mined)
