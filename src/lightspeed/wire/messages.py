"""The messages of BOLT 1 and BOLT 2 (channel establishment v1), one class each.

Attributes are named as in the BOLTs; keys, points and signatures are raw bytes of the right
length. Revealed secrets stay out of the repr.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from lightspeed.units import Sat
from lightspeed.wire.codec import Codec, Message, UnknownMessage
from lightspeed.wire.errors import EncodeError
from lightspeed.wire.features import NO_FEATURES, Features
from lightspeed.wire.fields import (
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes32,
    ExtensionTlvs,
    FeatureBits,
    Fixed,
    MsatU64,
    Point,
    PrefixedBytes,
    Remainder,
    SatU64,
    Signature,
    Tlv,
    UInt,
)
from lightspeed.wire.onion import ONION_PACKET_SIZE
from lightspeed.wire.primitives import Reader

__all__ = [
    "ALL_CHANNELS",
    "BOLT_CODEC",
    "BOLT_MESSAGES",
    "AcceptChannel",
    "ChannelReady",
    "ChannelReestablish",
    "ClosingSigned",
    "CommitmentSigned",
    "ErrorMessage",
    "FeeRange",
    "FundingCreated",
    "FundingSigned",
    "Init",
    "OpenChannel",
    "Ping",
    "Pong",
    "RevokeAndAck",
    "Shutdown",
    "UpdateAddHtlc",
    "UpdateFailHtlc",
    "UpdateFailMalformedHtlc",
    "UpdateFee",
    "UpdateFulfillHtlc",
    "WarningMessage",
    "decode",
    "printable",
]

ALL_CHANNELS = bytes(32)
"""The channel id by which `error` and `warning` speak of the connection as a whole."""


def printable(data: bytes) -> str:
    """Text of a stranger, safe for a log or a terminal: ASCII 32 to 126, the rest as `?`."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Init(Message):
    """BOLT 1, "The init Message"."""

    TYPE: ClassVar[int] = 16

    globalfeatures: Annotated[Features, FeatureBits(PrefixedBytes())] = NO_FEATURES
    features: Annotated[Features, FeatureBits(PrefixedBytes())]
    networks: Annotated[tuple[bytes, ...] | None, Tlv(1, Array(Fixed(32), count_size=None))] = None
    """Chain hashes that the sender is interested in."""
    extension_tlvs: ExtensionTlvs = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningMessage(Message):
    """BOLT 1, "The error and warning Messages"."""

    TYPE: ClassVar[int] = 1

    channel_id: Bytes32 = ALL_CHANNELS
    data: Annotated[bytes, PrefixedBytes()]

    @property
    def text(self) -> str:
        """`data`, safe to print."""
        return printable(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMessage(Message):
    """BOLT 1, "The error and warning Messages"."""

    TYPE: ClassVar[int] = 17

    channel_id: Bytes32 = ALL_CHANNELS
    data: Annotated[bytes, PrefixedBytes()]

    @property
    def text(self) -> str:
        """`data`, safe to print."""
        return printable(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Message):
    """BOLT 1, "The ping and pong Messages"."""

    TYPE: ClassVar[int] = 18

    num_pong_bytes: U16
    ignored: Annotated[bytes, PrefixedBytes()] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """BOLT 1, "The ping and pong Messages"."""

    TYPE: ClassVar[int] = 19

    ignored: Annotated[bytes, PrefixedBytes()] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChannel(Message):
    """BOLT 2, "The open_channel Message"."""

    TYPE: ClassVar[int] = 32

    chain_hash: Bytes32
    temporary_channel_id: Bytes32
    funding_satoshis: SatU64
    push_msat: MsatU64
    dust_limit_satoshis: SatU64
    max_htlc_value_in_flight_msat: MsatU64
    channel_reserve_satoshis: SatU64
    htlc_minimum_msat: MsatU64
    feerate_per_kw: U32
    to_self_delay: U16
    max_accepted_htlcs: U16
    funding_pubkey: Point
    revocation_basepoint: Point
    payment_basepoint: Point
    delayed_payment_basepoint: Point
    htlc_basepoint: Point
    first_per_commitment_point: Point
    channel_flags: U8
    upfront_shutdown_script: Annotated[bytes | None, Tlv(0, Remainder())] = None
    channel_type: Annotated[Features | None, Tlv(1, FeatureBits(Remainder()))] = None
    extension_tlvs: ExtensionTlvs = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptChannel(Message):
    """BOLT 2, "The accept_channel Message"."""

    TYPE: ClassVar[int] = 33

    temporary_channel_id: Bytes32
    dust_limit_satoshis: SatU64
    max_htlc_value_in_flight_msat: MsatU64
    channel_reserve_satoshis: SatU64
    htlc_minimum_msat: MsatU64
    minimum_depth: U32
    to_self_delay: U16
    max_accepted_htlcs: U16
    funding_pubkey: Point
    revocation_basepoint: Point
    payment_basepoint: Point
    delayed_payment_basepoint: Point
    htlc_basepoint: Point
    first_per_commitment_point: Point
    upfront_shutdown_script: Annotated[bytes | None, Tlv(0, Remainder())] = None
    channel_type: Annotated[Features | None, Tlv(1, FeatureBits(Remainder()))] = None
    extension_tlvs: ExtensionTlvs = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingCreated(Message):
    """BOLT 2, "The funding_created Message". The txid is in internal byte order."""

    TYPE: ClassVar[int] = 34

    temporary_channel_id: Bytes32
    funding_txid: Bytes32
    funding_output_index: U16
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingSigned(Message):
    """BOLT 2, "The funding_signed Message"."""

    TYPE: ClassVar[int] = 35

    channel_id: Bytes32
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReady(Message):
    """BOLT 2, "The channel_ready Message"."""

    TYPE: ClassVar[int] = 36

    channel_id: Bytes32
    second_per_commitment_point: Point
    short_channel_id: Annotated[int | None, Tlv(1, UInt(8))] = None
    """An alias that the sender accepts for incoming HTLCs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown(Message):
    """BOLT 2, "Closing Initiation: shutdown"."""

    TYPE: ClassVar[int] = 38

    channel_id: Bytes32
    scriptpubkey: Annotated[bytes, PrefixedBytes()]


@dataclass(frozen=True, slots=True)
class FeeRange:
    """What the sender of `closing_signed` would agree to."""

    min_fee_satoshis: Sat
    max_fee_satoshis: Sat


@dataclass(frozen=True, slots=True)
class FeeRangeField:
    """Two integers of 8 bytes."""

    def check(self, value: FeeRange) -> None:
        if not isinstance(value, FeeRange):
            raise EncodeError("a FeeRange expected")
        UInt(8).check(value.min_fee_satoshis)
        UInt(8).check(value.max_fee_satoshis)

    def read(self, reader: Reader) -> FeeRange:
        return FeeRange(Sat(reader.uint(8)), Sat(reader.uint(8)))

    def write(self, value: FeeRange) -> bytes:
        return UInt(8).write(value.min_fee_satoshis) + UInt(8).write(value.max_fee_satoshis)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingSigned(Message):
    """BOLT 2, "Legacy Closing Negotiation: closing_signed"."""

    TYPE: ClassVar[int] = 39

    channel_id: Bytes32
    fee_satoshis: SatU64
    signature: Signature
    fee_range: Annotated[FeeRange | None, Tlv(1, FeeRangeField())] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAddHtlc(Message):
    """BOLT 2, "Adding an HTLC: update_add_htlc"."""

    TYPE: ClassVar[int] = 128

    channel_id: Bytes32
    id: U64
    amount_msat: MsatU64
    payment_hash: Bytes32
    cltv_expiry: U32
    onion_routing_packet: Annotated[bytes, Fixed(ONION_PACKET_SIZE)] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFulfillHtlc(Message):
    """BOLT 2, "Removing an HTLC"."""

    TYPE: ClassVar[int] = 130

    channel_id: Bytes32
    id: U64
    payment_preimage: Bytes32 = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFailHtlc(Message):
    """BOLT 2, "Removing an HTLC"."""

    TYPE: ClassVar[int] = 131

    channel_id: Bytes32
    id: U64
    reason: Annotated[bytes, PrefixedBytes()]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFailMalformedHtlc(Message):
    """BOLT 2, "Removing an HTLC"."""

    TYPE: ClassVar[int] = 135

    channel_id: Bytes32
    id: U64
    sha256_of_onion: Bytes32
    failure_code: U16


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentSigned(Message):
    """BOLT 2, "Committing Updates So Far: commitment_signed"."""

    TYPE: ClassVar[int] = 132

    channel_id: Bytes32
    signature: Signature
    htlc_signatures: Annotated[tuple[bytes, ...], Array(Fixed(64))] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeAndAck(Message):
    """BOLT 2, "Completing the Transition to the Updated State: revoke_and_ack"."""

    TYPE: ClassVar[int] = 133

    channel_id: Bytes32
    per_commitment_secret: Bytes32 = field(repr=False)
    next_per_commitment_point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFee(Message):
    """BOLT 2, "Updating Fees: update_fee"."""

    TYPE: ClassVar[int] = 134

    channel_id: Bytes32
    feerate_per_kw: U32


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReestablish(Message):
    """BOLT 2, "Message Retransmission"."""

    TYPE: ClassVar[int] = 136

    channel_id: Bytes32
    next_commitment_number: U64
    next_revocation_number: U64
    your_last_per_commitment_secret: Bytes32 = field(repr=False)
    my_current_per_commitment_point: Point
    extension_tlvs: ExtensionTlvs = field(default_factory=dict, hash=False)


BOLT_MESSAGES: tuple[type[Message], ...] = (
    WarningMessage,
    Init,
    ErrorMessage,
    Ping,
    Pong,
    OpenChannel,
    AcceptChannel,
    FundingCreated,
    FundingSigned,
    ChannelReady,
    Shutdown,
    ClosingSigned,
    UpdateAddHtlc,
    UpdateFulfillHtlc,
    UpdateFailHtlc,
    CommitmentSigned,
    RevokeAndAck,
    UpdateFee,
    UpdateFailMalformedHtlc,
    ChannelReestablish,
)

_GOSSIP_EVEN_TYPES = (256, 258, 262, 264)
"""BOLT 7. Peers send `channel_update` (258) for our own channel unasked; we route for nobody."""

BOLT_CODEC = Codec(BOLT_MESSAGES, ignored=_GOSSIP_EVEN_TYPES)


def decode(data: bytes) -> Message | UnknownMessage:
    """`BOLT_CODEC.decode`."""
    return BOLT_CODEC.decode(data)
