"""What the application learns of the payment for the call that it serves."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from lightspeed.payment import Credential, Receipt

__all__ = ["Paid", "repetition_key"]

SCOPE_KEY = "lightspeed"


class Paid(NamedTuple):
    """A payment that is durably redeemed. `unit_value` is in msat, or in units of a token."""

    receipt: Receipt
    credential: Credential
    unit_value: int
    asset: bytes

    @property
    def units(self) -> int:
        """Units of the book that this call redeemed."""
        return self.receipt.count

    @property
    def amount(self) -> int:
        """What was paid, in msat or in units of a token."""
        return self.receipt.count * self.unit_value

    @property
    def key(self) -> bytes:
        """The same for every presentation of the same decoded credential; no secret itself."""
        return repetition_key(self.credential)

    @staticmethod
    def of(scope: Mapping[str, Any]) -> "Paid | None":
        """What was paid for the request of an ASGI scope; None if it was free."""
        return scope.get(SCOPE_KEY)


def repetition_key(credential: Credential) -> bytes:
    """SHA256 of the decoded credential."""
    return hashlib.sha256(credential.to_bytes()).digest()
