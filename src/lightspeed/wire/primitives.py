"""A cursor over bytes, and the integers of BOLT 1 ("Fundamental Types")."""

from lightspeed.wire.errors import EncodeError, WireError

__all__ = ["Reader", "encode_bigsize", "encode_truncated_uint", "encode_uint"]

_BIGSIZE_PREFIXES = {0xFD: (2, 0xFD), 0xFE: (4, 1 << 16), 0xFF: (8, 1 << 32)}


class Reader:
    """Reads from the front of `data`; whatever is short, long or not minimal is a `WireError`."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def remaining(self) -> int:
        """Number of bytes not read yet."""
        return len(self._data) - self._offset

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > self.remaining:
            raise WireError(f"{size} bytes expected, {self.remaining} left")
        start = self._offset
        self._offset = start + size
        return bytes(self._data[start : self._offset])

    def take_rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.remaining)

    def uint(self, size: int) -> int:
        """Big-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def bigsize(self) -> int:
        """BOLT 1, "Appendix A: BigSize Test Vectors": minimally encoded."""
        first = self.uint(1)
        if first not in _BIGSIZE_PREFIXES:
            return first
        size, minimum = _BIGSIZE_PREFIXES[first]
        value = self.uint(size)
        if value < minimum:
            raise WireError("BigSize is not minimally encoded")
        return value

    def truncated_uint(self, max_size: int) -> int:
        """`tu16`, `tu32`, `tu64`: all that is left, without leading zero bytes."""
        if self.remaining > max_size:
            raise WireError(f"truncated integer of {self.remaining} bytes, {max_size} allowed")
        data = self.take_rest()
        if data[:1] == b"\0":
            raise WireError("truncated integer has a leading zero byte")
        return int.from_bytes(data, "big")

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self.remaining:
            raise WireError(f"{self.remaining} trailing bytes")


def encode_uint(value: int, size: int) -> bytes:
    """Big-endian unsigned integer of `size` bytes."""
    if not 0 <= value < 1 << (8 * size):
        raise EncodeError(f"{value} does not fit in {size} bytes")
    return value.to_bytes(size, "big")


def encode_bigsize(value: int) -> bytes:
    """1, 3, 5 or 9 bytes."""
    if value < 0xFD:
        return encode_uint(value, 1)
    if value < 1 << 16:
        return b"\xfd" + encode_uint(value, 2)
    if value < 1 << 32:
        return b"\xfe" + encode_uint(value, 4)
    return b"\xff" + encode_uint(value, 8)


def encode_truncated_uint(value: int, max_size: int) -> bytes:
    """0 to `max_size` bytes, without leading zero bytes."""
    return encode_uint(value, max_size).lstrip(b"\0")
