"""Transactions keep every byte, and nothing but `TxParseError` comes out of a parser."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import (
    NULL_TXID,
    P2A_SCRIPT,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    TxParseError,
    p2tr,
    p2wsh,
    txid_from_hex,
    txid_hex,
)
from lightspeed.units import Sat
from strategies import outpoints, transactions

VECTORS = Path(__file__).parents[1] / "vectors" / "bip"


def raw_transactions(name: str) -> list[bytes]:
    entries = json.loads((VECTORS / name).read_text())
    return [bytes.fromhex(entry[1]) for entry in entries if len(entry) == 3]


@pytest.mark.parametrize(("name", "count"), [("tx_valid.json", 121), ("tx_invalid.json", 93)])
def test_core_transactions_round_trip_byte_for_byte(
    name: str, count: int, vectors: Callable[[str, int], None]
) -> None:
    raws = raw_transactions(name)
    for raw in raws:
        assert Tx.parse(raw).serialize() == raw
    assert len(raws) == count
    vectors(f"Bitcoin Core {name}", count)


def test_ids_and_weight_of_a_known_segwit_transaction() -> None:
    # BIP 143, "Native P2WPKH", the signed transaction.
    tx = Tx.parse(
        bytes.fromhex(
            "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000"
            "494830450221008b9d1dc26ba6a9cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be02204052"
            "9b194ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618ef3ed01eeffffffef51e1b804cc89d1"
            "82d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb2060000000019"
            "76a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e"
            "4dbe6a21b2d50ce2f0167faa815988ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0"
            "d5447a12fb1366d7f01cc44a0220573a954c4518331561406f90300e8f3358f51928d43c212a8caed02de6"
            "7eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee635711000000"
        )
    )
    assert txid_hex(tx.txid) == "e8151a2af31c368a35053ddd4bdb285a8595c769a3ad83e0fa02314a602d4609"
    assert txid_hex(tx.wtxid) == "c36c38370907df2324d9ce9d149d191192f338b37665a82e78e76a12c909b762"
    assert (tx.weight, tx.vsize) == (3 * 233 + 343, 261)


def test_txid_ignores_the_witness_and_wtxid_does_not() -> None:
    tx = Tx(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(Sat(1), P2A_SCRIPT),))
    signed = tx.with_witness(0, [b"\x01"])
    assert signed.txid == tx.txid == tx.wtxid != signed.wtxid
    assert tx.inputs[0].witness == ()


def test_copy_with_another_output_has_another_txid() -> None:
    tx = Tx(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(Sat(1), P2A_SCRIPT),))
    first = tx.txid
    signed = tx.with_witness(0, [b"\x01"])
    assert signed.txid == first
    assert Tx(2, tx.inputs, (TxOut(Sat(2), P2A_SCRIPT),)).txid != first


def test_weight_counts_the_witness_once_and_the_rest_four_times() -> None:
    tx = Tx(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(Sat(1), p2tr(bytes(32))),))
    assert tx.weight == 4 * (10 + 41 + 43)
    signed = tx.with_witness(0, [bytes(64)])
    assert signed.weight == tx.weight + 2 + 1 + 1 + 64
    assert signed.vsize == (signed.weight + 3) // 4 == 111


@given(transactions)
def test_any_transaction_round_trips(tx: Tx) -> None:
    raw = tx.serialize()
    assert Tx.parse(raw) == tx
    assert Tx.parse(tx.serialize(witness=False)).txid == tx.txid
    assert tx.weight == 3 * len(tx.serialize(witness=False)) + len(raw)


@given(outpoints)
def test_outpoint_text_round_trips(outpoint: OutPoint) -> None:
    assert OutPoint.parse(str(outpoint)) == outpoint
    assert txid_from_hex(txid_hex(outpoint.txid)) == outpoint.txid


def parses_or_is_refused(raw: bytes) -> None:
    try:
        tx = Tx.parse(raw)
    except TxParseError:
        return
    assert tx.serialize() == raw


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_the_declared_error(raw: bytes) -> None:
    parses_or_is_refused(raw)


@given(transactions, st.data())
def test_mutated_transactions_parse_or_raise_the_declared_error(
    tx: Tx, data: st.DataObject
) -> None:
    raw = bytearray(tx.serialize())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    parses_or_is_refused(bytes(raw))


@given(transactions, st.data())
def test_truncated_transaction_is_refused(tx: Tx, data: st.DataObject) -> None:
    raw = tx.serialize()
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(TxParseError):
        Tx.parse(raw[:cut])


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        ("trailing byte", "01000000 0000 00000000 00"),
        ("witness flag without a witness", "01000000 0001 00 00 00000000"),
        ("unknown flag", "01000000 0002 00 00 00000000"),
        (
            "superfluous witness",
            "01000000 0001 01" + "00" * 36 + "00 ffffffff 00 00 00000000",
        ),
        ("count not in its shortest form", "01000000 fd0000 00 00000000"),
        ("count of 64 bits", "01000000 ffffffffffffffffff"),
        ("nothing", ""),
    ],
)
def test_core_refuses_these_and_so_do_we(reason: str, raw: str) -> None:
    with pytest.raises(TxParseError):
        Tx.parse(bytes.fromhex(raw))


def test_count_above_32_mib_is_refused_before_anything_is_read() -> None:
    with pytest.raises(TxParseError, match="too large"):
        Tx.parse(bytes.fromhex("01000000 fe01000002"))


def test_transaction_without_inputs_and_outputs_is_read_as_core_reads_it() -> None:
    raw = bytes.fromhex("0100000000 00 00000000")
    tx = Tx.parse(raw)
    assert tx.inputs == tx.outputs == ()
    assert tx.serialize() == raw


def test_empty_list_of_inputs_before_outputs_is_the_segwit_marker() -> None:
    raw = Tx(1, (), (TxOut(Sat(0), b""),)).serialize()
    with pytest.raises(TxParseError):
        Tx.parse(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "00:0",
        "g" * 64 + ":0",
        "0" * 64,
        "0" * 64 + ":",
        "0" * 64 + ":-1",
        "0" * 64 + ":4294967296",
        "0" * 64 + ":1_0",
        "0" * 64 + ":²",
        " " + "0" * 64 + ":0",
    ],
)
def test_text_that_is_no_outpoint_is_refused(text: str) -> None:
    with pytest.raises(TxParseError):
        OutPoint.parse(text)


def test_only_a_null_outpoint_makes_a_coinbase() -> None:
    null = OutPoint(NULL_TXID, 0xFFFFFFFF)
    assert Tx(1, (TxIn(null),), ()).is_coinbase
    assert not Tx(1, (TxIn(OutPoint(NULL_TXID, 0)),), ()).is_coinbase
    assert not Tx(1, (TxIn(null), TxIn(null)), ()).is_coinbase


def test_output_names_its_own_outpoint() -> None:
    tx = Tx(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(Sat(1), p2wsh(b"")),))
    assert tx.outpoint(0) == OutPoint(tx.txid, 0)
