"""Consignments in pieces: in order, bounded, nothing twice."""

from dataclasses import dataclass, field, replace

from lightspeed.channel import ChannelViolation
from lightspeed.colour.messages import MAX_CONSIGNMENT_BYTES_PER_MESSAGE, RgbConsignment

__all__ = ["MAX_CONSIGNMENT_BYTES", "ConsignmentCollector", "consignment_messages"]

MAX_CONSIGNMENT_BYTES = 16 << 20
"""What a peer may send, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsignmentCollector:
    """One consignment while it arrives."""

    total: int
    chunks: tuple[bytes, ...] = field(default=(), repr=False)
    size: int = 0

    @classmethod
    def begin(
        cls, message: RgbConsignment, *, max_bytes: int = MAX_CONSIGNMENT_BYTES
    ) -> "ConsignmentCollector":
        """Raises `ChannelViolation`, as `add` does."""
        if not 0 < message.total <= max_bytes:
            raise ChannelViolation(f"a consignment of {message.total} bytes; at most {max_bytes}")
        return cls(total=message.total).add(message)

    @property
    def complete(self) -> bool:
        return self.size == self.total

    @property
    def data(self) -> bytes:
        """Of a complete one."""
        return b"".join(self.chunks)

    def add(self, message: RgbConsignment) -> "ConsignmentCollector":
        if message.total != self.total or message.offset != self.size:
            raise ChannelViolation("the pieces of a consignment do not follow each other")
        size = self.size + len(message.data)
        full = len(message.data) == MAX_CONSIGNMENT_BYTES_PER_MESSAGE
        if not message.data or size > self.total or not (full or size == self.total):
            # Many small ones would cost us the square of their number.
            raise ChannelViolation("a piece of a consignment that does not have its size")
        return replace(self, chunks=(*self.chunks, message.data), size=size)


def consignment_messages(channel_id: bytes, data: bytes) -> tuple[RgbConsignment, ...]:
    """The pieces that a `ConsignmentCollector` puts together."""
    return tuple(
        RgbConsignment(
            channel_id=channel_id,
            total=len(data),
            offset=offset,
            data=data[offset : offset + MAX_CONSIGNMENT_BYTES_PER_MESSAGE],
        )
        for offset in range(0, len(data), MAX_CONSIGNMENT_BYTES_PER_MESSAGE)
    )
