"""BOLT 1, appendices B and C: every stream, decoded in the namespaces that they define."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.wire import (
    BOLT_CODEC,
    Fixed,
    Init,
    Message,
    Reader,
    Tlv,
    UInt,
    WireError,
    decode_tlv_stream,
    encode_tlv_stream,
    encode_truncated_uint,
)

DOCUMENT = (
    Path(__file__).parents[1] / "vectors" / "bolt" / "bolt1-bigsize-tlv-extension.txt"
).read_text()


@dataclass(frozen=True)
class TruncatedUInt:
    """An integer of at most `max_size` bytes without leading zeros, as the vectors have some."""

    max_size: int

    def check(self, value: int) -> None:
        UInt(self.max_size).check(value)

    def read(self, reader: Reader) -> int:
        return reader.truncated_uint(self.max_size)

    def write(self, value: int) -> bytes:
        return encode_truncated_uint(value, self.max_size)


class CurvePoint:
    """A point checked to be on the curve, as the vectors of namespace n1 want it."""

    def check(self, value: bytes) -> None:
        Fixed(33).check(value)

    def read(self, reader: Reader) -> bytes:
        data = reader.take(33)
        try:
            coincurve.PublicKey(data)
        except ValueError:
            raise WireError("not a point") from None
        return data

    def write(self, value: bytes) -> bytes:
        return value


class PaidNode:
    """Record 3 of n1: a point and two amounts."""

    def check(self, value: tuple[bytes, int, int]) -> None:
        CurvePoint().check(value[0])

    def read(self, reader: Reader) -> tuple[bytes, int, int]:
        return CurvePoint().read(reader), reader.uint(8), reader.uint(8)

    def write(self, value: tuple[bytes, int, int]) -> bytes:
        return value[0] + value[1].to_bytes(8, "big") + value[2].to_bytes(8, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class N1(Message):
    TYPE: ClassVar[int] = 1

    tlv1: Annotated[int | None, Tlv(1, TruncatedUInt(8))] = None
    tlv2: Annotated[int | None, Tlv(2, UInt(8))] = None
    tlv3: Annotated[tuple[bytes, int, int] | None, Tlv(3, PaidNode())] = None
    tlv4: Annotated[int | None, Tlv(254, UInt(2))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class N2(Message):
    TYPE: ClassVar[int] = 2

    tlv1: Annotated[int | None, Tlv(0, TruncatedUInt(8))] = None
    tlv2: Annotated[int | None, Tlv(11, TruncatedUInt(4))] = None


def section(start: str, end: str) -> str:
    return DOCUMENT.split(start)[1].split(end)[0]


def streams(text: str) -> list[bytes]:
    return [
        bytes.fromhex(digits.replace(" ", ""))
        for digits in re.findall(r"(?:Inv|V)alid stream: 0x([0-9a-f ]*)", text)
    ]


FAILURES = section("### TLV Decoding Failures", "### TLV Decoding Successes")
ANY_FAILURES, EITHER_FAILURES, N1_FAILURES = map(
    streams, re.split(r"The following TLV streams in (?:either|namespace)", FAILURES)
)
SUCCESSES = section("### TLV Decoding Successes", "### TLV Stream Decoding Failure")
IGNORED, N1_SUCCESSES = SUCCESSES.split("The following TLV streams in `n1`")
STREAM_FAILURES = section("### TLV Stream Decoding Failure", "## Appendix C")
N1_STREAM_FAILURES, N2_STREAM_FAILURES = map(streams, STREAM_FAILURES.split("namespace `n2`"))


def test_every_invalid_stream_is_refused(vectors):
    refused = [
        *((stream, (N1, N2)) for stream in ANY_FAILURES + EITHER_FAILURES),
        *((stream, (N1,)) for stream in N1_FAILURES + N1_STREAM_FAILURES),
        *((stream, (N2,)) for stream in N2_STREAM_FAILURES),
    ]
    for stream, namespaces in refused:
        for namespace in namespaces:
            with pytest.raises(WireError):
                namespace.decode_payload(stream)
    assert len(refused) == 9 + 4 + 20 + 4 + 1
    vectors("BOLT 1", len(refused))


def test_unknown_odd_records_are_ignored(vectors):
    for stream in streams(IGNORED):
        assert N1.decode_payload(stream) == N1()
        assert N2.decode_payload(stream) == N2()
    assert len(streams(IGNORED)) == 7
    vectors("BOLT 1", 7)


def test_valid_streams_of_n1(vectors):
    found = re.findall(r"stream: 0x([0-9a-f ]*)\n2. Values: `(\w+)` (.*)", N1_SUCCESSES)
    for digits, name, text in found:
        stream = bytes.fromhex(digits.replace(" ", ""))
        shown = [value.split("x")[-1] for value in re.findall(r"=(\S+)", text)]
        if name == "tlv3":
            expected = (bytes.fromhex(shown[0]), int(shown[1]), int(shown[2]))
        else:
            expected = int(shown[0])
        message = N1(**{name: expected})
        assert N1.decode_payload(stream) == message
        assert message.encode()[2:] == stream
    assert len(found) == 12
    vectors("BOLT 1", len(found))


def test_an_invalid_stream_behind_a_valid_one_is_refused():
    for valid in streams(N1_SUCCESSES):
        for invalid in ANY_FAILURES + EITHER_FAILURES + N1_FAILURES:
            with pytest.raises(WireError):
                N1.decode_payload(valid + invalid)


def test_a_higher_stream_behind_a_lower_one_is_accepted():
    valid = streams(N1_SUCCESSES)
    for lower in valid:
        for higher in valid:
            if int.from_bytes(lower[:1], "big") < int.from_bytes(higher[:1], "big"):
                N1.decode_payload(lower + higher)


def test_init_extensions(vectors):
    appendix = section("## Appendix C", "## Appendix D")
    valid, invalid = appendix.split("messages are invalid")
    accepted = re.findall(r"^- `0x([0-9a-f]+)`", valid, re.MULTILINE)
    refused = re.findall(r"^- `0x([0-9a-f]+)`", invalid, re.MULTILINE)
    for digits in accepted:
        assert isinstance(BOLT_CODEC.decode(bytes.fromhex(digits)), Init)
    for digits in refused:
        with pytest.raises(WireError):
            BOLT_CODEC.decode(bytes.fromhex(digits))
    assert (len(accepted), len(refused)) == (2, 3)
    vectors("BOLT 1", 5)


@given(st.dictionaries(st.integers(0, (1 << 64) - 1), st.binary(max_size=300), max_size=6))
def test_streams_round_trip_in_canonical_order(records):
    encoded = encode_tlv_stream(records)
    decoded = decode_tlv_stream(encoded, known=records)
    assert decoded == records
    assert list(decoded) == sorted(records)


@given(st.binary(max_size=60))
def test_a_stream_decodes_only_to_its_own_encoding(data):
    try:
        records = decode_tlv_stream(data, known=range(256))
    except WireError:
        return
    assert encode_tlv_stream(records) == data
