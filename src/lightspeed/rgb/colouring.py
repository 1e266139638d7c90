"""Transactions that move tokens: a transition, and the OP_RETURN at output 0 that commits to it.

docs/protocol.md, "Transactions that move tokens". What fills in the commitment follows from the
transaction itself, so that two parties that agree on inputs, outputs and amounts build the same
bytes. The blindings made here are public: they hide nothing and authorise nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from lightspeed.bitcoin import Tx, TxOut
from lightspeed.rgb.consignment import WitnessBundle
from lightspeed.rgb.dbc import OpretProof, opret_script
from lightspeed.rgb.errors import RgbError
from lightspeed.rgb.mpc import MpcTree
from lightspeed.rgb.nia import ASSET_OWNER, assigned, transfer
from lightspeed.rgb.operation import Opout, Transition, TransitionBundle
from lightspeed.rgb.seals import GraphSeal, SecretSeal
from lightspeed.rgb.state import Assignments
from lightspeed.tagged import tagged_hash
from lightspeed.units import Sat

__all__ = [
    "OPRET_PLACEHOLDER",
    "Coloured",
    "Destination",
    "NotColourable",
    "TokenInput",
    "colour",
    "public_blinding",
]

OPRET_PLACEHOLDER = TxOut(Sat(0), opret_script(bytes(32)))
"""Output 0 of a transaction before `colour` has filled in the commitment."""

_TAG = "lightspeed/colour"
_BLINDING_TAG = "lightspeed/colour-blinding"
_ENTROPY_TAG = "lightspeed/colour-entropy"

Destination: TypeAlias = int | GraphSeal | SecretSeal
"""Who gets tokens: output `vout` of the transaction itself (with a public blinding), or a seal."""


class NotColourable(RgbError, ValueError):
    """Output 0 is not the placeholder, or tokens go to an output that is not there."""


@dataclass(frozen=True, slots=True, order=True)
class TokenInput:
    """`amount` tokens that a transaction spends."""

    opout: Opout
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coloured:
    """An unsigned transaction and the transition that it commits to."""

    tx: Tx
    transition: Transition
    opid: bytes
    """Of the transition."""
    witness: WitnessBundle
    """For a history. Its witness is `tx`; the id does not change when that is signed."""

    def on_output(self, vout: int) -> tuple[TokenInput, ...]:
        """The tokens on an output, by its revealed seals, ascending."""
        return tuple(
            TokenInput(Opout(self.opid, ASSET_OWNER, number), assign.state)
            for number, assign in enumerate(self.transition.assignments.of_type(ASSET_OWNER))
            if isinstance(assign.seal, GraphSeal)
            and assign.seal.txid is None
            and assign.seal.vout == vout
            and isinstance(assign.state, int)
        )


def _seed(tx: Tx) -> bytes:
    """First input, locktime, and all outputs but the one that carries the commitment.

    In a commitment the first two hold its (obscured) number, which is the same on both sides;
    the outputs tell them apart. So no two transactions commit to transitions of the same id.
    """
    first = tx.inputs[0]
    return tagged_hash(
        _TAG,
        first.outpoint.serialize(),
        first.sequence.to_bytes(4, "little"),
        tx.locktime.to_bytes(4, "little"),
        *(output.serialize() for output in tx.outputs[1:]),
    )


def public_blinding(tx: Tx, vout: int) -> int:
    """Of the seal that `colour` puts on output `vout` of `tx`."""
    digest = tagged_hash(_BLINDING_TAG, _seed(tx), vout.to_bytes(4, "little"))
    return int.from_bytes(digest[:8], "little")


def colour(
    tx: Tx,
    *,
    contract_id: bytes,
    inputs: Sequence[TokenInput],
    allocations: Sequence[tuple[Destination, int]] | Assignments,
) -> Coloured:
    """Fills output 0 of `tx`, the placeholder, with the commitment to one transfer.

    `allocations` in the order in which the transition lists them, zero amounts left out by the
    caller; their sum is that of `inputs`. Raises `NotColourable` otherwise. What was `assigned`
    before, to seals, is hashed once for all transactions that share it.
    """
    if not tx.outputs or tx.outputs[0] != OPRET_PLACEHOLDER:
        raise NotColourable("output 0 has to be the placeholder of the commitment")
    if not isinstance(allocations, Assignments):
        allocations = _assigned(tx, allocations)
    owned = allocations.of_type(ASSET_OWNER)
    moved = sum(token.amount for token in inputs)
    given = sum([assign.state for assign in owned if isinstance(assign.state, int)])
    if moved != given or not inputs:
        raise NotColourable(f"{moved} tokens come in and {given} go out")
    transition = transfer(
        contract_id=contract_id,
        inputs=[token.opout for token in inputs],
        allocations=allocations,
    )
    bundle = TransitionBundle.of([transition])
    entropy = int.from_bytes(tagged_hash(_ENTROPY_TAG, _seed(tx))[:8], "little")
    tree = MpcTree({contract_id: bundle.bundle_id}, entropy=entropy)
    committed = TxOut(Sat(0), opret_script(tree.commitment))
    filled = replace(tx, outputs=(committed, *tx.outputs[1:]))
    return Coloured(
        tx=filled,
        transition=transition,
        opid=bundle.known[0][0],
        witness=WitnessBundle(filled, tree.proof(contract_id), OpretProof(), bundle),
    )


def _assigned(tx: Tx, allocations: Sequence[tuple[Destination, int]]) -> Assignments:
    for destination, amount in allocations:
        if isinstance(destination, int) and not 0 < destination < len(tx.outputs):
            raise NotColourable(f"tokens for output {destination} of {len(tx.outputs)}")
        if amount <= 0:
            raise NotColourable(f"an allocation of {amount} tokens")
    if not allocations:
        raise NotColourable("tokens come in and none go out")
    return assigned(
        [
            (
                GraphSeal(None, destination, public_blinding(tx, destination))
                if isinstance(destination, int)
                else destination,
                amount,
            )
            for destination, amount in allocations
        ]
    )
