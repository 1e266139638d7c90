"""BOLT 4: the onion that carries a payment's instructions, one sealed layer per hop.

Sphinx over secp256k1; the session key is an argument and is used for one onion only.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from lightspeed.bitcoin.errors import InvalidKey
from lightspeed.bitcoin.keys import PrivateKey, PublicKey
from lightspeed.units import Msat
from lightspeed.wire.errors import EncodeError, WireError
from lightspeed.wire.failures import FailureCode
from lightspeed.wire.primitives import (
    Reader,
    encode_bigsize,
    encode_truncated_uint,
    encode_uint,
)
from lightspeed.wire.tlv import decode_tlv_stream, encode_tlv_stream

__all__ = [
    "HOP_PAYLOADS_SIZE",
    "ONION_PACKET_SIZE",
    "HopPayload",
    "OnionError",
    "OnionHop",
    "PaymentData",
    "PeeledOnion",
    "build_onion",
    "derive_shared_secrets",
    "keyed_stream",
    "onion_key",
    "peel_onion",
    "xor",
]

HMAC_SIZE = 32
HOP_PAYLOADS_SIZE = 1_300
ONION_PACKET_SIZE = 1 + 33 + HOP_PAYLOADS_SIZE + HMAC_SIZE  # version, key, payloads, HMAC
_VERSION = 0
_AMT_TO_FORWARD, _OUTGOING_CLTV, _SHORT_CHANNEL_ID, _PAYMENT_DATA, _METADATA = 2, 4, 6, 8, 16
_KNOWN_RECORDS = (_AMT_TO_FORWARD, _OUTGOING_CLTV, _SHORT_CHANNEL_ID, _PAYMENT_DATA, _METADATA)


class OnionError(WireError):
    """An onion that must be failed back with `code`.

    `shared_secret` seals the failure towards the origin; it is None when the code has the BADONION
    bit: then the answer is `update_fail_malformed_htlc`.
    """

    def __init__(self, code: FailureCode, shared_secret: bytes | None = None) -> None:
        super().__init__(code.name.lower())
        self.code = code
        self.shared_secret = shared_secret


@dataclass(frozen=True, slots=True)
class PaymentData:
    """Record 8: what ties an HTLC to an invoice."""

    payment_secret: bytes = field(repr=False)
    total_msat: Msat

    def __post_init__(self) -> None:
        if len(self.payment_secret) != 32:
            raise EncodeError("a payment secret has 32 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPayload:
    """BOLT 4, "The payload format". The last hop has no `short_channel_id`."""

    amt_to_forward: Msat
    outgoing_cltv_value: int
    short_channel_id: int | None = None
    payment_data: PaymentData | None = None
    payment_metadata: bytes | None = field(default=None, repr=False)

    def encode(self) -> bytes:
        """The TLV stream, without its length."""
        records = {
            _AMT_TO_FORWARD: encode_truncated_uint(self.amt_to_forward, 8),
            _OUTGOING_CLTV: encode_truncated_uint(self.outgoing_cltv_value, 4),
        }
        if self.short_channel_id is not None:
            records[_SHORT_CHANNEL_ID] = encode_uint(self.short_channel_id, 8)
        if self.payment_data is not None:
            total = encode_truncated_uint(self.payment_data.total_msat, 8)
            records[_PAYMENT_DATA] = self.payment_data.payment_secret + total
        if self.payment_metadata is not None:
            records[_METADATA] = self.payment_metadata
        return encode_tlv_stream(records)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """`WireError` also for blinded hops, which we do not know."""
        records = decode_tlv_stream(payload, known=_KNOWN_RECORDS)
        if _AMT_TO_FORWARD not in records or _OUTGOING_CLTV not in records:
            raise WireError("hop payload without amount or expiry")
        short_channel_id = payment_data = None
        if _SHORT_CHANNEL_ID in records:
            reader = Reader(records[_SHORT_CHANNEL_ID])
            short_channel_id = reader.uint(8)
            reader.finish()
        if _PAYMENT_DATA in records:
            reader = Reader(records[_PAYMENT_DATA])
            payment_data = PaymentData(reader.take(32), Msat(reader.truncated_uint(8)))
        return cls(
            amt_to_forward=Msat(Reader(records[_AMT_TO_FORWARD]).truncated_uint(8)),
            outgoing_cltv_value=Reader(records[_OUTGOING_CLTV]).truncated_uint(4),
            short_channel_id=short_channel_id,
            payment_data=payment_data,
            payment_metadata=records.get(_METADATA),
        )


@dataclass(frozen=True, slots=True)
class OnionHop:
    """A node of the route, and its payload without the length prefix."""

    node_id: PublicKey
    payload: bytes = field(repr=False)

    @property
    def sealed_payload(self) -> bytes:
        """Length and payload, as they stand in the onion before the HMAC."""
        return encode_bigsize(len(self.payload)) + self.payload


@dataclass(frozen=True, slots=True)
class PeeledOnion:
    """One layer taken off: ours to read, and what to pass on (None: we are the last hop)."""

    payload: bytes = field(repr=False)
    shared_secret: bytes = field(repr=False)
    next_packet: bytes | None = field(repr=False)


def onion_key(kind: str, secret: bytes) -> bytes:
    """BOLT 4, "Key Generation": kind is rho, mu, um, pad or ammag."""
    return hmac.digest(kind.encode(), secret, "sha256")


def keyed_stream(key: bytes, size: int) -> bytes:
    """BOLT 4, "Pseudo Random Byte Stream": ChaCha20 with nonce and counter zero."""
    return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(size))


def xor(left: bytes, right: bytes) -> bytes:
    """Of equal lengths."""
    size = len(left)
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(size, "big")


def derive_shared_secrets(session_key: PrivateKey, node_ids: Sequence[PublicKey]) -> list[bytes]:
    """32 bytes per hop: what each of them and the origin, and nobody else, can compute."""
    secrets = []
    ephemeral = session_key
    for node_id in node_ids:
        secret = ephemeral.ecdh(node_id)
        secrets.append(secret)
        ephemeral = ephemeral.mul_tweak(_blinding_factor(ephemeral.public, secret))
    return secrets


def build_onion(
    *, session_key: PrivateKey, hops: Sequence[OnionHop], associated_data: bytes
) -> bytes:
    """1,366 bytes for the first hop; `EncodeError` when the payloads do not fit."""
    sizes = [len(hop.sealed_payload) + HMAC_SIZE for hop in hops]
    if not hops or sum(sizes) > HOP_PAYLOADS_SIZE:
        raise EncodeError(f"payloads of {sum(sizes)} bytes for {len(hops)} hops do not fit")
    secrets = derive_shared_secrets(session_key, [hop.node_id for hop in hops])
    filler = _filler(secrets[:-1], sizes[:-1])
    payloads = keyed_stream(onion_key("pad", session_key.secret), HOP_PAYLOADS_SIZE)
    next_hmac = bytes(HMAC_SIZE)
    for index in reversed(range(len(hops))):
        secret = secrets[index]
        layer = hops[index].sealed_payload + next_hmac + payloads
        stream = keyed_stream(onion_key("rho", secret), HOP_PAYLOADS_SIZE)
        payloads = xor(layer[:HOP_PAYLOADS_SIZE], stream)
        if index == len(hops) - 1 and filler:
            payloads = payloads[: -len(filler)] + filler
        next_hmac = hmac.digest(onion_key("mu", secret), payloads + associated_data, "sha256")
    return _packet(session_key.public, payloads, next_hmac)


def peel_onion(packet: bytes, *, node_key: PrivateKey, associated_data: bytes) -> PeeledOnion:
    """Take our layer off; `OnionError` with the code to fail back with."""
    if len(packet) != ONION_PACKET_SIZE or packet[0] != _VERSION:
        raise OnionError(FailureCode.INVALID_ONION_VERSION)
    reader = Reader(packet[1:])
    try:
        ephemeral = PublicKey(reader.take(33))
    except InvalidKey:
        raise OnionError(FailureCode.INVALID_ONION_KEY) from None
    secret = node_key.ecdh(ephemeral)
    payloads = reader.take(HOP_PAYLOADS_SIZE)
    expected = hmac.digest(onion_key("mu", secret), payloads + associated_data, "sha256")
    if not hmac.compare_digest(expected, reader.take(HMAC_SIZE)):
        raise OnionError(FailureCode.INVALID_ONION_HMAC)
    stream = keyed_stream(onion_key("rho", secret), 2 * HOP_PAYLOADS_SIZE)
    opened = Reader(xor(payloads + bytes(HOP_PAYLOADS_SIZE), stream))
    try:
        payload = opened.take(opened.bigsize())
        next_hmac = opened.take(HMAC_SIZE)
        next_payloads = opened.take(HOP_PAYLOADS_SIZE)
    except WireError:
        raise OnionError(FailureCode.INVALID_ONION_PAYLOAD, secret) from None
    if next_hmac == bytes(HMAC_SIZE):
        return PeeledOnion(payload, secret, None)
    try:
        next_ephemeral = ephemeral.mul(_blinding_factor(ephemeral, secret))
    except InvalidKey:
        raise OnionError(FailureCode.INVALID_ONION_KEY) from None
    return PeeledOnion(payload, secret, _packet(next_ephemeral, next_payloads, next_hmac))


def _packet(ephemeral: PublicKey, payloads: bytes, tag: bytes) -> bytes:
    return bytes([_VERSION]) + ephemeral.data + payloads + tag


def _blinding_factor(ephemeral: PublicKey, secret: bytes) -> bytes:
    return sha256(ephemeral.data + secret).digest()


def _filler(secrets: Sequence[bytes], sizes: Sequence[int]) -> bytes:
    """BOLT 4, "Filler Generation": what the hops' zeros become until they reach the last one."""
    filler = b""
    for secret, size in zip(secrets, sizes, strict=True):
        start = HOP_PAYLOADS_SIZE - len(filler)
        stream = keyed_stream(onion_key("rho", secret), HOP_PAYLOADS_SIZE + size)
        filler = xor(filler + bytes(size), stream[start:])
    return filler
