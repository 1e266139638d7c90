"""Weights are those of real transactions, and fees round as BOLT 3 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    NUMS_H,
    P2A_OUTPUT_WEIGHT,
    P2A_SCRIPT,
    P2TR_KEY_PATH_WITNESS_WEIGHT,
    P2TR_OUTPUT_WEIGHT,
    P2WPKH_OUTPUT_WEIGHT,
    P2WPKH_WITNESS_WEIGHT,
    P2WSH_OUTPUT_WEIGHT,
    SEGWIT_MARKER_WEIGHT,
    TX_BASE_WEIGHT,
    TX_INPUT_WEIGHT,
    FeeRate,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    fee_for_weight,
    fee_rate_from_sat_per_vbyte,
    fee_rate_of,
    p2tr,
    p2wpkh,
    p2wsh,
    sat_per_vbyte,
)
from lightspeed.units import Sat


@pytest.mark.parametrize(
    ("script", "weight"),
    [
        (p2wpkh(bytes(20)), P2WPKH_OUTPUT_WEIGHT),
        (p2wsh(b""), P2WSH_OUTPUT_WEIGHT),
        (p2tr(NUMS_H), P2TR_OUTPUT_WEIGHT),
        (P2A_SCRIPT, P2A_OUTPUT_WEIGHT),
    ],
)
def test_output_weights_are_those_of_serialized_outputs(script: bytes, weight: int) -> None:
    assert 4 * len(TxOut(Sat(0), script).serialize()) == weight


@pytest.mark.parametrize(
    ("witness", "weight"),
    [
        ((bytes(64),), P2TR_KEY_PATH_WITNESS_WEIGHT),
        ((bytes(72), bytes(33)), P2WPKH_WITNESS_WEIGHT),
    ],
)
def test_transaction_weight_is_the_sum_of_the_constants(
    witness: tuple[bytes, ...], weight: int
) -> None:
    tx = Tx(
        2,
        (TxIn(OutPoint(bytes(32), 0), witness=witness),),
        (TxOut(Sat(0), P2A_SCRIPT),),
    )
    assert tx.weight == (
        TX_BASE_WEIGHT + SEGWIT_MARKER_WEIGHT + TX_INPUT_WEIGHT + weight + P2A_OUTPUT_WEIGHT
    )


def test_fee_of_the_bolt_3_commitments() -> None:
    # BOLT 3, "Fee Calculation For Commitment Transactions", and its example.
    assert fee_for_weight(724, FeeRate(5_000)) == 3_620
    assert fee_for_weight(1_124, FeeRate(5_000)) == 5_620
    assert fee_for_weight(663, FeeRate(253)) == 167  # 167.739


@given(st.integers(1, 400_000), st.integers(253, 1_000_000))
def test_rate_of_a_fee_is_at_most_the_rate_that_made_it(weight: int, rate: int) -> None:
    fee = fee_for_weight(weight, FeeRate(rate))
    assert fee_rate_of(fee, weight) <= rate
    assert fee_for_weight(weight, fee_rate_of(fee, weight)) <= fee


def test_one_sat_per_vbyte_is_250_sat_per_kw() -> None:
    assert fee_rate_from_sat_per_vbyte(1) == 250
    assert fee_rate_from_sat_per_vbyte(1.001) == 251
    assert sat_per_vbyte(FeeRate(500)) == 2.0


@given(st.integers(400, 400_000))
def test_floor_pays_one_sat_per_vbyte_of_any_real_transaction(weight: int) -> None:
    assert fee_for_weight(weight, FEE_RATE_FLOOR) >= (weight + 3) // 4
