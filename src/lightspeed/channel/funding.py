"""The funding output as the input of commitment and closing transactions."""

from lightspeed.bitcoin import SIGHASH_ALL, PublicKey, Tx, der_encode, segwit_v0_sighash
from lightspeed.channel.scripts import funding_script
from lightspeed.units import Sat

__all__ = ["ecdsa_item", "funding_digest", "funding_witness"]


def ecdsa_item(signature: bytes, hash_type: int = SIGHASH_ALL) -> bytes:
    """The witness item of a compact signature (64 bytes): DER, then the hash type."""
    return der_encode(signature) + bytes([hash_type])


def funding_digest(tx: Tx, *, funding_sat: Sat, funding_keys: tuple[PublicKey, PublicKey]) -> bytes:
    """What both sides sign of a transaction whose only input is the funding output."""
    return segwit_v0_sighash(
        tx, 0, script_code=funding_script(*funding_keys), value=funding_sat, hash_type=SIGHASH_ALL
    )


def funding_witness(
    *, funding_keys: tuple[PublicKey, PublicKey], signatures: tuple[bytes, bytes]
) -> tuple[bytes, ...]:
    """Compact signatures in the order of `funding_keys`; the witness has them sorted by key."""
    pairs = sorted(zip(funding_keys, signatures, strict=True), key=lambda pair: pair[0].data)
    return (b"", *(ecdsa_item(signature) for _, signature in pairs), funding_script(*funding_keys))
