"""Scheme `ladder`: a book as alternative settlement transactions.

    LSF        a rung leaf for each lock not settled in the commitment, then the refund
    S_j        spends rung j, version 3:
      input 0    the LSF, nSequence = d
      output     the payee's (j - k) x lock_amount, k locks being settled; final
      output     the payer's (N - j) x lock_amount; left out when 0
      last       P2A of 240 sat

One of them is published at most, whatever was paid: that of the highest completed lock, which
pays all locks before it. The fee is in the LSF, that of the heaviest S_j at the book's child
fee rate; what a lighter one does not need goes to the fee.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from lightspeed.bitcoin import (
    P2A_OUTPUT_WEIGHT,
    P2A_SCRIPT,
    P2TR_OUTPUT_WEIGHT,
    TRUC_VERSION,
    PrivateKey,
    TaprootOutput,
    Tx,
    TxIn,
    TxOut,
    fee_for_weight,
)
from lightspeed.channel.graph import Frozen, Output
from lightspeed.channel.onchain import Publication, SpentOnChain, Sweep
from lightspeed.channel.weights import transaction_weight
from lightspeed.lsf.child import P2A_SAT, LsfChild, LsfKey, child_delay_blocks, child_witness_weight
from lightspeed.lsf.claims import key_spend
from lightspeed.lsf.keys import BookKeys, LsfBasepoints, LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import LsfOnChain
from lightspeed.lsf.scripts import lsf_output, refund_leaf, secret_leaf
from lightspeed.lsf.settlement import Settlement
from lightspeed.payment import Book
from lightspeed.units import Sat

__all__ = ["LadderBook", "settlement_transaction_weight"]

_PAYEE_VOUT = 0
_PAYER_VOUT = 1


def settlement_transaction_weight(rungs: int, rung: int, *, delay_blocks: int) -> int:
    """Exact weight of a complete S_j for `rung` = j - k of `rungs` = N - k."""
    depth = _leaf_depth(rung - 1, leaves=rungs + 1)
    outputs = 1 if rung == rungs else 2
    return transaction_weight(
        witness_weights=(child_witness_weight(delay_blocks=delay_blocks, depth=depth),),
        output_weights=(P2TR_OUTPUT_WEIGHT,) * outputs + (P2A_OUTPUT_WEIGHT,),
    )


def _leaf_depth(leaf: int, *, leaves: int) -> int:
    """In `balanced_tree`."""
    depth = 0
    while leaves > 1:
        left = 1 << ((leaves - 1).bit_length() - 1)
        leaf, leaves = (leaf, left) if leaf < left else (leaf - left, leaves - left)
        depth += 1
    return depth


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderBook:
    """A `SchemeBook`."""

    book: Book
    settlement: Settlement
    keys: BookKeys
    payee_delay_blocks: int
    """D: the payer's to_self_delay, d on the payee's own commitment."""
    payee_output: TaprootOutput = field(init=False, repr=False, compare=False)
    payer_output: TaprootOutput = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "payee_output", TaprootOutput(self.keys.payee.x_only))
        object.__setattr__(self, "payer_output", TaprootOutput(self.keys.payer.x_only))

    @classmethod
    def derive(cls, book: Book, *, basepoints: LsfBasepoints, payee_delay_blocks: int) -> Self:
        """Raises `BookRefused` when the settlement part of the terms does not parse."""
        return cls(
            book=book,
            settlement=Settlement.from_bytes(book.terms.settlement),
            keys=BookKeys.derive(basepoints, book_id=book.book_id),
            payee_delay_blocks=payee_delay_blocks,
        )

    @property
    def key(self) -> LsfKey:
        return LsfKey(self.book.book_id)

    @property
    def refund_delay_blocks(self) -> int:
        return self.settlement.refund_delay_blocks

    @property
    def locks(self) -> int:
        return self.book.terms.locks

    def amount_sat(self, *, settled: int) -> Sat:
        """The locks, the P2A and the fee of the heaviest S_j, which is the first one's."""
        rungs = self.locks - settled
        weight = settlement_transaction_weight(rungs, 1, delay_blocks=self.payee_delay_blocks)
        fee = fee_for_weight(weight, self.settlement.child_feerate)
        return Sat(rungs * self.book.terms.lock_amount + P2A_SAT + fee)

    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        """Rung j is leaf j - settled - 1."""
        delay = child_delay_blocks(whose, payee_delay_blocks=self.payee_delay_blocks)
        rungs = [
            secret_leaf(
                self.book.lock_hash(lock), payer=keys.payer, payee=keys.payee, delay_blocks=delay
            )
            for lock in range(settled + 1, self.locks + 1)
        ]
        refund = refund_leaf(keys.payer, refund_delay_blocks=self.refund_delay_blocks)
        return lsf_output(keys.revocation, spending=rungs, refund=refund)

    def output(self, keys: LsfKeys, *, whose: Party, settled: int) -> Output:
        script = self.lsf(keys, whose=whose, settled=settled).script
        return Output(self.key, TxOut(self.amount_sat(settled=settled), script))

    def child_count(self, *, settled: int) -> int:
        return self.locks - settled

    def children(
        self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int
    ) -> tuple[LsfChild, ...]:
        """S_j for each lock not settled, ascending."""
        lsf = self.lsf(keys, whose=whose, settled=settled)
        return tuple(
            self._child(frozen, keys, lsf, whose=whose, settled=settled, lock=lock)
            for lock in range(settled + 1, self.locks + 1)
        )

    def _child(
        self,
        frozen: Frozen,
        keys: LsfKeys,
        lsf: TaprootOutput,
        *,
        whose: Party,
        settled: int,
        lock: int,
    ) -> LsfChild:
        delay = child_delay_blocks(whose, payee_delay_blocks=self.payee_delay_blocks)
        paid = (lock - settled) * self.book.terms.lock_amount
        rest = (self.locks - lock) * self.book.terms.lock_amount
        payers = (TxOut(Sat(rest), self.payer_output.script),) if rest else ()
        outputs = (TxOut(Sat(paid), self.payee_output.script), *payers, TxOut(P2A_SAT, P2A_SCRIPT))
        tx = Tx(
            version=TRUC_VERSION,
            inputs=(TxIn(frozen.outpoint(self.key), sequence=delay),),
            outputs=outputs,
        )
        return LsfChild(
            key=self.key,
            tx=tx,
            lsf=lsf,
            leaf=lock - settled - 1,
            prevouts=(frozen.output(self.key),),
            payer=keys.payer,
        )

    # --- after a unilateral close ------------------------------------------------------
    def publication(self, lsf: LsfOnChain) -> Publication | None:
        """S_j of the highest completed lock j."""
        lock = max(lsf.lock_secrets, default=0)
        if lock <= lsf.settled or not lsf.signatures:
            return None
        child = self._child_on_chain(lsf, lock)
        if lsf.late:
            child = child.late(self.payee_delay_blocks)
        tx = child.completed(
            payer_signature=lsf.signatures[lock - lsf.settled - 1],
            payee_signature=child.sign(lsf.lsf_secret),
            secret=lsf.lock_secrets[lock],
        )
        height = lsf.confirmed_height + child.tx.inputs[0].sequence
        return Publication(tx=tx, purpose="settlement", mature_height=height)

    def payee_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """What was paid: final, nobody else can spend it."""
        yield from self._sweep(
            lsf, spent, vout=_PAYEE_VOUT, output=self.payee_output, purpose="paid locks"
        )

    def payer_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """What was not paid: final, nobody else can spend it."""
        yield from self._sweep(
            lsf, spent, vout=_PAYER_VOUT, output=self.payer_output, purpose="unpaid locks"
        )

    def _sweep(
        self,
        lsf: LsfOnChain,
        spent: SpentOnChain,
        *,
        vout: int,
        output: TaprootOutput,
        purpose: str,
    ) -> Iterator[Sweep]:
        """Nothing when another transaction than an S_j spent the LSF, or has no such output."""
        outpoint = spent.tx.outpoint(vout)
        if not self._is_settlement(lsf, spent.tx) or outpoint in lsf.spends:
            return
        prevout = spent.tx.outputs[vout]
        if prevout.script != output.script:
            return
        secret: PrivateKey = output.tweak_secret(lsf.book_secret)
        spend = key_spend(outpoint, prevout, secret=secret)
        yield Sweep(spend=spend, purpose=purpose, mature_height=spent.height)

    def _is_settlement(self, lsf: LsfOnChain, tx: Tx) -> bool:
        """Its first output tells which S_j it would have to be."""
        lock = lsf.settled + tx.outputs[_PAYEE_VOUT].value // self.book.terms.lock_amount
        if not lsf.settled < lock <= self.locks:
            return False
        child = self._child_on_chain(lsf, lock)
        return tx.txid in (child.tx.txid, child.late(self.payee_delay_blocks).tx.txid)

    def _child_on_chain(self, lsf: LsfOnChain, lock: int) -> LsfChild:
        return self._child(
            lsf.frozen,
            lsf.keys,
            self.lsf(lsf.keys, whose=lsf.whose, settled=lsf.settled),
            whose=lsf.whose,
            settled=lsf.settled,
            lock=lock,
        )
