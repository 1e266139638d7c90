"""Scheme `seals`: a book as the assignments of one transition of RGB. Paper 3.

    LSF        a split leaf for the first lock not settled in the commitment, then the refund
    micropayment transaction, version 3:
      input 0    the LSF by its split leaf, nSequence = d
      output 0   OP_RETURN with the commitment to the transition
      output 1   330 sat: the payee's at once, the payer's after the refund delay
      output 2   P2A of 240 sat
    transition   assigns `lock_amount` to the concealed seal of each lock not settled, ascending

The seal of a lock is {this transaction, output 1, blinding}, the blinding follows from the lock's
secret, and RGB lets nobody spend what is assigned to a seal that is concealed. One transaction
spends output 1, once: what its transition leaves out is lost.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from lightspeed.bitcoin import (
    P2A_OUTPUT_WEIGHT,
    P2A_SCRIPT,
    P2TR_OUTPUT_WEIGHT,
    TRUC_VERSION,
    TaprootOutput,
    TxOut,
    fee_for_weight,
)
from lightspeed.channel.graph import Frozen
from lightspeed.channel.onchain import Publication, SpentOnChain, Sweep
from lightspeed.channel.sweeps import Spend
from lightspeed.channel.weights import transaction_weight
from lightspeed.colour import OPRET_WEIGHT
from lightspeed.lsf.child import (
    P2A_SAT,
    TOKEN_OUTPUT_SAT,
    LsfChild,
    build_child,
    child_delay_blocks,
    child_witness_weight,
)
from lightspeed.lsf.claims import script_spend
from lightspeed.lsf.keys import LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import LsfOnChain, SchemeBook, lsf_by_secrets, publication_of
from lightspeed.lsf.scripts import (
    CLAIM_LEAF,
    CLAIM_REFUND_LEAF,
    SPLIT_LEAF,
    claim_output,
    payee_leaf,
    refund_leaf,
)
from lightspeed.rgb import (
    ASSET_OWNER,
    LOCK_SEAL_VOUT,
    OPRET_PLACEHOLDER,
    Assign,
    Assignments,
    GraphSeal,
    Opout,
    SecretSeal,
    TokenInput,
    WitnessBundle,
    lock_seal,
)
from lightspeed.rgb.nia import assigned
from lightspeed.units import Sat

__all__ = ["MAX_SEALS", "SealsBook", "seals_child_weight"]

MAX_SEALS = 65_535
"""Assignments of one type that a transition can have."""

_SPLIT_LEAF_DEPTH = 1
_KEPT_ASSIGNMENTS = 2  # while a settle is under way commitments before and after it are made


def seals_child_weight(*, delay_blocks: int) -> int:
    """Exact weight of a complete micropayment transaction, whatever the number of locks."""
    witness = child_witness_weight(delay_blocks=delay_blocks, depth=_SPLIT_LEAF_DEPTH)
    return transaction_weight(
        witness_weights=(witness,),
        output_weights=(OPRET_WEIGHT, P2TR_OUTPUT_WEIGHT, P2A_OUTPUT_WEIGHT),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealsBook(SchemeBook):
    """Assignments depend on how much is settled, not on the commitment: they are made and hashed
    once for all, which takes some microseconds for each lock.
    """

    claim: TaprootOutput = field(init=False, repr=False, compare=False)
    """Output 1 of the child."""
    _assignments: dict[int, Assignments] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        refund = refund_leaf(self.keys.payer, refund_delay_blocks=self.refund_delay_blocks)
        claim = claim_output(payee_leaf(self.keys.payee), refund=refund)
        object.__setattr__(self, "claim", claim)

    def amount_sat(self, *, settled: int) -> Sat:
        """Output 1, the P2A and the child's fee, as long as the book is open."""
        weight = seals_child_weight(delay_blocks=self.payee_delay_blocks)
        fee = fee_for_weight(weight, self.settlement.child_feerate)
        return Sat(TOKEN_OUTPUT_SAT + P2A_SAT + fee)

    def tokens(self, *, settled: int) -> int:
        return (self.locks - settled) * self.book.terms.lock_amount

    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        return lsf_by_secrets(self, keys, whose=whose, locks=(settled + 1,))

    def child_count(self, *, settled: int) -> int:
        return 1

    def children(
        self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int
    ) -> tuple[LsfChild, ...]:
        return (self._child(frozen, keys, whose=whose, settled=settled),)

    def _child(self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int) -> LsfChild:
        return build_child(
            frozen,
            key=self.key,
            lsf=self.lsf(keys, whose=whose, settled=settled),
            leaf=SPLIT_LEAF,
            payer=keys.payer,
            delay_blocks=child_delay_blocks(whose, payee_delay_blocks=self.payee_delay_blocks),
            version=TRUC_VERSION,
            outputs=(
                OPRET_PLACEHOLDER,
                TxOut(TOKEN_OUTPUT_SAT, self.claim.script),
                TxOut(P2A_SAT, P2A_SCRIPT),
            ),
            contract_id=self.book.terms.asset,
            allocations=self._assigned(settled),
        )

    def _assigned(self, settled: int) -> Assignments:
        """Several threads may ask."""
        known = self._assignments
        found = known.get(settled)
        if found is None:
            amount = self.book.terms.lock_amount
            locks = range(settled + 1, self.locks + 1)
            found = assigned([(SecretSeal(self.book.seal(lock)), amount) for lock in locks])
            for old in list(known)[: 1 - _KEPT_ASSIGNMENTS]:
                known.pop(old, None)
            known[settled] = found
        return found

    # --- after a unilateral close ------------------------------------------------------
    def publication(self, lsf: LsfOnChain) -> Publication | None:
        """Nothing before the first lock that is not settled was paid, or while no secret that is
        known opens a seal.
        """
        secret = lsf.lock_secrets.get(lsf.settled + 1)
        if secret is None or not lsf.signatures or next(self._opened(lsf), None) is None:
            return None
        child = self._child_on_chain(lsf)
        return publication_of(self, lsf, child, secret=secret, purpose="micropayments")

    def payee_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """One claim of all that was paid."""
        child = self._unclaimed(lsf, spent)
        opened = dict(self._opened(lsf)) if child else {}
        if child and opened:
            yield Sweep(
                spend=self._spend(lsf, child, opened, leaf=CLAIM_LEAF),
                purpose="claim",
                mature_height=spent.height,
                history=self._history(lsf, child, opened),
            )

    def payer_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """One refund of everything, if it is not claimed in time; nothing while a secret is
        missing, whose tokens would be lost.
        """
        child = self._unclaimed(lsf, spent)
        if child is None or any(lsf.lock_secrets.get(lock) is None for lock in self._locks(lsf)):
            return
        opened = dict(self._opened(lsf))
        spend = self._spend(lsf, child, opened, leaf=CLAIM_REFUND_LEAF)
        yield Sweep(
            spend=replace(spend, sequence=self.refund_delay_blocks),
            purpose="lock refund",
            mature_height=spent.height + self.refund_delay_blocks,
            history=self._history(lsf, child, opened),
        )

    def _unclaimed(self, lsf: LsfOnChain, spent: SpentOnChain) -> LsfChild | None:
        """What spent the LSF, if that is the child and its output 1 is still there."""
        child = self._child_on_chain(lsf)
        gone = child.tx.outpoint(LOCK_SEAL_VOUT) in lsf.spends
        return None if gone or spent.tx.txid != child.tx.txid else child

    def _spend(
        self, lsf: LsfOnChain, child: LsfChild, opened: Mapping[int, GraphSeal], *, leaf: int
    ) -> Spend:
        return script_spend(
            child.tx.outpoint(LOCK_SEAL_VOUT),
            child.tx.outputs[LOCK_SEAL_VOUT],
            output=self.claim,
            leaf=leaf,
            key=lsf.book_secret,
            tokens=self._tokens(child, opened, settled=lsf.settled),
        )

    def _tokens(
        self, child: LsfChild, opened: Mapping[int, GraphSeal], *, settled: int
    ) -> tuple[TokenInput, ...]:
        assert child.coloured is not None
        opid, amount = child.coloured.opid, self.book.terms.lock_amount
        return tuple(
            TokenInput(Opout(opid, ASSET_OWNER, lock - settled - 1), amount) for lock in opened
        )

    def _history(
        self, lsf: LsfOnChain, child: LsfChild, opened: Mapping[int, GraphSeal]
    ) -> tuple[WitnessBundle, ...]:
        """With the seals of what is taken revealed; the transition's id is the same."""
        *before, witness = child.history(lsf.frozen)
        ((opid, transition),) = witness.bundle.known
        owned = list(transition.assignments.of_type(ASSET_OWNER))
        for lock, seal in opened.items():
            owned[lock - lsf.settled - 1] = Assign(seal, self.book.terms.lock_amount)
        revealed = replace(transition, assignments=Assignments(((ASSET_OWNER, tuple(owned)),)))
        bundle = replace(witness.bundle, known=((opid, revealed),))
        return (*before, replace(witness, bundle=bundle))

    def _opened(self, lsf: LsfOnChain) -> Iterator[tuple[int, GraphSeal]]:
        """Locks whose secret is known, and opens the seal that the book lists.

        An input with another seal would make the whole transition void, and burn what it moves.
        """
        for lock in self._locks(lsf):
            secret = lsf.lock_secrets.get(lock)
            if secret is not None:
                seal = lock_seal(secret)
                if seal.conceal() == self.book.seal(lock):
                    yield lock, seal

    def _locks(self, lsf: LsfOnChain) -> range:
        """Of the commitment."""
        return range(lsf.settled + 1, self.locks + 1)

    def _child_on_chain(self, lsf: LsfOnChain) -> LsfChild:
        return self._child(lsf.frozen, lsf.keys, whose=lsf.whose, settled=lsf.settled)
