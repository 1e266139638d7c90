"""Published consignments, and the means to change them and commit to them again."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from lightspeed.bitcoin import Tx
from lightspeed.rgb import (
    ASSET_OWNER,
    Assign,
    Assignments,
    Consignment,
    DbcProof,
    MpcTree,
    OpretProof,
    TapretProof,
    Transition,
    TransitionBundle,
    Witness,
    WitnessBundle,
    WitnessStatus,
    opret_script,
    tx_from_json,
)

VECTORS = Path(__file__).parent / "vectors" / "rgb"
FIXTURES = ("A", "D")
_OPRET = OpretProof()


def consignment_bytes(name: str) -> bytes:
    return (VECTORS / f"consignment_{name}.rgb").read_bytes()


@cache
def consignment(name: str) -> Consignment:
    return Consignment.parse(consignment_bytes(name))


@cache
def published_txs(name: str) -> tuple[Tx, ...]:
    return tuple(tx_from_json(path.read_bytes()) for path in (VECTORS / f"txs_{name}").iterdir())


def published_witnesses(name: str) -> dict[bytes, Witness]:
    return {tx.txid: Witness(tx, WitnessStatus.MINED) for tx in published_txs(name)}


def committed(
    bundle: TransitionBundle, tx: Tx, contract_id: bytes, *, by: DbcProof = _OPRET
) -> WitnessBundle:
    """By the transaction, of whose outputs the first carries the commitment from now on."""
    tree = MpcTree({contract_id: bundle.bundle_id}, entropy=777)
    commitment = tree.commitment
    script = (
        by.output_script(commitment) if isinstance(by, TapretProof) else opret_script(commitment)
    )
    outputs = (replace(tx.outputs[0], script=script), *tx.outputs[1:])
    return WitnessBundle(replace(tx, outputs=outputs), tree.proof(contract_id), by, bundle)


def with_bundle(
    base: Consignment, index: int, change: Callable[[WitnessBundle], WitnessBundle]
) -> Consignment:
    bundles = list(base.bundles)
    bundles[index] = change(bundles[index])
    return replace(base, bundles=tuple(bundles), terminals=())


def with_tx(base: Consignment, index: int, change: Callable[[Tx], Tx]) -> Consignment:
    def changed(bundle: WitnessBundle) -> WitnessBundle:
        assert isinstance(bundle.witness, Tx)
        return replace(bundle, witness=change(bundle.witness))

    return with_bundle(base, index, changed)


def with_transition(
    base: Consignment, index: int, change: Callable[[Transition], Transition]
) -> Consignment:
    """With a transition changed, and committed to anew."""

    def changed(bundle: WitnessBundle) -> WitnessBundle:
        assert isinstance(bundle.witness, Tx)
        found = TransitionBundle.of([change(bundle.bundle.known[0][1])])
        return committed(found, bundle.witness, base.contract_id, by=bundle.dbc_proof)

    return with_bundle(base, index, changed)


def with_owned(
    transition: Transition, change: Callable[[tuple[Assign, ...]], tuple[Assign, ...]]
) -> Transition:
    owned = change(transition.assignments.of_type(ASSET_OWNER))
    return replace(transition, assignments=Assignments(((ASSET_OWNER, owned),)))
