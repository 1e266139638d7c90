"""Both parties of a channel build the same coloured transaction, and it proves what it moves."""

from dataclasses import replace

import pytest

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut, p2tr
from lightspeed.rgb import (
    OPRET_PLACEHOLDER,
    GraphSeal,
    NotColourable,
    Opout,
    TokenInput,
    colour,
    public_blinding,
)
from lightspeed.rgb.nia import assigned
from lightspeed.units import Sat

CONTRACT = bytes([7]) * 32
INPUTS = [TokenInput(Opout(bytes([9]) * 32, 4000, number), 50) for number in (3, 1)]


def unfilled(*, locktime: int = 0, sequence: int = 5) -> Tx:
    return Tx(
        version=2,
        inputs=(TxIn(OutPoint(bytes(32), 1), sequence=sequence),),
        outputs=(
            OPRET_PLACEHOLDER,
            TxOut(Sat(330), p2tr(bytes([1]) * 32)),
            TxOut(Sat(331), p2tr(bytes([2]) * 32)),
        ),
        locktime=locktime,
    )


def test_coloured_transaction_commits_to_its_transition_and_finds_its_tokens() -> None:
    secret = GraphSeal(None, 1, 5).conceal()
    coloured = colour(
        unfilled(),
        contract_id=CONTRACT,
        inputs=INPUTS,
        allocations=[(2, 60), (1, 30), (secret, 10)],
    )
    proof = coloured.witness.mpc_proof
    commitment = proof.commitment(CONTRACT, coloured.witness.bundle.bundle_id)
    coloured.witness.dbc_proof.verify(commitment, coloured.tx)
    assert coloured.tx.outputs[1:] == unfilled().outputs[1:]
    assert coloured.on_output(2) == (TokenInput(Opout(coloured.opid, 4000, 0), 60),)
    assert coloured.on_output(1) == (TokenInput(Opout(coloured.opid, 4000, 1), 30),)
    assert coloured.opid == coloured.transition.opid


def test_blindings_follow_from_first_input_locktime_and_outputs() -> None:
    """Both sides' commitments of one number assign the same amounts to the same outputs."""
    tx = unfilled()
    poorer = replace(tx, outputs=(*tx.outputs[:2], replace(tx.outputs[2], value=Sat(330))))
    seen = {
        public_blinding(tx, 1),
        public_blinding(tx, 2),
        public_blinding(unfilled(locktime=1), 1),
        public_blinding(unfilled(sequence=6), 1),
        public_blinding(poorer, 1),
    }
    assert len(seen) == 5
    coloured = colour(tx, contract_id=CONTRACT, inputs=INPUTS, allocations=[(1, 100)])
    assert public_blinding(coloured.tx, 1) == public_blinding(tx, 1)


@pytest.mark.parametrize(
    "allocations",
    [[(1, 99)], [(1, 101)], [(1, 100), (2, 0)], [(0, 100)], [(3, 100)], []],
)
def test_tokens_are_neither_made_nor_lost(allocations: list[tuple[int, int]]) -> None:
    with pytest.raises(NotColourable):
        colour(unfilled(), contract_id=CONTRACT, inputs=INPUTS, allocations=allocations)


def test_commitment_stands_at_output_0_only() -> None:
    tx = unfilled()
    elsewhere = Tx(version=2, inputs=tx.inputs, outputs=(tx.outputs[1], tx.outputs[0]), locktime=0)
    with pytest.raises(NotColourable):
        colour(elsewhere, contract_id=CONTRACT, inputs=INPUTS, allocations=[(1, 100)])


def test_what_was_assigned_before_is_committed_to_as_if_it_were_made_now() -> None:
    """The path that hashes 65,535 seals once for all commitments, beside the plain one."""
    seals = [(GraphSeal(None, 1, blinding).conceal(), 20) for blinding in range(5)]
    prepared = assigned(seals)
    for locktime in (0, 1):
        tx = unfilled(locktime=locktime)
        fast = colour(tx, contract_id=CONTRACT, inputs=INPUTS, allocations=prepared)
        plain = colour(tx, contract_id=CONTRACT, inputs=INPUTS, allocations=seals)
        assert fast == plain
    with pytest.raises(NotColourable):
        colour(tx, contract_id=CONTRACT, inputs=INPUTS[:1], allocations=prepared)
