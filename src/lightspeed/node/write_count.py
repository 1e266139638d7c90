"""How often a store was written, told by a small file beside it: an old copy has a lower count.

The file is written after each commit and never flushed: it may lag behind the store, which is
normal after a crash, but the store lags behind it only when a backup was put in its place. A
backup is of the store alone: without its count a store is taken for an old copy too.
"""

import contextlib
import os
import struct
from pathlib import Path

__all__ = ["WriteCount"]

_VERSION = 1
_LAYOUT = struct.Struct(">BQ")  # version, count


class WriteCount:
    """The file; raises `OSError`."""

    def __init__(self, path: Path) -> None:
        """Creates it with no count if it is missing."""
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self._last = self._read()

    @property
    def last(self) -> int | None:
        """What it says; None: nothing."""
        return self._last

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._file)

    def advance(self, count: int) -> None:
        """It never goes back."""
        if self._last is None or count > self._last:
            os.pwrite(self._file, _LAYOUT.pack(_VERSION, count), 0)
            self._last = count

    def _read(self) -> int | None:
        data = os.pread(self._file, _LAYOUT.size, 0)
        if len(data) != _LAYOUT.size:
            return None
        version, count = _LAYOUT.unpack(data)
        return int(count) if version == _VERSION else None
