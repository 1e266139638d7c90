"""A transaction that spends the LSF of one book: what is the same in every scheme.

The payee publishes it with both parties' signatures and a lock secret. The payer signs it in
advance, once for each new commitment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from lightspeed.bitcoin import (
    PrivateKey,
    PublicKey,
    TaprootOutput,
    Tx,
    TxIn,
    TxOut,
    number,
    taproot_sighash,
    verify_schnorr,
)
from lightspeed.channel.graph import Frozen
from lightspeed.channel.onchain import commitment_history
from lightspeed.channel.weights import SCHNORR_SIGNATURE_SIZE, witness_weight
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scripts import SECRET_SIZE
from lightspeed.payment import SATS
from lightspeed.rgb import Assignments, Coloured, Destination, WitnessBundle, colour
from lightspeed.units import Sat

__all__ = [
    "P2A_SAT",
    "TOKEN_OUTPUT_SAT",
    "LsfChild",
    "LsfKey",
    "build_child",
    "child_delay_blocks",
    "child_witness_weight",
]

P2A_SAT = Sat(240)
"""Its dust limit."""

TOKEN_OUTPUT_SAT = Sat(330)
"""Of an output that is there for its tokens: the dust limit of P2TR."""

Allocations: TypeAlias = Sequence[tuple[Destination, int]] | Assignments

_PAYER_COMMITMENT_DELAY_BLOCKS = 1
"""d on the payer's commitment; on the payee's own it is the delay that the payer imposed."""

_SECRET_LEAF_BASE_SIZE = 108  # a split or rung leaf without the push of d
_CONTROL_BLOCK_BASE_SIZE = 33


@dataclass(frozen=True, slots=True)
class LsfKey:
    """The graph's key of the LSF output of one book."""

    book_id: bytes


def child_delay_blocks(whose: Party, *, payee_delay_blocks: int) -> int:
    """d: between the confirmation of that side's commitment and that of the child."""
    return _PAYER_COMMITMENT_DELAY_BLOCKS if whose is Party.PAYER else payee_delay_blocks


def child_witness_weight(*, delay_blocks: int, depth: int) -> int:
    """Of the input that spends an LSF by a split or rung leaf, `depth` levels below the root."""
    return witness_weight(
        SCHNORR_SIGNATURE_SIZE,
        SCHNORR_SIGNATURE_SIZE,
        SECRET_SIZE,
        _SECRET_LEAF_BASE_SIZE + len(number(delay_blocks)),
        _CONTROL_BLOCK_BASE_SIZE + 32 * depth,
    )


@dataclass(frozen=True, slots=True)
class LsfChild:
    """One child of one book on one frozen commitment, unsigned."""

    key: LsfKey
    tx: Tx
    lsf: TaprootOutput
    leaf: int
    """Of the LSF's tree: the split leaf, or a rung."""
    prevouts: tuple[TxOut, ...]
    payer: PublicKey
    """Of the leaf."""
    coloured: Coloured | None = None
    """Of a book in tokens: its transition."""

    def history(self, frozen: Frozen) -> tuple[WitnessBundle, ...]:
        """What proves its tokens, from the commitment on; empty for a book in sats."""
        if self.coloured is None:
            return ()
        return (*commitment_history(frozen), self.coloured.witness)

    def late(self, delay_blocks: int) -> "LsfChild":
        """The same child, which may confirm only `delay_blocks` after the commitment.

        Of the payer's commitment: the payee's signature for it may leave the payee, because the
        payee has that long to act before somebody else publishes it.
        """
        (spending,) = self.tx.inputs
        tx = replace(self.tx, inputs=(replace(spending, sequence=delay_blocks),))
        return replace(self, tx=tx)

    def digest(self) -> bytes:
        """What both parties sign: SIGHASH_DEFAULT, bound to the leaf."""
        return taproot_sighash(
            self.tx, 0, prevouts=self.prevouts, leaf_hash=self.lsf.leaf_hash(self.leaf)
        )

    def sign(self, secret: PrivateKey) -> bytes:
        """64 bytes, by the payer's or the payee's `lsf_private_key`."""
        return secret.sign_schnorr(self.digest())

    def verify(self, signature: bytes) -> None:
        """Raises `BadSignature` unless the payer made it for this child."""
        verify_schnorr(self.payer.x_only, signature=signature, digest=self.digest())

    def completed(self, *, payer_signature: bytes, payee_signature: bytes, secret: bytes) -> Tx:
        """Ready to broadcast; `secret` is that of the leaf's lock."""
        stack = (payee_signature, payer_signature, secret)
        return self.tx.with_witness(0, self.lsf.script_path(self.leaf, *stack))


def build_child(
    frozen: Frozen,
    *,
    key: LsfKey,
    lsf: TaprootOutput,
    leaf: int,
    payer: PublicKey,
    delay_blocks: int,
    version: int,
    outputs: Sequence[TxOut],
    contract_id: bytes = SATS,
    allocations: Allocations = (),
) -> LsfChild:
    """For a book in tokens the placeholder of the commitment is output 0, and `allocations` are
    where all tokens of the LSF go.
    """
    tx = Tx(
        version=version,
        inputs=(TxIn(frozen.outpoint(key), sequence=delay_blocks),),
        outputs=tuple(outputs),
    )
    coloured = None
    if contract_id:
        tokens = frozen.tokens(key)
        coloured = colour(tx, contract_id=contract_id, inputs=tokens, allocations=allocations)
    return LsfChild(
        key=key,
        tx=coloured.tx if coloured else tx,
        lsf=lsf,
        leaf=leaf,
        prevouts=(frozen.output(key),),
        payer=payer,
        coloured=coloured,
    )
