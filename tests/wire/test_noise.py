"""BOLT 8, appendix A, and the laws of the encrypted connection."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin.keys import PrivateKey, PublicKey
from lightspeed.wire import (
    AwaitingActOne,
    EncodeError,
    HandshakeError,
    HandshakeFault,
    Transport,
    TransportError,
    WireError,
    start_handshake,
)

DOCUMENT = (Path(__file__).parents[1] / "vectors" / "bolt" / "bolt8-transport.txt").read_text()
INITIATOR_KEY = PrivateKey(b"\x11" * 32)
INITIATOR_EPHEMERAL = PrivateKey(b"\x12" * 32)
RESPONDER_KEY = PrivateKey(b"\x21" * 32)
RESPONDER_EPHEMERAL = PrivateKey(b"\x22" * 32)


def vectors_named(prefix: str) -> dict[str, str]:
    blocks = re.split(r"^\s*name: ", DOCUMENT.split("## Message Encryption")[0], flags=re.MULTILINE)
    return {
        block.split("\n")[0].removeprefix(prefix): block
        for block in blocks[1:]
        if block.startswith(prefix)
    }


INITIATOR = vectors_named("transport-initiator ")
RESPONDER = vectors_named("transport-responder ")


def lines(block: str, direction: str) -> list[str]:
    return re.findall(rf"^\s*{direction}: (.*)$", block, re.MULTILINE)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def key(block: str, name: str) -> bytes:
    return unhex(re.search(rf"^\s*{re.escape(name)}[:=]\s*(\S+)", block, re.MULTILINE)[1])


def fault_of(output: str) -> tuple[int, HandshakeFault]:
    act, name = re.fullmatch(r"ERROR \(ACT(\d)_(\w+)(?: \d)?\)", output).groups()
    return int(act), HandshakeFault(name)


def cipher_keys(transport: Transport) -> tuple[bytes, bytes]:
    return transport._sending._key, transport._receiving._key


@pytest.mark.parametrize("name", INITIATOR)
def test_initiator_vectors(vectors, name):
    block = INITIATOR[name]
    act_one, awaiting = start_handshake(
        our_key=PrivateKey(key(block, "ls.priv")),
        ephemeral_key=PrivateKey(key(block, "e.priv")),
        their_node_id=PublicKey(key(block, "rs.pub")),
    )
    outputs = lines(block, "output")
    assert act_one == unhex(outputs[0])
    (act_two,) = map(unhex, lines(block, "input"))
    if outputs[1].startswith("ERROR"):
        with pytest.raises(HandshakeError) as caught:
            awaiting.receive(act_two)
        assert (caught.value.act, caught.value.fault) == fault_of(outputs[1])
    else:
        act_three, transport = awaiting.receive(act_two)
        assert act_three == unhex(outputs[1])
        sk, rk = outputs[2].removeprefix("sk,rk=").split(",")
        assert cipher_keys(transport) == (unhex(sk), unhex(rk))
    vectors("BOLT 8", 1)


@pytest.mark.parametrize("name", RESPONDER)
def test_responder_vectors(vectors, name):
    block = RESPONDER[name]
    awaiting = AwaitingActOne(
        our_key=PrivateKey(key(block, "ls.priv")), ephemeral_key=PrivateKey(key(block, "e.priv"))
    )
    acts = [unhex(text) for text in lines(block, "input")]
    outputs = lines(block, "output")
    *answers, last = outputs

    def run() -> tuple[PublicKey, Transport]:
        act_two, awaiting_act_three = awaiting.receive(acts[0])
        assert act_two == unhex(answers[0])
        return awaiting_act_three.receive(acts[1])

    if last.startswith("ERROR"):
        with pytest.raises(HandshakeError) as caught:
            run()
        assert (caught.value.act, caught.value.fault) == fault_of(last)
    else:
        their_node_id, transport = run()
        assert their_node_id == INITIATOR_KEY.public
        rk, sk = last.removeprefix("rk,sk=").split(",")
        assert cipher_keys(transport) == (unhex(sk), unhex(rk))
    vectors("BOLT 8", 1)


def test_all_handshake_vectors_are_read():
    assert (len(INITIATOR), len(RESPONDER)) == (5, 10)


def handshake() -> tuple[Transport, Transport]:
    act_one, awaiting_two = start_handshake(
        our_key=INITIATOR_KEY,
        ephemeral_key=INITIATOR_EPHEMERAL,
        their_node_id=RESPONDER_KEY.public,
    )
    act_two, awaiting_three = AwaitingActOne(RESPONDER_KEY, RESPONDER_EPHEMERAL).receive(act_one)
    act_three, initiator = awaiting_two.receive(act_two)
    node_id, responder = awaiting_three.receive(act_three)
    assert node_id == INITIATOR_KEY.public
    return initiator, responder


def test_message_vectors(vectors):
    expected = {
        int(number): unhex(digits)
        for number, digits in re.findall(r"output (\d+): (0x\w+)", DOCUMENT)
    }
    assert sorted(expected) == [0, 1, 500, 501, 1000, 1001]
    initiator, responder = handshake()
    for number in range(1002):
        sealed = initiator.encrypt(b"hello")
        if number in expected:
            assert sealed == expected[number]
        assert responder.feed(sealed) == [b"hello"]
    vectors("BOLT 8", len(expected))


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=100), max_size=8), st.integers(1, 50))
def test_messages_arrive_however_the_bytes_are_cut(messages, size):
    initiator, responder = handshake()
    stream = b"".join(map(responder.encrypt, messages))
    received = []
    for start in range(0, len(stream), size):
        received += initiator.feed(stream[start : start + size])
    assert received == messages


def test_both_directions_rotate_their_keys_apart():
    initiator, responder = handshake()
    for number in range(1200):
        message = number.to_bytes(2, "big")
        assert responder.feed(initiator.encrypt(message)) == [message]
        if number % 3 == 0:
            assert initiator.feed(responder.encrypt(message)) == [message]


def test_the_longest_message_passes_and_a_longer_one_is_refused():
    initiator, responder = handshake()
    longest = bytes(65_535)
    assert responder.feed(initiator.encrypt(longest)) == [longest]
    with pytest.raises(EncodeError):
        initiator.encrypt(bytes(65_536))
    assert responder.feed(initiator.encrypt(b"")) == [b""]


@settings(max_examples=50)
@given(st.integers(0, 8 * (18 + 21) - 1))
def test_a_changed_bit_ends_the_connection(bit):
    initiator, responder = handshake()
    sealed = bytearray(initiator.encrypt(b"hello"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TransportError):
        responder.feed(bytes(sealed) + bytes(65_535))
    with pytest.raises(TransportError):
        responder.feed(initiator.encrypt(b"again") + bytes(65_535))


def test_a_connection_stays_dead_after_injected_bytes():
    initiator, responder = handshake()
    with pytest.raises(TransportError):
        responder.feed(bytes(18))
    with pytest.raises(TransportError, match="dead"):
        responder.feed(initiator.encrypt(b"hello"))


def test_a_replayed_or_reflected_message_is_refused():
    initiator, responder = handshake()
    sealed = initiator.encrypt(b"pay")
    with pytest.raises(TransportError):
        initiator.feed(sealed)
    assert responder.feed(sealed) == [b"pay"]
    with pytest.raises(TransportError):
        responder.feed(sealed)


@given(st.binary(max_size=70))
def test_any_act_is_refused_with_the_declared_error(data):
    act_one, awaiting_two = start_handshake(
        our_key=INITIATOR_KEY,
        ephemeral_key=INITIATOR_EPHEMERAL,
        their_node_id=RESPONDER_KEY.public,
    )
    responder = AwaitingActOne(RESPONDER_KEY, RESPONDER_EPHEMERAL)
    _, awaiting_three = responder.receive(act_one)
    for awaiting in (responder, awaiting_two, awaiting_three):
        with pytest.raises(WireError):
            awaiting.receive(data)


@settings(max_examples=50)
@given(st.integers(0, 8 * 50 - 1))
def test_a_changed_bit_of_an_act_is_refused(bit):
    act_one, awaiting_two = start_handshake(
        our_key=INITIATOR_KEY,
        ephemeral_key=INITIATOR_EPHEMERAL,
        their_node_id=RESPONDER_KEY.public,
    )
    responder = AwaitingActOne(RESPONDER_KEY, RESPONDER_EPHEMERAL)
    act_two, awaiting_three = responder.receive(act_one)
    act_three, _ = awaiting_two.receive(act_two)
    for awaiting, act in (
        (responder, act_one),
        (awaiting_two, act_two),
        (awaiting_three, act_three),
    ):
        changed = bytearray(act)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(HandshakeError):
            awaiting.receive(bytes(changed))


def test_keys_stay_out_of_the_repr():
    _, awaiting_two = start_handshake(
        our_key=INITIATOR_KEY,
        ephemeral_key=INITIATOR_EPHEMERAL,
        their_node_id=RESPONDER_KEY.public,
    )
    assert "x11" not in repr(awaiting_two)
    assert "x12" not in repr(awaiting_two)
    assert repr(awaiting_two.state.chaining_key) not in repr(awaiting_two)
