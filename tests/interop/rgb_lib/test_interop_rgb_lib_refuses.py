"""What rgb-lib refuses, our engine refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from lightspeed.bitcoin import OutPoint, TxOut
from lightspeed.rgb import (
    Assign,
    ChainNet,
    Consignment,
    GraphSeal,
    MpcProof,
    RgbError,
    WitnessBundle,
    failures,
)
from lightspeed.units import Sat
from rgb_lib_world import named, rgb_lib_world
from rgb_token import OPEN_P2TR, Token
from rgb_world import with_bundle, with_owned, with_transition, with_tx

_OTHER = OutPoint(bytes(range(32)), 0)

Breakage: TypeAlias = Callable[[Consignment], Consignment]


def _with_seals(change: Callable[[Assign], Assign]) -> Breakage:
    """Of the transition before the last, which is committed to as it was."""

    def changed(bundle: WitnessBundle) -> WitnessBundle:
        ((opid, transition),) = bundle.bundle.known
        transition = with_owned(transition, lambda owned: tuple(map(change, owned)))
        return replace(bundle, bundle=replace(bundle.bundle, known=((opid, transition),)))

    return lambda base: with_bundle(base, 0, changed)


def _other_blinding(assign: Assign) -> Assign:
    assert isinstance(assign.seal, GraphSeal)
    return replace(assign, seal=replace(assign.seal, blinding=assign.seal.blinding ^ 1))


def _inflated(base: Consignment) -> Consignment:
    return with_transition(
        base,
        1,
        lambda transition: with_owned(
            transition, lambda owned: tuple(replace(each, state=1_001) for each in owned)
        ),
    )


def _other_position(proof: MpcProof) -> MpcProof:
    return replace(proof, position=proof.position ^ 1)


def _terminals_kept(breakage: Breakage) -> Breakage:
    """The payee's seal stays named, whatever has become of the bundle."""

    def broken(base: Consignment) -> Consignment:
        ((_, seals),) = base.terminals
        changed = breakage(base)
        terminal = (changed.bundles[-1].bundle.bundle_id, seals)
        return replace(changed, terminals=(terminal,))

    return broken


BREAKAGES: tuple[tuple[Breakage, type[RgbError], str], ...] = (
    # an inflation
    (_inflated, failures.ScriptFailure, "has failed with the code Some(0)"),
    # the spent seal is not opened, or with a wrong secret
    (_with_seals(Assign.conceal), failures.NoPrevState, "that cannot be found"),
    (_with_seals(_other_blinding), failures.TransitionIdMismatch, "differs from the actual one"),
    # the parent is withheld
    (
        lambda base: replace(base, bundles=base.bundles[1:]),
        failures.NoPrevState,
        "that cannot be found",
    ),
    # two transitions on one seal
    (
        lambda base: replace(base, bundles=(*base.bundles, base.bundles[-1])),
        failures.NoPrevState,
        "that cannot be found",
    ),
    (
        lambda base: with_bundle(
            base, 1, lambda each: replace(each, mpc_proof=_other_position(each.mpc_proof))
        ),
        failures.MpcInvalid,
        "doesn't match the expected position",
    ),
    # a transaction without a commitment, with one of another kind, or that spends another coin
    (
        lambda base: with_tx(base, 1, lambda tx: replace(tx, outputs=tx.outputs[1:])),
        failures.NoDbcOutput,
        "has no taproot or OP_RETURN output",
    ),
    (
        lambda base: with_tx(
            base, 1, lambda tx: replace(tx, outputs=(TxOut(Sat(0), OPEN_P2TR), *tx.outputs))
        ),
        failures.InvalidProofType,
        "doesn't match the provided proof type",
    ),
    (
        lambda base: with_tx(
            base, 1, lambda tx: replace(tx, inputs=(replace(tx.inputs[0], outpoint=_OTHER),))
        ),
        failures.SealsInvalid,
        "does not closes seal",
    ),
    (
        lambda base: replace(
            base, genesis=replace(base.genesis, chain_net=ChainNet.BITCOIN_TESTNET4)
        ),
        failures.ContractChainNetMismatch,
        "contract chain-network pair doesn't match",
    ),
    # a transition of another contract
    (
        lambda base: with_transition(
            base, 1, lambda transition: replace(transition, contract_id=bytes(32))
        ),
        failures.ContractMismatch,
        "is under a different contract",
    ),
)


async def test_invalid_consignments_are_refused_by_both_for_one_reason(tmp_path: Path) -> None:
    async with rgb_lib_world(tmp_path) as world:
        payee = await world.wallet("payee")
        token = Token.issue(world.regtest, 1_000)
        parent = token.move([token.issued(0)], [(1, 1_000)], closes=token.coins)
        world.regtest.broadcast(parent.tx)
        world.regtest.mine()
        for index, (breakage, failure, reason) in enumerate(BREAKAGES):
            invoice = await payee.invoice()
            paid = token.move(
                parent.on_output(1),
                [(named(invoice), 1_000)],
                closes=[parent.tx.outpoint(1)],
            )
            consignment = token.consignment(paid, to=named(invoice))
            world.judge(consignment.serialize(magic=True))
            broken = _terminals_kept(breakage)(consignment)
            world.post(invoice, broken)
            await payee.refresh()
            assert world.proxy.acks[invoice.recipient_id] is False, failure
            with pytest.raises(failure):
                world.judge(broken.serialize(magic=True))
            refusals = await payee.refusals(index + 1)
            assert reason in refusals[index]
