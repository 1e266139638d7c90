"""Keys of a channel: secrets, basepoints and what each commitment derives from them.

BOLT 3, "Key Derivation". The per-commitment secrets are in `per_commitment`.
"""

from dataclasses import dataclass, field

from lightspeed.bitcoin import PrivateKey, PublicKey, sha256
from lightspeed.channel.per_commitment import per_commitment_secret
from lightspeed.tagged import tagged_hash

__all__ = [
    "Basepoints",
    "ChannelSecrets",
    "CommitmentKeys",
    "derive_private_key",
    "derive_public_key",
    "derive_revocation_private_key",
    "derive_revocation_public_key",
]


@dataclass(frozen=True, slots=True)
class Basepoints:
    """One side's public keys for a channel, as told in open_channel and accept_channel."""

    funding: PublicKey
    revocation: PublicKey
    payment: PublicKey
    delayed_payment: PublicKey
    htlc: PublicKey


@dataclass(frozen=True, slots=True)
class ChannelSecrets:
    """The holder's secrets for one channel, all from one 32-byte seed."""

    funding: PrivateKey = field(repr=False)
    revocation: PrivateKey = field(repr=False)
    payment: PrivateKey = field(repr=False)
    delayed_payment: PrivateKey = field(repr=False)
    htlc: PrivateKey = field(repr=False)
    commitment_seed: bytes = field(repr=False)
    extension_seed: bytes = field(repr=False)

    @classmethod
    def derive(cls, seed: bytes) -> "ChannelSecrets":
        """From a 32-byte seed that belongs to this channel alone."""
        return cls(
            funding=_derive_secret(seed, "funding"),
            revocation=_derive_secret(seed, "revocation"),
            payment=_derive_secret(seed, "payment"),
            delayed_payment=_derive_secret(seed, "delayed_payment"),
            htlc=_derive_secret(seed, "htlc"),
            commitment_seed=_derive_bytes(seed, "commitment_seed"),
            extension_seed=_derive_bytes(seed, "extension_seed"),
        )

    @property
    def basepoints(self) -> Basepoints:
        return Basepoints(
            funding=self.funding.public,
            revocation=self.revocation.public,
            payment=self.payment.public,
            delayed_payment=self.delayed_payment.public,
            htlc=self.htlc.public,
        )

    def extension_secret(self, name: str) -> PrivateKey:
        """A basepoint secret of an extension; `name` tells apart all of all extensions."""
        return _derive_secret(self.extension_seed, name)

    def per_commitment_secret(self, number: int) -> bytes:
        """32 bytes: what revokes the holder's commitment `number`, counted from 0."""
        return per_commitment_secret(self.commitment_seed, number)

    def per_commitment_point(self, number: int) -> PublicKey:
        return PrivateKey(self.per_commitment_secret(number)).public


def derive_public_key(basepoint: PublicKey, per_commitment_point: PublicKey) -> PublicKey:
    """BOLT 3, "`localpubkey`, `local_htlcpubkey`, ... Derivation"."""
    return basepoint.add_tweak(_tweak(per_commitment_point, basepoint))


def derive_private_key(secret: PrivateKey, per_commitment_point: PublicKey) -> PrivateKey:
    """The private key of `derive_public_key`."""
    return secret.add_tweak(_tweak(per_commitment_point, secret.public))


def derive_revocation_public_key(
    basepoint: PublicKey, per_commitment_point: PublicKey
) -> PublicKey:
    """From the countersignatory's basepoint and the broadcaster's point.

    BOLT 3, "`revocationpubkey` Derivation".
    """
    point = per_commitment_point
    return basepoint.mul(_tweak(basepoint, point)).combine(point.mul(_tweak(point, basepoint)))


def derive_revocation_private_key(
    secret: PrivateKey, per_commitment_secret: PrivateKey
) -> PrivateKey:
    """The private key of `derive_revocation_public_key`, once the broadcaster has revoked."""
    basepoint, point = secret.public, per_commitment_secret.public
    return secret.mul_tweak(_tweak(basepoint, point)).add_tweak(
        per_commitment_secret.mul_tweak(_tweak(point, basepoint)).secret
    )


@dataclass(frozen=True, slots=True)
class CommitmentKeys:
    """The public keys in one commitment transaction of the broadcaster."""

    per_commitment_point: PublicKey
    revocation: PublicKey
    broadcaster_delayed: PublicKey
    broadcaster_htlc: PublicKey
    countersignatory_htlc: PublicKey
    countersignatory_payment: PublicKey

    @classmethod
    def derive(
        cls,
        per_commitment_point: PublicKey,
        *,
        broadcaster: Basepoints,
        countersignatory: Basepoints,
    ) -> "CommitmentKeys":
        """With option_static_remotekey: the countersignatory's payment key is not tweaked."""
        point = per_commitment_point
        return cls(
            per_commitment_point=point,
            revocation=derive_revocation_public_key(countersignatory.revocation, point),
            broadcaster_delayed=derive_public_key(broadcaster.delayed_payment, point),
            broadcaster_htlc=derive_public_key(broadcaster.htlc, point),
            countersignatory_htlc=derive_public_key(countersignatory.htlc, point),
            countersignatory_payment=countersignatory.payment,
        )


def _tweak(first: PublicKey, second: PublicKey) -> bytes:
    return sha256(first.data + second.data)


def _derive_bytes(seed: bytes, name: str) -> bytes:
    return tagged_hash("lightspeed/channel-secret", seed, name.encode())


def _derive_secret(seed: bytes, name: str) -> PrivateKey:
    return PrivateKey(_derive_bytes(seed, name))
