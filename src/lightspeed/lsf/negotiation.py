"""What open_channel and accept_channel say about Lightspeed funding, and what follows from it."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from lightspeed.bitcoin import PublicKey
from lightspeed.channel.errors import ChannelViolation, StateError
from lightspeed.lsf.keys import LsfBasepoints
from lightspeed.lsf.limits import PayeeLimits
from lightspeed.lsf.messages import Party

__all__ = [
    "LIMITS_TLV",
    "PARTY_TLV",
    "LsfParameters",
    "negotiate",
    "offer",
    "offered_party",
]

PARTY_TLV = 65_601
"""version u8 = 1, party u8, LSF basepoint (33). Sent by both."""
LIMITS_TLV = 65_603
"""`PayeeLimits`. Sent by the payee."""

_VERSION = 1
_PARTY = struct.Struct(">BB33s")
_PARAMETERS = struct.Struct(">BB33s33s")  # version, the holder's party, payer's and payee's point


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfParameters:
    """Fixed for the life of a channel; kept in its configuration."""

    holder: Party
    basepoints: LsfBasepoints
    limits: PayeeLimits

    def to_bytes(self) -> bytes:
        head = _PARAMETERS.pack(
            _VERSION, self.holder, self.basepoints.payer.data, self.basepoints.payee.data
        )
        return head + self.limits.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `StateError`."""
        try:
            version, holder, payer, payee = _PARAMETERS.unpack(data[: _PARAMETERS.size])
            parameters = cls(
                holder=Party(holder),
                basepoints=LsfBasepoints(payer=PublicKey(payer), payee=PublicKey(payee)),
                limits=PayeeLimits.from_bytes(data[_PARAMETERS.size :]),
            )
        except (struct.error, ValueError) as error:
            raise StateError("stored Lightspeed parameters do not parse") from error
        if version != _VERSION:
            raise StateError(f"Lightspeed parameters of version {version}")
        return parameters


def offer(party: Party, *, basepoint: PublicKey, limits: PayeeLimits) -> dict[int, bytes]:
    """The TLV records of our open_channel or accept_channel."""
    records = {PARTY_TLV: _PARTY.pack(_VERSION, party, basepoint.data)}
    if party is Party.PAYEE:
        records[LIMITS_TLV] = limits.to_bytes()
    return records


def offered_party(records: Mapping[int, bytes]) -> Party:
    """Which party the sender of these records wants to be. Raises `ChannelViolation`."""
    return _read_party(records)[0]


def negotiate(*, offered: Mapping[int, bytes], received: Mapping[int, bytes]) -> LsfParameters:
    """Raises `ChannelViolation` when what the peer sent does not parse or does not fit."""
    holder, holder_point = _read_party(offered)
    counterparty, counterparty_point = _read_party(received)
    if holder is counterparty:
        raise ChannelViolation(f"both sides want to be the {holder.name.lower()}")
    points = {holder: holder_point, counterparty: counterparty_point}
    limits = (offered if holder is Party.PAYEE else received).get(LIMITS_TLV)
    if limits is None:
        raise ChannelViolation("the payee told no limits for books")
    try:
        payee_limits = PayeeLimits.from_bytes(limits)
    except ValueError as error:
        raise ChannelViolation(f"the payee's limits do not parse: {error}") from None
    return LsfParameters(
        holder=holder,
        basepoints=LsfBasepoints(payer=points[Party.PAYER], payee=points[Party.PAYEE]),
        limits=payee_limits,
    )


def _read_party(records: Mapping[int, bytes]) -> tuple[Party, PublicKey]:
    try:
        version, party, basepoint = _PARTY.unpack(records.get(PARTY_TLV, b""))
        read = Party(party), PublicKey(basepoint)
    except (struct.error, ValueError):
        raise ChannelViolation("the Lightspeed funding record does not parse") from None
    if version != _VERSION:
        raise ChannelViolation(f"Lightspeed funding of version {version}")
    return read
