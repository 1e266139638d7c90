"""Whatever a peer sends of this extension is acted on, or is a `ChannelViolation`."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from channel_pair import Pair
from colour_pair import channel_of, open_coloured_pair
from lightspeed.channel import ChannelViolation, StateError
from lightspeed.colour import COLOUR_MESSAGES, ConsignmentCollector, RgbConsignment
from lightspeed.colour.consignments import consignment_messages
from lightspeed.colour.messages import MAX_CONSIGNMENT_BYTES_PER_MESSAGE
from lightspeed.colour.negotiation import ColourParameters, load_tokens
from lightspeed.colour.state import dump_content, load_content, load_state
from lightspeed.lsf import LSF_MESSAGES
from lightspeed.wire import BOLT_CODEC, MAX_MESSAGE_SIZE, Message, UnknownMessage, WireError

CODEC = BOLT_CODEC.extended(COLOUR_MESSAGES)


def test_types_are_odd_and_not_those_of_the_other_extension() -> None:
    types = {message.TYPE for message in COLOUR_MESSAGES}
    assert len(types) == len(COLOUR_MESSAGES)
    assert all(kind % 2 and 32_768 <= kind <= 65_535 for kind in types)
    assert types.isdisjoint(message.TYPE for message in LSF_MESSAGES)


@pytest.mark.parametrize("message_class", COLOUR_MESSAGES, ids=lambda each: each.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_message_round_trips(message_class: type[Message], data: st.DataObject) -> None:
    message = data.draw(strategies.wire_messages(message_class))
    assert CODEC.decode(message.encode()) == message
    assert isinstance(BOLT_CODEC.decode(message.encode()), UnknownMessage)  # ignored by others


@pytest.mark.parametrize("message_class", COLOUR_MESSAGES, ids=lambda each: each.__name__)
@settings(max_examples=30, deadline=None)
@given(payload=st.binary(max_size=120))
def test_any_bytes_decode_or_raise_wire_error(message_class: type[Message], payload: bytes) -> None:
    try:
        decoded = CODEC.decode(message_class.TYPE.to_bytes(2, "big") + payload)
    except WireError:
        return
    assert isinstance(decoded, message_class)


def test_the_largest_piece_of_a_consignment_fits_a_message() -> None:
    piece = RgbConsignment(
        channel_id=bytes(32), total=1, offset=0, data=bytes(MAX_CONSIGNMENT_BYTES_PER_MESSAGE)
    )
    assert len(piece.encode()) == MAX_MESSAGE_SIZE


def test_consignments_come_in_order_and_bounded() -> None:
    data = bytes(2 * MAX_CONSIGNMENT_BYTES_PER_MESSAGE) + b"end"
    first, second, third = consignment_messages(bytes(32), data)
    small = replace(first, data=first.data[1:])
    for wrong in (second, replace(first, total=(16 << 20) + 1), replace(first, data=b""), small):
        with pytest.raises(ChannelViolation):
            ConsignmentCollector.begin(wrong)
    begun = ConsignmentCollector.begin(first)
    for wrong in (first, third, replace(second, total=7), replace(second, data=b"")):
        with pytest.raises(ChannelViolation):
            begun.add(wrong)
    nearly = begun.add(second)
    assert not nearly.complete
    with pytest.raises(ChannelViolation):
        nearly.add(replace(third, data=b"endless"))
    whole = nearly.add(third)
    assert whole.complete
    assert whole.data == data


@pytest.fixture(scope="module")
def pair() -> Pair:
    return open_coloured_pair(pushed=400).pair


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_peer_says_leaves_the_channel_whole(pair: Pair, data: st.DataObject) -> None:
    channel = channel_of(pair.funder)
    before = channel.state
    message = data.draw(st.sampled_from(COLOUR_MESSAGES).flatmap(strategies.wire_messages))
    try:
        channel.receive(replace(message, channel_id=channel.channel_id))
    except ChannelViolation:
        assert channel.state is before
    finally:
        channel.state = before


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=120))
def test_any_stored_bytes_load_or_raise_state_error(pair: Pair, data: bytes) -> None:
    channel = channel_of(pair.funder)
    parameters = channel.state.config.extensions["rgb"]
    for load in (
        load_content,
        load_tokens,
        ColourParameters.from_bytes,
        lambda stored: load_state(parameters, stored),
    ):
        try:
            load(data)
        except StateError:
            continue


def test_content_is_stored_whole(pair: Pair) -> None:
    content = channel_of(pair.funder).state.base.extensions["rgb"]
    content = replace(content, holder_traded=7, counterparty_traded=2**64 - 1)
    assert load_content(dump_content(content)) == content
