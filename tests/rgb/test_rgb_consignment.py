"""A consignment is read from two forms, and written to the bytes that it was read from."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from lightspeed.bitcoin import Tx
from lightspeed.rgb import (
    NIA_ARTICLES,
    NIA_SCHEMA,
    ChainNet,
    Consignment,
    Reader,
    RgbError,
    RgbFormatError,
    UnknownSchema,
    consignment_from_json,
    encode_tx,
    read_tx,
    tx_from_json,
    validate,
    witnesses_of,
)
from lightspeed.rgb.failures import MissingScript, TypeSystemMismatch
from rgb_world import FIXTURES, VECTORS, consignment, consignment_bytes, published_txs


def json_of(name: str) -> Any:
    return json.loads((VECTORS / f"consignment_{name}.json").read_bytes())


@pytest.mark.parametrize("name", FIXTURES)
def test_a_consignment_is_written_as_it_was_read(name: str) -> None:
    data = consignment_bytes(name)
    found = Consignment.parse(data)
    assert found.serialize() == data
    with_magic = found.serialize(magic=True)
    assert with_magic == b"RGB\0TFR" + data
    assert Consignment.parse(with_magic) == found


@pytest.mark.parametrize("name", FIXTURES)
def test_json_and_bytes_say_the_same(name: str) -> None:
    text = (VECTORS / f"consignment_{name}.json").read_bytes()
    assert consignment_from_json(text) == consignment(name)
    assert consignment_from_json(text).serialize() == consignment_bytes(name)


def test_a_contract_is_a_consignment_of_its_own_kind() -> None:
    alone = Consignment(transfer=False, genesis=consignment("A").genesis)
    assert Consignment.parse(alone.serialize(magic=True)) == alone
    assert alone.serialize(magic=True).startswith(b"RGB\0CON")


def test_transactions_are_named_by_their_ids() -> None:
    for name in FIXTURES:
        names = {path.stem for path in (VECTORS / f"txs_{name}").iterdir()}
        assert {tx.txid[::-1].hex() for tx in published_txs(name)} == names
        carried = {bundle.txid for bundle in consignment(name).bundles}
        assert carried == {tx.txid for tx in published_txs(name)}


@settings(max_examples=50)
@given(strategies.transactions)
def test_transactions_round_trip(tx: Tx) -> None:
    reader = Reader(encode_tx(tx))
    assert read_tx(reader) == tx
    reader.finish()


@pytest.mark.parametrize("name", FIXTURES)
def test_a_consignment_cut_short_or_grown_is_refused(name: str) -> None:
    data = consignment_bytes(name)
    for end in [*range(0, len(data) - len(NIA_ARTICLES), 11), len(data) - 1]:
        with pytest.raises(RgbFormatError):
            Consignment.parse(data[:end])
    with pytest.raises(RgbFormatError):
        Consignment.parse(data + b"\0")


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(FIXTURES), st.integers(0, 2**32), st.integers(1, 255))
def test_no_byte_can_change(name: str, place: int, change: int) -> None:
    """But in the seals of terminals, which say who the consignment is for."""
    data = bytearray(consignment_bytes(name))
    data[place % len(data)] ^= change
    base = consignment(name)
    try:
        found = Consignment.parse(bytes(data))
        validate(found, witnesses_of(base), chain_net=ChainNet.BITCOIN_REGTEST)
    except RgbError:
        return
    assert found.serialize() == bytes(data)
    assert replace(found, terminals=base.terminals) == base
    assert found.terminals != base.terminals


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RGB\0KIT" + consignment_bytes("A"),
        b"RGB\0CON" + consignment_bytes("A"),
        b"RGB\0" + consignment_bytes("A"),
        (VECTORS / "NonInflatableAsset.rgb").read_bytes(),
        b"\1" + consignment_bytes("A")[1:],
        b"\0\2" + consignment_bytes("A")[2:],
        b"{}",
    ],
    ids=range(8),
)
def test_what_is_no_consignment_is_refused(data: bytes) -> None:
    with pytest.raises(RgbFormatError):
        Consignment.parse(data)


def test_another_schema_is_refused_by_name() -> None:
    data = consignment_bytes("A").replace(b"\x12NonInflatableAsset", b"\x13NonInflatableAsset2")
    with pytest.raises(UnknownSchema) as caught:
        Consignment.parse(data)
    assert caught.value.name == "NonInflatableAsset2"
    changed = json_of("A")
    changed["schema"]["name"] = "InflatableFungibleAsset"
    with pytest.raises(UnknownSchema, match="InflatableFungibleAsset"):
        consignment_from_json(json.dumps(changed))


def test_other_types_and_scripts_are_refused() -> None:
    data = bytearray(consignment_bytes("A"))
    data[-1] ^= 1
    with pytest.raises(MissingScript):
        Consignment.parse(bytes(data))
    data = bytearray(consignment_bytes("A"))
    data[-len(NIA_ARTICLES) + len(NIA_SCHEMA)] ^= 1
    with pytest.raises(TypeSystemMismatch):
        Consignment.parse(bytes(data))
    for part, failure in [("types", TypeSystemMismatch), ("scripts", MissingScript)]:
        changed = json_of("A")
        changed[part] = {}
        with pytest.raises(failure):
            consignment_from_json(json.dumps(changed))


def at(*path: str | int) -> Callable[[Any, Any], None]:
    def change(document: Any, value: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


TRANSITION = ("bundles", 0, "bundle", "knownTransitions", 0, "transition")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("version",), "v1"),
        (("transfer",), 1),
        (("terminals",), []),
        (("bundles",), {}),
        (("bundles", 0), None),
        (("genesis", "ffv"), 1),
        (("genesis", "ffv"), False),
        (("genesis", "schemaId"), "rgb:sch:AAA"),
        (("genesis", "timestamp"), 2**63),
        (("genesis", "issuer"), 5),
        (("genesis", "chainNet"), "bitcoinNowhere"),
        (("genesis", "sealClosingStrategy"), "firstOpretThenTapret"),
        (("genesis", "globals", "2000"), ["0"]),
        (("genesis", "globals", "x"), ["00"]),
        (("genesis", "assignments", "4000", "type"), "structured"),
        (("genesis", "assignments", "4000", "items"), []),
        (("bundles", 0, "pubWitness"), {"txid": "00"}),
        (("bundles", 0, "pubWitness", "tx", "version"), 2**31),
        (("bundles", 0, "pubWitness", "tx", "more"), 2),
        (("bundles", 0, "pubWitness", "tx", "inputs", 0, "prevOutput"), "00:1"),
        (("bundles", 0, "pubWitness", "tx", "outputs", 0, "value"), -1),
        (("bundles", 0, "anchor", "mpcProof", "pos"), True),
        (("bundles", 0, "anchor", "mpcProof", "path", 0), "00"),
        (("bundles", 0, "anchor", "dbcProof"), "tapret"),
        (("bundles", 0, "bundle", "inputMap"), {}),
        ((*TRANSITION, "contractId"), "rgb:A"),
        ((*TRANSITION, "inputs"), []),
        ((*TRANSITION, "inputs", 0), "00/1/2"),
        ((*TRANSITION, "inputs", 0), "7"),
        ((*TRANSITION, "nonce"), 1.5),
        ((*TRANSITION, "signature"), "00"),
        ((*TRANSITION, "assignments", "4000", "items", 0, "seal"), "00"),
    ],
    ids=str,
)
def test_json_of_another_form_is_refused(place: tuple[str | int, ...], value: object) -> None:
    changed = json_of("A")
    at(*place)(changed, value)
    with pytest.raises(RgbFormatError):
        consignment_from_json(json.dumps(changed))


@pytest.mark.parametrize(
    "text", [b"", b"[", b"null", b"\xff", b"[" * 100_000, b"1" * 5_000, b"{}", b'"text"']
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    for read in (consignment_from_json, tx_from_json):
        with pytest.raises(RgbFormatError):
            read(text)
