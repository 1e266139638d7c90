"""A message is its declaration: it round-trips, and any bytes decode or raise `WireError`."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from lightspeed.errors import LocalError, RemoteError
from lightspeed.wire import (
    BOLT_CODEC,
    BOLT_MESSAGES,
    U16,
    Bytes32,
    Codec,
    CommitmentSigned,
    EncodeError,
    ErrorMessage,
    Features,
    FeeRange,
    Init,
    Message,
    OpenChannel,
    Ping,
    RevokeAndAck,
    UnknownEvenMessage,
    UnknownMessage,
    UpdateFee,
    UpdateFulfillHtlc,
    WarningMessage,
    WireError,
    decode,
    encode_tlv_stream,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave(Message):
    """An extension's message."""

    TYPE: ClassVar[int] = 32_769

    channel_id: Bytes32
    height: U16


EXTENDED = BOLT_CODEC.extended([Wave])


@pytest.mark.parametrize("message_class", [*BOLT_MESSAGES, Wave], ids=lambda each: each.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_message_round_trips(message_class, data):
    message = data.draw(strategies.wire_messages(message_class))
    encoded = message.encode()
    assert int.from_bytes(encoded[:2], "big") == message_class.TYPE
    decoded = EXTENDED.decode(encoded)
    assert decoded == message
    assert decoded.encode() == encoded
    hash(message)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_wire_error(data):
    try:
        message = decode(data)
    except WireError:
        return
    assert decode(message.encode()) == message


@settings(max_examples=200)
@given(
    message=strategies.wire_codec_messages(BOLT_CODEC),
    cut=st.integers(0, 400),
    flip=st.integers(0, 8 * 400),
    tail=st.binary(max_size=12),
)
def test_a_damaged_message_decodes_or_raises_wire_error(message, cut, flip, tail):
    encoded = message.encode()
    changed = bytearray(encoded)
    changed[flip // 8 % len(changed)] ^= 1 << flip % 8
    for damaged in (encoded[: cut % len(encoded)], bytes(changed), encoded + tail):
        try:
            decoded = decode(damaged)
        except WireError:
            continue
        assert decode(decoded.encode()) == decoded


@settings(max_examples=30)
@given(message=strategies.wire_codec_messages(BOLT_CODEC), extra=st.integers(0, 3000))
def test_odd_records_behind_a_message_are_ignored_and_even_ones_refused(message, extra):
    encoded = message.encode()
    # above every type that the strategy draws, so that the order stays canonical
    odd = (1 << 40) + 2 * extra + 1
    assert type(decode(encoded + encode_tlv_stream({odd: b"x"}))) is type(message)
    with pytest.raises(WireError, match="unknown even TLV"):
        decode(encoded + encode_tlv_stream({odd + 1: b"x"}))


def test_known_bytes():
    assert decode(bytes.fromhex("0012000500027878")) == Ping(num_pong_bytes=5, ignored=b"xx")
    fee = UpdateFee(channel_id=bytes(32), feerate_per_kw=253)
    assert fee.encode().hex() == "0086" + 64 * "0" + "000000fd"
    signed = CommitmentSigned(
        channel_id=b"\1" * 32, signature=b"\2" * 64, htlc_signatures=(b"\3" * 64,)
    )
    assert signed.encode().hex() == "0084" + "01" * 32 + "02" * 64 + "0001" + "03" * 64


def test_unknown_odd_is_kept_and_unknown_even_refused():
    assert decode(b"\x80\x01abc") == UnknownMessage(0x8001, b"abc")
    assert decode(b"\x80\x01abc").encode() == b"\x80\x01abc"
    with pytest.raises(UnknownEvenMessage) as caught:
        decode(b"\x80\x02abc")
    assert caught.value.message_type == 0x8002
    assert isinstance(caught.value, WireError)
    assert isinstance(caught.value, RemoteError)


def test_even_gossip_is_ignored():
    assert decode(b"\x01\x02" + bytes(130)) == UnknownMessage(258, bytes(130))


def test_an_extension_registers_its_messages():
    wave = Wave(channel_id=bytes(32), height=3)
    assert EXTENDED.decode(wave.encode()) == wave
    assert isinstance(BOLT_CODEC.decode(wave.encode()), UnknownMessage)
    assert Wave in EXTENDED.message_classes
    assert Wave not in BOLT_CODEC.message_classes


def test_two_messages_of_one_type_are_refused():
    with pytest.raises(EncodeError, match="32769"):
        EXTENDED.extended([Wave])
    with pytest.raises(EncodeError):
        Codec([Wave, Wave])


def test_extension_records_are_kept_in_open_channel(open_channel):
    message = replace(open_channel, extension_tlvs={65_537: b"lsf", 65_539: b""})
    assert decode(message.encode()) == message
    for refused in ({65_536: b""}, {65_535: b""}, {7: b""}, {65_537: "text"}):
        with pytest.raises(EncodeError, match=r"OpenChannel\.extension_tlvs"):
            replace(open_channel, extension_tlvs=refused)


@pytest.fixture
def open_channel():
    return OpenChannel(
        chain_hash=bytes(32),
        temporary_channel_id=bytes(32),
        funding_satoshis=5_000_000,
        push_msat=0,
        dust_limit_satoshis=354,
        max_htlc_value_in_flight_msat=10**9,
        channel_reserve_satoshis=50_000,
        htlc_minimum_msat=1,
        feerate_per_kw=253,
        to_self_delay=144,
        max_accepted_htlcs=30,
        funding_pubkey=b"\2" * 33,
        revocation_basepoint=b"\2" * 33,
        payment_basepoint=b"\2" * 33,
        delayed_payment_basepoint=b"\2" * 33,
        htlc_basepoint=b"\2" * 33,
        first_per_commitment_point=b"\2" * 33,
        channel_flags=0,
        upfront_shutdown_script=b"",
        channel_type=Features.of(12, 22),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("funding_satoshis", 1 << 64),
        ("funding_satoshis", -1),
        ("funding_satoshis", "5"),
        ("funding_satoshis", None),
        ("funding_pubkey", b"\2" * 32),
        ("funding_pubkey", "02" * 33),
        ("channel_flags", 256),
        ("channel_type", b"\x40\x10\x00"),
        ("upfront_shutdown_script", "script"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_at_construction(open_channel, field, value):
    with pytest.raises(EncodeError, match=f"OpenChannel.{field}") as caught:
        replace(open_channel, **{field: value})
    assert isinstance(caught.value, LocalError)


def test_a_fee_range_that_does_not_fit_is_refused():
    closing = BOLT_CODEC.message_classes[11]
    fields = {"channel_id": bytes(32), "fee_satoshis": 1, "signature": bytes(64)}
    for fee_range in (FeeRange(-1, 5), FeeRange(0, 1 << 64), (0, 1)):
        with pytest.raises(EncodeError, match="fee_range"):
            closing(**fields, fee_range=fee_range)


def test_a_message_above_the_limit_is_neither_encoded_nor_decoded():
    largest = ErrorMessage(data=bytes(65_535 - 2 - 32 - 2))
    assert decode(largest.encode()) == largest
    with pytest.raises(EncodeError, match="65536 bytes"):
        ErrorMessage(data=bytes(65_535 - 2 - 32 - 1)).encode()
    with pytest.raises(WireError, match="65536 bytes"):
        decode(b"\x80\x01" + bytes(65_534))


def test_text_of_a_stranger_is_printable():
    data = b"\x1b[2Jcaf\xc3\xa9\r\nok\x7f"
    assert ErrorMessage(data=data).text == "?[2Jcaf????ok?"
    assert WarningMessage(data=data).text == "?[2Jcaf????ok?"


def test_revealed_secrets_stay_out_of_the_repr():
    secret = b"\xa7" * 32
    messages = [
        UpdateFulfillHtlc(channel_id=bytes(32), id=0, payment_preimage=secret),
        RevokeAndAck(
            channel_id=bytes(32), per_commitment_secret=secret, next_per_commitment_point=bytes(33)
        ),
    ]
    for message in messages:
        assert "xa7" not in repr(message)


def test_init_networks_must_be_whole_hashes():
    init = Init(features=Features.of(13), networks=(b"\1" * 32, b"\2" * 32))
    assert decode(init.encode()) == init
    with pytest.raises(WireError):
        decode(Init(features=Features()).encode() + encode_tlv_stream({1: bytes(33)}))
