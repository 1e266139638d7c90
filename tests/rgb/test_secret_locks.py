"""The seal of a lock follows from its secret alone, as RGB v0.11.1 conceals seals."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.rgb import GraphSeal, lock_blinding, lock_seal, secret_lock_seal


def tagged(tag: str, data: bytes) -> bytes:
    """Written out, so that a wrong midstate shows."""
    head = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(head + head + data).digest()


@given(st.binary(min_size=32, max_size=32))
def test_a_lock_seal_is_output_1_of_the_witness_transaction_blinded_by_the_secret(
    secret: bytes,
) -> None:
    blinding = tagged("lightspeed/seal", secret)[:8]
    assert lock_seal(secret) == GraphSeal(None, 1, int.from_bytes(blinding, "little"))
    # RGB v0.11.1: the seal's transaction (0: the witness), output u32, blinding u64.
    sealed = b"\0" + b"\1\0\0\0" + blinding
    assert secret_lock_seal(secret) == tagged("urn:lnp-bp:seals:secret#2024-02-03", sealed)
    assert secret_lock_seal(secret) == lock_seal(secret).conceal()


@pytest.mark.parametrize(
    ("secret", "blinding", "seal"),
    [
        (
            bytes(32),
            12585948912594357093,
            "4f8eaa27cc9feb5b5f822bffea6e2f45069a8bd344622ed38c9842375431cb43",
        ),
        (
            bytes(range(32)),
            356243944256735744,
            "caadf1dad51649b66cce9d0399131a0542147a75cd1aee2662fe241726765e3c",
        ),
    ],
)
def test_lock_seals_are_these_for_ever(secret: bytes, blinding: int, seal: str) -> None:
    assert lock_blinding(secret) == blinding
    assert secret_lock_seal(secret).hex() == seal
