"""What payer and payee agree on for one book, and its one binary form."""

import re
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Self

from lightspeed.payment.errors import TermsError
from lightspeed.units import MSAT_PER_SAT

__all__ = [
    "MAX_CHAIN_LENGTH",
    "MAX_LOCKS",
    "MAX_WINDOW",
    "SATS",
    "BookTerms",
    "Scheme",
    "default_window",
    "is_origin",
]

SATS = b""
"""The asset id of bitcoin itself."""

MAX_LOCKS = 1 << 24  # so that every unit number fits the 40 bits it has in a credential
MAX_CHAIN_LENGTH = 65_535
MAX_WINDOW = 1 << 20  # about a third of a second of hashing for a refused credential
MAX_AMOUNT = (1 << 64) - 1
MAX_ORIGINS = 16

_VERSION = 1
_ASSET_ID_SIZE = 32
_HEAD = struct.Struct(">BBB")  # version, scheme, asset id size
_NUMBERS = struct.Struct(">IHQIB")  # locks, chain length, lock amount, window, origins
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?", re.ASCII)


class Scheme(Enum):
    """How locks become transactions; the values are those of the binary form."""

    OUTPUTS = 1
    SEALS = 2
    LADDER = 3


def default_window(chain_length: int) -> int:
    """Units that may be redeemed beyond one lock that is not completed yet."""
    return min(1_024, max(64, chain_length))


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTerms:
    """The numbers of a book; both sides hold them byte for byte.

    `lock_amount` is in sat for `asset == SATS`, else in token units, and is a whole number of
    msat (or of token units) per unit. `origins` are those of RFC 6454, in ASCII, default ports
    left out. `settlement` is for the layer that builds the transactions: opaque here, committed
    to by the book id.
    """

    scheme: Scheme
    locks: int
    chain_length: int
    lock_amount: int
    window: int
    origins: tuple[str, ...]
    asset: bytes = SATS
    settlement: bytes = b""

    def __post_init__(self) -> None:
        _require(len(self.asset) in (0, _ASSET_ID_SIZE), "an asset id has 0 or 32 bytes")
        _require_within("number of locks", self.locks, MAX_LOCKS)
        _require_within("chain length", self.chain_length, MAX_CHAIN_LENGTH)
        _require_within("lock amount", self.lock_amount, MAX_AMOUNT)
        _require(
            self._lock_value % self.chain_length == 0,
            "a unit must be worth a whole number of msat or tokens: lock amount / chain length",
        )
        _require_within("window", self.window, MAX_WINDOW)
        _require_within("number of origins", len(self.origins), MAX_ORIGINS)
        _require(len(set(self.origins)) == len(self.origins), "an origin is listed twice")
        for origin in self.origins:
            _require(
                is_origin(origin),
                f"{origin[:0xFF]!r} is no origin such as https://api.example or http://host:8000",
            )
        _require(len(self.settlement) <= 0xFFFF, "settlement part too long")

    @property
    def units(self) -> int:
        """Number of units of the book, N x c."""
        return self.locks * self.chain_length

    @property
    def unit_value(self) -> int:
        """What one unit is worth: msat for sats, else token units."""
        return self._lock_value // self.chain_length

    @property
    def _lock_value(self) -> int:
        return self.lock_amount if self.asset else self.lock_amount * MSAT_PER_SAT

    def to_bytes(self) -> bytes:
        """The canonical binary form, which the book id commits to.

        version u8 = 1, scheme u8, asset id (u8 size), locks u32, chain length u16, lock amount
        u64, window u32, origins (u8 count, each with u8 size), settlement part (u16 size).
        """
        parts = [
            _HEAD.pack(_VERSION, self.scheme.value, len(self.asset)),
            self.asset,
            _NUMBERS.pack(
                self.locks, self.chain_length, self.lock_amount, self.window, len(self.origins)
            ),
        ]
        for origin in self.origins:
            encoded = origin.encode("ascii")
            parts += [len(encoded).to_bytes(1, "big"), encoded]
        parts += [len(self.settlement).to_bytes(2, "big"), self.settlement]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises TermsError for anything that `to_bytes` does not produce."""
        reader = _Reader(data)
        version, scheme, asset_size = _HEAD.unpack(reader.take(_HEAD.size))
        _require(version == _VERSION, "unknown version")
        asset = reader.take(asset_size)
        locks, chain_length, lock_amount, window, origin_count = _NUMBERS.unpack(
            reader.take(_NUMBERS.size)
        )
        try:
            origins = tuple(
                reader.take(reader.take(1)[0]).decode("ascii") for _ in range(origin_count)
            )
            known_scheme = Scheme(scheme)
        except ValueError as error:
            raise TermsError("unknown scheme or origin not in ASCII") from error
        settlement = reader.take(int.from_bytes(reader.take(2), "big"))
        reader.finish()
        return cls(
            scheme=known_scheme,
            locks=locks,
            chain_length=chain_length,
            lock_amount=lock_amount,
            window=window,
            origins=origins,
            asset=asset,
            settlement=settlement,
        )


class _Reader:
    """Takes bytes from the front; raises TermsError when they run out or are left over."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def take(self, size: int) -> bytes:
        end = self._offset + size
        _require(end <= len(self._data), "truncated")
        piece = self._data[self._offset : end]
        self._offset = end
        return piece

    def finish(self) -> None:
        _require(self._offset == len(self._data), "trailing bytes")


def is_origin(origin: str) -> bool:
    """In the one form that it has here: lower case, no path, no default port."""
    if len(origin) > 0xFF or _ORIGIN.fullmatch(origin) is None:
        return False
    scheme, _, rest = origin.partition("://")
    port = rest.rpartition(":")[2] if not rest.endswith("]") and ":" in rest else ""
    default_port = "443" if scheme == "https" else "80"
    return port != default_port and (not port or int(port) <= 0xFFFF)


def _require_within(what: str, value: int, most: int) -> None:
    _require(1 <= value <= most, f"{what} {value:,} is not from 1 to {most:,}")


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise TermsError(f"book terms: {problem}")
