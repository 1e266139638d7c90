"""What a node hands to its tower for each commitment that the counterparty may publish.

    commitment               part 0 and up           part (i + 1) x 2^16 + g, book i of it
    theirs, revoked          penalties of all        -
                             outputs but our own
    theirs, current          HTLCs that we can take  g = 0: the late child (and its bump);
                                                     g > 0: claims of a group of 8 locks
    ours, once it is final   -                       the same, with the child as it is

Everything is signed here and nothing of it can be changed: no key leaves the node. A revocation
key in particular must not: with the per-commitment secret, which the counterparty knows, it gives
away the revocation basepoint's secret (BOLT 3, "`revocationpubkey` Derivation"), and with that
every commitment. Of the payee's children only those go out that confirm no earlier than D blocks
after the commitment: `PayeeLimits.late_children`.

Pure: what is handed over depends on the channel and on what it was paid, on nothing else. Parts
are made when they are asked for, because each is signed several times; the fingerprint tells
before whether it would be another one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    TRUC_VERSION,
    FeeRate,
    OutPoint,
    Tx,
    fee_for_weight,
    sha256,
)
from lightspeed.channel import (
    Channel,
    Facts,
    Lookup,
    OnChain,
    Publication,
    Side,
    Spend,
    SpentOnChain,
    Sweep,
    remedies,
    sweep_transaction,
)
from lightspeed.channel.graph import Frozen, HtlcKey, ToCountersignatory
from lightspeed.channel.onchain import (
    counterparty_commitments_on_chain,
    holder_commitment_on_chain,
    revoked_commitment_on_chain,
)
from lightspeed.channel.sweeps import SweepTooSmall
from lightspeed.lsf import LightspeedFunding, LsfState
from lightspeed.lsf.child import LsfKey
from lightspeed.lsf.state import LsfContent, OpenBook
from lightspeed.node.tower.bundles import Bundle, BundleInput, Part, Variant
from lightspeed.payment import Scheme
from lightspeed.units import Sat

__all__ = [
    "CLAIMS_PER_PART",
    "FEE_RATES",
    "GuardedState",
    "PartPlan",
    "current_states",
    "revoked_state",
]

FEE_RATES = (FEE_RATE_FLOOR, FeeRate(1_250), FeeRate(6_250), FeeRate(31_250))
"""1, 5, 25 and 125 sat/vB: one that is needed is overpaid at most five times."""

CLAIMS_PER_PART = 8
"""As a child of a version 3 transaction, 1,000 vB, may take: 3,438 WU."""

_BOOK_PARTS = 1 << 16
_MAX_BUNDLES_PER_PART = 64


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part that would be made."""

    fingerprint: bytes
    """The same as long as the part need not be handed over again."""
    make: Callable[[], Part | None] = field(repr=False, compare=False)
    """None: nothing in it is worth its fee."""


@dataclass(frozen=True, slots=True)
class GuardedState:
    """One commitment, and what the tower is to do when it confirms."""

    txid: bytes
    parts: Mapping[int, PartPlan]


def revoked_state(
    channel: Channel, number: int, *, lookup: Lookup, destination_script: bytes
) -> GuardedState:
    """Of the counterparty's revoked commitment. Raises `UnknownCommitment`."""
    onchain = revoked_commitment_on_chain(channel, number, lookup)
    found = remedies(channel, onchain, Facts(confirmed_height=0, for_tower=True))
    frozen = onchain.built.frozen
    ours = ToCountersignatory()  # in no danger
    spends = [
        remedy.spend
        for remedy in found
        if isinstance(remedy, Sweep)
        and not (frozen.has(ours) and remedy.spend.outpoint == frozen.outpoint(ours))
    ]
    return GuardedState(frozen.tx.txid, _single_parts(spends, frozen, destination_script))


def current_states(
    channel: Channel,
    *,
    destination_script: bytes,
    preimages: Mapping[bytes, bytes],
    lock_secrets: Mapping[bytes, Mapping[int, bytes]],
    own_is_final: bool,
) -> tuple[GuardedState, ...]:
    """Of the counterparty's one or two commitments, and of our own once nothing follows it.

    `lock_secrets`: book id -> lock -> secret. `own_is_final`: the channel failed and its books
    are fenced. Before that a settlement transaction would be out that pays less than a later one.
    """
    facts = Facts(
        confirmed_height=0, preimages=preimages, lock_secrets=lock_secrets, for_tower=True
    )
    published = list(counterparty_commitments_on_chain(channel))
    if own_is_final:
        published.append(holder_commitment_on_chain(channel))
    return tuple(
        _current_state(channel, onchain, facts, destination_script) for onchain in published
    )


def _current_state(
    channel: Channel, onchain: OnChain, facts: Facts, destination_script: bytes
) -> GuardedState:
    frozen = onchain.built.frozen
    parts: dict[int, PartPlan] = {}
    if onchain.broadcaster is Side.COUNTERPARTY and any(
        isinstance(output.key, HtlcKey) for output in frozen.outputs
    ):
        parts |= _htlc_parts(channel, onchain, facts, destination_script)
    content = onchain.built.sheet.extensions.get(LightspeedFunding.name)
    books = content.books if isinstance(content, LsfContent) else ()
    for index, open_book in enumerate(books):
        taken = _BookParts(
            channel=channel,
            onchain=onchain,
            open_book=open_book,
            lock_secrets=facts.lock_secrets.get(open_book.book_id, {}),
            destination_script=destination_script,
        )
        first = (index + 1) * _BOOK_PARTS
        parts |= {first + number: plan for number, plan in taken.plans()}
    return GuardedState(frozen.tx.txid, parts)


def _htlc_parts(
    channel: Channel, onchain: OnChain, facts: Facts, destination_script: bytes
) -> dict[int, PartPlan]:
    """HTLCs on the counterparty's current commitment: by preimage, or after their expiry."""
    frozen = onchain.built.frozen
    without_books = replace(facts, lock_secrets={})
    spends = [
        remedy.spend
        for remedy in remedies(channel, onchain, without_books)
        if isinstance(remedy, Sweep) and _is_htlc(frozen, remedy.spend.outpoint)
    ]
    return _single_parts(spends, frozen, destination_script)


def _is_htlc(frozen: Frozen, outpoint: OutPoint) -> bool:
    return isinstance(frozen.outputs[outpoint.vout].key, HtlcKey)


def _single_parts(
    spends: Sequence[Spend], frozen: Frozen, destination_script: bytes
) -> dict[int, PartPlan]:
    """A transaction for each output: one that is lost takes no other with it."""
    parts = {}
    for number, start in enumerate(range(0, len(spends), _MAX_BUNDLES_PER_PART)):
        some = spends[start : start + _MAX_BUNDLES_PER_PART]

        def make(some: Sequence[Spend] = some) -> Part | None:
            bundles = (_bundle([spend], destination_script, parent=None) for spend in some)
            return _part(destination_script, bundles)

        outpoints = b"".join(spend.outpoint.serialize() for spend in some)
        parts[number] = PartPlan(_fingerprint(frozen.tx.txid, destination_script, outpoints), make)
    return parts


@dataclass(kw_only=True)
class _BookParts:
    """The child of one book on one commitment, and the claims of its outputs."""

    channel: Channel
    onchain: OnChain
    open_book: OpenBook
    lock_secrets: Mapping[int, bytes] = field(repr=False)
    destination_script: bytes

    def plans(self) -> Iterator[tuple[int, PartPlan]]:
        """(g, plan); none while nothing could be published."""
        completed = sorted(lock for lock in self.lock_secrets if lock > self.open_book.settled)
        if self._publication is None:
            return
        if self._is_ladder:
            yield 0, PartPlan(self._fingerprint(0, completed[-1:]), self._settlement)
            return
        yield 0, PartPlan(self._fingerprint(0, completed[:1]), self._micropayment)
        groups: dict[int, list[int]] = {}
        for lock in completed:
            group = (lock - self.open_book.settled - 1) // CLAIMS_PER_PART + 1
            groups.setdefault(group, []).append(lock)
        for group, locks in groups.items():

            def make(group: int = group, locks: Sequence[int] = locks) -> Part | None:
                return self._claims(locks, may_bump=group == 1)

            yield group, PartPlan(self._fingerprint(group, locks), make)

    def _fingerprint(self, group: int, locks: Sequence[int]) -> bytes:
        numbers = b"".join(number.to_bytes(4, "big") for number in (group, *locks))
        txid = self.onchain.built.frozen.tx.txid
        return _fingerprint(txid, self.destination_script, self.open_book.book_id + numbers)

    @property
    def _is_ladder(self) -> bool:
        state = self.channel.state.extension_states[LightspeedFunding.name]
        assert isinstance(state, LsfState)
        return state.books[self.open_book.book_id].book.terms.scheme is Scheme.LADDER

    @property
    def _lsf(self) -> OutPoint:
        return self.onchain.built.frozen.outpoint(LsfKey(self.open_book.book_id))

    @cached_property
    def _publication(self) -> Publication | None:
        """The child, complete; None if nothing was paid, or if it may not leave the node."""
        for remedy in self._remedies(self.lock_secrets, {}):
            if isinstance(remedy, Publication) and remedy.tx.inputs[0].outpoint == self._lsf:
                return remedy
        return None

    @cached_property
    def _child(self) -> Tx:
        assert self._publication is not None
        return self._publication.tx

    @property
    def _child_fee_sat(self) -> Sat:
        held = self.onchain.built.frozen.output(LsfKey(self.open_book.book_id)).value
        return Sat(held - sum(output.value for output in self._child.outputs))

    def _remedies(
        self, lock_secrets: Mapping[int, bytes], spends: Mapping[OutPoint, SpentOnChain]
    ) -> Sequence[Publication | Sweep]:
        facts = Facts(
            confirmed_height=0,
            spends=spends,
            lock_secrets={self.open_book.book_id: lock_secrets},
            for_tower=True,
        )
        return remedies(self.channel, self.onchain, facts)

    def _after_child(self, lock_secrets: Mapping[int, bytes]) -> list[Spend]:
        """What the child pays us, as if it had confirmed."""
        spends = {self._lsf: SpentOnChain(self._child, 0, 0)}
        return [
            remedy.spend
            for remedy in self._remedies(lock_secrets, spends)
            if isinstance(remedy, Sweep) and remedy.spend.outpoint.txid == self._child.txid
        ]

    def _micropayment(self) -> Part:
        return Part(self.destination_script, (self._child_bundle(),))

    def _settlement(self) -> Part | None:
        """What it pays us is final; our output is spent early only to pay for the child."""
        bump = _bundle(
            self._after_child(self.lock_secrets),
            self.destination_script,
            parent=self._child,
            parent_fee_sat=self._child_fee_sat,
            only_as_bump=True,
        )
        return _part(self.destination_script, (self._child_bundle(), bump))

    def _claims(self, locks: Sequence[int], *, may_bump: bool) -> Part | None:
        secrets = {lock: self.lock_secrets[lock] for lock in locks}
        claims = _bundle(
            self._after_child(secrets),
            self.destination_script,
            parent=self._child,
            parent_fee_sat=self._child_fee_sat if may_bump else None,
        )
        return _part(self.destination_script, (claims,))

    def _child_bundle(self) -> Bundle:
        (spending,) = self._child.inputs
        first, *items = spending.witness
        fee = self._child_fee_sat
        return Bundle(
            parent=None,
            version=self._child.version,
            locktime=self._child.locktime,
            value_sat=Sat(fee + sum(output.value for output in self._child.outputs)),
            inputs=(BundleInput(spending.outpoint.vout, spending.sequence, tuple(items)),),
            outputs=self._child.outputs,
            variants=(Variant(fee, (first,)),),
            rest_to_destination=False,
        )


def _part(
    destination_script: bytes, bundles: Sequence[Bundle | None] | Iterator[Bundle | None]
) -> Part | None:
    kept = tuple(bundle for bundle in bundles if bundle is not None)
    return Part(destination_script, kept) if kept else None


def _bundle(
    spends: Sequence[Spend],
    destination_script: bytes,
    *,
    parent: Tx | None,
    parent_fee_sat: Sat | None = None,
    only_as_bump: bool = False,
) -> Bundle | None:
    """At every fee rate that leaves something; with `parent_fee_sat` also such that parent and
    child together pay it. None if there is none.
    """
    made: dict[Sat, Tx] = {}
    value = Sat(sum(spend.prevout.value for spend in spends))
    for rate, extra in _rates(parent, parent_fee_sat, only_as_bump=only_as_bump):
        try:
            tx = sweep_transaction(
                spends,
                destination_script=destination_script,
                feerate_per_kw=rate,
                extra_fee_sat=extra,
                version=TRUC_VERSION if parent and parent.version == TRUC_VERSION else 2,
            )
        except SweepTooSmall:
            continue
        made[Sat(value - sum(output.value for output in tx.outputs))] = tx
    if not made:
        return None
    first = next(iter(made.values()))
    return Bundle(
        parent=parent.txid if parent else None,
        version=first.version,
        locktime=first.locktime,
        value_sat=value,
        inputs=tuple(
            BundleInput(spending.outpoint.vout, spending.sequence, spending.witness[1:])
            for spending in first.inputs
        ),
        variants=tuple(
            Variant(fee, tuple(spending.witness[0] for spending in tx.inputs))
            for fee, tx in sorted(made.items())
        ),
        only_as_bump=only_as_bump,
    )


def _rates(
    parent: Tx | None, parent_fee_sat: Sat | None, *, only_as_bump: bool
) -> Iterator[tuple[FeeRate, Sat]]:
    """(fee rate of the transaction itself, what it pays for its parent)."""
    if not only_as_bump:
        yield from ((rate, Sat(0)) for rate in FEE_RATES)
    if parent is None or parent_fee_sat is None:
        return
    for rate in FEE_RATES[1:]:  # a child pays the lowest itself
        missing = fee_for_weight(parent.weight, rate) - parent_fee_sat
        if missing > 0:
            yield rate, Sat(missing)


def _fingerprint(*parts: bytes) -> bytes:
    return sha256(b"".join(map(sha256, parts)))[:8]
