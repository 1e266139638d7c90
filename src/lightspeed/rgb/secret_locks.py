"""The seal of a lock of scheme `seals`, which follows from the lock's secret.

The claim output of the transaction that commits to the assignment is output 1; what hides the
seal, until the secret is paid, is its blinding.
"""

from lightspeed.rgb.seals import SECRET_SEAL_TAG, GraphSeal, SecretSeal
from lightspeed.tagged import tagged_hash

__all__ = ["LOCK_SEAL_VOUT", "lock_blinding", "lock_seal", "secret_lock_seal"]

LOCK_SEAL_VOUT = 1

_BLINDING_SIZE = 8
_BEFORE_BLINDING = GraphSeal(None, LOCK_SEAL_VOUT, 0).serialize()[:-_BLINDING_SIZE]


def lock_blinding(secret: bytes) -> int:
    """The first 8 bytes, little endian, of `tagged_hash("lightspeed/seal", secret)`."""
    return int.from_bytes(_blinding(secret), "little")


def lock_seal(secret: bytes) -> GraphSeal:
    """What opens the assignment of a lock whose secret is known."""
    return GraphSeal(None, LOCK_SEAL_VOUT, lock_blinding(secret))


def secret_lock_seal(secret: bytes) -> SecretSeal:
    """What a book lists and a micropayment transaction assigns to: 32 bytes.

    `lock_seal(secret).conceal()` in half the time: a payee does it for each lock.
    """
    return SecretSeal(tagged_hash(SECRET_SEAL_TAG, _BEFORE_BLINDING, _blinding(secret)))


def _blinding(secret: bytes) -> bytes:
    return tagged_hash("lightspeed/seal", secret)[:_BLINDING_SIZE]
