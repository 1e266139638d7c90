"""The micropayment transaction of scheme `outputs`: one output per lock. Paper 2.1.1.

    input 0    the LSF by its split leaf, nSequence = d
    output i   lock f + i, `lock_amount` each; f is the first lock not settled in the commitment
    last       P2A of 240 sat, in books of at most 229 locks (version 3); larger: none, version 2

The order is fixed. The fee is in the LSF: the weight at the book's child fee rate, reckoned for
the payee's commitment, whose larger d makes the heavier script, so that an LSF holds the same
amount on both commitments.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from lightspeed.bitcoin import (
    P2A_OUTPUT_WEIGHT,
    P2A_SCRIPT,
    P2TR_OUTPUT_WEIGHT,
    TRUC_VERSION,
    FeeRate,
    PrivateKey,
    PublicKey,
    TaprootOutput,
    Tx,
    TxIn,
    TxOut,
    fee_for_weight,
    number,
    taproot_sighash,
    verify_schnorr,
)
from lightspeed.channel.graph import Frozen
from lightspeed.channel.weights import SCHNORR_SIGNATURE_SIZE, transaction_weight, witness_weight
from lightspeed.lsf.scripts import SECRET_SIZE, SPLIT_LEAF
from lightspeed.units import Sat

__all__ = [
    "MAX_LOCKS_WITH_P2A",
    "P2A_SAT",
    "LsfKey",
    "Micropayment",
    "build_micropayment",
    "lsf_amount",
    "micropayment_weight",
]

MAX_LOCKS_WITH_P2A = 229
"""39,988 WU = 9,997 vB with d = 144; with one lock more a version 3 transaction is too large."""

P2A_SAT = Sat(240)
"""Its dust limit."""

_SPLIT_LEAF_BASE_SIZE = 108  # without the push of d
_CONTROL_BLOCK_SIZE = 33 + 32  # two leaves


@dataclass(frozen=True, slots=True)
class LsfKey:
    """The graph's key of the LSF output of one book."""

    book_id: bytes


def micropayment_weight(locks: int, *, with_p2a: bool, delay_blocks: int) -> int:
    """Exact weight of a complete micropayment transaction with outputs for `locks` locks."""
    return transaction_weight(
        witness_weights=(
            witness_weight(
                SCHNORR_SIGNATURE_SIZE,
                SCHNORR_SIGNATURE_SIZE,
                SECRET_SIZE,
                _SPLIT_LEAF_BASE_SIZE + len(number(delay_blocks)),
                _CONTROL_BLOCK_SIZE,
            ),
        ),
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


@dataclass(frozen=True, slots=True)
class Micropayment:
    """The child of one book on one frozen commitment, unsigned. A `channel.graph.Child`."""

    key: Hashable
    tx: Tx
    lsf: TaprootOutput
    prevouts: tuple[TxOut, ...]
    payer: PublicKey
    """Of the split leaf."""

    def digest(self) -> bytes:
        """What both parties sign: SIGHASH_DEFAULT, bound to the split leaf."""
        return taproot_sighash(
            self.tx, 0, prevouts=self.prevouts, leaf_hash=self.lsf.leaf_hash(SPLIT_LEAF)
        )

    def sign(self, secret: PrivateKey) -> bytes:
        """64 bytes, by the payer's or the payee's `lsf_private_key`."""
        return secret.sign_schnorr(self.digest())

    def verify(self, signature: bytes) -> None:
        """Raises `BadSignature` unless the payer made it for this child."""
        verify_schnorr(self.payer.x_only, signature=signature, digest=self.digest())

    def completed(self, *, payer_signature: bytes, payee_signature: bytes, secret: bytes) -> Tx:
        """Ready to broadcast; `secret` is that of the first lock not settled."""
        stack = (payee_signature, payer_signature, secret)
        return self.tx.with_witness(0, self.lsf.script_path(SPLIT_LEAF, *stack))


def build_micropayment(
    frozen: Frozen,
    *,
    key: LsfKey,
    lsf: TaprootOutput,
    delay_blocks: int,
    outputs: Sequence[TxOut],
    with_p2a: bool,
    payer: PublicKey,
) -> Micropayment:
    """`outputs` are those of the locks not settled in this commitment, ascending."""
    anchor = (TxOut(P2A_SAT, P2A_SCRIPT),) * with_p2a
    tx = Tx(
        version=TRUC_VERSION if with_p2a else 2,
        inputs=(TxIn(frozen.outpoint(key), sequence=delay_blocks),),
        outputs=(*outputs, *anchor),
    )
    return Micropayment(key=key, tx=tx, lsf=lsf, prevouts=(frozen.output(key),), payer=payer)
