"""BOLT 4: the published onion and error onion, and what a changed one comes to."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin.keys import PrivateKey, PublicKey
from lightspeed.wire import (
    EncodeError,
    Failure,
    FailureCode,
    HopPayload,
    OnionError,
    OnionHop,
    PaymentData,
    Reader,
    WireError,
    build_onion,
    decode_error_onion,
    derive_shared_secrets,
    peel_onion,
    seal_failure,
    wrap_error_onion,
)
from lightspeed.wire.onion import onion_key

BOLT = Path(__file__).parents[1] / "vectors" / "bolt"
ONION = json.loads((BOLT / "bolt4-onion.json").read_text())
ERROR = json.loads((BOLT / "bolt4-onion-error.json").read_text())
SESSION_KEY = PrivateKey(b"\x41" * 32)
NODE_KEYS = [PrivateKey(bytes.fromhex(digits)) for digits in ONION["decode"]]
ASSOCIATED = b"\x42" * 32


def without_length(prefixed: bytes) -> bytes:
    reader = Reader(prefixed)
    payload = reader.take(reader.bigsize())
    reader.finish()
    return payload


def vector_hops() -> list[OnionHop]:
    return [
        OnionHop(
            PublicKey(bytes.fromhex(hop["pubkey"])), without_length(bytes.fromhex(hop["payload"]))
        )
        for hop in ONION["generate"]["hops"]
    ]


def test_the_published_onion_is_built_and_peeled(vectors):
    hops = vector_hops()
    packet = build_onion(session_key=SESSION_KEY, hops=hops, associated_data=ASSOCIATED)
    assert packet.hex() == ONION["onion"]
    secrets = derive_shared_secrets(SESSION_KEY, [hop.node_id for hop in hops])
    for index, (hop, node_key) in enumerate(zip(hops, NODE_KEYS, strict=True)):
        assert node_key.public == hop.node_id
        peeled = peel_onion(packet, node_key=node_key, associated_data=ASSOCIATED)
        assert peeled.payload == hop.payload
        assert peeled.shared_secret == secrets[index]
        packet = peeled.next_packet
    assert packet is None
    vectors("BOLT 4", 1 + len(hops))


def test_the_published_payloads_are_read():
    first, *_, last = vector_hops()
    assert HopPayload.decode(first.payload) == HopPayload(
        amt_to_forward=15_000, outgoing_cltv_value=1_500, short_channel_id=1
    )
    final = HopPayload.decode(last.payload)
    assert final.payment_data == PaymentData(
        bytes.fromhex("24a33562c54507a9334e79f0dc4f17d407e6d7c61f0e2f3d0d38599502f61704"), 10_000
    )
    assert final.payment_metadata is None


def test_the_published_error_is_sealed_wrapped_and_decoded(vectors):
    hops = ERROR["generate"]["hops"]
    secrets = derive_shared_secrets(
        SESSION_KEY, [PublicKey(bytes.fromhex(hop["pubkey"])) for hop in hops]
    )
    assert [secret.hex() for secret in secrets] == [hop["hop_shared_secret"] for hop in hops]
    for hop, secret in zip(hops, secrets, strict=True):
        assert onion_key("ammag", secret).hex() == hop["ammag_key"]
    assert onion_key("um", secrets[-1]).hex() == hops[-1]["um_key"]
    failure = Failure.decode(bytes.fromhex(ERROR["generate"]["failure_message"]))
    assert failure == Failure(FailureCode.TEMPORARY_NODE_FAILURE)
    reason = seal_failure(failure, shared_secret=secrets[-1])
    for secret in reversed(secrets[:-1]):
        reason = wrap_error_onion(reason, shared_secret=secret)
    assert reason.hex() == ERROR["errorpacket"]
    assert decode_error_onion(reason, shared_secrets=secrets) == (4, failure)
    vectors("BOLT 4", 1 + len(hops))


payloads = st.builds(
    HopPayload,
    amt_to_forward=st.integers(0, (1 << 64) - 1),
    outgoing_cltv_value=st.integers(0, (1 << 32) - 1),
    short_channel_id=st.none() | st.integers(0, (1 << 64) - 1),
    payment_data=st.none()
    | st.builds(PaymentData, st.just(b"\x53" * 32), st.integers(0, (1 << 64) - 1)),
    payment_metadata=st.none() | st.binary(max_size=30),
)


@given(payloads)
def test_payloads_round_trip(payload):
    assert HopPayload.decode(payload.encode()) == payload


@given(st.binary(max_size=80))
def test_any_payload_decodes_or_raises_wire_error(data):
    try:
        payload = HopPayload.decode(data)
    except WireError:
        return
    assert HopPayload.decode(payload.encode()) == payload


@settings(max_examples=25)
@given(st.lists(payloads, min_size=1, max_size=5))
def test_every_hop_reads_its_own_payload_and_no_other(route):
    hops = [
        OnionHop(key.public, payload.encode())
        for key, payload in zip(NODE_KEYS, route, strict=False)
    ]
    packet = build_onion(session_key=SESSION_KEY, hops=hops, associated_data=b"hash")
    for index, payload in enumerate(route):
        with pytest.raises(OnionError) as caught:
            peel_onion(packet, node_key=NODE_KEYS[index - 1 or 2], associated_data=b"hash" * 2)
        assert caught.value.code is FailureCode.INVALID_ONION_HMAC
        peeled = peel_onion(packet, node_key=NODE_KEYS[index], associated_data=b"hash")
        assert HopPayload.decode(peeled.payload) == payload
        packet = peeled.next_packet
    assert packet is None


def peel_published(packet: bytes) -> FailureCode:
    with pytest.raises(OnionError) as caught:
        peel_onion(packet, node_key=NODE_KEYS[0], associated_data=ASSOCIATED)
    assert caught.value.shared_secret is None
    return caught.value.code


def test_a_changed_onion_names_what_is_wrong():
    packet = bytes.fromhex(ONION["onion"])
    assert peel_published(b"\x01" + packet[1:]) is FailureCode.INVALID_ONION_VERSION
    assert peel_published(packet[:-1]) is FailureCode.INVALID_ONION_VERSION
    assert peel_published(b"\0\x04" + packet[2:]) is FailureCode.INVALID_ONION_KEY
    assert peel_published(packet[:-1] + b"\0") is FailureCode.INVALID_ONION_HMAC
    assert peel_published(packet[:700] + b"\0" + packet[701:]) is FailureCode.INVALID_ONION_HMAC
    with pytest.raises(OnionError, match="invalid_onion_hmac"):
        peel_onion(packet, node_key=NODE_KEYS[0], associated_data=b"")


def test_a_payload_length_beyond_the_packet_is_failed_towards_the_origin(monkeypatch):
    too_long = property(lambda hop: b"\xfd\x05\x15" + hop.payload)
    monkeypatch.setattr(OnionHop, "sealed_payload", too_long)
    hop = OnionHop(NODE_KEYS[0].public, b"payload")
    packet = build_onion(session_key=SESSION_KEY, hops=[hop], associated_data=b"")
    with pytest.raises(OnionError) as caught:
        peel_onion(packet, node_key=NODE_KEYS[0], associated_data=b"")
    assert caught.value.code is FailureCode.INVALID_ONION_PAYLOAD
    assert caught.value.shared_secret == SESSION_KEY.ecdh(hop.node_id)


def test_payloads_that_do_not_fit_are_refused():
    largest = 1300 - 32 - 3
    hop = OnionHop(NODE_KEYS[0].public, bytes(largest))
    packet = build_onion(session_key=SESSION_KEY, hops=[hop], associated_data=b"")
    peeled = peel_onion(packet, node_key=NODE_KEYS[0], associated_data=b"")
    assert peeled.payload == bytes(largest)
    for hops in ([], [hop, hop], [OnionHop(hop.node_id, bytes(largest + 1))]):
        with pytest.raises(EncodeError):
            build_onion(session_key=SESSION_KEY, hops=hops, associated_data=b"")


@settings(max_examples=20)
@given(data=st.binary(max_size=400))
def test_any_error_onion_decodes_or_raises_wire_error(data):
    secrets = derive_shared_secrets(SESSION_KEY, [key.public for key in NODE_KEYS])
    with pytest.raises(WireError):
        decode_error_onion(data, shared_secrets=secrets)


@pytest.mark.parametrize("failed", range(5))
def test_the_origin_learns_which_hop_failed_and_why(failed):
    secrets = derive_shared_secrets(SESSION_KEY, [key.public for key in NODE_KEYS])
    failure = Failure.incorrect_or_unknown_payment_details(htlc_msat=5_000, height=700)
    assert failure.name == "incorrect_or_unknown_payment_details"
    assert failure.code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS
    reason = seal_failure(failure, shared_secret=secrets[failed])
    for secret in reversed(secrets[:failed]):
        reason = wrap_error_onion(reason, shared_secret=secret)
    assert decode_error_onion(reason, shared_secrets=secrets) == (failed, failure)


def test_an_error_sealed_for_a_hop_behind_the_route_is_refused():
    secrets = derive_shared_secrets(SESSION_KEY, [key.public for key in NODE_KEYS])
    reason = seal_failure(Failure(FailureCode.MPP_TIMEOUT), shared_secret=bytes(32))
    for secret in reversed(secrets):
        reason = wrap_error_onion(reason, shared_secret=secret)
    with pytest.raises(WireError, match="no hop"):
        decode_error_onion(reason, shared_secrets=secrets)


def test_a_failure_of_an_unknown_code_is_named_by_its_number():
    assert Failure(0x1234).name == "unknown failure 0x1234"


def test_payment_secrets_stay_out_of_the_repr():
    payload = HopPayload(
        amt_to_forward=1, outgoing_cltv_value=1, payment_data=PaymentData(b"\xa7" * 32, 1)
    )
    assert "xa7" not in repr(payload)
    with pytest.raises(EncodeError):
        PaymentData(b"short", 1)
