"""Law: whatever bytes a peer sends, a parser of `wire` returns a value or raises `WireError`.

A value that was parsed from a message or payload also encodes and parses to itself.

Run it with `python fuzz/fuzz_wire.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from lightspeed.bitcoin import PrivateKey
from lightspeed.wire import (
    BOLT_CODEC,
    AwaitingActOne,
    Failure,
    Features,
    HopPayload,
    OnionHop,
    Reader,
    WireError,
    build_onion,
    decode_error_onion,
    decode_tlv_stream,
    encode_tlv_stream,
    peel_onion,
    start_handshake,
)
from target import Target

OUR_KEY, OUR_EPHEMERAL, THEIR_KEY, THEIR_EPHEMERAL = (
    PrivateKey(bytes([byte]) * 32) for byte in (0x11, 0x12, 0x21, 0x22)
)
ACT_ONE, AWAITING_TWO = start_handshake(
    our_key=OUR_KEY, ephemeral_key=OUR_EPHEMERAL, their_node_id=THEIR_KEY.public
)
AWAITING_ONE = AwaitingActOne(THEIR_KEY, THEIR_EPHEMERAL)
ACT_TWO, AWAITING_THREE = AWAITING_ONE.receive(ACT_ONE)
ACT_THREE, _ = AWAITING_TWO.receive(ACT_TWO)
ONION = build_onion(
    session_key=OUR_EPHEMERAL,
    hops=[OnionHop(OUR_KEY.public, HopPayload(amt_to_forward=1, outgoing_cltv_value=1).encode())],
    associated_data=b"",
)


def message(data: bytes) -> None:
    decoded = BOLT_CODEC.decode(data)
    assert BOLT_CODEC.decode(decoded.encode()) == decoded


def tlv_stream(data: bytes) -> None:
    assert encode_tlv_stream(decode_tlv_stream(data, known=range(256))) == data


def integers(data: bytes) -> None:
    reader = Reader(data)
    reader.bigsize()
    reader.truncated_uint(8)
    reader.finish()


def features(data: bytes) -> None:
    Features.of(13, 23, 45).check_peer(Features.decode(data))


def act_one(data: bytes) -> None:
    AWAITING_ONE.receive(data)


def act_two(data: bytes) -> None:
    AWAITING_TWO.receive(data)


def act_three(data: bytes) -> None:
    AWAITING_THREE.receive(data)


def transport(data: bytes) -> None:
    _, receiving = AWAITING_THREE.receive(ACT_THREE)
    receiving.feed(data)


def onion(data: bytes) -> None:
    peel_onion(data, node_key=OUR_KEY, associated_data=b"")


def hop_payload(data: bytes) -> None:
    decoded = HopPayload.decode(data)
    assert HopPayload.decode(decoded.encode()) == decoded


def sealed_hop_payload(data: bytes) -> None:
    """Whatever the origin put into our layer, with a valid HMAC."""
    hop = OnionHop(OUR_KEY.public, data[:1_200])
    packet = build_onion(session_key=OUR_EPHEMERAL, hops=[hop], associated_data=b"")
    peeled = peel_onion(packet, node_key=OUR_KEY, associated_data=b"")
    assert peeled.payload == hop.payload
    HopPayload.decode(peeled.payload)


def failure(data: bytes) -> None:
    assert Failure.decode(data).encode() == data


def error_onion(data: bytes) -> None:
    decode_error_onion(data, shared_secrets=[bytes(32)])


TARGET = Target(
    name="wire",
    parsers=tuple(
        (parser, WireError)
        for parser in (
            message,
            tlv_stream,
            integers,
            features,
            act_one,
            act_two,
            act_three,
            transport,
            onion,
            hop_payload,
            sealed_hop_payload,
            failure,
            error_onion,
        )
    ),
    seeds=(
        (act_one, ACT_ONE),
        (act_two, ACT_TWO),
        (act_three, ACT_THREE),
        (onion, ONION),
        (tlv_stream, bytes.fromhex("0108010000000000000002080000000000000226fd00fe020226")),
        (message, bytes.fromhex("001000000000c9012acb0104")),
        (message, bytes.fromhex("0012000500027878")),
        (failure, bytes.fromhex("400f0000000000000001000002bc")),
    ),
)

if __name__ == "__main__":
    TARGET.run()
