"""Strict encoding: little-endian fields in order, collections behind a count.

A count is as wide as the collection's limit needs: 1 byte up to 255 ("Tiny"), 2 up to 65,535
("Small"), 4 up to 2^32 - 1 ("Large"). Sets and maps ascend, without repetition.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

from lightspeed.rgb.errors import RgbFormatError

__all__ = ["Reader", "ascending", "counted", "option", "signed", "sized", "unsigned"]

T = TypeVar("T")


def unsigned(value: int, size: int) -> bytes:
    if not 0 <= value < 1 << 8 * size:
        raise RgbFormatError(f"{value} does not fit {size} bytes")
    return value.to_bytes(size, "little")


def signed(value: int, size: int) -> bytes:
    half = 1 << (8 * size - 1)
    if not -half <= value < half:
        raise RgbFormatError(f"{value} does not fit {size} bytes")
    return value.to_bytes(size, "little", signed=True)


def sized(data: bytes, width: int) -> bytes:
    """Bytes behind their length."""
    return unsigned(len(data), width) + data


def counted(items: Sequence[bytes], width: int) -> bytes:
    """Encoded items behind their number."""
    return unsigned(len(items), width) + b"".join(items)


def option(encoded: bytes | None) -> bytes:
    return b"\0" if encoded is None else b"\1" + encoded


def ascending(keys: Iterable[Any], what: str) -> None:
    """Refuses keys out of order, and keys that occur twice."""
    previous = None
    for key in keys:
        if previous is not None and not previous < key:
            raise RgbFormatError(f"{what} do not ascend")
        previous = key


class Reader:
    """Reads fields in order; raises `RgbFormatError`, never anything else."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._position = 0

    @property
    def left(self) -> int:
        """How many bytes are not read yet."""
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._data):
            raise RgbFormatError("the bytes end too early")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def boolean(self) -> bool:
        return self.tag(2, "a boolean") == 1

    def tag(self, number: int, what: str) -> int:
        """One byte below `number`."""
        value = self.unsigned(1)
        if value >= number:
            raise RgbFormatError(f"{value} is not a tag of {what}")
        return value

    def sized(self, width: int) -> bytes:
        """Bytes behind their length."""
        return self.take(self.unsigned(width))

    def items(self, width: int, read: "Callable[[Self], T]", *, least: int = 0) -> tuple[T, ...]:
        """Items behind their number, which is at least `least`."""
        number = self.unsigned(width)
        if number < least:
            raise RgbFormatError("an empty collection where one item is needed")
        return tuple([read(self) for _ in range(number)])

    def option(self, read: "Callable[[Self], T]") -> T | None:
        return read(self) if self.tag(2, "an option") else None

    def finish(self) -> None:
        """Refuses bytes after the end."""
        if self.left:
            raise RgbFormatError(f"{self.left} bytes too many")
