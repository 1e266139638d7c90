"""Scripts of the Lightspeed funding output and of its children's outputs; all are P2TR.

Delay and revocation act in the LSF alone: its internal key is the revocation key of the
broadcaster's commitment, its leaves carry the delay. The outputs of children have neither;
their internal key is BIP 341's H, which nobody can sign for.

A leaf's size in bytes is stated with `n(x)` for the size of the shortest push of a number:
1 up to 16, 2 up to 127, 3 up to 32,767, 4 up to 65,535.
"""

from collections.abc import Sequence

from lightspeed.bitcoin import (
    NUMS_H,
    P2TR_OUTPUT_WEIGHT,
    Op,
    PublicKey,
    TaprootOutput,
    balanced_tree,
    script,
)

__all__ = [
    "CLAIM_LEAF",
    "CLAIM_REFUND_LEAF",
    "LSF_OUTPUT_WEIGHT",
    "SECRET_SIZE",
    "SPLIT_LEAF",
    "claim_leaf",
    "claim_output",
    "literal_claim_leaf",
    "lsf_output",
    "payee_leaf",
    "refund_leaf",
    "secret_leaf",
]

SECRET_SIZE = 32
LSF_OUTPUT_WEIGHT = P2TR_OUTPUT_WEIGHT  # = 172, what a book adds to a commitment

# Indices of leaves in their trees.
SPLIT_LEAF = 0
CLAIM_LEAF = 0
CLAIM_REFUND_LEAF = 1


def secret_leaf(
    lock_hash: bytes, *, payer: PublicKey, payee: PublicKey, delay_blocks: int
) -> bytes:
    """A split or rung: spends an LSF by both parties' signatures and the secret of `lock_hash`.

    Stack, from the top: secret, payer's signature, payee's. 108 + n(delay) bytes. Paper 2.1.1,
    where the LSF is a 2-of-2; the secret keeps anybody from publishing the child before
    something was paid.
    """
    return script(
        *_with_secret(lock_hash),
        Op.OP_EQUALVERIFY,
        payer.x_only,
        Op.OP_CHECKSIGVERIFY,
        payee.x_only,
        Op.OP_CHECKSIGVERIFY,
        delay_blocks,
        Op.OP_CHECKSEQUENCEVERIFY,
    )


def refund_leaf(payer: PublicKey, *, refund_delay_blocks: int) -> bytes:
    """Spends an LSF, or the output of a child, by the payer after the delay. 35 + n(delay) bytes.

    Stack: payer's signature.
    """
    return script(
        payer.x_only, Op.OP_CHECKSIGVERIFY, refund_delay_blocks, Op.OP_CHECKSEQUENCEVERIFY
    )


def claim_leaf(lock_hash: bytes, *, payee: PublicKey) -> bytes:
    """Spends a lock's output by its secret and the payee's signature. 73 bytes.

    Stack, from the top: secret, payee's signature.
    """
    return script(*_with_secret(lock_hash), Op.OP_EQUALVERIFY, payee.x_only, Op.OP_CHECKSIG)


def payee_leaf(payee: PublicKey) -> bytes:
    """Spends the output of all locks, in scheme seals, by the payee's signature. 34 bytes."""
    return script(payee.x_only, Op.OP_CHECKSIG)


def literal_claim_leaf(lock_hash: bytes) -> bytes:
    """Paper 2.1.1 to the letter: the secret alone spends. 39 bytes.

    Whoever sees a claim in the mempool replaces it and takes the money: for regtest only.
    """
    return script(*_with_secret(lock_hash), Op.OP_EQUAL)


def _with_secret(lock_hash: bytes) -> tuple[int | bytes, ...]:
    """What both parties' leaves begin with: 32 bytes on top of the stack that hash to this."""
    return (Op.OP_SIZE, SECRET_SIZE, Op.OP_EQUALVERIFY, Op.OP_SHA256, lock_hash)


def lsf_output(revocation: PublicKey, *, spending: Sequence[bytes], refund: bytes) -> TaprootOutput:
    """The LSF: `spending` leaves in order (one split leaf, or a rung each), then the refund."""
    return TaprootOutput(revocation.x_only, balanced_tree((*spending, refund)))


def claim_output(claim: bytes, *, refund: bytes) -> TaprootOutput:
    """The output of one lock in a micropayment transaction; in scheme seals that of all."""
    return TaprootOutput(NUMS_H, balanced_tree((claim, refund)))
