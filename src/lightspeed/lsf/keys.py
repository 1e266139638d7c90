"""Keys of LSF outputs and of their children.

Both parties tell one LSF basepoint when the channel is opened. An LSF output uses keys that
are new for each commitment, as BOLT 3 derives them; the outputs of children use keys that are
the same for the whole life of a book, so that their scripts are computed once.

In scripts all keys stand x-only (BIP 340); signing negates a secret whose point has an odd Y.
"""

from dataclasses import dataclass

from lightspeed.bitcoin import PrivateKey, PublicKey
from lightspeed.channel.keys import CommitmentKeys, derive_private_key, derive_public_key
from lightspeed.tagged import tagged_hash

__all__ = [
    "BookKeys",
    "LsfBasepoints",
    "LsfKeys",
    "book_private_key",
    "book_public_key",
    "lsf_private_key",
]

_BOOK_KEY_TAG = "lightspeed/book-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfBasepoints:
    """The LSF basepoints of both parties, as told in open_channel and accept_channel."""

    payer: PublicKey
    payee: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfKeys:
    """The public keys of the LSF outputs in one commitment."""

    payer: PublicKey
    payee: PublicKey
    revocation: PublicKey
    """Known in full to the countersignatory once the broadcaster has revoked."""

    @classmethod
    def derive(cls, commitment: CommitmentKeys, basepoints: LsfBasepoints) -> "LsfKeys":
        """BOLT 3, "Key Derivation", with the broadcaster's per-commitment point."""
        point = commitment.per_commitment_point
        return cls(
            payer=derive_public_key(basepoints.payer, point),
            payee=derive_public_key(basepoints.payee, point),
            revocation=commitment.revocation,
        )


def lsf_private_key(secret: PrivateKey, per_commitment_point: PublicKey) -> PrivateKey:
    """Of `LsfKeys.payer` or `.payee`, from the secret of that party's basepoint."""
    return derive_private_key(secret, per_commitment_point)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookKeys:
    """The public keys in the outputs of one book's children."""

    payer: PublicKey
    payee: PublicKey

    @classmethod
    def derive(cls, basepoints: LsfBasepoints, *, book_id: bytes) -> "BookKeys":
        return cls(
            payer=book_public_key(basepoints.payer, book_id=book_id),
            payee=book_public_key(basepoints.payee, book_id=book_id),
        )


def book_public_key(basepoint: PublicKey, *, book_id: bytes) -> PublicKey:
    """`basepoint + tagged_hash("lightspeed/book-key", book id, basepoint) x G`."""
    return basepoint.add_tweak(tagged_hash(_BOOK_KEY_TAG, book_id, basepoint.data))


def book_private_key(secret: PrivateKey, *, book_id: bytes) -> PrivateKey:
    """Of `book_public_key`, from the basepoint's secret."""
    return secret.add_tweak(tagged_hash(_BOOK_KEY_TAG, book_id, secret.public.data))
