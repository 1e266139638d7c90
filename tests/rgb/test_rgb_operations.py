"""Operations are encoded one way, and their ids commit to all of them but what may differ."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

import strategies
from lightspeed.bitcoin import sha256, txid_from_hex
from lightspeed.rgb import (
    ASSET_OWNER,
    NIA_ARTICLES,
    NIA_SCHEMA,
    NIA_SCHEMA_ID,
    TERMS,
    AssetSpec,
    Assign,
    Assignments,
    ChainNet,
    Consignment,
    ContractTerms,
    Genesis,
    GenesisSeal,
    GlobalState,
    GraphSeal,
    Media,
    Metadata,
    Opout,
    Reader,
    RgbFormatError,
    SecretSeal,
    Transition,
    TransitionBundle,
    contract_id_text,
    issue,
    merkle_root,
    spec_of,
    supply_of,
    transfer,
)
from lightspeed.rgb.strict import signed, unsigned
from lightspeed.tagged import tagged_hash

SEAL = GenesisSeal(
    txid_from_hex("8d54c98d4c29a1ec4fd90635f543f0f7a871a78eb6a6e706342f831d92e3ba19"), 0, 654321
)
OPOUT = Opout(b"\1" * 32, ASSET_OWNER, 0)


def published_genesis() -> Genesis:
    """Of the test `deterministic_contract_id` of the schema's reference."""
    return issue(
        spec=AssetSpec(ticker="TICKER", name="NAME", precision=2),
        chain_net=ChainNet.BITCOIN_TESTNET4,
        timestamp=1713261744,
        allocations=[(SEAL, 999)],
    )


def test_the_contract_id_is_the_published_one() -> None:
    genesis = published_genesis()
    text = "rgb:663wqep~-0pVYnjS-ieA0N3r-58wUTIY-zgCGO_1-QQkuMMs"
    assert contract_id_text(genesis.contract_id) == text
    whole = "ebadf0a9ea7fd295589e34a2780d0ddebe7cc144c863380218efb541092e30cb"
    assert genesis.opid.hex() == whole
    globals_root = "709259c86a0a0a5853fc8446530d70bdd029d3b0dd0570038b5967d341d57f4a"
    assert genesis.globals.root().hex() == globals_root
    assignments_root = "a0e8de18c5df9b83ceba4cf1fa01ce602ddf70f97f90821775cbdd50a6a977bd"
    assert genesis.assignments.root().hex() == assignments_root
    assert merkle_root(()).hex().startswith("5442b1a1")


def test_values_hash_as_computed() -> None:
    tag = "urn:ubideco:strict-types:value-hash#2024-02-10"
    issuer = b"ssi:anonymous"
    hashed = tagged_hash(tag, len(issuer).to_bytes(2, "little") + issuer)
    assert hashed.hex() == "32fc587774e1496a1162b7eb0abb8e5c825fcd232da4678777dc49eef65485a1"
    empty = tagged_hash(tag, Metadata().serialize())
    assert empty.hex() == "bd1380e8912f273087938a93b9ed8f497b5358187cb1b36d7f6f332015dd5353"


def test_the_schema_has_its_published_id() -> None:
    assert tagged_hash("urn:lnp-bp:rgb:schema#2024-02-03", NIA_SCHEMA) == NIA_SCHEMA_ID
    articles = "923f9e3272c0b3280ccf6b66620b480e60b28a5fd689bbf64e0e53d0f8c96da6"
    assert sha256(NIA_ARTICLES[len(NIA_SCHEMA) :]).hex() == articles


def test_an_issue_tells_what_it_issued() -> None:
    genesis = published_genesis()
    assert spec_of(genesis) == AssetSpec(ticker="TICKER", name="NAME", precision=2)
    assert supply_of(genesis) == 999
    reader = Reader(genesis.serialize())
    assert Genesis.read(reader) == genesis
    reader.finish()


@settings(max_examples=60)
@given(strategies.transitions())
def test_transitions_round_trip(transition: Transition) -> None:
    reader = Reader(transition.serialize())
    assert Transition.read(reader) == transition
    reader.finish()


@settings(max_examples=40)
@given(strategies.transitions())
def test_concealing_seals_and_signing_change_no_id(transition: Transition) -> None:
    concealed = Assignments(
        tuple(
            (kind, tuple(assign.conceal() for assign in assigns))
            for kind, assigns in transition.assignments.by_type
        )
    )
    other = replace(transition, assignments=concealed, signature=b"\1" * 64)
    assert other.opid == transition.opid


@settings(max_examples=40)
@given(strategies.transitions())
def test_the_id_commits_to_every_other_field(transition: Transition) -> None:
    opid = transition.opid
    others = [
        replace(transition, contract_id=sha256(transition.contract_id)),
        replace(transition, transition_type=transition.transition_type ^ 1),
        replace(transition, nonce=transition.nonce ^ 1),
        replace(transition, inputs=(Opout(sha256(transition.inputs[0].opid), 0, 0),)),
        replace(transition, metadata=Metadata(((7, b"\xff" * 10),))),
        replace(transition, globals=GlobalState(((7, (b"\xff" * 10,)),))),
    ]
    assert opid not in {other.opid for other in others if other != transition}
    for index, (kind, assigns) in enumerate(transition.assignments.by_type):
        first = assigns[0]
        for changed in [
            replace(first, seal=SecretSeal(sha256(first.secret_seal))),
            *([replace(first, state=first.state ^ 1)] if isinstance(first.state, int) else []),
        ]:
            by_type = list(transition.assignments.by_type)
            by_type[index] = (kind, (changed, *assigns[1:]))
            assert replace(transition, assignments=Assignments(tuple(by_type))).opid != opid


@settings(max_examples=40)
@given(strategies.transition_bundles())
def test_bundles_round_trip_and_their_id_is_of_the_input_map(bundle: TransitionBundle) -> None:
    reader = Reader(bundle.serialize())
    assert TransitionBundle.read(reader) == bundle
    reader.finish()
    withheld = replace(bundle, known=bundle.known[:1])
    assert withheld.bundle_id == bundle.bundle_id
    opout, opid = bundle.input_map[0]
    other = replace(bundle, input_map=((opout, sha256(opid)), *bundle.input_map[1:]))
    assert other.bundle_id != bundle.bundle_id


@settings(max_examples=40)
@given(strategies.rgb_assignments(strategies.genesis_seals()))
def test_genesis_assignments_round_trip(assignments: Assignments) -> None:
    data = assignments.serialize()
    assert Assignments.read(Reader(data), GenesisSeal.read) == assignments


@settings(max_examples=25)
@given(strategies.transitions())
def test_a_transition_cut_short_is_refused(transition: Transition) -> None:
    data = transition.serialize()
    for end in range(0, len(data), 7):
        with pytest.raises(RgbFormatError):
            Transition.read(Reader(data[:end]))


def test_indices_count_within_a_type() -> None:
    assign = Assign(GraphSeal(None, 1, 2), 3)
    assignments = Assignments(((1, (assign, assign)), (5, (assign,))))
    assert [(kind, number) for kind, number, _ in assignments] == [(1, 0), (1, 1), (5, 0)]
    assert assignments.of_type(5) == (assign,)
    assert assignments.of_type(4) == ()


def _transition(**changes: object) -> Transition:
    fields: dict[str, object] = {
        "contract_id": bytes(32),
        "transition_type": 1,
        "inputs": (OPOUT,),
        "assignments": Assignments(),
    }
    return Transition(**(fields | changes))  # type: ignore[arg-type]


def _terminals(*terminals: tuple[int, tuple[SecretSeal, ...]]) -> Consignment:
    return Consignment(
        transfer=True,
        genesis=published_genesis(),
        terminals=tuple((bytes((number,)) * 32, seals) for number, seals in terminals),
    )


SEAL_A, SEAL_B = SecretSeal(b"\1" * 32), SecretSeal(b"\2" * 32)
AMOUNT, DATA = Assign(SecretSeal(bytes(32)), 1), Assign(SecretSeal(bytes(32)), b"")


@pytest.mark.parametrize(
    "made",
    [
        lambda: _transition(inputs=()),
        lambda: _transition(inputs=(OPOUT, OPOUT)),
        lambda: _transition(inputs=(replace(OPOUT, number=1), OPOUT)),
        lambda: _transition(contract_id=b""),
        lambda: _transition(signature=b"\1" * 63),
        lambda: Assignments(((1, ()),)),
        lambda: Assignments(((1, (AMOUNT,)), (1, (AMOUNT,)))),
        lambda: Assignments(((2, (AMOUNT,)), (1, (AMOUNT,)))),
        lambda: Assignments(((1, (AMOUNT, DATA)),)),
        lambda: Assignments(((1, (AMOUNT,) * 65_536),)),
        lambda: GlobalState(((1, ()),)),
        lambda: GlobalState(((2, (b"",)), (1, (b"",)))),
        lambda: Metadata(((2, b""), (1, b""))),
        lambda: Metadata(tuple((kind, b"") for kind in range(256))).serialize(),
        lambda: Metadata(((1, bytes(65_536)),)).serialize(),
        lambda: TransitionBundle((), ((bytes(32), _transition()),)),
        lambda: TransitionBundle(((OPOUT, bytes(32)),), ()),
        lambda: TransitionBundle(((OPOUT, bytes(31)),), ((bytes(32), _transition()),)),
        lambda: TransitionBundle.of([_transition(), _transition(nonce=1)]),
        lambda: replace(published_genesis(), issuer=""),
        lambda: replace(published_genesis(), issuer="a\n"),
        lambda: replace(published_genesis(), schema_id=b""),
        lambda: _terminals((2, (SEAL_A,)), (1, (SEAL_A,))),
        lambda: _terminals((1, (SEAL_A,)), (1, (SEAL_B,))),
        lambda: _terminals((1, (SEAL_B, SEAL_A))),
        lambda: _terminals((1, (SEAL_A, SEAL_A))),
        lambda: Opout(bytes(31), 0, 0),
        lambda: AssetSpec(ticker="1CALL", name="Calls"),
        lambda: AssetSpec(ticker="CALLCALLC", name="Calls"),
        lambda: AssetSpec(ticker="CALL", name=""),
        lambda: AssetSpec(ticker="CALL", name="Calls", details=""),
        lambda: AssetSpec(ticker="CALL", name="Calls", details="\N{EURO SIGN}" * 86),
        lambda: Opout(bytes(32), 65_536, 0),
        lambda: _transition(nonce=1 << 64).opid,
        lambda: Assign(SecretSeal(bytes(32)), 1 << 64).serialize(),
        lambda: signed(1 << 63, 8),
        lambda: unsigned(-1, 8),
    ],
)
def test_what_has_no_encoding_is_refused(made: object) -> None:
    with pytest.raises(RgbFormatError):
        made()  # type: ignore[operator]


def test_terminals_in_their_order_have_an_encoding() -> None:
    made = _terminals((1, (SEAL_A, SEAL_B)), (2, (SEAL_A,)))
    assert Consignment.parse(made.serialize()) == made


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, 1), (-1, 0xFF)],
    ids=["a later version", "an unknown tag"],
)
def test_a_transition_of_another_form_is_refused(place: int, value: int) -> None:
    data = bytearray(_transition().serialize())
    data[place] = value
    with pytest.raises(RgbFormatError):
        Transition.read(Reader(bytes(data)))


# types of NIA


@pytest.mark.parametrize(
    "changes",
    [
        {"ticker": ""},
        {"ticker": "TOOLONGER"},
        {"ticker": "1A"},
        {"ticker": "A-B"},
        {"name": ""},
        {"name": "n" * 41},
        {"name": "\N{SNOWMAN}"},
        {"details": ""},
        {"precision": 19},
    ],
    ids=str,
)
def test_a_spec_beyond_its_limits_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RgbFormatError):
        replace(AssetSpec(ticker="A", name="n"), **changes)  # type: ignore[arg-type]


def test_specs_and_terms_round_trip() -> None:
    spec = AssetSpec(ticker="Ab1", name="a name", details="\N{SNOWMAN}", precision=18)
    assert AssetSpec.parse(spec.serialize()) == spec
    media = Media(kind="image", subtype="svg+xml", charset=None, digest=b"\1" * 32)
    for terms in (ContractTerms(), ContractTerms(text="terms", media=media)):
        assert ContractTerms.parse(terms.serialize()) == terms
    for data in (spec.serialize() + b"\0", spec.serialize()[:-1], b"\1A\1n\1\1\xff\0"):
        with pytest.raises(RgbFormatError):
            AssetSpec.parse(data)
    with pytest.raises(RgbFormatError):
        replace(media, kind="Image")
    with pytest.raises(RgbFormatError):
        replace(media, digest=b"")
    assert ContractTerms().serialize() == published_genesis().globals.of_type(TERMS)[0]


def test_a_transfer_sorts_what_it_spends() -> None:
    later = Opout(b"\2" * 32, ASSET_OWNER, 0)
    made = transfer(
        contract_id=bytes(32), inputs=[later, OPOUT], allocations=[(GraphSeal(None, 1, 2), 3)]
    )
    assert made.inputs == (OPOUT, later)
    assert made.assignments.of_type(ASSET_OWNER)[0].state == 3
