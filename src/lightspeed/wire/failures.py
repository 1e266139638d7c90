"""The failures of BOLT 4 ("Failure Messages"): why a hop or the payee gave an HTLC back."""

import enum
from dataclasses import dataclass
from typing import Self

from lightspeed.units import Msat
from lightspeed.wire.primitives import Reader, encode_uint

__all__ = ["BADONION", "NODE", "PERM", "UPDATE", "Failure", "FailureCode"]

BADONION = 0x8000
"""The onion could not be parsed; failed by `update_fail_malformed_htlc`."""
PERM = 0x4000
"""Trying again is of no use."""
NODE = 0x2000
"""The node failed, not a channel of it."""
UPDATE = 0x1000
"""The forwarding parameters of the channel were not met."""


class FailureCode(enum.IntEnum):
    """Named as in BOLT 4."""

    TEMPORARY_NODE_FAILURE = NODE | 2
    PERMANENT_NODE_FAILURE = PERM | NODE | 2
    REQUIRED_NODE_FEATURE_MISSING = PERM | NODE | 3
    INVALID_ONION_VERSION = BADONION | PERM | 4
    INVALID_ONION_HMAC = BADONION | PERM | 5
    INVALID_ONION_KEY = BADONION | PERM | 6
    TEMPORARY_CHANNEL_FAILURE = UPDATE | 7
    PERMANENT_CHANNEL_FAILURE = PERM | 8
    REQUIRED_CHANNEL_FEATURE_MISSING = PERM | 9
    UNKNOWN_NEXT_PEER = PERM | 10
    AMOUNT_BELOW_MINIMUM = UPDATE | 11
    FEE_INSUFFICIENT = UPDATE | 12
    INCORRECT_CLTV_EXPIRY = UPDATE | 13
    EXPIRY_TOO_SOON = UPDATE | 14
    INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS = PERM | 15
    FINAL_INCORRECT_CLTV_EXPIRY = 18
    FINAL_INCORRECT_HTLC_AMOUNT = 19
    CHANNEL_DISABLED = UPDATE | 20
    EXPIRY_TOO_FAR = 21
    INVALID_ONION_PAYLOAD = PERM | 22
    MPP_TIMEOUT = 23
    INVALID_ONION_BLINDING = BADONION | PERM | 24


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure message: its code (one of `FailureCode`, or unknown to us) and its data."""

    code: int
    data: bytes = b""

    @classmethod
    def incorrect_or_unknown_payment_details(cls, *, htlc_msat: Msat, height: int) -> Self:
        """The payee knows no such payment, or not with this amount, secret or expiry."""
        data = encode_uint(htlc_msat, 8) + encode_uint(height, 4)
        return cls(FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS, data)

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """From `failuremsg`; `WireError` when it has no code."""
        reader = Reader(message)
        return cls(reader.uint(2), reader.take_rest())

    def encode(self) -> bytes:
        """`failuremsg`: code and data."""
        return encode_uint(self.code, 2) + self.data

    @property
    def name(self) -> str:
        """For people: BOLT 4's name."""
        try:
            return FailureCode(self.code).name.lower()
        except ValueError:
            return f"unknown failure {self.code:#06x}"
