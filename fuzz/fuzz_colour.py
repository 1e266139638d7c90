"""Law: whatever bytes a peer sends or a store gives back, a parser of `colour` returns a value or
raises its one declared error.

Run it with `python fuzz/fuzz_colour.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from lightspeed.channel import ChannelViolation, StateError
from lightspeed.colour import (
    ACCEPTER_TLV,
    COLOUR_MESSAGES,
    OPENER_TLV,
    ColourContent,
    ColourParameters,
    ColourState,
    ColourTerms,
    ConsignmentCollector,
    Offer,
    RgbAsk,
    RgbConsignment,
    RgbOffer,
    RgbRefuse,
    RgbTrade,
)
from lightspeed.colour.negotiation import accepter_record, negotiate
from lightspeed.colour.state import dump_content, dump_state, load_content, load_state
from lightspeed.rgb import Opout, TokenInput
from lightspeed.wire import BOLT_CODEC, WireError
from target import Target

CODEC = BOLT_CODEC.extended(COLOUR_MESSAGES)
CHANNEL_ID, CONTRACT_ID = bytes(32), bytes(range(32))
TERMS = ColourTerms(contract_id=CONTRACT_ID, tokens=1_000, pushed=400)
TOKEN = TokenInput(Opout(bytes(32), 4_000, 1), 1_000)
PARAMETERS = ColourParameters(terms=TERMS, allocations=(TOKEN,))
CONTENT = ColourContent(holder_traded=3)
STATE = ColourState(parameters=PARAMETERS, holder_offer=Offer(4, 10, 5_000), offers_made=4)
PIECE = RgbConsignment(channel_id=CHANNEL_ID, total=9, offset=0, data=b"bytes")


def message(data: bytes) -> None:
    decoded = CODEC.decode(data)
    assert CODEC.decode(decoded.encode()) == decoded


def opened(data: bytes) -> None:
    """The record of an opener."""
    agreed = negotiate(
        offered={ACCEPTER_TLV: accepter_record(CONTRACT_ID)}, received={OPENER_TLV: data}
    )
    assert ColourParameters.from_bytes(agreed.to_bytes()) == agreed
    assert agreed.terms.to_bytes() == data


def accepted(data: bytes) -> None:
    """The record of an accepter."""
    negotiate(offered={OPENER_TLV: TERMS.to_bytes()}, received={ACCEPTER_TLV: data})
    assert data == accepter_record(CONTRACT_ID)


def parameters(data: bytes) -> None:
    assert ColourParameters.from_bytes(data).to_bytes() == data


def content(data: bytes) -> None:
    assert dump_content(load_content(data)) == data


def state(data: bytes) -> None:
    loaded = load_state(PARAMETERS.to_bytes(), data)
    assert load_state(PARAMETERS.to_bytes(), dump_state(loaded)) == loaded


def consignment(data: bytes) -> None:
    """A piece, and the same one again."""
    piece = CODEC.decode(data)
    if not isinstance(piece, RgbConsignment):
        return
    collected = ConsignmentCollector.begin(piece, max_bytes=1_000)
    assert collected.size == len(piece.data)
    collected.add(piece)


TARGET = Target(
    name="colour",
    parsers=(
        (message, WireError),
        (opened, ChannelViolation),
        (accepted, ChannelViolation),
        (parameters, StateError),
        (content, StateError),
        (state, StateError),
        (consignment, (WireError, ChannelViolation)),
    ),
    seeds=(
        (message, PIECE.encode()),
        (message, RgbAsk(channel_id=CHANNEL_ID, tokens=10).encode()),
        (message, RgbOffer(channel_id=CHANNEL_ID, offer=1, tokens=10, price_msat=5).encode()),
        (message, RgbTrade(channel_id=CHANNEL_ID, offer=1, tokens=10, price_msat=5).encode()),
        (message, RgbRefuse(channel_id=CHANNEL_ID, subject=1, text=b"no").encode()),
        (opened, TERMS.to_bytes()),
        (accepted, accepter_record(CONTRACT_ID)),
        (parameters, PARAMETERS.to_bytes()),
        (content, dump_content(CONTENT)),
        (state, dump_state(STATE)),
    ),
)

if __name__ == "__main__":
    TARGET.run()
