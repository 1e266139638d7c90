"""Trees, multi-protocol commitments and where transactions carry them."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut, p2tr, p2wpkh, sha256, tap_leaf_hash
from lightspeed.rgb import (
    DbcError,
    LeftNode,
    Method,
    MpcError,
    MpcProof,
    MpcTree,
    OpretProof,
    Reader,
    RgbFormatError,
    RightBranch,
    RightLeaf,
    TapretProof,
    dbc_method,
    merkle_root,
    mpc_position,
    opret_script,
    tapret_script,
)
from lightspeed.rgb.dbc import read_dbc_proof
from lightspeed.units import Sat

COMMITMENT = b"\x08" * 32
INTERNAL = bytes.fromhex("c5f93479093e2b8f724a79844cc10928dd44e9a390b539843fb83fbf842723f3")
VOID = "5442b1a1ae7badee5391857589104a594e466ffc6fd6484d2890b466537f7f7a"


def transaction(*scripts: bytes) -> Tx:
    spent = (TxIn(OutPoint(b"\1" * 32, 0)),)
    return Tx(2, spent, tuple(TxOut(Sat(1_000), script) for script in scripts))


@pytest.mark.parametrize(
    ("number", "root"),
    [
        (0, VOID),
        (1, "00" * 32),
        (2, "717ba1dc231367ad959c8df834c43ec6291002afa05a56d55417a8180d8edd04"),
        (3, "86d0965e9b3f1ec1ab21d14950475b692dad6ff2f8cad313c97db5b3c8b394b4"),
        (4, "7242059cf24e8db4e7141cd4e8009351e58d41368f94245c88cf6efcba88bc1a"),
        (5, "9758b7d9c2fb08583a410c39599c04bc4304bbea0afe9e0c8da9de86f6ed5aa9"),
    ],
)
def test_merkle_roots(number: int, root: str) -> None:
    assert merkle_root([bytes([index]) * 32 for index in range(number)]).hex() == root


def test_mpc_of_one_message() -> None:
    tree = MpcTree({b"\x6c" * 32: b"\x11" * 32}, entropy=777)
    proof = tree.proof(b"\x6c" * 32)
    commitment = "cd872f94af313b60d5156b4a9d1b8444df2ed7a604434ce960931b1d6b1240e8"
    assert (tree.depth, tree.cofactor, proof.position) == (3, 0, 4)
    assert tree.commitment.hex() == commitment
    assert proof.commitment(b"\x6c" * 32, b"\x11" * 32).hex() == commitment


@settings(max_examples=40)
@given(st.data())
def test_every_protocol_of_a_tree_has_a_proof(data: st.DataObject) -> None:
    hashes = st.binary(min_size=32, max_size=32)
    depth = data.draw(st.integers(0, 6))
    messages = data.draw(st.dictionaries(hashes, hashes, min_size=1, max_size=12))
    tree = MpcTree(messages, entropy=data.draw(st.integers(0, 2**64 - 1)), min_depth=depth)
    for protocol, message in messages.items():
        proof = tree.proof(protocol)
        assert len(proof.path) == tree.depth
        assert proof.commitment(protocol, message) == tree.commitment
        assert proof.commitment(protocol, sha256(message)) != tree.commitment


def test_protocols_that_collide_get_a_cofactor_or_a_deeper_tree() -> None:
    first, second = (value.to_bytes(32, "little") for value in (1, 9))
    tree = MpcTree({first: COMMITMENT, second: COMMITMENT}, entropy=0)
    assert (tree.depth, tree.cofactor) == (3, 1)
    assert tree.proof(second).position == 9 % 7
    assert tree.proof(second).commitment(second, COMMITMENT) == tree.commitment
    far = (1 + 8 * 7).to_bytes(32, "little")  # with cofactors 0 and 1 it collides as well
    deeper = MpcTree({first: COMMITMENT, far: COMMITMENT}, entropy=0)
    assert (deeper.depth, deeper.cofactor) == (4, 0)
    assert deeper.proof(far).commitment(far, COMMITMENT) == deeper.commitment


@settings(max_examples=30)
@given(st.integers(0, 31), st.integers(0, 0xFFFF), st.binary(min_size=32, max_size=32))
def test_proofs_of_any_depth_and_cofactor_fold(depth: int, cofactor: int, protocol: bytes) -> None:
    position = mpc_position(protocol, depth=depth, cofactor=cofactor)
    proof = MpcProof(position, cofactor, (b"\7" * 32,) * depth)
    assert len(proof.commitment(protocol, COMMITMENT)) == 32
    with pytest.raises(MpcError):
        replace(proof, position=position + 1).commitment(protocol, COMMITMENT)


def test_a_path_of_32_can_be_encoded_and_proves_nothing() -> None:
    proof = MpcProof(0, 0, (bytes(32),) * 32)
    assert MpcProof.read(Reader(proof.serialize())) == proof
    with pytest.raises(MpcError):
        proof.commitment(bytes(32), COMMITMENT)
    with pytest.raises(RgbFormatError):
        MpcProof(0, 0, (bytes(32),) * 33)


@given(strategies.mpc_proofs())
def test_mpc_proofs_round_trip(proof: MpcProof) -> None:
    reader = Reader(proof.serialize())
    assert MpcProof.read(reader) == proof
    reader.finish()


@pytest.mark.parametrize("messages", [{}, {b"\1" * 31: bytes(32)}, {bytes(32): b"\1"}])
def test_a_tree_of_nothing_or_of_other_sizes_is_refused(messages: dict[bytes, bytes]) -> None:
    with pytest.raises((MpcError, RgbFormatError)):
        MpcTree(messages, entropy=0)


def test_a_tree_proves_no_protocol_that_it_does_not_hold() -> None:
    with pytest.raises(MpcError):
        MpcTree({bytes(32): bytes(32)}, entropy=0).proof(b"\1" * 32)


# opret


def test_the_first_output_that_can_commit_decides() -> None:
    opret, taproot, other = opret_script(COMMITMENT), p2tr(INTERNAL), p2wpkh(bytes(20))
    assert dbc_method(transaction(other, opret, taproot)) is Method.OPRET
    assert dbc_method(transaction(other, taproot, opret)) is Method.TAPRET
    assert dbc_method(transaction(other)) is None


def test_an_opret_is_the_whole_of_the_first_op_return() -> None:
    opret = opret_script(COMMITMENT)
    assert opret == b"\x6a\x20" + COMMITMENT
    OpretProof().verify(COMMITMENT, transaction(p2wpkh(bytes(20)), opret, b"\x6a"))
    for scripts in [(b"\x6a", opret), (opret + b"\0",), (opret[:-1],), (p2wpkh(bytes(20)),), ()]:
        with pytest.raises(DbcError):
            OpretProof().verify(COMMITMENT, transaction(*scripts))
    with pytest.raises(DbcError):
        OpretProof().verify(bytes(32), transaction(opret))


# tapret


def test_the_tapret_script_is_the_published_one() -> None:
    message = sha256(b"test data")
    leaf = tapret_script(message, 8)
    assert len(leaf) == 64
    assert leaf[31:63] == message
    assert leaf[63] == 8
    text = "k#7JerF92P=PEN7cf&`GWfS*?rIEdfEup1%zausI2m"
    assert base64.b85encode(message + b"\x08").decode() == text


@pytest.mark.parametrize(
    ("internal", "commitment", "output"),
    [
        (
            "a1edc0d86c22b6e894acd7a5c4f6ab1325b264c88bff043e588b321b6f021988",
            "adfebcdf7dec81bc4f4d82455bd3738ba76f6ea3c3a599eac766776856783d34",
            "87ff5c8b988d394d4e791c4096c2014a9c0d6695fc97db369b2be0ed0f810dbf",
        ),
        (
            "9ca4e6ef1477a5117449faedd010ff0b15a60bd9144fe52cfad479e882cc8bb6",
            "8741664e761969e86af74d41b2a15abc1a24a0a4f92f06cac4ab3c629d08c2f1",
            "f51e75d3167f5e3397a85d8d457884920dfae70b4cb54805addf4030fb53c87b",
        ),
    ],
)
def test_tapret_outputs_of_the_chain(internal: str, commitment: str, output: str) -> None:
    proof = TapretProof(bytes.fromhex(internal))
    message = bytes.fromhex(commitment)
    proof.verify(message, transaction(p2wpkh(bytes(20)), p2tr(bytes.fromhex(output))))
    with pytest.raises(DbcError):
        proof.verify(bytes(32), transaction(p2tr(bytes.fromhex(output))))
    with pytest.raises(DbcError):
        replace(proof, nonce=1).verify(message, transaction(p2tr(bytes.fromhex(output))))
    with pytest.raises(DbcError):
        proof.verify(message, transaction(p2wpkh(bytes(20))))


def test_the_partner_of_a_tapret_is_on_its_side() -> None:
    """As in the reference's own tests: nonce 1 is in order, nonce 11 is not."""
    TapretProof(INTERNAL, RightLeaf(b""), nonce=1).output_script(COMMITMENT)
    with pytest.raises(DbcError, match="side"):
        TapretProof(INTERNAL, RightLeaf(b""), nonce=11).output_script(COMMITMENT)
    leaf = tap_leaf_hash(tapret_script(COMMITMENT, 0))
    TapretProof(INTERNAL, LeftNode(leaf)).output_script(COMMITMENT)
    with pytest.raises(DbcError, match="side"):
        TapretProof(INTERNAL, LeftNode(b"\xff" * 32)).output_script(COMMITMENT)


def test_a_partner_that_may_commit_too_is_refused() -> None:
    other = tapret_script(bytes(32), 0)
    with pytest.raises(DbcError, match="another"):
        TapretProof(INTERNAL, RightLeaf(other)).output_script(COMMITMENT)
    with pytest.raises(DbcError, match="another"):
        TapretProof(INTERNAL, RightBranch(other[:32], bytes(32))).output_script(COMMITMENT)


def test_a_tapret_of_no_key_is_refused() -> None:
    with pytest.raises(DbcError):
        TapretProof(b"\xff" * 32).output_script(COMMITMENT)


@pytest.mark.parametrize(
    "proof",
    [
        OpretProof(),
        TapretProof(INTERNAL),
        TapretProof(INTERNAL, LeftNode(b"\1" * 32), 2),
        TapretProof(INTERNAL, RightLeaf(b"\x51", 0xC2), 3),
        TapretProof(INTERNAL, RightBranch(b"\1" * 32, b"\2" * 32), 255),
    ],
    ids=str,
)
def test_proofs_round_trip(proof: OpretProof | TapretProof) -> None:
    data = proof.serialize()
    reader = Reader(data)
    assert read_dbc_proof(reader) == proof
    reader.finish()
    for end in range(len(data)):
        with pytest.raises(RgbFormatError):
            read_dbc_proof(Reader(data[:end]))


@pytest.mark.parametrize("data", [b"\0", b"\3", b"\1\2", b"\1\1\3", b"\1\1\1\xc1" + bytes(70)])
def test_proofs_of_unknown_kinds_are_refused(data: bytes) -> None:
    with pytest.raises(RgbFormatError):
        read_dbc_proof(Reader(data))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_commitment_is_32_bytes(size: int) -> None:
    with pytest.raises(RgbFormatError):
        opret_script(bytes(size))
    with pytest.raises(RgbFormatError):
        tapret_script(bytes(size), 0)
