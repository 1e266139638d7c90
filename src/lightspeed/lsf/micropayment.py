"""The micropayment transaction of scheme `outputs`: one output per lock. Paper 2.1.1.

    input 0    the LSF by its split leaf, nSequence = d
    output i   lock f + i, `lock_amount` each; f is the first lock not settled in the commitment
    last       P2A of 240 sat, in books of at most 229 locks (version 3); larger: none, version 2

The order is fixed. The fee is in the LSF: the weight at the book's child fee rate, reckoned for
the payee's commitment, whose larger d makes the heavier script, so that an LSF holds the same
amount on both commitments.
"""

from collections.abc import Sequence

from lightspeed.bitcoin import (
    P2A_OUTPUT_WEIGHT,
    P2A_SCRIPT,
    P2TR_OUTPUT_WEIGHT,
    TRUC_VERSION,
    FeeRate,
    PublicKey,
    TaprootOutput,
    TxOut,
    fee_for_weight,
)
from lightspeed.channel.graph import Frozen
from lightspeed.channel.weights import transaction_weight
from lightspeed.lsf.child import P2A_SAT, LsfChild, LsfKey, build_child, child_witness_weight
from lightspeed.lsf.scripts import SPLIT_LEAF
from lightspeed.units import Sat

__all__ = ["MAX_LOCKS_WITH_P2A", "build_micropayment", "lsf_amount", "micropayment_weight"]

MAX_LOCKS_WITH_P2A = 229
"""39,988 WU = 9,997 vB with d = 144; with one lock more a version 3 transaction is too large."""

_SPLIT_LEAF_DEPTH = 1


def micropayment_weight(locks: int, *, with_p2a: bool, delay_blocks: int) -> int:
    """Exact weight of a complete micropayment transaction with outputs for `locks` locks."""
    witness = child_witness_weight(delay_blocks=delay_blocks, depth=_SPLIT_LEAF_DEPTH)
    return transaction_weight(
        witness_weights=(witness,),
        output_weights=(P2TR_OUTPUT_WEIGHT,) * locks + (P2A_OUTPUT_WEIGHT,) * with_p2a,
    )


def lsf_amount(
    locks: int,
    *,
    lock_amount_sat: Sat,
    with_p2a: bool,
    child_feerate: FeeRate,
    payee_delay_blocks: int,
) -> Sat:
    """What an LSF holds for `locks` locks not settled: the locks, the P2A and the child's fee."""
    weight = micropayment_weight(locks, with_p2a=with_p2a, delay_blocks=payee_delay_blocks)
    p2a = P2A_SAT if with_p2a else 0
    return Sat(locks * lock_amount_sat + p2a + fee_for_weight(weight, child_feerate))


def build_micropayment(
    frozen: Frozen,
    *,
    key: LsfKey,
    lsf: TaprootOutput,
    delay_blocks: int,
    outputs: Sequence[TxOut],
    with_p2a: bool,
    payer: PublicKey,
) -> LsfChild:
    """`outputs` are those of the locks not settled in this commitment, ascending."""
    anchor = (TxOut(P2A_SAT, P2A_SCRIPT),) * with_p2a
    return build_child(
        frozen,
        key=key,
        lsf=lsf,
        leaf=SPLIT_LEAF,
        payer=payer,
        delay_blocks=delay_blocks,
        version=TRUC_VERSION if with_p2a else 2,
        outputs=(*outputs, *anchor),
    )
