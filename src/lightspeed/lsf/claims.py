"""How LSFs and the outputs of their children are spent after a unilateral close.

`channel.sweeps` batches these `Spend`s within standardness and signs them.

    who     spends                    when                                              by
    payee   output of a lock          once the child is there                           secret
    payer   output of a lock          refund delay after the child                      key
    payee   output of all (seals)     once the child is there                           key
    payer   output of all (seals)     refund delay after the child                      key
    both    own output (ladder)       once the child is there                           key path
    payer   LSF                       refund delay after the commitment                 key
    both    LSF of a commitment that  at once, before any child can confirm             key path
            the other had revoked
"""

from lightspeed.bitcoin import (
    P2A_SCRIPT,
    P2TR_KEY_PATH_WITNESS_WEIGHT,
    TX_INPUT_WEIGHT,
    OutPoint,
    PrivateKey,
    TaprootOutput,
    Tx,
    TxDigest,
    TxOut,
)
from lightspeed.channel.graph import Frozen
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE, Spend
from lightspeed.channel.weights import SCHNORR_SIGNATURE_SIZE, witness_weight
from lightspeed.lsf.keys import LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.lsf.scripts import SECRET_SIZE
from lightspeed.rgb import TokenInput

__all__ = [
    "CLAIM_INPUT_WEIGHT",
    "key_spend",
    "lsf_refund_spend",
    "lsf_revocation_spend",
    "p2a_spend",
    "script_spend",
]

_CONTROL_BLOCK_SIZE = 33 + 32  # two leaves
_CLAIM_LEAF_SIZE = 73
CLAIM_INPUT_WEIGHT = TX_INPUT_WEIGHT + witness_weight(
    SCHNORR_SIGNATURE_SIZE, SECRET_SIZE, _CLAIM_LEAF_SIZE, _CONTROL_BLOCK_SIZE
)  # = 403


def lsf_refund_spend(
    book: SchemeBook,
    frozen: Frozen,
    *,
    keys: LsfKeys,
    whose: Party,
    settled: int,
    payer: PrivateKey,
) -> Spend:
    """The payer takes back a whole LSF, `refund_delay` after the commitment confirmed.

    `payer` is its `lsf_private_key`.
    """
    return script_spend(
        frozen.outpoint(book.key),
        frozen.output(book.key),
        tokens=frozen.tokens(book.key),
        output=book.lsf(keys, whose=whose, settled=settled),
        leaf=book.child_count(settled=settled),  # the refund stands behind those of the children
        key=payer,
        sequence=book.refund_delay_blocks,
    )


def lsf_revocation_spend(
    book: SchemeBook,
    frozen: Frozen,
    *,
    keys: LsfKeys,
    whose: Party,
    settled: int,
    revocation: PrivateKey,
) -> Spend:
    """The countersignatory takes the LSF of a revoked commitment by key path.

    `revocation` is the secret of `keys.revocation` (BOLT 3, "`revocationpubkey` Derivation").
    """
    return key_spend(
        frozen.outpoint(book.key),
        frozen.output(book.key),
        secret=book.lsf(keys, whose=whose, settled=settled).tweak_secret(revocation),
        tokens=frozen.tokens(book.key),
    )


def key_spend(
    outpoint: OutPoint,
    prevout: TxOut,
    *,
    secret: PrivateKey,
    tokens: tuple[TokenInput, ...] = (),
) -> Spend:
    """By key path; `secret` is that of the output key, `TaprootOutput.tweak_secret`."""

    def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
        return (secret.sign_schnorr(digest.taproot(index)),)

    return Spend(
        outpoint=outpoint,
        prevout=prevout,
        sequence=SEQUENCE_REPLACEABLE,
        witness_weight=P2TR_KEY_PATH_WITNESS_WEIGHT,
        sign=sign,
        tokens=tokens,
    )


def p2a_spend(tx: Tx) -> Spend | None:
    """The output of `tx` that anybody may spend to pay for it, if it has one."""
    for vout, output in enumerate(tx.outputs):
        if output.script == P2A_SCRIPT:
            return Spend(
                outpoint=tx.outpoint(vout),
                prevout=output,
                sequence=SEQUENCE_REPLACEABLE,
                witness_weight=witness_weight(),
                sign=lambda digest, index: (),
            )
    return None


def script_spend(
    outpoint: OutPoint,
    prevout: TxOut,
    *,
    output: TaprootOutput,
    leaf: int,
    key: PrivateKey,
    items: tuple[bytes, ...] = (),
    sequence: int = SEQUENCE_REPLACEABLE,
    tokens: tuple[TokenInput, ...] = (),
) -> Spend:
    """One signature, then `items`, then script and control block."""

    def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
        signed = digest.taproot(index, leaf_hash=output.leaf_hash(leaf))
        return output.script_path(leaf, key.sign_schnorr(signed), *items)

    unsigned = output.script_path(leaf, bytes(SCHNORR_SIGNATURE_SIZE), *items)
    return Spend(
        outpoint=outpoint,
        prevout=prevout,
        sequence=sequence,
        witness_weight=witness_weight(*map(len, unsigned)),
        sign=sign,
        tokens=tokens,
    )
