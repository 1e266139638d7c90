"""Compact sizes and a reader over bytes, for transactions and blocks."""

from lightspeed.bitcoin.errors import TxParseError

__all__ = ["Reader", "compact_size"]

_MAX_COMPACT_SIZE = 0x02000000  # Bitcoin Core's MAX_SIZE, 32 MiB
_SMALLEST_OF_WIDTH = {2: 0xFD, 4: 0x10000, 8: 0x100000000}


def compact_size(n: int) -> bytes:
    """Bitcoin's variable-length unsigned integer, in its shortest form."""
    if n < 0xFD:
        return bytes([n])
    if n <= 0xFFFF:
        return b"\xfd" + n.to_bytes(2, "little")
    if n <= 0xFFFFFFFF:
        return b"\xfe" + n.to_bytes(4, "little")
    return b"\xff" + n.to_bytes(8, "little")


class Reader:
    """Reads little-endian fields in order; raises `TxParseError`, never anything else."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._position = 0

    def take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._data):
            raise TxParseError("the bytes end too early")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def compact_size(self) -> int:
        first = self.unsigned(1)
        if first < 0xFD:
            return first
        width = 1 << (first - 0xFC)
        n = self.unsigned(width)
        if n < _SMALLEST_OF_WIDTH[width]:
            raise TxParseError("a compact size is not in its shortest form")
        if n > _MAX_COMPACT_SIZE:
            raise TxParseError("a compact size is too large")
        return n

    def sized_bytes(self) -> bytes:
        """Bytes behind their own compact size."""
        return self.take(self.compact_size())

    def finish(self) -> None:
        """Refuses bytes after the end."""
        if self._position != len(self._data):
            raise TxParseError(f"{len(self._data) - self._position} bytes too many")
