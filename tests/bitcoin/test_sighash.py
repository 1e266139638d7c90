"""Digests are those of Bitcoin Core and of BIP 143, 341 and 342."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import (
    SIGHASH_ALL,
    SIGHASH_SINGLE,
    Op,
    OutPoint,
    PrivateKey,
    PublicKey,
    ScriptError,
    SighashError,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    der_decode,
    legacy_sighash,
    p2tr,
    script,
    segwit_v0_sighash,
    taproot_sighash,
    txid_hex,
)
from lightspeed.units import Sat

VECTORS = Path(__file__).parents[1] / "vectors" / "bip"
BIP143: list[dict[str, Any]] = json.loads((VECTORS / "bip143.json").read_text())

TWO_INPUTS = Tx(
    2,
    (TxIn(OutPoint(bytes(32), 0)), TxIn(OutPoint(bytes(32), 1))),
    (TxOut(Sat(1_000), p2tr(bytes(32))),),
)
PREVOUTS = (TxOut(Sat(600), p2tr(bytes(32))), TxOut(Sat(700), p2tr(bytes(32))))


def test_legacy_digests_of_core(vectors: Callable[[str, int], None]) -> None:
    cases = json.loads((VECTORS / "sighash.json").read_text())[1:]
    for raw, code, index, hash_type, expected in cases:
        digest = legacy_sighash(
            Tx.parse(bytes.fromhex(raw)),
            index,
            script_code=bytes.fromhex(code),
            hash_type=hash_type,
        )
        assert txid_hex(digest) == expected
    assert len(cases) == 500
    vectors("Bitcoin Core sighash.json", len(cases))


@pytest.mark.parametrize("case", BIP143, ids=lambda case: case["name"])
def test_segwit_digests_of_bip_143(
    case: dict[str, Any], vectors: Callable[[str, int], None]
) -> None:
    digest = segwit_v0_sighash(
        Tx.parse(bytes.fromhex(case["tx"])),
        case["index"],
        script_code=bytes.fromhex(case["script_code"]),
        value=Sat(case["value"]),
        hash_type=case["hash_type"],
    )
    assert digest.hex() == case["sighash"]

    der, hash_type = bytes.fromhex(case["signature"])[:-1], bytes.fromhex(case["signature"])[-1]
    assert hash_type == case["hash_type"]
    if "private_key" in case:
        key = PrivateKey(bytes.fromhex(case["private_key"]))
        assert key.sign_ecdsa_der(digest) == der
        key.public.verify_ecdsa(key.sign_ecdsa(digest), digest)
    else:
        # Made by key recovery: a high S, which we refuse to verify but do decode.
        assert der_decode(der)[32] & 0x80
        PublicKey(bytes.fromhex(case["public_key"]))
    vectors("BIP 143 examples", 1)


def test_there_are_thirteen_examples_in_bip_143() -> None:
    assert len(BIP143) == 13


def test_legacy_single_without_its_output_is_one() -> None:
    digest = legacy_sighash(TWO_INPUTS, 1, script_code=b"", hash_type=SIGHASH_SINGLE)
    assert digest == b"\x01" + bytes(31)


def test_legacy_code_separators_go_and_pushes_keep_their_form() -> None:
    separator, check = script(Op.OP_CODESEPARATOR), script(Op.OP_CHECKSIG)
    pushes = bytes.fromhex("4c0107 4d010007 4e0100000007 0107 00")
    hidden = bytes.fromhex("01ab 4c01ab")

    def digest(code: bytes) -> bytes:
        return legacy_sighash(TWO_INPUTS, 0, script_code=code, hash_type=SIGHASH_ALL)

    assert digest(separator + pushes + separator + check + separator) == digest(pushes + check)
    assert digest(separator + hidden) == digest(hidden) != digest(pushes)


def test_legacy_code_that_does_not_parse_is_refused() -> None:
    with pytest.raises(ScriptError):
        legacy_sighash(TWO_INPUTS, 0, script_code=b"\xab\x05", hash_type=SIGHASH_ALL)


def test_shared_digest_gives_what_single_ones_give() -> None:
    shared = TxDigest(TWO_INPUTS, PREVOUTS)
    for index in range(2):
        assert shared.taproot(index) == taproot_sighash(TWO_INPUTS, index, prevouts=PREVOUTS)
        assert shared.segwit_v0(index, script_code=b"\x51", value=Sat(5)) == segwit_v0_sighash(
            TWO_INPUTS, index, script_code=b"\x51", value=Sat(5)
        )


def test_taproot_digest_binds_leaf_annex_and_code_separator() -> None:
    digests = {
        taproot_sighash(TWO_INPUTS, 0, prevouts=PREVOUTS, **extra)
        for extra in (
            {},
            {"leaf_hash": bytes(32)},
            {"leaf_hash": b"\x01" * 32},
            {"leaf_hash": bytes(32), "codesep_pos": 0},
            {"annex": b"\x50"},
            {"annex": b"\x50", "leaf_hash": bytes(32)},
            {"hash_type": SIGHASH_ALL},
        )
    }
    assert len(digests) == 7


@pytest.mark.parametrize("hash_type", [0x04, 0x80, 0x84, 0xFF, 0x100])
def test_taproot_hash_types_that_bip_341_does_not_define_are_refused(hash_type: int) -> None:
    with pytest.raises(SighashError):
        taproot_sighash(TWO_INPUTS, 0, prevouts=PREVOUTS, hash_type=hash_type)


def test_taproot_single_without_its_output_is_refused() -> None:
    taproot_sighash(TWO_INPUTS, 0, prevouts=PREVOUTS, hash_type=SIGHASH_SINGLE)
    with pytest.raises(SighashError):
        taproot_sighash(TWO_INPUTS, 1, prevouts=PREVOUTS, hash_type=SIGHASH_SINGLE)


def test_taproot_needs_all_spent_outputs() -> None:
    with pytest.raises(SighashError):
        TxDigest(TWO_INPUTS).taproot(0)
    with pytest.raises(SighashError):
        TxDigest(TWO_INPUTS, PREVOUTS[:1])


@pytest.mark.parametrize("index", [-1, 2])
def test_input_that_is_not_there_has_no_digest(index: int) -> None:
    with pytest.raises(SighashError):
        legacy_sighash(TWO_INPUTS, index, script_code=b"", hash_type=SIGHASH_ALL)
    with pytest.raises(SighashError):
        segwit_v0_sighash(TWO_INPUTS, index, script_code=b"", value=Sat(0))
    with pytest.raises(SighashError):
        taproot_sighash(TWO_INPUTS, index, prevouts=PREVOUTS)
