"""Ids that others published, from what is written out here: contracts, the schema, its script."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from lightspeed.bitcoin import sha256, txid_from_hex
from lightspeed.rgb import (
    ASSET_OWNER,
    ISSUED_SUPPLY,
    NIA_ARTICLES,
    NIA_SCHEMA,
    NIA_SCHEMA_ID,
    SPEC,
    TERMS,
    AssetSpec,
    Assignments,
    ChainNet,
    GenesisSeal,
    Reader,
    Transition,
    contract_id_text,
    issue,
)
from lightspeed.rgb.nia import TRANSFER
from lightspeed.rgb.nia_articles import NIA_SCRIPT
from lightspeed.tagged import tagged_hash
from rgb_world import VECTORS

LIBRARY = "abf099d28bed50df5e065715327f3a9b329f777cb0b9fefff634c193a03cb626"
MANY = 0xFFFF


@pytest.mark.parametrize(
    ("timestamp", "blinding", "text"),
    [
        (1713261744, 100_001, "rgb:k0vsa6zj-CLYfnru-63unuJv-qZ2IVJ5-zlENzlF-MkiJNuw"),
        (1745867376, 0x7AD96C80F2404E33, "rgb:~gVCwUqQ-G2HcK_y-nwbiHK3-w6vwbRp-tjWwnEG-9yQmnNk"),
    ],
    ids=["now", "before assignments were counted in 16 bits"],
)
def test_the_schemas_own_example_has_its_id(timestamp: int, blinding: int, text: str) -> None:
    """test/nia-example.rgba of rgb-schemas, in two versions; the id commits to no count."""
    txid = txid_from_hex("14295d5bb1a191cdb6286dc0944df938421e3dfcbf0811353ccac4100c2068c5")
    genesis = issue(
        spec=AssetSpec(ticker="TEST", name="Test asset", precision=8),
        chain_net=ChainNet.BITCOIN_TESTNET4,
        timestamp=timestamp,
        allocations=[(GenesisSeal(txid, 1, blinding), 100_000)],
    )
    assert contract_id_text(genesis.contract_id) == text


def test_the_kit_holds_the_schema_types_and_scripts_of_every_consignment() -> None:
    kit = (VECTORS / "NonInflatableAsset.rgb").read_bytes()
    assert kit[9:] == NIA_ARTICLES
    types_and_scripts = NIA_ARTICLES[304:]
    assert len(types_and_scripts) == 4_049
    digest = "923f9e3272c0b3280ccf6b66620b480e60b28a5fd689bbf64e0e53d0f8c96da6"
    assert sha256(types_and_scripts).hex() == digest


def test_the_script_has_its_published_id() -> None:
    reader = Reader(NIA_SCRIPT)
    assert reader.take(2) == b"\1\0"  # one library
    extensions = [part.decode() for part in reader.items(1, lambda each: each.sized(1))]
    code, data = reader.sized(2), reader.sized(2)
    assert reader.items(1, lambda each: each.take(32)) == ()  # of other libraries
    assert (len(code), len(data)) == (33, 4)
    name = " ".join(extensions)
    assert name == "ALU BPDIGEST RGB"
    sizes = [len(part).to_bytes(2, "little") for part in (code, data)]
    hashed = tagged_hash(
        "urn:ubideco:aluvm:lib:v01#230304",
        bytes((len(name),)) + name.encode(),
        sizes[0] + code,
        sizes[1] + data,
        b"\0",
    )
    assert hashed.hex() == LIBRARY


def occurrences(reader: Reader) -> dict[int, tuple[int, int]]:
    def one(each: Reader) -> tuple[int, tuple[int, int]]:
        return each.unsigned(2), (each.unsigned(2), each.unsigned(2))

    return dict(reader.items(1, one))


def test_the_schema_says_what_the_rules_check() -> None:
    assert len(NIA_SCHEMA) == 304
    published = "45687051f4cca6e3f665fc75fe3e27b30080346789ad83aa0dc29e95a315e335"
    assert NIA_SCHEMA_ID.hex() == published
    reader = Reader(NIA_SCHEMA)
    assert (reader.take(2), reader.sized(1)) == (b"\0\0", b"NonInflatableAsset")
    assert reader.unsigned(1) == 0  # types of metadata
    globals_ = reader.items(
        1, lambda each: (each.unsigned(2), each.take(32).hex(), each.unsigned(3), each.sized(1))
    )
    assert globals_ == (
        (SPEC, "d7fcbee31ef0a85d5f973bda1b0b8c9e7efbcbc5572577382cacd3bdb4218a01", 1, b"spec"),
        (TERMS, "5b8bc7543832054a1d22be94226be7538b133a26881cba4613027878e05c6cf7", 1, b"terms"),
        (
            ISSUED_SUPPLY,
            "888c5865633af13b95b7cd1a8d8af2dac1dc140b977251d9d4daf3c7511c8e84",
            1,
            b"issuedSupply",
        ),
    )
    fungible, of_64_bits = 1, 8
    assert reader.unsigned(1) == 1
    owned = (reader.unsigned(2), reader.unsigned(1), reader.unsigned(1), reader.sized(1))
    assert owned == (ASSET_OWNER, fungible, of_64_bits, b"assetOwner")
    assert reader.unsigned(2) == TRANSFER  # by default
    once, some = (1, 1), (1, MANY)
    assert reader.unsigned(1) == 0  # metadata of a genesis
    assert occurrences(reader) == {SPEC: once, TERMS: once, ISSUED_SUPPLY: once}
    assert occurrences(reader) == {ASSET_OWNER: some}
    assert (reader.take(1), reader.take(32).hex(), reader.unsigned(2)) == (b"\1", LIBRARY, 9)
    assert (reader.unsigned(1), reader.unsigned(2)) == (1, TRANSFER)
    assert reader.unsigned(1) == 0  # metadata of a transfer
    assert occurrences(reader) == {}
    assert occurrences(reader) == {ASSET_OWNER: some}  # inputs
    assert occurrences(reader) == {ASSET_OWNER: some}
    assert (reader.take(1), reader.take(32).hex(), reader.unsigned(2)) == (b"\1", LIBRARY, 0)
    assert reader.sized(1) == b"transfer"
    assert (reader.take(1), reader.unsigned(2)) == (b"\1", ASSET_OWNER)  # by default
    reader.finish()


@settings(max_examples=40)
@given(strategies.transitions(), st.integers(0, 2**12 - 1))
def test_concealing_some_seals_changes_no_id(transition: Transition, which: int) -> None:
    mixed = Assignments(
        tuple(
            (
                kind,
                tuple(
                    assign.conceal() if which >> (4 * place + number) & 1 else assign
                    for number, assign in enumerate(assigns)
                ),
            )
            for place, (kind, assigns) in enumerate(transition.assignments.by_type)
        )
    )
    assert replace(transition, assignments=mixed).opid == transition.opid
