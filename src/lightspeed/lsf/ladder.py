"""Scheme `ladder`: a book as alternative settlement transactions.

    LSF        a rung leaf for each lock not settled in the commitment, then the refund
    S_j        spends rung j, version 3:
      input 0    the LSF, nSequence = d
      output     tokens: OP_RETURN with the commitment to the transition
      output     the payee's (j - k) x lock_amount, k locks being settled; final
      output     the payer's (N - j) x lock_amount; left out when 0
      last       P2A of 240 sat

In tokens each of the two outputs has 330 sat of the LSF's, and the transition assigns to them in
this order; the payer's 330 go to the fee when it has none.

One of them is published at most, whatever was paid: that of the highest completed lock, which
pays all locks before it. The fee is in the LSF, that of the heaviest S_j at the book's child
fee rate; what a lighter one does not need goes to the fee.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lightspeed.bitcoin import (
    P2A_OUTPUT_WEIGHT,
    P2A_SCRIPT,
    P2TR_OUTPUT_WEIGHT,
    TRUC_VERSION,
    PrivateKey,
    TaprootOutput,
    TxOut,
    fee_for_weight,
)
from lightspeed.channel.graph import Frozen
from lightspeed.channel.onchain import Publication, SpentOnChain, Sweep
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
from lightspeed.lsf.claims import key_spend
from lightspeed.lsf.keys import LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import LsfOnChain, SchemeBook, lsf_by_secrets, publication_of
from lightspeed.rgb import OPRET_PLACEHOLDER
from lightspeed.units import Sat

__all__ = ["LadderBook", "settlement_transaction_weight"]


def settlement_transaction_weight(
    rungs: int, rung: int, *, delay_blocks: int, tokens: bool = False
) -> int:
    """Exact weight of a complete S_j for `rung` = j - k of `rungs` = N - k."""
    depth = _leaf_depth(rung - 1, leaves=rungs + 1)
    outputs = 1 if rung == rungs else 2
    return transaction_weight(
        witness_weights=(child_witness_weight(delay_blocks=delay_blocks, depth=depth),),
        output_weights=(
            (OPRET_WEIGHT,) * tokens + (P2TR_OUTPUT_WEIGHT,) * outputs + (P2A_OUTPUT_WEIGHT,)
        ),
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
class LadderBook(SchemeBook):
    """The parties' outputs are the same in every S_j."""

    payee_output: TaprootOutput = field(init=False, repr=False, compare=False)
    payer_output: TaprootOutput = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "payee_output", TaprootOutput(self.keys.payee.x_only))
        object.__setattr__(self, "payer_output", TaprootOutput(self.keys.payer.x_only))

    @property
    def in_tokens(self) -> bool:
        return bool(self.book.terms.asset)

    def amount_sat(self, *, settled: int) -> Sat:
        """The locks (tokens: 330 for each party), the P2A and the fee of the heaviest S_j, which
        is the first one's.
        """
        rungs = self.locks - settled
        weight = settlement_transaction_weight(
            rungs, 1, delay_blocks=self.payee_delay_blocks, tokens=self.in_tokens
        )
        fee = fee_for_weight(weight, self.settlement.child_feerate)
        held = 2 * TOKEN_OUTPUT_SAT if self.in_tokens else rungs * self.book.terms.lock_amount
        return Sat(held + P2A_SAT + fee)

    def tokens(self, *, settled: int) -> int:
        return (self.locks - settled) * self.book.terms.lock_amount if self.in_tokens else 0

    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        """Rung j is leaf j - settled - 1."""
        return lsf_by_secrets(self, keys, whose=whose, locks=range(settled + 1, self.locks + 1))

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
        paid = (lock - settled) * self.book.terms.lock_amount
        rest = (self.locks - lock) * self.book.terms.lock_amount
        shares = [(self.payee_output, paid), (self.payer_output, rest)][: 2 if rest else 1]
        outputs = [
            TxOut(TOKEN_OUTPUT_SAT if self.in_tokens else Sat(share), output.script)
            for output, share in shares
        ]
        return build_child(
            frozen,
            key=self.key,
            lsf=lsf,
            leaf=lock - settled - 1,
            payer=keys.payer,
            delay_blocks=child_delay_blocks(whose, payee_delay_blocks=self.payee_delay_blocks),
            version=TRUC_VERSION,
            outputs=(
                *[OPRET_PLACEHOLDER] * self.in_tokens,
                *outputs,
                TxOut(P2A_SAT, P2A_SCRIPT),
            ),
            contract_id=self.book.terms.asset,
            allocations=[
                (self._payee_vout + index, share) for index, (_, share) in enumerate(shares)
            ],
        )

    # --- after a unilateral close ------------------------------------------------------
    def publication(self, lsf: LsfOnChain) -> Publication | None:
        """S_j of the highest completed lock j."""
        lock = max(lsf.lock_secrets, default=0)
        if lock <= lsf.settled or not lsf.signatures:
            return None
        return publication_of(
            self,
            lsf,
            self._child_on_chain(lsf, lock),
            secret=lsf.lock_secrets[lock],
            purpose="settlement",
        )

    def payee_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """What was paid: final, nobody else can spend it."""
        yield from self._sweep(
            lsf, spent, vout=self._payee_vout, output=self.payee_output, purpose="paid locks"
        )

    def payer_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """What was not paid: final, nobody else can spend it."""
        yield from self._sweep(
            lsf, spent, vout=self._payee_vout + 1, output=self.payer_output, purpose="unpaid locks"
        )

    @property
    def _payee_vout(self) -> int:
        """The payer's output is the next one."""
        return 1 if self.in_tokens else 0

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
        child = self._settlement(lsf, spent)
        if child is None or outpoint in lsf.spends:
            return
        prevout = spent.tx.outputs[vout]
        if prevout.script != output.script:
            return
        secret: PrivateKey = output.tweak_secret(lsf.book_secret)
        tokens = child.coloured.on_output(vout) if child.coloured else ()
        yield Sweep(
            spend=key_spend(outpoint, prevout, secret=secret, tokens=tokens),
            purpose=purpose,
            mature_height=spent.height,
            history=child.history(lsf.frozen),
        )

    def _settlement(self, lsf: LsfOnChain, spent: SpentOnChain) -> LsfChild | None:
        """What spent the LSF, if that is an S_j: the script that it used tells which.

        A payer may have given two locks the same hash, and so two rungs the same script.
        """
        witness = spent.tx.inputs[spent.input_index].witness
        used = witness[-2] if len(witness) > 1 else b""
        tree = self.lsf(lsf.keys, whose=lsf.whose, settled=lsf.settled)
        for leaf in range(self.child_count(settled=lsf.settled)):
            if tree.leaf(leaf).script == used:
                child = self._child_on_chain(lsf, lsf.settled + 1 + leaf)
                if spent.tx.txid in (child.tx.txid, child.late(self.payee_delay_blocks).tx.txid):
                    return child
        return None

    def _child_on_chain(self, lsf: LsfOnChain, lock: int) -> LsfChild:
        return self._child(
            lsf.frozen,
            lsf.keys,
            self.lsf(lsf.keys, whose=lsf.whose, settled=lsf.settled),
            whose=lsf.whose,
            settled=lsf.settled,
            lock=lock,
        )
