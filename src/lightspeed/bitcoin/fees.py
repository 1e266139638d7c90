"""Weights and fee rates.

Lightning counts fees in sat per 1,000 weight units (sat/kw): 1 sat/vB = 250 sat/kw.
"""

import math
from typing import NewType

from lightspeed.units import Sat

__all__ = [
    "FEE_RATE_FLOOR",
    "MAX_STANDARD_TX_WEIGHT",
    "P2A_OUTPUT_WEIGHT",
    "P2TR_KEY_PATH_WITNESS_WEIGHT",
    "P2TR_OUTPUT_WEIGHT",
    "P2WPKH_OUTPUT_WEIGHT",
    "P2WPKH_WITNESS_WEIGHT",
    "P2WSH_OUTPUT_WEIGHT",
    "SEGWIT_MARKER_WEIGHT",
    "TRUC_CHILD_MAX_VSIZE",
    "TRUC_MAX_VSIZE",
    "TRUC_VERSION",
    "TX_BASE_WEIGHT",
    "TX_INPUT_WEIGHT",
    "WITNESS_SCALE_FACTOR",
    "FeeRate",
    "fee_for_weight",
    "fee_rate_from_sat_per_vbyte",
    "fee_rate_of",
    "sat_per_vbyte",
]

FeeRate = NewType("FeeRate", int)
"""Sat per 1,000 weight units, the unit of BOLT 2's feerate_per_kw."""

WITNESS_SCALE_FACTOR = 4  # a byte outside the witness weighs 4 (BIP 141)

# Version, input count, output count, locktime; counts below 253.
TX_BASE_WEIGHT = 4 * (4 + 1 + 1 + 4)  # = 40
SEGWIT_MARKER_WEIGHT = 1 + 1  # marker, flag
# Outpoint, empty script and its length, sequence.
TX_INPUT_WEIGHT = 4 * (32 + 4 + 1 + 4)  # = 164

# Value, script length, script.
P2WPKH_OUTPUT_WEIGHT = 4 * (8 + 1 + 22)  # = 124
P2WSH_OUTPUT_WEIGHT = 4 * (8 + 1 + 34)  # = 172
P2TR_OUTPUT_WEIGHT = 4 * (8 + 1 + 34)  # = 172
P2A_OUTPUT_WEIGHT = 4 * (8 + 1 + 4)  # = 52

# Item count, then each item behind its length.
P2WPKH_WITNESS_WEIGHT = 1 + (1 + 72) + (1 + 33)  # = 108, with a signature of the largest size
P2TR_KEY_PATH_WITNESS_WEIGHT = 1 + (1 + 64)  # = 66, SIGHASH_DEFAULT

# Bitcoin Core's relay policy, and BIP 431 for TRUC ("topologically restricted until
# confirmation"): a version 3 transaction, and its one unconfirmed child.
MAX_STANDARD_TX_WEIGHT = 400_000
TRUC_VERSION = 3
TRUC_MAX_VSIZE = 10_000
TRUC_CHILD_MAX_VSIZE = 1_000

FEE_RATE_FLOOR = FeeRate(253)
"""Always relays at 1 sat/vB: 250 may fall below it when the weight is rounded up to vbytes."""


def fee_for_weight(weight: int, fee_rate: FeeRate) -> Sat:
    """Rounded down, as BOLT 3 ("Fee Calculation")."""
    return Sat(weight * fee_rate // 1_000)


def fee_rate_of(fee: Sat, weight: int) -> FeeRate:
    """The highest whole rate that `fee` pays for `weight`."""
    return FeeRate(fee * 1_000 // weight)


def fee_rate_from_sat_per_vbyte(rate: float) -> FeeRate:
    """Rounded up, so that the rate asked for is reached."""
    return FeeRate(math.ceil(rate * 250))


def sat_per_vbyte(fee_rate: FeeRate) -> float:
    return fee_rate / 250
