"""secp256k1 keys and signatures, over libsecp256k1 (package coincurve).

ECDSA nonces are RFC 6979 without grinding for a small R, as the BOLT 3 vectors have them.
"""

from dataclasses import dataclass, field
from typing import Self

import coincurve

from lightspeed.bitcoin.errors import BadSignature, InvalidKey
from lightspeed.bitcoin.hashes import hash160

__all__ = [
    "GROUP_ORDER",
    "PrivateKey",
    "PublicKey",
    "der_decode",
    "der_encode",
    "verify_schnorr",
]

GROUP_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_NO_AUX = bytes(32)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point of the curve in its compressed form, 33 bytes; `InvalidKey` if it is none."""

    data: bytes
    _point: coincurve.PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.data) != 33:
            raise InvalidKey(f"a public key has 33 bytes, not {len(self.data)}")
        try:
            point = coincurve.PublicKey(self.data)
        except ValueError:
            raise InvalidKey("not a point of the curve") from None
        object.__setattr__(self, "_point", point)

    def __repr__(self) -> str:
        return f"PublicKey({self.data.hex()})"

    @classmethod
    def from_x_only(cls, x: bytes) -> Self:
        """BIP 340's lift_x: the point with this X and an even Y."""
        return cls(b"\x02" + x)

    @property
    def x_only(self) -> bytes:
        """32 bytes."""
        return self.data[1:]

    @property
    def has_odd_y(self) -> bool:
        return self.data[0] == 3

    @property
    def hash160(self) -> bytes:
        return hash160(self.data)

    def add_tweak(self, scalar: bytes) -> "PublicKey":
        """`P + scalar * G`, scalar of 32 bytes."""
        try:
            return _wrap(self._point.add(_scalar(scalar)))
        except ValueError:
            raise InvalidKey("the tweak leaves the group") from None

    def mul(self, scalar: bytes) -> "PublicKey":
        """`scalar * P`, scalar of 32 bytes."""
        try:
            return _wrap(self._point.multiply(_scalar(scalar)))
        except ValueError:
            raise InvalidKey("the factor is not in the group") from None

    def combine(self, *others: "PublicKey") -> "PublicKey":
        """The sum of the points."""
        try:
            return _wrap(self._point.combine([other._point for other in others]))
        except ValueError:
            raise InvalidKey("the points sum to infinity") from None

    def verify_ecdsa(self, signature: bytes, digest: bytes) -> None:
        """`signature` compact, 64 bytes, low S; raises `BadSignature`."""
        if not self._point.verify(der_encode(signature), digest, hasher=None):
            raise BadSignature("the ECDSA signature does not verify")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """32 secret bytes, which no repr, error or log shows."""

    secret: bytes = field(repr=False)
    _key: coincurve.PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise InvalidKey("a private key has 32 bytes")
        try:
            key = coincurve.PrivateKey(self.secret)
        except ValueError:
            raise InvalidKey("the private key is not in the group") from None
        object.__setattr__(self, "_key", key)

    @property
    def public(self) -> PublicKey:
        return _wrap(self._key.public_key)

    @property
    def x_only(self) -> bytes:
        return self.public.x_only

    def sign_ecdsa(self, digest: bytes) -> bytes:
        """Compact, 64 bytes, low S, nonce by RFC 6979."""
        return der_decode(self._key.sign(digest, hasher=None))

    def sign_ecdsa_der(self, digest: bytes) -> bytes:
        """As `sign_ecdsa`, in DER, without a hash type byte."""
        return self._key.sign(digest, hasher=None)

    def sign_schnorr(self, digest: bytes, aux: bytes = _NO_AUX) -> bytes:
        """BIP 340, 64 bytes; `aux` is 32 bytes of auxiliary randomness."""
        if len(aux) != 32:
            raise InvalidKey("auxiliary randomness has 32 bytes")
        return self._key.sign_schnorr(digest, aux)

    def add_tweak(self, scalar: bytes) -> "PrivateKey":
        try:
            return PrivateKey(self._key.add(_scalar(scalar)).secret)
        except ValueError:
            raise InvalidKey("the tweak leaves the group") from None

    def mul_tweak(self, scalar: bytes) -> "PrivateKey":
        try:
            return PrivateKey(self._key.multiply(_scalar(scalar)).secret)
        except ValueError:
            raise InvalidKey("the factor is not in the group") from None

    def negated_if_odd(self) -> "PrivateKey":
        """The key with the same X and an even Y: what signs for an x-only key."""
        if not self.public.has_odd_y:
            return self
        return PrivateKey((GROUP_ORDER - int.from_bytes(self.secret, "big")).to_bytes(32, "big"))

    def ecdh(self, public: PublicKey) -> bytes:
        """SHA-256 of the compressed shared point (BOLT 4 and BOLT 8)."""
        return self._key.ecdh(public.data)


def verify_schnorr(x_only: bytes, *, signature: bytes, digest: bytes) -> None:
    """BIP 340 with a digest of 32 bytes; raises `InvalidKey` or `BadSignature`."""
    if len(x_only) != 32:
        raise InvalidKey(f"an x-only key has 32 bytes, not {len(x_only)}")
    if len(signature) != 64:
        raise BadSignature(f"a Schnorr signature has 64 bytes, not {len(signature)}")
    try:
        key = coincurve.PublicKeyXOnly(x_only)
    except ValueError:
        raise InvalidKey("not the X of a point of the curve") from None
    if not key.verify(signature, digest):
        raise BadSignature("the Schnorr signature does not verify")


def der_encode(compact: bytes) -> bytes:
    """DER of a compact signature (64 bytes)."""
    if len(compact) != 64:
        raise BadSignature(f"a compact signature has 64 bytes, not {len(compact)}")
    body = _der_integer(compact[:32]) + _der_integer(compact[32:])
    return bytes([0x30, len(body)]) + body


def der_decode(der: bytes) -> bytes:
    """Compact form (64 bytes) of a strict DER signature (BIP 66); raises `BadSignature`."""
    if len(der) < 2 or der[0] != 0x30 or der[1] != len(der) - 2:
        raise BadSignature("not a DER sequence")
    r, rest = _read_der_integer(der[2:])
    s, rest = _read_der_integer(rest)
    if rest:
        raise BadSignature("bytes after the DER signature")
    return r + s


def _der_integer(scalar: bytes) -> bytes:
    magnitude = scalar.lstrip(b"\x00")
    if not magnitude or magnitude[0] & 0x80:
        magnitude = b"\x00" + magnitude
    return bytes([0x02, len(magnitude)]) + magnitude


def _read_der_integer(data: bytes) -> tuple[bytes, bytes]:
    """The 32 bytes of the integer at the start, and what follows it."""
    if len(data) < 3 or data[0] != 0x02 or not 1 <= data[1] <= 33 or len(data) < 2 + data[1]:
        raise BadSignature("not a DER integer")
    encoded, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    if encoded[0] & 0x80:
        raise BadSignature("a negative DER integer")
    if encoded[0] == 0 and len(encoded) > 1 and not encoded[1] & 0x80:
        raise BadSignature("a padded DER integer")
    value = int.from_bytes(encoded, "big")
    if value >= GROUP_ORDER:
        raise BadSignature("a DER integer outside the group")
    return value.to_bytes(32, "big"), rest


def _wrap(point: coincurve.PublicKey) -> PublicKey:
    return PublicKey(point.format())


def _scalar(scalar: bytes) -> bytes:
    if len(scalar) != 32:
        raise InvalidKey(f"a scalar has 32 bytes, not {len(scalar)}")
    return scalar
