"""TLV streams (BOLT 1, "Type-Length-Value Format")."""

from collections.abc import Collection, Mapping

from lightspeed.wire.errors import WireError
from lightspeed.wire.primitives import Reader, encode_bigsize

__all__ = ["EXTENSION_TLV_MIN", "decode_tlv_stream", "encode_tlv_stream"]

EXTENSION_TLV_MIN = 1 << 16
"""Message-local types from here on are left to experiments and extensions."""


def decode_tlv_stream(data: bytes, *, known: Collection[int] = ()) -> dict[int, bytes]:
    """All records of `data`, unknown odd ones included, ascending by type.

    Types must strictly ascend; an even type that is not in `known` is refused.
    """
    records: dict[int, bytes] = {}
    reader = Reader(data)
    last = -1
    while reader.remaining:
        record_type = reader.bigsize()
        if record_type <= last:
            raise WireError(f"TLV type {record_type} after {last}")
        if record_type % 2 == 0 and record_type not in known:
            raise WireError(f"unknown even TLV type {record_type}")
        records[record_type] = reader.take(reader.bigsize())
        last = record_type
    return records


def encode_tlv_stream(records: Mapping[int, bytes]) -> bytes:
    """Canonical: ascending by type."""
    return b"".join(
        encode_bigsize(record_type) + encode_bigsize(len(value)) + value
        for record_type, value in sorted(records.items())
    )
