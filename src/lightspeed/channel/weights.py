"""Weights of the transactions of BOLT 3 ("Appendix A: Expected Weights").

Fees of commitments and HTLC transactions are computed from these constants, not from serialized
transactions: both sides must arrive at the same figure before a signature exists.
"""

from lightspeed.bitcoin import (
    P2WPKH_OUTPUT_WEIGHT,
    P2WSH_OUTPUT_WEIGHT,
    SEGWIT_MARKER_WEIGHT,
    TX_BASE_WEIGHT,
    TX_INPUT_WEIGHT,
    WITNESS_SCALE_FACTOR,
    compact_size,
)

__all__ = [
    "ANCHORS_COMMITMENT_WEIGHT",
    "COMMITMENT_WEIGHT",
    "ECDSA_SIGNATURE_SIZE",
    "FUNDING_WITNESS_WEIGHT",
    "HTLC_OUTPUT_WEIGHT",
    "SCHNORR_SIGNATURE_SIZE",
    "closing_weight",
    "commitment_weight",
    "htlc_success_weight",
    "htlc_timeout_weight",
    "output_weight",
    "transaction_weight",
    "witness_weight",
]

# DER: sequence header, two integers of 33 (R may need a leading zero) and 32 bytes (S is low)
# with their headers; then the hash type.
ECDSA_SIGNATURE_SIZE = 2 + (2 + 33) + (2 + 32) + 1  # = 72
SCHNORR_SIGNATURE_SIZE = 64  # SIGHASH_DEFAULT has no type byte

HTLC_OUTPUT_WEIGHT = P2WSH_OUTPUT_WEIGHT

_BOLT3_SIGNATURE_SIZE = 73  # from the time before low S was enforced
_FUNDING_SCRIPT_SIZE = 1 + 34 + 34 + 1 + 1  # OP_2, two pushed keys, OP_2, OP_CHECKMULTISIG
# Item count, dummy, two signatures, script.
FUNDING_WITNESS_WEIGHT = 1 + 1 + 2 * (1 + _BOLT3_SIGNATURE_SIZE) + (1 + _FUNDING_SCRIPT_SIZE)

_COMMITMENT_FRAME_WEIGHT = (
    TX_BASE_WEIGHT + TX_INPUT_WEIGHT + SEGWIT_MARKER_WEIGHT + FUNDING_WITNESS_WEIGHT
)
COMMITMENT_WEIGHT = (
    _COMMITMENT_FRAME_WEIGHT + P2WSH_OUTPUT_WEIGHT + P2WPKH_OUTPUT_WEIGHT
)  # = 724: to_local, to_remote
ANCHORS_COMMITMENT_WEIGHT = (
    _COMMITMENT_FRAME_WEIGHT
    + 4 * P2WSH_OUTPUT_WEIGHT  # to_local, to_remote, two anchors
    + 2 * WITNESS_SCALE_FACTOR  # BOLT 3 counts three bytes for the number of outputs
)  # = 1,124

# Version, input and output counts, input, output, locktime.
_HTLC_TX_BASE_WEIGHT = TX_BASE_WEIGHT + TX_INPUT_WEIGHT + P2WSH_OUTPUT_WEIGHT  # = 376
_OFFERED_HTLC_SCRIPT_SIZE = 133
_RECEIVED_HTLC_SCRIPT_SIZE = 140
_ANCHORS_HTLC_SCRIPT_SIZE = 3  # OP_1, OP_CHECKSEQUENCEVERIFY, OP_DROP
# Item count, dummy, two signatures.
_HTLC_WITNESS_HEAD = 1 + 1 + 2 * (1 + _BOLT3_SIGNATURE_SIZE)
# An empty item or the preimage, then the script.
_TIMEOUT_WITNESS_WEIGHT = _HTLC_WITNESS_HEAD + 1 + (1 + _OFFERED_HTLC_SCRIPT_SIZE)  # = 285
_SUCCESS_WITNESS_WEIGHT = _HTLC_WITNESS_HEAD + (1 + 32) + (1 + _RECEIVED_HTLC_SCRIPT_SIZE)  # = 324
_HISTORICAL_SURPLUS = 1  # BOLT 3 says 703 "for historical reasons", where its parts sum to 702


def commitment_weight(*, untrimmed_htlcs: int, anchors: bool, extension_weight: int = 0) -> int:
    """Expected weight of a commitment transaction; what extensions add comes on top."""
    base = ANCHORS_COMMITMENT_WEIGHT if anchors else COMMITMENT_WEIGHT
    return base + untrimmed_htlcs * HTLC_OUTPUT_WEIGHT + extension_weight


def htlc_timeout_weight(*, anchors: bool) -> int:
    """Expected weight of an HTLC-timeout transaction: 663, with anchors 666."""
    weight = _HTLC_TX_BASE_WEIGHT + SEGWIT_MARKER_WEIGHT + _TIMEOUT_WITNESS_WEIGHT
    return weight + (_ANCHORS_HTLC_SCRIPT_SIZE if anchors else 0)


def htlc_success_weight(*, anchors: bool) -> int:
    """Expected weight of an HTLC-success transaction: 703, with anchors 706."""
    weight = _HTLC_TX_BASE_WEIGHT + SEGWIT_MARKER_WEIGHT + _SUCCESS_WITNESS_WEIGHT
    weight += _HISTORICAL_SURPLUS
    return weight + (_ANCHORS_HTLC_SCRIPT_SIZE if anchors else 0)


def closing_weight(*scripts: bytes) -> int:
    """Expected weight of a closing transaction with outputs to these scripts."""
    return transaction_weight(
        witness_weights=(FUNDING_WITNESS_WEIGHT,),
        output_weights=tuple(output_weight(script) for script in scripts),
    )


def output_weight(script: bytes) -> int:
    """Weight of an output with this scriptPubKey."""
    return WITNESS_SCALE_FACTOR * (8 + len(compact_size(len(script))) + len(script))


def witness_weight(*item_sizes: int) -> int:
    """Weight of one input's witness: the item count, then each item behind its length."""
    items = sum(len(compact_size(size)) + size for size in item_sizes)
    return len(compact_size(len(item_sizes))) + items


def transaction_weight(*, witness_weights: tuple[int, ...], output_weights: tuple[int, ...]) -> int:
    """Weight of a transaction whose inputs are all native segwit, one for each witness."""
    counts = len(compact_size(len(witness_weights))) + len(compact_size(len(output_weights)))
    return (
        TX_BASE_WEIGHT
        + WITNESS_SCALE_FACTOR * (counts - 2)  # TX_BASE_WEIGHT has one byte for each
        + SEGWIT_MARKER_WEIGHT
        + TX_INPUT_WEIGHT * len(witness_weights)
        + sum(witness_weights)
        + sum(output_weights)
    )
