"""How long does it take to conceal and commit to 65,535 seals, and to validate a claim of all?
And a history of 1,000 transfers, as a token that changes hands often has?

Method: one process, medians of 5 runs with their range. "conceal" hashes 65,535 seals on the
transaction that will commit to them; "id" is the operation id of the transition that assigns to
them, concealed as a payee has them, and "commit" the multi-protocol tree above. "consignment" is
built of an issue, the transition to all seals, revealed, and one that claims them all; it is
written, read back and validated. Each transfer of the long history pays a part to another seal
and keeps the rest. The peak of memory is that of the whole process.
"""

import resource
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut
from lightspeed.rgb import (
    ASSET_OWNER,
    AssetSpec,
    ChainNet,
    Consignment,
    GenesisSeal,
    GraphSeal,
    MpcTree,
    Opout,
    OpretProof,
    SecretSeal,
    Transition,
    TransitionBundle,
    WitnessBundle,
    issue,
    opret_script,
    transfer,
    validate,
    witnesses_of,
)
from lightspeed.units import Sat

SEALS = 65_535
RUNS = 5
LIMIT_SECONDS = 15
TRANSFERS = 1_000
NETWORK = ChainNet.BITCOIN_REGTEST

T = TypeVar("T")


def timed(name: str, work: Callable[[], T]) -> T:
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    low, high = min(seconds), max(seconds)
    print(f"  {name:<22}{statistics.median(seconds):7.3f} s  ({low:.3f} .. {high:.3f})")
    return found


def carried(transition: Transition, spent: OutPoint) -> WitnessBundle:
    """By a transaction of one input, whose output 1 the seals close over."""
    bundle = TransitionBundle.of([transition])
    tree = MpcTree({transition.contract_id: bundle.bundle_id}, entropy=0)
    outputs = (TxOut(Sat(0), opret_script(tree.commitment)), TxOut(Sat(330), b"\x51"))
    tx = Tx(2, (TxIn(spent),), outputs)
    return WitnessBundle(tx, tree.proof(transition.contract_id), OpretProof(), bundle)


def long_history() -> Consignment:
    """Of `TRANSFERS` transfers, each on the output of the one before."""
    spent = OutPoint(b"\1" * 32, 0)
    genesis = issue(
        spec=AssetSpec(ticker="BENCH", name="Bench"),
        chain_net=NETWORK,
        timestamp=0,
        allocations=[(GenesisSeal(spent.txid, spent.vout, 1), TRANSFERS + 1)],
    )
    contract_id = opid = genesis.contract_id
    bundles = []
    for rest in range(TRANSFERS, 0, -1):
        transition = transfer(
            contract_id=contract_id,
            inputs=[Opout(opid, ASSET_OWNER, 0)],
            allocations=[(GraphSeal(None, 1, rest), rest), (GraphSeal(None, 0, rest), 1)],
        )
        bundle = carried(transition, spent)
        bundles.append(bundle)
        opid, spent = bundle.bundle.known[0][0], OutPoint(bundle.txid, 1)
    return Consignment(transfer=True, genesis=genesis, bundles=tuple(bundles))


def claim_of(seals: list[GraphSeal]) -> Consignment:
    """An issue of a token for each seal, the transition to the seals, and a claim of all."""
    start = OutPoint(b"\1" * 32, 0)
    genesis = issue(
        spec=AssetSpec(ticker="BENCH", name="Bench"),
        chain_net=NETWORK,
        timestamp=0,
        allocations=[(GenesisSeal(start.txid, start.vout, 1), len(seals))],
    )
    contract_id = genesis.contract_id
    divided = transfer(
        contract_id=contract_id,
        inputs=[Opout(contract_id, ASSET_OWNER, 0)],
        allocations=[(seal, 1) for seal in seals],
    )
    first = carried(divided, start)
    opid = first.bundle.known[0][0]
    claimed = transfer(
        contract_id=contract_id,
        inputs=[Opout(opid, ASSET_OWNER, number) for number in range(len(seals))],
        allocations=[(GraphSeal(None, 1, 2), len(seals))],
    )
    bundles = (first, carried(claimed, OutPoint(first.txid, 1)))
    return Consignment(transfer=True, genesis=genesis, bundles=bundles)


def main() -> None:
    print(__doc__)
    seals = [GraphSeal(None, 1, blinding) for blinding in range(SEALS)]
    print(f"{SEALS:,} seals")
    concealed = timed("conceal", lambda: [seal.conceal() for seal in seals])
    opout = Opout(bytes(32), ASSET_OWNER, 0)
    allocations: list[tuple[GraphSeal | SecretSeal, int]] = [(seal, 1) for seal in concealed]

    def fresh_id() -> bytes:
        return transfer(contract_id=bytes(32), inputs=[opout], allocations=allocations).opid

    opid = timed("id", fresh_id)
    timed("commit", lambda: MpcTree({bytes(32): opid}, entropy=0).commitment)
    print(f"claim of all of them (to reach: {LIMIT_SECONDS} s together, below 1 GiB)")
    consignment = timed("build", lambda: claim_of(seals))
    data = timed("write", consignment.serialize)
    read = timed("read", lambda: Consignment.parse(data))
    timed("validate", lambda: validate(read, witnesses_of(read), chain_net=NETWORK))
    print(f"history of {TRANSFERS:,} transfers")
    history = timed("build", long_history)
    written = timed("write", history.serialize)
    reread = timed("read", lambda: Consignment.parse(written))
    timed("validate", lambda: validate(reread, witnesses_of(reread), chain_net=NETWORK))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"claim {len(data) / 1e6:.1f} MB, history {len(written) / 1e6:.1f} MB")
    print(f"peak of memory {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
