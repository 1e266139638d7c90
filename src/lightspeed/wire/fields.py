"""What a message field looks like on the wire.

A message annotates each attribute with one of these, for example
`funding_satoshis: Annotated[Sat, UInt(8)]`; `codec` reads and writes by them. `check` refuses a
value that does not fit, at construction and with the name of the field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from lightspeed.units import Msat, Sat
from lightspeed.wire.errors import EncodeError
from lightspeed.wire.features import Features
from lightspeed.wire.primitives import Reader, encode_uint

__all__ = [
    "U8",
    "U16",
    "U32",
    "U64",
    "Array",
    "Bytes32",
    "ExtensionTlvs",
    "FeatureBits",
    "Field",
    "Fixed",
    "MsatU64",
    "Point",
    "PrefixedBytes",
    "Remainder",
    "SatU64",
    "Signature",
    "Tlv",
    "UInt",
]

T = TypeVar("T")


class Field(Protocol[T]):
    """One kind of field: how to check, read and write its value."""

    def check(self, value: T) -> None:
        """Raise `EncodeError` when `value` cannot be written."""

    def read(self, reader: Reader) -> T:
        """Raise `WireError` when the bytes do not parse."""
        ...

    def write(self, value: T) -> bytes:
        """The bytes of a value that passed `check`."""
        ...


@dataclass(frozen=True, slots=True)
class UInt:
    """Big-endian unsigned integer of `size` bytes."""

    size: int

    def check(self, value: int) -> None:
        _check_integer(value, self.size)

    def read(self, reader: Reader) -> int:
        return reader.uint(self.size)

    def write(self, value: int) -> bytes:
        return encode_uint(value, self.size)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Exactly `size` bytes."""

    size: int

    def check(self, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) != self.size:
            raise EncodeError(f"{self.size} bytes expected")

    def read(self, reader: Reader) -> bytes:
        return reader.take(self.size)

    def write(self, value: bytes) -> bytes:
        return value


@dataclass(frozen=True, slots=True)
class PrefixedBytes:
    """Any bytes behind their length, an integer of `length_size` bytes."""

    length_size: int = 2

    def check(self, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) >= 1 << (8 * self.length_size):
            raise EncodeError(f"bytes with a length of {self.length_size} bytes expected")

    def read(self, reader: Reader) -> bytes:
        return reader.take(reader.uint(self.length_size))

    def write(self, value: bytes) -> bytes:
        return encode_uint(len(value), self.length_size) + value


@dataclass(frozen=True, slots=True)
class Remainder:
    """All bytes that are left; the last field of a TLV."""

    def check(self, value: bytes) -> None:
        if not isinstance(value, bytes):
            raise EncodeError("bytes expected")

    def read(self, reader: Reader) -> bytes:
        return reader.take_rest()

    def write(self, value: bytes) -> bytes:
        return value


@dataclass(frozen=True, slots=True)
class FeatureBits:
    """Feature bits inside `data`; written as short as possible."""

    data: PrefixedBytes | Remainder

    def check(self, value: Features) -> None:
        if not isinstance(value, Features):
            raise EncodeError("features expected")
        self.data.check(value.encode())

    def read(self, reader: Reader) -> Features:
        return Features.decode(self.data.read(reader))

    def write(self, value: Features) -> bytes:
        return self.data.write(value.encode())


@dataclass(frozen=True, slots=True)
class Array(Generic[T]):
    """A tuple of items: behind its count of `count_size` bytes, or (None) up to the end."""

    item: Field[T]
    count_size: int | None = 2

    def check(self, value: Sequence[T]) -> None:
        if not isinstance(value, tuple):
            raise EncodeError("a tuple expected")
        if self.count_size is not None:
            _check_integer(len(value), self.count_size)
        for item in value:
            self.item.check(item)

    def read(self, reader: Reader) -> tuple[T, ...]:
        if self.count_size is not None:
            return tuple(self.item.read(reader) for _ in range(reader.uint(self.count_size)))
        items = []
        while reader.remaining:
            items.append(self.item.read(reader))
        return tuple(items)

    def write(self, value: Sequence[T]) -> bytes:
        count = b"" if self.count_size is None else encode_uint(len(value), self.count_size)
        return count + b"".join(self.item.write(item) for item in value)


@dataclass(frozen=True, slots=True)
class Tlv:
    """An optional record of the message's TLV stream; the attribute is None when it is absent."""

    type: int
    value: Field[Any]


@dataclass(frozen=True, slots=True)
class ExtensionTlvMap:
    """Keeps the odd TLV records of type 65,536 and above that the message does not declare."""


def _check_integer(value: int, size: int) -> None:
    if not isinstance(value, int) or not 0 <= value < 1 << (8 * size):
        raise EncodeError(f"an unsigned integer of {size} bytes expected")


U8 = Annotated[int, UInt(1)]
U16 = Annotated[int, UInt(2)]
U32 = Annotated[int, UInt(4)]
U64 = Annotated[int, UInt(8)]
SatU64 = Annotated[Sat, UInt(8)]
MsatU64 = Annotated[Msat, UInt(8)]
Bytes32 = Annotated[bytes, Fixed(32)]
Point = Annotated[bytes, Fixed(33)]
"""A compressed public key; whether it is on the curve is checked where it is used."""
Signature = Annotated[bytes, Fixed(64)]
"""ECDSA r and s, or BIP 340."""
ExtensionTlvs = Annotated[dict[int, bytes], ExtensionTlvMap()]
