"""What open_channel and accept_channel say about tokens, and what follows from it."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from lightspeed.bitcoin import OutPoint
from lightspeed.channel import ChannelConfig, ChannelViolation, Opening, StateError
from lightspeed.rgb import Opout, TokenInput, Validated

__all__ = [
    "ACCEPTER_TLV",
    "EXTENSION_NAME",
    "MAX_ALLOCATIONS",
    "MAX_TOKENS",
    "OPENER_TLV",
    "ColourParameters",
    "ColourTerms",
    "accepter_record",
    "allocations_on",
    "colour_parameters",
    "dump_tokens",
    "load_tokens",
    "negotiate",
    "offered_terms",
    "with_allocations",
]

EXTENSION_NAME = "rgb"

OPENER_TLV = 65_605
"""version u8 = 1, contract id (32), tokens u64 on the funding output, of these u64 the accepter's.
Sent by the opener."""
ACCEPTER_TLV = 65_607
"""version u8 = 1, contract id (32). Sent by the accepter: it agrees."""

MAX_ALLOCATIONS = 64
"""Of the funding outpoint: each is an input of every commitment's transition."""
MAX_TOKENS = (1 << 64) - 1

_VERSION = 1
_OPENER = struct.Struct(">B32sQQ")
_ACCEPTER = struct.Struct(">B32s")
_TOKEN = struct.Struct(">32sHHQ")  # operation, type, number, amount


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourTerms:
    """What an opener brings: `tokens` of a contract, `pushed` of them for the accepter."""

    contract_id: bytes
    tokens: int
    pushed: int = 0

    def __post_init__(self) -> None:
        if len(self.contract_id) != 32:
            raise ValueError("a contract id is 32 bytes")
        if not 1 <= self.tokens <= MAX_TOKENS:
            raise ValueError(f"{self.tokens} tokens on a funding output")
        if not 0 <= self.pushed <= self.tokens:
            raise ValueError(f"{self.pushed} of {self.tokens} tokens for the accepter")

    def to_bytes(self) -> bytes:
        return _OPENER.pack(_VERSION, self.contract_id, self.tokens, self.pushed)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `ValueError`."""
        try:
            version, contract_id, tokens, pushed = _OPENER.unpack(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        if version != _VERSION:
            raise ValueError(f"version {version}")
        return cls(contract_id=contract_id, tokens=tokens, pushed=pushed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourParameters:
    """Fixed for the life of a channel; kept in its configuration."""

    terms: ColourTerms
    allocations: tuple[TokenInput, ...] = ()
    """Those of the funding outpoint, ascending: the inputs of every commitment and of the close."""

    @property
    def contract_id(self) -> bytes:
        return self.terms.contract_id

    def to_bytes(self) -> bytes:
        return self.terms.to_bytes() + dump_tokens(self.allocations)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `StateError`."""
        try:
            terms = ColourTerms.from_bytes(data[: _OPENER.size])
        except ValueError as error:
            raise StateError(f"stored terms of tokens do not parse: {error}") from None
        return cls(terms=terms, allocations=load_tokens(data[_OPENER.size :]))


def dump_tokens(tokens: Sequence[TokenInput]) -> bytes:
    """44 bytes each."""
    return b"".join(
        _TOKEN.pack(token.opout.opid, token.opout.kind, token.opout.number, token.amount)
        for token in tokens
    )


def load_tokens(data: bytes) -> tuple[TokenInput, ...]:
    """Raises `StateError`."""
    if len(data) % _TOKEN.size:
        raise StateError("stored allocations do not parse")
    return tuple(
        TokenInput(Opout(opid, kind, number), amount)
        for opid, kind, number, amount in _TOKEN.iter_unpack(data)
    )


def colour_parameters(config: ChannelConfig) -> ColourParameters | None:
    """Of a coloured channel; None of another one. Raises `StateError`."""
    parameters = config.extensions.get(EXTENSION_NAME)
    return None if parameters is None else ColourParameters.from_bytes(parameters)


def offered_terms(records: Mapping[int, bytes]) -> ColourTerms | None:
    """What an open_channel brings, if it does; raises `ChannelViolation`."""
    if OPENER_TLV not in records:
        return None
    try:
        return ColourTerms.from_bytes(records[OPENER_TLV])
    except ValueError as error:
        raise ChannelViolation(f"the opener's terms of tokens do not parse: {error}") from None


def accepter_record(contract_id: bytes) -> bytes:
    return _ACCEPTER.pack(_VERSION, contract_id)


def negotiate(*, offered: Mapping[int, bytes], received: Mapping[int, bytes]) -> ColourParameters:
    """Raises `ChannelViolation` when what the peer sent does not parse or does not fit."""
    ours, theirs = offered_terms(offered), offered_terms(received)
    if (ours is None) is (theirs is None):
        raise ChannelViolation("the opener, and nobody else, says which tokens it brings")
    if ours is not None:
        terms, agreed = ours, received.get(ACCEPTER_TLV)
    else:
        assert theirs is not None
        terms, agreed = theirs, offered.get(ACCEPTER_TLV)
    if agreed != accepter_record(terms.contract_id):
        raise ChannelViolation("the accepter does not agree to the opener's contract")
    return ColourParameters(terms=terms)


def allocations_on(
    validated: Validated, outpoint: OutPoint, *, contract_id: bytes
) -> tuple[TokenInput, ...]:
    """What a valid consignment proves to be on a funding outpoint, ascending.

    How deep its transactions are is for the caller to check. Raises `ChannelViolation` for
    another contract than the channel's.
    """
    if validated.contract_id != contract_id:
        raise ChannelViolation("a consignment of another contract than the channel's")
    return tuple(
        sorted(
            TokenInput(opout, allocation.amount)
            for opout, allocation in validated.revealed.items()
            if allocation.outpoint == outpoint
        )
    )


def with_allocations(opening: Opening, allocations: Sequence[TokenInput]) -> Opening:
    """An opening that knows what is on its funding outpoint, from a valid consignment.

    The opener says so before `funded`, the accepter before `receive_funding_created`. Raises
    `ChannelViolation` when it is not what the terms say.
    """
    parameters = ColourParameters.from_bytes(opening.extension_parameters[EXTENSION_NAME])
    tokens = sum(token.amount for token in allocations)
    if tokens != parameters.terms.tokens:
        raise ChannelViolation(
            f"{tokens} tokens on the funding output, the terms say {parameters.terms.tokens}"
        )
    if len(allocations) > MAX_ALLOCATIONS:
        raise ChannelViolation(f"{len(allocations)} allocations on the funding output")
    if len({token.opout for token in allocations}) != len(allocations):
        raise ChannelViolation("an allocation is named twice")
    if any(token.amount <= 0 for token in allocations):
        raise ChannelViolation("an allocation of nothing")
    known = replace(parameters, allocations=tuple(sorted(allocations)))
    return replace(
        opening,
        extension_parameters={**opening.extension_parameters, EXTENSION_NAME: known.to_bytes()},
    )
