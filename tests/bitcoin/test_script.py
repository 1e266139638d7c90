"""Scripts are minimal, parse back, and have Bitcoin Core's dust limits."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import (
    P2A_SCRIPT,
    Op,
    OutputType,
    ScriptError,
    dust_limit,
    number,
    op_return,
    output_type,
    p2pkh,
    p2tr,
    p2wpkh,
    p2wsh,
    parse_script,
    push,
    script,
    witness_program,
)

KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (-1, "4f"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (144, "029000"),
        (255, "02ff00"),
        (256, "020001"),
        (32767, "02ff7f"),
        (32768, "03008000"),
        (65535, "03ffff00"),
        (-127, "01ff"),
        (-128, "028080"),
        (500_000_000, "040065cd1d"),
    ],
)
def test_numbers_are_minimal_pushes(n: int, expected: str) -> None:
    assert number(n).hex() == expected


@given(st.integers(-(1 << 40), 1 << 40))
def test_number_reads_back(n: int) -> None:
    ((opcode, data),) = parse_script(number(n))
    if data is None:
        assert n == (-1 if opcode == Op.OP_1NEGATE else opcode - (Op.OP_1 - 1))
        return
    magnitude = int.from_bytes(data, "little")
    if data and data[-1] & 0x80:
        magnitude -= 0x80 << 8 * (len(data) - 1)
        assert n == -magnitude
    else:
        assert n == magnitude
    if data:
        assert data[-1] & 0x7F or (len(data) > 1 and data[-2] & 0x80)


@pytest.mark.parametrize(
    ("size", "prefix"),
    [
        (2, "02"),
        (75, "4b"),
        (76, "4c4c"),
        (255, "4cff"),
        (256, "4d0001"),
        (65535, "4dffff"),
        (65536, "4e00000100"),
    ],
)
def test_pushes_take_the_shortest_form(size: int, prefix: str) -> None:
    data = b"\x07" * size
    assert push(data) == bytes.fromhex(prefix) + data


def test_single_bytes_that_have_an_opcode_use_it() -> None:
    assert push(b"") == b"\x00"
    assert push(b"\x01") == b"\x51"
    assert push(b"\x10") == b"\x60"
    assert push(b"\x81") == b"\x4f"
    assert push(b"\x00") == b"\x01\x00"
    assert push(b"\x11") == b"\x01\x11"


def test_builder_tells_opcodes_numbers_and_bytes_apart() -> None:
    built = script(Op.OP_SIZE, 32, Op.OP_EQUALVERIFY, KEY, 1, Op.OP_1, Op.OP_CHECKSEQUENCEVERIFY)
    assert built.hex() == "82012088" + "21" + KEY.hex() + "5151b2"


@given(st.lists(st.sampled_from(Op) | st.binary(max_size=300), max_size=8))
def test_built_scripts_parse_back(items: list[Op | bytes]) -> None:
    items = [item for item in items if not (isinstance(item, Op) and 0 < item <= 0x4E)]
    parsed = list(parse_script(script(*items)))
    assert len(parsed) == len(items)
    for item, (opcode, data) in zip(items, parsed, strict=True):
        if isinstance(item, Op):
            assert opcode == item
        elif data is not None:
            assert data == item
        else:
            assert push(item) == bytes([opcode])


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_raise_the_declared_error(raw: bytes) -> None:
    with suppress(ScriptError):
        list(parse_script(raw))
    output_type(raw)
    dust_limit(raw)


@pytest.mark.parametrize("raw", ["01", "4c", "4c01", "4d01", "4d0100", "4e010000", "4e01000000"])
def test_push_over_the_end_is_refused(raw: str) -> None:
    with pytest.raises(ScriptError):
        list(parse_script(bytes.fromhex(raw)))


@pytest.mark.parametrize(
    ("raw", "kind", "dust_sat"),
    [
        (p2pkh(bytes(20)), OutputType.P2PKH, 546),
        (script(Op.OP_HASH160, bytes(20), Op.OP_EQUAL), OutputType.P2SH, 540),
        (p2wpkh(KEY), OutputType.P2WPKH, 294),
        (p2wsh(b""), OutputType.P2WSH, 330),
        (p2tr(KEY[1:]), OutputType.P2TR, 330),
        (P2A_SCRIPT, OutputType.P2A, 240),
        (witness_program(16, bytes(40)), OutputType.WITNESS_UNKNOWN, 354),
        (witness_program(1, bytes(33)), OutputType.WITNESS_UNKNOWN, 333),
        (op_return(b""), OutputType.OP_RETURN, 0),
        (op_return(bytes(32)), OutputType.OP_RETURN, 0),
        (b"\x6a\x05", OutputType.NONSTANDARD, 0),
        (b"\x6a\xac", OutputType.NONSTANDARD, 0),
        (witness_program(0, bytes(21)), OutputType.NONSTANDARD, 297),
        (b"", OutputType.NONSTANDARD, 471),
        (script(KEY, Op.OP_CHECKSIG), OutputType.NONSTANDARD, 576),
        (bytes(253), OutputType.NONSTANDARD, 1236),
    ],
)
def test_kinds_of_output_and_their_dust_limits(raw: bytes, kind: OutputType, dust_sat: int) -> None:
    assert output_type(raw) is kind
    assert dust_limit(raw) == dust_sat


def test_standard_outputs_have_their_published_bytes() -> None:
    assert P2A_SCRIPT.hex() == "51024e73"
    assert p2wpkh(KEY).hex() == "0014751e76e8199196d454941c45d1b3a323f1433bd6"  # BIP 173
    assert p2wpkh(p2wpkh(KEY)[2:]) == p2wpkh(KEY)
    assert p2wsh(script(KEY, Op.OP_CHECKSIG)).hex() == (
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"  # BIP 173
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: p2pkh(bytes(19)),
        lambda: p2wpkh(bytes(32)),
        lambda: p2tr(bytes(33)),
        lambda: witness_program(17, bytes(32)),
        lambda: witness_program(1, bytes(1)),
        lambda: witness_program(1, bytes(41)),
    ],
)
def test_wrong_sizes_make_no_output(build: object) -> None:
    with pytest.raises(ScriptError):
        build()  # type: ignore[operator]
