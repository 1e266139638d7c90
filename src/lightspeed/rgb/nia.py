"""NIA, the non-inflatable asset: its types, and what an issue and a transfer look like.

A contract's whole supply is assigned in its genesis. A transfer assigns what it spends, no more
and no less.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from lightspeed.rgb.errors import RgbFormatError
from lightspeed.rgb.nia_articles import NIA_SCHEMA_ID
from lightspeed.rgb.operation import DEFAULT_NONCE, ChainNet, Genesis, Opout, Transition
from lightspeed.rgb.seals import GenesisSeal, GraphSeal, SecretSeal
from lightspeed.rgb.state import Assign, Assignments, GlobalState
from lightspeed.rgb.strict import Reader, option, sized, unsigned

__all__ = [
    "ASSET_OWNER",
    "GENESIS_GLOBALS",
    "ISSUED_SUPPLY",
    "SPEC",
    "TERMS",
    "TRANSFER",
    "AssetSpec",
    "ContractTerms",
    "Media",
    "assigned",
    "check_global",
    "issue",
    "spec_of",
    "supply_of",
    "transfer",
]

SPEC = 2000
TERMS = 2001
ISSUED_SUPPLY = 2010
GENESIS_GLOBALS = (SPEC, TERMS, ISSUED_SUPPLY)
ASSET_OWNER = 4000
TRANSFER = 10000

_MAX_PRECISION = 18
_MAX_DETAILS = 255  # bytes: their length is one
_TICKER = re.compile(r"[A-Za-z][0-9A-Za-z]{0,7}", re.ASCII)
_NAME = re.compile(r"[ -~]{1,40}", re.ASCII)
_MEDIA_PART = re.compile(r"[a-z][!#$&+\-.0-9^_a-z]{0,63}", re.ASCII)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RgbFormatError("a text is not UTF-8") from None


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise RgbFormatError(f"{text!r} is not {what}")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSpec:
    """`precision` is the number of decimals that wallets show."""

    ticker: str
    name: str
    details: str | None = None
    precision: int = 0

    def __post_init__(self) -> None:
        _matching(_TICKER, self.ticker, "a ticker: a letter, then up to 7 letters and digits")
        _matching(_NAME, self.name, "a name: 1 to 40 ASCII characters")
        if self.details is not None and not 0 < len(self.details.encode()) <= _MAX_DETAILS:
            raise RgbFormatError(f"details are 1 to {_MAX_DETAILS} bytes of text, or absent")
        if not 0 <= self.precision <= _MAX_PRECISION:
            raise RgbFormatError(f"a precision is 0 to {_MAX_PRECISION}")

    def serialize(self) -> bytes:
        details = None if self.details is None else sized(self.details.encode(), 1)
        return b"".join(
            (
                sized(self.ticker.encode(), 1),
                sized(self.name.encode(), 1),
                option(details),
                bytes((self.precision,)),
            )
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        reader = Reader(data)
        ticker, name = _text(reader.sized(1)), _text(reader.sized(1))
        details = reader.option(lambda each: _text(each.sized(1)))
        precision = reader.unsigned(1)
        reader.finish()
        return cls(ticker=ticker, name=name, details=details, precision=precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file that belongs to the terms: its media type, and 32 bytes of digest."""

    kind: str
    subtype: str | None = None
    charset: str | None = None
    digest: bytes

    def __post_init__(self) -> None:
        for part in (self.kind, self.subtype, self.charset):
            if part is not None:
                _matching(_MEDIA_PART, part, "a part of a media type")
        if len(self.digest) != 32:
            raise RgbFormatError("a digest is 32 bytes")

    def serialize(self) -> bytes:
        subtype, charset = (
            None if part is None else sized(part.encode(), 1)
            for part in (self.subtype, self.charset)
        )
        return sized(self.kind.encode(), 1) + option(subtype) + option(charset) + self.digest

    @classmethod
    def read(cls, reader: Reader) -> Self:
        kind = _text(reader.sized(1))
        subtype = reader.option(lambda each: _text(each.sized(1)))
        charset = reader.option(lambda each: _text(each.sized(1)))
        return cls(kind=kind, subtype=subtype, charset=charset, digest=reader.take(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTerms:
    text: str = ""
    media: Media | None = None

    def serialize(self) -> bytes:
        media = None if self.media is None else self.media.serialize()
        return sized(self.text.encode(), 2) + option(media)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        reader = Reader(data)
        text = _text(reader.sized(2))
        media = reader.option(Media.read)
        reader.finish()
        return cls(text=text, media=media)


def _parse_supply(data: bytes) -> int:
    if len(data) != 8:
        raise RgbFormatError("an amount has 64 bits")
    return int.from_bytes(data, "little")


def check_global(kind: int, value: bytes) -> None:
    """Raises `RgbFormatError` unless `value` is one of `GENESIS_GLOBALS`, of type `kind`."""
    match kind:
        case 2000:
            AssetSpec.parse(value)
        case 2001:
            ContractTerms.parse(value)
        case _:
            _parse_supply(value)


def spec_of(genesis: Genesis) -> AssetSpec:
    """Of a valid genesis."""
    return AssetSpec.parse(genesis.globals.of_type(SPEC)[0])


def supply_of(genesis: Genesis) -> int:
    """Of a valid genesis."""
    return _parse_supply(genesis.globals.of_type(ISSUED_SUPPLY)[0])


def issue(
    *,
    spec: AssetSpec,
    chain_net: ChainNet,
    timestamp: int,
    allocations: Sequence[tuple[GenesisSeal | SecretSeal, int]],
    terms: ContractTerms | None = None,
    issuer: str = "ssi:anonymous",
) -> Genesis:
    """A contract whose supply is what it allocates."""
    supply = unsigned(sum(amount for _, amount in allocations), 8)
    return Genesis(
        schema_id=NIA_SCHEMA_ID,
        timestamp=timestamp,
        issuer=issuer,
        chain_net=chain_net,
        globals=GlobalState(
            (
                (SPEC, (spec.serialize(),)),
                (TERMS, ((terms or ContractTerms()).serialize(),)),
                (ISSUED_SUPPLY, (supply,)),
            )
        ),
        assignments=assigned(allocations),
    )


def transfer(
    *,
    contract_id: bytes,
    inputs: Iterable[Opout],
    allocations: Sequence[tuple[GraphSeal | SecretSeal, int]] | Assignments,
    nonce: int = DEFAULT_NONCE,
) -> Transition:
    """In the order given, or as `assigned` before; that sums agree is for validation to check."""
    if not isinstance(allocations, Assignments):
        allocations = assigned(allocations)
    return Transition(
        contract_id=contract_id,
        transition_type=TRANSFER,
        inputs=tuple(sorted(inputs)),
        assignments=allocations,
        nonce=nonce,
    )


def assigned(
    allocations: Sequence[tuple[GenesisSeal | SecretSeal, int]]
    | Sequence[tuple[GraphSeal | SecretSeal, int]],
) -> Assignments:
    """What each seal owns, in the order given."""
    assigns = tuple([Assign(seal, amount) for seal, amount in allocations])
    return Assignments(((ASSET_OWNER, assigns),))
