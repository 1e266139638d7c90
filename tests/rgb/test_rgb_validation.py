"""Published consignments are valid; change one thing, and they are refused for that reason."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lightspeed.bitcoin import OutPoint, Tx, TxIn, p2tr, p2wpkh
from lightspeed.rgb import (
    ASSET_OWNER,
    ISSUED_SUPPLY,
    SPEC,
    TERMS,
    Allocation,
    Assign,
    Assignments,
    ChainNet,
    Concealed,
    Consignment,
    Failure,
    Genesis,
    GlobalState,
    GraphSeal,
    Metadata,
    Opout,
    OpretProof,
    ResolverError,
    SecretSeal,
    TapretProof,
    Transition,
    TransitionBundle,
    Witness,
    WitnessBundle,
    WitnessStatus,
    consignment_from_json,
    contract_id_text,
    validate,
    witnesses_of,
)
from lightspeed.rgb.failures import (
    ContractChainNetMismatch,
    ContractMismatch,
    ContractWithHistory,
    InputMapTransitionMismatch,
    InvalidProofType,
    MpcInvalid,
    NoDbcOutput,
    NoPrevState,
    SchemaAssignmentOccurrences,
    SchemaGlobalStateOccurrences,
    SchemaInvalidGlobalValue,
    SchemaMismatch,
    SchemaUnknownAssignmentType,
    SchemaUnknownGlobalStateType,
    SchemaUnknownMetaType,
    SchemaUnknownTransitionType,
    ScriptFailure,
    SealNoPubWitness,
    SealsInvalid,
    StateTypeMismatch,
    TerminalBundleAbsent,
    TransitionIdMismatch,
)
from rgb_world import (
    FIXTURES,
    VECTORS,
    committed,
    consignment,
    published_witnesses,
    with_bundle,
    with_owned,
    with_transition,
    with_tx,
)

REGTEST = ChainNet.BITCOIN_REGTEST
OTHER_SEAL = SecretSeal(b"\x07" * 32)

A_OPIDS = (
    "7eef21683f363a4204ff35d97261b4cde102930337bb716dff19b1c11bb382a0",
    "2c7cffddfae7bdacb0ef1044a912af88855a443fa9fcd475eab1b90fdb455941",
    "12d445f14163f7b7ffdad877e9f733198b904f42d01dd32a25cc4b52f6aac938",
)
A_BUNDLE_IDS = (
    "32d1d1ce4d8458f7f53b2e15754877f83ce3ceeb7b869f9a931cee9071f21047",
    "87769147832e4237446ba9e648f340c58a085e7a4cd151753d9fec9df3b49f40",
    "f5f7500948a8ae8ad6db4d551c6f317f5c02de23edb07bbff34cea2bfcbe4cb1",
)
A_COMMITMENTS = (
    "04b86f6d44449be00a1b75a13d671ad44da9b388367102b2a6ee668389313b5b",
    "bc53e837e022ea6083e4ad64efcca8371e031710118834615df7098715cf87a6",
    "d87aa6b06a714562dc4e9f5a9e24e6dfda5684d880480ba6f54262702c55a7a5",
)
CONTRACT_IDS = {
    "A": "rgb:LnXNQ7sS-FcJaBZp-wIxw9H8-h2uu31e-wHK1VI_-yGvsq5w",
    "D": "rgb:GheJs3Uh-~VYQqiM-QoQ3P00-3CPWGS9-jYnuoHG-He4emBM",
}


@pytest.mark.parametrize("name", FIXTURES)
def test_published_consignments_are_valid(name: str) -> None:
    base = consignment(name)
    told: list[int] = []
    found = validate(base, published_witnesses(name), chain_net=REGTEST, progress=told.append)
    assert told == list(range(1, len(base.bundles) + 1))
    assert contract_id_text(found.contract_id) == CONTRACT_IDS[name]
    assert list(found.statuses) == [bundle.txid for bundle in base.bundles]
    assert validate(base, witnesses_of(base), chain_net=REGTEST).revealed == found.revealed


def test_ids_of_a_history_are_the_published_ones() -> None:
    base = consignment("A")
    for index, bundle in enumerate(base.bundles):
        ((claimed, transition),) = bundle.bundle.known
        assert transition.opid.hex() == claimed.hex() == A_OPIDS[index]
        assert bundle.bundle.bundle_id.hex() == A_BUNDLE_IDS[index]
        commitment = bundle.mpc_proof.commitment(base.contract_id, bundle.bundle.bundle_id)
        assert commitment.hex() == A_COMMITMENTS[index]


def test_what_is_owned_at_the_end() -> None:
    """The issuer's rest, and the two payments to concealed seals."""
    base = consignment("A")
    found = validate(base, published_witnesses("A"), chain_net=REGTEST)
    last = bytes.fromhex(A_OPIDS[2])
    txid = base.bundles[-1].txid
    assert found.revealed == {
        Opout(last, ASSET_OWNER, 0): Allocation(OutPoint(txid, 1), 539),
    }
    terminal = base.terminals[0][1][0]
    assert found.concealed[Opout(last, ASSET_OWNER, 1)] == Concealed(terminal, 77)
    assert sum(each.amount for each in found.concealed.values()) + 539 == 666


def test_a_contract_without_history_is_valid() -> None:
    alone = Consignment(transfer=False, genesis=consignment("A").genesis)
    found = validate(alone, {}, chain_net=REGTEST)
    assert [each.amount for each in found.revealed.values()] == [666]


def test_a_transaction_need_not_be_in_the_consignment() -> None:
    base = consignment("A")
    for index in range(len(base.bundles)):
        base = with_bundle(base, index, lambda each: replace(each, witness=each.txid))
    assert Consignment.parse(base.serialize()) == base
    validate(base, published_witnesses("A"), chain_net=REGTEST)
    with pytest.raises(SealNoPubWitness):
        validate(base, witnesses_of(base), chain_net=REGTEST)


def test_an_attack_on_the_chain_is_refused() -> None:
    attack = consignment_from_json((VECTORS / "attack_chain.json").read_bytes())
    with pytest.raises(ContractChainNetMismatch) as caught:
        validate(attack, published_witnesses("A"), chain_net=REGTEST)
    assert caught.value.found is ChainNet.LIQUID_TESTNET


def test_a_transaction_under_anothers_id_is_refused() -> None:
    witnesses = published_witnesses("A")
    first, second, _ = witnesses
    with pytest.raises(ResolverError):
        validate(consignment("A"), witnesses | {first: witnesses[second]}, chain_net=REGTEST)


@pytest.mark.parametrize("missing", [True, False], ids=["unknown", "archived"])
@pytest.mark.parametrize("index", range(3))
def test_every_transaction_must_be_there(index: int, missing: bool) -> None:
    base, witnesses = consignment("A"), published_witnesses("A")
    bundle = base.bundles[index]
    if missing:
        del witnesses[bundle.txid]
    else:
        archived = Witness(witnesses[bundle.txid].tx, WitnessStatus.ARCHIVED)
        witnesses[bundle.txid] = archived
    with pytest.raises(SealNoPubWitness) as caught:
        validate(base, witnesses, chain_net=REGTEST)
    assert caught.value.txid == bundle.txid
    assert caught.value.bundle_id == bundle.bundle.bundle_id


# Mutations. Each is committed to as well as its kind allows, and offered with its transactions.


def known(base: Consignment, index: int) -> tuple[bytes, Transition]:
    return base.bundles[index].bundle.known[0]


def genesis_with(**changes: object) -> Callable[[Consignment], Consignment]:
    def mutate(base: Consignment) -> Consignment:
        genesis = replace(base.genesis, **changes)  # type: ignore[arg-type]
        return replace(base, genesis=genesis)

    return mutate


def global_with(kind: int, *values: bytes) -> Callable[[Consignment], Consignment]:
    def mutate(base: Consignment) -> Consignment:
        by_type = dict(base.genesis.globals.by_type) | {kind: values}
        if not values:
            del by_type[kind]
        genesis = replace(base.genesis, globals=GlobalState(tuple(sorted(by_type.items()))))
        return replace(base, genesis=genesis)

    return mutate


def issued_with(change: Callable[[Assign], Assign]) -> Callable[[Consignment], Consignment]:
    def mutate(base: Consignment) -> Consignment:
        (owned,) = base.genesis.assignments.of_type(ASSET_OWNER)
        assignments = Assignments(((ASSET_OWNER, (change(owned),)),))
        return replace(base, genesis=replace(base.genesis, assignments=assignments))

    return mutate


def transition_with(index: int = -1, **changes: object) -> Callable[[Consignment], Consignment]:
    """The changed transition is committed to."""

    def mutate(base: Consignment) -> Consignment:
        return with_transition(base, index, lambda each: replace(each, **changes))  # type: ignore[arg-type]

    return mutate


def owned_with(
    change: Callable[[tuple[Assign, ...]], tuple[Assign, ...]], index: int = -1
) -> Callable[[Consignment], Consignment]:
    return lambda base: with_transition(base, index, lambda each: with_owned(each, change))


def bundle_with(**changes: object) -> Callable[[Consignment], Consignment]:
    def mutate(base: Consignment) -> Consignment:
        return with_bundle(base, -1, lambda each: replace(each, **changes))  # type: ignore[arg-type]

    return mutate


def known_with(
    change: Callable[[bytes, Transition], list[tuple[bytes, Transition]]], index: int = -1
) -> Callable[[Consignment], Consignment]:
    """The input map, and so the commitment, stays as it was."""

    def changed(bundle: WitnessBundle) -> WitnessBundle:
        found = tuple(change(*bundle.bundle.known[0]))
        return replace(bundle, bundle=replace(bundle.bundle, known=found))

    return lambda base: with_bundle(base, index, changed)


def proof_with(change: Callable[[WitnessBundle], WitnessBundle]) -> Callable[..., Consignment]:
    return lambda base: with_bundle(base, -1, change)


def mpc_with(**changes: object) -> Callable[[Consignment], Consignment]:
    def changed(bundle: WitnessBundle) -> WitnessBundle:
        return replace(bundle, mpc_proof=replace(bundle.mpc_proof, **changes))  # type: ignore[arg-type]

    return proof_with(changed)


def path_cut(bundle: WitnessBundle) -> WitnessBundle:
    proof = bundle.mpc_proof
    last = (1 << len(proof.path)) - 1
    return replace(bundle, mpc_proof=replace(proof, position=last, path=proof.path[1:]))


def path_changed(bundle: WitnessBundle) -> WitnessBundle:
    proof = bundle.mpc_proof
    return replace(bundle, mpc_proof=replace(proof, path=(bytes(32), *proof.path[1:])))


def tx_with(change: Callable[[Tx], Tx]) -> Callable[[Consignment], Consignment]:
    return lambda base: with_tx(base, -1, change)


def script_at_first_output(script: bytes) -> Callable[[Tx], Tx]:
    return lambda tx: replace(tx, outputs=(replace(tx.outputs[0], script=script), *tx.outputs[1:]))


def uncommitted(tx: Tx) -> Tx:
    bare = tuple(replace(output, script=p2wpkh(bytes(20))) for output in tx.outputs)
    return replace(tx, outputs=bare)


def with_proof_of_the_other_kind(bundle: WitnessBundle) -> WitnessBundle:
    opret = isinstance(bundle.dbc_proof, OpretProof)
    return replace(bundle, dbc_proof=TapretProof(bytes(32)) if opret else OpretProof())


def with_output_of_the_other_kind_first(tx: Tx) -> Tx:
    opret = tx.outputs[0].script[0] == 0x6A
    return script_at_first_output(p2tr(b"\2" * 32) if opret else b"\x6a\x20" + bytes(32))(tx)


def with_another_commitment(tx: Tx) -> Tx:
    script = bytearray(tx.outputs[0].script)
    script[-1] ^= 1
    return script_at_first_output(bytes(script))(tx)


def whose_terminal_is_cut_off(base: Consignment) -> Consignment:
    bundle_id = base.bundles[-1].bundle.bundle_id
    return replace(base, bundles=base.bundles[:-1], terminals=((bundle_id, (OTHER_SEAL,)),))


def twice(opid: bytes, transition: Transition) -> list[tuple[bytes, Transition]]:
    return [(opid, transition), (opid, transition)]


def with_another_spender(opid: bytes, transition: Transition) -> list[tuple[bytes, Transition]]:
    other = replace(transition, nonce=transition.nonce - 1)
    return [(opid, transition), (other.opid, other)]


def replaced_by_another(opid: bytes, transition: Transition) -> list[tuple[bytes, Transition]]:
    return with_another_spender(opid, transition)[1:]


def under_a_false_id(opid: bytes, transition: Transition) -> list[tuple[bytes, Transition]]:
    return [(opid, replace(transition, nonce=transition.nonce - 1))]


def concealed(opid: bytes, transition: Transition) -> list[tuple[bytes, Transition]]:
    return [(opid, with_owned(transition, lambda owned: tuple(each.conceal() for each in owned)))]


def other_input(**changes: int) -> Callable[[Consignment], Consignment]:
    def changed(transition: Transition) -> Transition:
        return replace(transition, inputs=(replace(transition.inputs[0], **changes),))

    return lambda base: with_transition(base, -1, changed)


def one_input_more(base: Consignment) -> Consignment:
    """Which the input map does not tell."""

    def changed(bundle: WitnessBundle) -> WitnessBundle:
        assert isinstance(bundle.witness, Tx)
        ((_, transition),) = bundle.bundle.known
        more = replace(transition.inputs[0], number=9)
        grown = replace(transition, inputs=(*transition.inputs, more))
        spent = ((transition.inputs[0], grown.opid),)
        found = TransitionBundle(spent, ((grown.opid, grown),))
        return committed(found, bundle.witness, base.contract_id, by=bundle.dbc_proof)

    return with_bundle(base, -1, changed)


def of_another_contract(base: Consignment) -> Consignment:
    return with_transition(base, -1, lambda each: replace(each, contract_id=b"\5" * 32))


def revealed_otherwise(opid: bytes, transition: Transition) -> list[tuple[bytes, Transition]]:
    """A seal with another blinding is another seal."""
    first, *rest = transition.assignments.of_type(ASSET_OWNER)
    assert isinstance(first.seal, GraphSeal)
    seal = replace(first.seal, blinding=first.seal.blinding ^ 1)
    return [(opid, with_owned(transition, lambda _: (replace(first, seal=seal), *rest)))]


def split_in_the_bundle(base: Consignment) -> Consignment:
    """Two transitions of one bundle spend the same opout, one of them as the map says."""
    return known_with(with_another_spender)(base)


def unmoved(tx: Tx) -> Tx:
    spent = (TxIn(OutPoint(b"\1" * 32, 0)),)
    return replace(tx, inputs=spent)


A_SUPPLY = (666).to_bytes(8, "little")
AMOUNTS = Assign(OTHER_SEAL, 1)

MUTATIONS: dict[str, tuple[Callable[[Consignment], Consignment], type[Failure]]] = {
    "not a transfer": (lambda base: replace(base, transfer=False), ContractWithHistory),
    "terminals without history": (
        lambda base: replace(
            base, transfer=False, bundles=(), terminals=((bytes(32), (OTHER_SEAL,)),)
        ),
        ContractWithHistory,
    ),
    "terminal of another bundle": (
        lambda base: replace(base, terminals=((bytes(32), (OTHER_SEAL,)),)),
        TerminalBundleAbsent,
    ),
    "terminal's bundle removed": (whose_terminal_is_cut_off, TerminalBundleAbsent),
    "mainnet": (genesis_with(chain_net=ChainNet.BITCOIN_MAINNET), ContractChainNetMismatch),
    "liquid": (genesis_with(chain_net=ChainNet.LIQUID_TESTNET), ContractChainNetMismatch),
    "schema id": (genesis_with(schema_id=b"\1" * 32), SchemaMismatch),
    "timestamp": (genesis_with(timestamp=0), ContractMismatch),
    "issuer": (genesis_with(issuer="ssi:other"), ContractMismatch),
    "genesis metadata": (genesis_with(metadata=Metadata(((1, b""),))), SchemaUnknownMetaType),
    "unknown global": (global_with(2002, b""), SchemaUnknownGlobalStateType),
    "no spec": (global_with(SPEC), SchemaGlobalStateOccurrences),
    "no terms": (global_with(TERMS), SchemaGlobalStateOccurrences),
    "no supply": (global_with(ISSUED_SUPPLY), SchemaGlobalStateOccurrences),
    "two supplies": (
        global_with(ISSUED_SUPPLY, A_SUPPLY, A_SUPPLY),
        SchemaGlobalStateOccurrences,
    ),
    "no globals": (genesis_with(globals=GlobalState()), SchemaGlobalStateOccurrences),
    "spec of nothing": (global_with(SPEC, b""), SchemaInvalidGlobalValue),
    "spec with a bad ticker": (global_with(SPEC, b"\1-\1n\0\0"), SchemaInvalidGlobalValue),
    "another spec": (global_with(SPEC, b"\1T\1n\0\0"), ContractMismatch),
    "terms cut": (global_with(TERMS, b"\0"), SchemaInvalidGlobalValue),
    "supply of 32 bits": (global_with(ISSUED_SUPPLY, bytes(4)), SchemaInvalidGlobalValue),
    "supply above what is issued": (
        global_with(ISSUED_SUPPLY, (667).to_bytes(8, "little")),
        ScriptFailure,
    ),
    "issue above the supply": (issued_with(lambda each: replace(each, state=667)), ScriptFailure),
    "issue of a right": (issued_with(lambda each: replace(each, state=None)), StateTypeMismatch),
    "issue of data": (issued_with(lambda each: replace(each, state=b"")), StateTypeMismatch),
    "issue of nothing": (
        genesis_with(assignments=Assignments()),
        SchemaAssignmentOccurrences,
    ),
    "issue of another type": (
        genesis_with(assignments=Assignments(((4001, (AMOUNTS,)),))),
        SchemaUnknownAssignmentType,
    ),
    "issue to a concealed seal": (issued_with(Assign.conceal), NoPrevState),
    "issue to another seal": (
        issued_with(lambda each: replace(each, seal=OTHER_SEAL)),
        ContractMismatch,
    ),
    "transition twice": (known_with(twice), NoPrevState),
    "bundle twice": (
        lambda base: replace(base, bundles=(*base.bundles, base.bundles[-1])),
        NoPrevState,
    ),
    "another spender beside": (split_in_the_bundle, InputMapTransitionMismatch),
    "another spender instead": (known_with(replaced_by_another), InputMapTransitionMismatch),
    "an input that is not in the map": (one_input_more, InputMapTransitionMismatch),
    "false id": (known_with(under_a_false_id), TransitionIdMismatch),
    "another blinding": (known_with(revealed_otherwise), TransitionIdMismatch),
    "bundle removed": (
        lambda base: replace(base, bundles=base.bundles[1:]),
        NoPrevState,
    ),
    "bundles swapped": (
        lambda base: replace(base, bundles=(base.bundles[1], base.bundles[0], *base.bundles[2:])),
        NoPrevState,
    ),
    "spent seal concealed": (known_with(concealed, index=-2), NoPrevState),
    "input of another type": (other_input(kind=42), NoPrevState),
    "input of another number": (other_input(number=42), NoPrevState),
    "input spent before": (
        lambda base: with_transition(
            base, -1, lambda each: replace(each, inputs=known(base, -2)[1].inputs)
        ),
        NoPrevState,
    ),
    "another contract": (of_another_contract, ContractMismatch),
    "cofactor": (mpc_with(cofactor=42), MpcInvalid),
    "position": (mpc_with(position=1), MpcInvalid),
    "path cut": (proof_with(path_cut), MpcInvalid),
    "path of 32": (mpc_with(path=(bytes(32),) * 32), MpcInvalid),
    "no output": (tx_with(lambda tx: replace(tx, outputs=())), NoDbcOutput),
    "no output that commits": (tx_with(uncommitted), NoDbcOutput),
    "the other kind's output first": (
        tx_with(with_output_of_the_other_kind_first),
        InvalidProofType,
    ),
    "proof of the other kind": (proof_with(with_proof_of_the_other_kind), InvalidProofType),
    "path changed": (proof_with(path_changed), SealsInvalid),
    "another commitment": (tx_with(with_another_commitment), SealsInvalid),
    "more than the commitment": (
        tx_with(lambda tx: script_at_first_output(tx.outputs[0].script + b"\x01\x2a")(tx)),
        SealsInvalid,
    ),
    "seal's output not spent": (tx_with(unmoved), SealsInvalid),
    "inputs removed": (tx_with(lambda tx: replace(tx, inputs=())), SealsInvalid),
    "transition of another type": (
        transition_with(transition_type=42),
        SchemaUnknownTransitionType,
    ),
    "metadata": (transition_with(metadata=Metadata(((42, b""),))), SchemaUnknownMetaType),
    "global state": (
        transition_with(globals=GlobalState(((42, (b"",)),))),
        SchemaUnknownGlobalStateType,
    ),
    "global state of a genesis": (
        transition_with(globals=GlobalState(((ISSUED_SUPPLY, (A_SUPPLY,)),))),
        SchemaUnknownGlobalStateType,
    ),
    "assigns another type": (
        transition_with(assignments=Assignments(((42, (AMOUNTS,)),))),
        SchemaUnknownAssignmentType,
    ),
    "assigns nothing": (transition_with(assignments=Assignments()), SchemaAssignmentOccurrences),
    "assigns a right": (
        owned_with(lambda owned: (replace(owned[0], state=None),)),
        StateTypeMismatch,
    ),
    "inflation": (
        owned_with(lambda owned: (replace(owned[0], state=540), *owned[1:])),
        ScriptFailure,
    ),
    "deflation": (owned_with(lambda owned: owned[:1]), ScriptFailure),
    "an allocation of nothing": (
        owned_with(lambda owned: (*owned, Assign(OTHER_SEAL, 0))),
        ScriptFailure,
    ),
    "a sum beyond 64 bits": (
        owned_with(lambda owned: (*owned, Assign(OTHER_SEAL, 2**64 - 1), AMOUNTS)),
        ScriptFailure,
    ),
}


@pytest.mark.parametrize("fixture", FIXTURES)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_refused_by_name(name: str, fixture: str) -> None:
    mutate, failure = MUTATIONS[name]
    mutated = mutate(consignment(fixture))
    assert mutated != consignment(fixture)
    read_back = Consignment.parse(mutated.serialize())
    assert read_back == mutated
    with pytest.raises(Failure) as caught:
        validate(read_back, witnesses_of(read_back), chain_net=REGTEST)
    assert type(caught.value) is failure
    assert caught.value.failure == failure.__name__
    assert str(caught.value)
    assert all(isinstance(shown, str | int) for shown in caught.value.details().values())


def test_the_list_of_mutations_is_long_enough() -> None:
    assert len(MUTATIONS) >= 40


def test_an_opret_is_pushed_in_one_way() -> None:
    def otherwise(tx: Tx) -> Tx:
        return script_at_first_output(b"\x6a\x4c\x20" + tx.outputs[0].script[2:])(tx)

    mutated = tx_with(otherwise)(consignment("A"))
    with pytest.raises(SealsInvalid):
        validate(mutated, witnesses_of(mutated), chain_net=REGTEST)


@pytest.mark.parametrize("name", FIXTURES)
def test_a_mutation_that_breaks_nothing_is_valid(name: str) -> None:
    """What the mutations are built with makes valid histories, if nothing is wrong with them."""
    for made in [
        transition_with(nonce=5),
        owned_with(lambda owned: tuple(reversed(owned))),
        owned_with(lambda owned: tuple(each.conceal() for each in owned)),
        known_with(concealed),
        tx_with(lambda tx: replace(tx, outputs=(*tx.outputs, replace(tx.outputs[0], script=b"")))),
    ]:
        mutated = made(consignment(name))
        validate(mutated, witnesses_of(mutated), chain_net=REGTEST)


def test_failures_tell_what_failed() -> None:
    base = consignment("A")
    mutated = known_with(concealed, index=-2)(base)
    child, transition = known(base, -1)
    with pytest.raises(NoPrevState) as caught:
        validate(mutated, witnesses_of(mutated), chain_net=REGTEST)
    assert (caught.value.opid, caught.value.opout) == (child, transition.inputs[0])
    assert caught.value.details() == {"opid": child.hex(), "opout": str(transition.inputs[0])}
    assert child.hex() in str(caught.value)


def test_a_script_failure_tells_which_rule() -> None:
    for name, errno in [("inflation", 0), ("issue above the supply", 1)]:
        mutated = MUTATIONS[name][0](consignment("A"))
        with pytest.raises(ScriptFailure) as caught:
            validate(mutated, witnesses_of(mutated), chain_net=REGTEST)
        assert caught.value.errno == errno


def test_a_tapret_history_needs_its_proofs() -> None:
    base = consignment("D")
    for proof, failure in [
        (TapretProof(b"\2" * 32), SealsInvalid),
        (replace(base.bundles[-1].dbc_proof, nonce=1), SealsInvalid),
        (OpretProof(), InvalidProofType),
    ]:
        mutated = bundle_with(dbc_proof=proof)(base)
        with pytest.raises(failure):
            validate(mutated, published_witnesses("D"), chain_net=REGTEST)


def test_a_genesis_seal_reveals_no_more_than_its_hash() -> None:
    genesis = consignment("A").genesis
    assert isinstance(genesis, Genesis)
    (owned,) = genesis.assignments.of_type(ASSET_OWNER)
    hidden = Assignments(((ASSET_OWNER, (owned.conceal(),)),))
    assert replace(genesis, assignments=hidden).contract_id == genesis.contract_id
