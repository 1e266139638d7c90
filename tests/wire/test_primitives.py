"""BOLT 1, appendix A, and the laws of the cursor."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.wire import (
    EncodeError,
    Reader,
    WireError,
    encode_bigsize,
    encode_truncated_uint,
    encode_uint,
)

DOCUMENT = (
    Path(__file__).parents[1] / "vectors" / "bolt" / "bolt1-bigsize-tlv-extension.txt"
).read_text()
DECODING, ENCODING, SIGNED = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
]


def test_bigsize_vectors(vectors):
    for vector in DECODING:
        reader = Reader(bytes.fromhex(vector["bytes"]))
        if "exp_error" in vector:
            with pytest.raises(WireError):
                reader.bigsize()
        else:
            assert reader.bigsize() == vector["value"], vector["name"]
            reader.finish()
    for vector in ENCODING:
        assert encode_bigsize(vector["value"]).hex() == vector["bytes"]
    vectors("BOLT 1", len(DECODING) + len(ENCODING))


@given(st.integers(0, (1 << 64) - 1))
def test_bigsize_has_one_encoding(value):
    encoded = encode_bigsize(value)
    reader = Reader(encoded)
    assert reader.bigsize() == value
    reader.finish()


@given(st.binary(max_size=10))
def test_bigsize_decodes_only_what_it_encodes(data):
    reader = Reader(data)
    try:
        value = reader.bigsize()
    except WireError:
        return
    assert encode_bigsize(value) == data[: len(data) - reader.remaining]


@pytest.mark.parametrize("size", [2, 4, 8])
@given(data=st.binary(max_size=9))
def test_truncated_uint_has_one_encoding(size, data):
    try:
        value = Reader(data).truncated_uint(size)
    except WireError:
        assert len(data) > size or data[:1] == b"\0"
        return
    assert encode_truncated_uint(value, size) == data


def test_integers_outside_their_size_are_refused():
    for value, size in [(-1, 1), (256, 1), (1 << 64, 8)]:
        with pytest.raises(EncodeError):
            encode_uint(value, size)
    with pytest.raises(EncodeError):
        encode_bigsize(-1)
    with pytest.raises(EncodeError):
        encode_bigsize(1 << 64)


def test_a_short_read_and_trailing_bytes_are_refused():
    reader = Reader(b"abc")
    assert reader.take(2) == b"ab"
    with pytest.raises(WireError, match="2 bytes expected, 1 left"):
        reader.take(2)
    with pytest.raises(WireError, match="1 trailing"):
        reader.finish()
    assert reader.take_rest() == b"c"
    reader.finish()
